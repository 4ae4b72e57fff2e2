//! What the training loop is told to learn.

use gratis_engine::{Score, TokenValues};

use super::metrics::Tally;
use super::units::Units;
use crate::encoding::{Corpus, Item, MicroBatch};
use crate::error::Result;

/// Responses to learn from and the rule for their weights.
pub trait Task {
    /// What is learnt from.
    fn units(&self) -> &Units;

    /// [`Units::corpus`].
    fn corpus(&self) -> &Corpus {
        &self.units().corpus
    }

    /// [`Units::items`].
    fn items(&self) -> &[Item] {
        &self.units().items
    }

    /// Why the gradient may be 0 from the first step on, where the rule of the weights explains it, and
    /// what to do.
    fn reason_for_no_gradient(&self) -> Option<&'static str> {
        None
    }

    /// Called with the units of an optimizer batch before its first micro-batch, for what depends
    /// on the whole batch and is more than their number: KTO's divergence, a count of tokens.
    fn prepare(&mut self, engine: &dyn Score, units: &[usize]) -> Result<()> {
        let _ = (engine, units);
        Ok(())
    }

    /// Weights `w_t = dL/dlog pi(y_t|y_<t)` of the packed responses of `batch`, and the batch's
    /// share of the loss and the figures, added to `tally`. `units` are those of the whole
    /// optimizer batch; [`MicroBatch::units`] are positions in it.
    fn weigh(
        &self,
        units: &[usize],
        batch: &MicroBatch,
        log_probs: &TokenValues,
        tally: &mut Tally,
    ) -> Result<TokenValues>;
}
