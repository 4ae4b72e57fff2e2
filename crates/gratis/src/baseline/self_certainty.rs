//! Self-certainty (Kang et al. 2025): a reward without any training, from the generator itself.
//!
//! At each token the divergence of the model's distribution from the uniform one,
//! `KL(U || pi) = -log V - (1/V) sum_v log pi(v | y_<t)` with `V` the size of the vocabulary;
//! the reward of a response is the mean over its tokens, that of a step its part of the mean.

use gratis_engine::{Engine, NativeEngine};

use crate::data::{Rollout, Score};
use crate::encoding::{Corpus, Encoder, Item, micro_batches};
use crate::error::Result;
use crate::observer::Observer;
use crate::scoring::{ScoringSettings, Solution, scores_of, solutions};

/// Scores of all completions of `rollouts` under the model that wrote them, or another.
///
/// # Errors
/// As [`Scorer::score`](crate::scoring::Scorer::score).
pub fn self_certainty(
    engine: &mut NativeEngine,
    encoder: &Encoder,
    settings: &ScoringSettings,
    rollouts: &[Rollout],
    observer: &mut dyn Observer,
) -> Result<Vec<Score>> {
    let mut corpus = Corpus::default();
    let solutions = solutions(rollouts, encoder, &settings.step_split, &mut corpus)?;
    let log_vocab = (engine.describe().vocab_size as f64).ln();
    let units: Vec<Item> = (0..corpus.responses().len()).map(Item::Response).collect();
    let mut divergences = vec![Vec::new(); units.len()];
    for batch in micro_batches(&corpus, &units, settings.batch_tokens)? {
        let means = engine.mean_log_probs(&batch.packed)?;
        for (&idx, row) in batch.responses.iter().zip(means.rows()) {
            divergences[idx] = row.iter().map(|&mean| -f64::from(mean) - log_vocab).collect();
        }
        observer.advance(batch.responses.len() as u64, &[]);
    }
    let gains = |solution: &Solution| {
        let of_tokens = &divergences[solution.response];
        of_tokens.iter().map(|divergence| divergence / of_tokens.len() as f64).collect()
    };
    scores_of(rollouts, &solutions, 1.0, settings.tokens, gains)
}
