//! The model in the training loop, trained through its log-probabilities or through the values of
//! its head.

use gratis_engine::{PackedBatch, Result, Score, TokenValues, Train, TrainValues, Weigh};

/// A model to train, and which of its outputs a [`Task`](super::Task) sees per response token.
pub enum Learner<'a> {
    /// Log-probabilities: implicit reward models, language models, label tokens.
    LogProbs(&'a mut dyn Train),
    /// The values of a scalar head: a row of `[n_channels, n_tokens]` per response.
    Values(&'a mut dyn TrainValues),
}

impl Learner<'_> {
    /// The model, to score with.
    pub fn score(&self) -> &dyn Score {
        match self {
            Self::LogProbs(engine) => &**engine,
            Self::Values(engine) => &**engine,
        }
    }

    /// The model, to take steps with and to save.
    pub fn train(&mut self) -> &mut dyn Train {
        match self {
            Self::LogProbs(engine) => &mut **engine,
            Self::Values(engine) => &mut **engine,
        }
    }

    /// The output that is learnt, without a gradient: one per batch.
    pub(super) fn values(&self, batches: &[PackedBatch]) -> Result<Vec<TokenValues>> {
        match self {
            Self::LogProbs(engine) => engine.log_probs(batches),
            Self::Values(engine) => engine.values(batches),
        }
    }

    /// As [`Train::forward_backward`], for the output that is learnt.
    pub(super) fn forward_backward(
        &mut self,
        batches: &[PackedBatch],
        weigh: &mut Weigh<'_>,
    ) -> Result<()> {
        match self {
            Self::LogProbs(engine) => engine.forward_backward(batches, weigh),
            Self::Values(engine) => engine.values_backward(batches, weigh),
        }
    }
}
