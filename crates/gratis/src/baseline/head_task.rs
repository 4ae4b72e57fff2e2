//! Outcome and process reward models with a scalar head, as a task of the training loop.

use gratis_engine::{Engine, TokenValues};

use super::loss::{ValueObjective, pair_loss};
use super::pooling::Pooling;
use crate::encoding::{Corpus, Item, MicroBatch};
use crate::error::{Error, Result};
use crate::objective::Pair;
use crate::training::{RewardData, RewardExample, Tally, Task};

/// Learns the values of prefixes; to be trained on [`OnValues`](super::OnValues).
#[derive(Debug, Clone)]
pub struct HeadTask {
    objective: ValueObjective,
    pooling: Pooling,
    corpus: Corpus,
    examples: Vec<RewardExample>,
    items: Vec<Item>,
    /// Example that each item's problem and labels are read from; the chosen one of a pair.
    example_of: Vec<usize>,
    n_batch_units: usize,
}

impl HeadTask {
    /// A task on labelled responses. With [`ValueObjective::Steps`] responses without a labelled
    /// step are left out.
    ///
    /// # Errors
    /// [`Error::NoStepLabels`] if steps are needed and none is labelled.
    pub fn new(objective: ValueObjective, pooling: Pooling, data: RewardData) -> Result<Self> {
        let RewardData { corpus, examples, pairs, .. } = data;
        let (items, example_of): (Vec<_>, Vec<_>) = if objective.needs_pairs() {
            let item = |pair: &Pair| Pair {
                chosen: examples[pair.chosen].response,
                rejected: examples[pair.rejected].response,
            };
            pairs.iter().map(|pair| (Item::Pair(item(pair)), pair.chosen)).unzip()
        } else {
            let usable = examples
                .iter()
                .enumerate()
                .filter(|(_, example)| !objective.needs_step_labels() || !example.steps.is_empty());
            usable.map(|(idx, example)| (Item::Response(example.response), idx)).unzip()
        };
        if objective.needs_step_labels() && items.is_empty() && !examples.is_empty() {
            let problem = examples[0].problem.clone();
            return Err(Error::NoStepLabels { objective: "steps", problem });
        }
        Ok(Self { objective, pooling, corpus, examples, items, example_of, n_batch_units: 0 })
    }
}

impl Task for HeadTask {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn items(&self) -> &[Item] {
        &self.items
    }

    fn problem_of(&self, unit: usize) -> &str {
        &self.examples[self.example_of[unit]].problem
    }

    fn prepare(&mut self, _: &mut dyn Engine, units: &[usize]) -> Result<()> {
        self.n_batch_units = units.len();
        Ok(())
    }

    fn weigh(
        &self,
        units: &[usize],
        batch: &MicroBatch,
        values: &TokenValues,
        tally: &mut Tally,
    ) -> Result<TokenValues> {
        let row_of = batch.row_of();
        let n_units = self.n_batch_units as f64;
        let mut weights = values.clone();
        weights.values_mut().fill(0.0);
        let n_channels = |response: usize| {
            let n_tokens = self.corpus.responses()[response].tokens.len();
            values.row(row_of[&response]).len() / n_tokens
        };
        let prefix_values = |response: usize| {
            self.pooling.prefix_values(values.row(row_of[&response]), n_channels(response))
        };
        let mut add = |response: usize, slopes: &[f64]| {
            let row = row_of[&response];
            let slopes = self.pooling.row_slopes(values.row(row), n_channels(response), slopes);
            for (sum, slope) in weights.row_mut(row).iter_mut().zip(slopes) {
                *sum += (slope / n_units) as f32;
            }
        };
        for &unit in &batch.units {
            let unit = units[unit];
            let example = &self.examples[self.example_of[unit]];
            if let Item::Pair(Pair { chosen, rejected }) = self.items[unit] {
                let both = [chosen, rejected].map(prefix_values);
                let [of_chosen, of_rejected] =
                    both.each_ref().map(|values| values.last().copied().unwrap_or_default());
                let (loss, slope) = pair_loss(of_chosen, of_rejected);
                tally.add_loss(loss / n_units);
                tally.add_pair(of_chosen, of_rejected);
                for (response, values, slope) in
                    [(chosen, &both[0], slope), (rejected, &both[1], -slope)]
                {
                    let mut slopes = vec![0.0; values.len()];
                    slopes.iter_mut().next_back().into_iter().for_each(|last| *last = slope);
                    add(response, &slopes);
                }
            } else {
                let values = prefix_values(example.response);
                let (loss, slopes) =
                    self.objective.response_loss(&values, example.is_correct, &example.steps);
                tally.add_loss(loss / n_units);
                tally.add_reward(values.last().copied().unwrap_or_default(), example.is_correct);
                add(example.response, &slopes);
            }
        }
        Ok(weights)
    }
}
