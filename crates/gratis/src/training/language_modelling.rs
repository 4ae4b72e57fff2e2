//! Plain language modelling: the mean negative log-likelihood of the response tokens.

use gratis_engine::{Score, TokenValues};

use super::metrics::Tally;
use super::task::Task;
use super::units::Units;
use crate::encoding::{Corpus, Item, MicroBatch};
use crate::error::Result;

/// `L = -(1/n) sum_t log pi(y_t | y_<t)` over the `n` response tokens of the optimizer batch.
///
/// Which tokens count is a matter of the encoding: a text whose every token counts is a response to
/// the token that begins a sequence.
#[derive(Debug, Clone)]
pub struct LanguageModelling {
    units: Units,
    /// Response tokens of the optimizer batch.
    n_batch_tokens: usize,
}

impl LanguageModelling {
    /// Learns the responses at these indices of `corpus`, each with the name errors give it.
    pub fn new(corpus: Corpus, responses: impl IntoIterator<Item = (usize, String)>) -> Self {
        let mut units = Units::new(corpus);
        for (idx, name) in responses {
            units.push(Item::Response(idx), name);
        }
        Self { units, n_batch_tokens: 0 }
    }
}

impl Task for LanguageModelling {
    fn units(&self) -> &Units {
        &self.units
    }

    fn prepare(&mut self, _: &dyn Score, units: &[usize]) -> Result<()> {
        let Units { corpus, items, .. } = &self.units;
        let responses = units.iter().flat_map(|&unit| items[unit].responses());
        self.n_batch_tokens = responses.map(|idx| corpus.responses()[idx].tokens.len()).sum();
        Ok(())
    }

    fn weigh(
        &self,
        units: &[usize],
        batch: &MicroBatch,
        log_probs: &TokenValues,
        tally: &mut Tally,
    ) -> Result<TokenValues> {
        let rows = batch.row_of();
        let mut weights = log_probs.zeros_like();
        let n_tokens = self.n_batch_tokens as f64;
        for &unit in &batch.units {
            for idx in self.units.items[units[unit]].responses() {
                let row = rows[&idx];
                let log_prob: f64 = log_probs.row(row).iter().map(|&lp| f64::from(lp)).sum();
                tally.add_loss(-log_prob / n_tokens);
                for weight in weights.row_mut(row) {
                    *weight -= (1.0 / n_tokens) as f32;
                }
            }
        }
        Ok(weights)
    }
}
