//! Self-certainty (Kang et al. 2025): a reward without any training, from the generator itself.
//!
//! At each token the divergence of the model's distribution from the uniform one,
//! `KL(U || pi) = -log V - (1/V) sum_v log pi(v | y_<t)` with `V` the size of the vocabulary;
//! the reward of a response is the mean over its tokens, that of a step its part of the mean.

use gratis_engine::{Engine, NativeEngine};

use crate::cost::Work;
use crate::data::{Rollout, Score};
use crate::encoding::{Corpus, Encoder, Item, micro_batches};
use crate::error::Result;
use crate::observer::Observer;
use crate::scoring::{
    RewardModel, ScoringSettings, Solution, completion_work, scores_of, solutions,
};

/// Scores completions by the self-certainty of the model that wrote them, or of another.
pub struct SelfCertainty<'a> {
    /// The model.
    pub engine: &'a mut NativeEngine,
    /// Text to tokens.
    pub encoder: Encoder<'a>,
    /// The settings; beta has no part in it.
    pub settings: ScoringSettings,
}

impl RewardModel for SelfCertainty<'_> {
    fn score(&mut self, rollouts: &[Rollout], observer: &mut dyn Observer) -> Result<Vec<Score>> {
        let ScoringSettings { step_split, batch_tokens, tokens, .. } = &self.settings;
        let mut corpus = Corpus::default();
        let solutions = solutions(rollouts, &self.encoder, step_split, &mut corpus)?;
        let log_vocab = (self.engine.describe().vocab_size as f64).ln();
        let units: Vec<Item> = (0..corpus.responses().len()).map(Item::Response).collect();
        let mut divergences = vec![Vec::new(); units.len()];
        for batch in micro_batches(&corpus, &units, *batch_tokens)? {
            let means = self.engine.mean_log_probs(&batch.packed)?;
            for (&idx, row) in batch.responses.iter().zip(means.rows()) {
                divergences[idx] = row.iter().map(|&mean| -f64::from(mean) - log_vocab).collect();
            }
            observer.advance(batch.responses.len() as u64, &[]);
        }
        let gains = |solution: &Solution| {
            let of_tokens = &divergences[solution.response];
            of_tokens.iter().map(|divergence| divergence / of_tokens.len() as f64).collect()
        };
        scores_of(rollouts, &solutions, 1.0, *tokens, gains)
    }

    fn work(&self, rollouts: &[Rollout]) -> Result<(Work, Work)> {
        completion_work(rollouts, &self.encoder, self.settings.batch_tokens)
    }
}
