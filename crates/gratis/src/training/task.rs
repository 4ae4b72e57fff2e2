//! What the training loop is told to learn.

use gratis_engine::{Engine, TokenValues};

use super::metrics::Tally;
use crate::encoding::{Corpus, Item, MicroBatch};
use crate::error::Result;

/// Responses to learn from and the rule for their weights.
///
/// Units are what an optimizer batch counts; unit `idx` is `items()[idx]`.
pub trait Task {
    /// The tokens that [`Task::items`] index.
    fn corpus(&self) -> &Corpus;

    /// The units.
    fn items(&self) -> &[Item];

    /// The problem a unit comes from, as errors name it.
    fn problem_of(&self, unit: usize) -> &str;

    /// Called with the units of an optimizer batch before its first micro-batch, for what depends
    /// on the whole batch: the number of units, KTO's divergence.
    fn prepare(&mut self, engine: &mut dyn Engine, units: &[usize]) -> Result<()>;

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
