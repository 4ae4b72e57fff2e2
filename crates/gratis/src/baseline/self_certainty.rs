//! Self-certainty (Kang et al. 2025): an untrained reward from the generator itself.
//!
//! At each token the divergence of the model's distribution from the uniform one, `KL(U || pi) =
//! -log V - (1/V) sum_v log pi(v | y_<t)` with `V` the size of the vocabulary; the reward of a
//! response is the mean over its unmasked tokens, and that of a step is its share of the mean.

use gratis_engine::Score;

use crate::cost::JobWork;
use crate::data::{ProblemScores, Rollout};
use crate::encoding::{Corpus, Encoder, mean_log_probs};
use crate::error::Result;
use crate::observer::Observer;
use crate::reward::ValueRule;
use crate::scoring::{
    ScoreRollouts, ScoringSettings, Solution, scores_of, solution_work, solutions,
};

/// Scores completions by the self-certainty of `engine`: the model that wrote them, or another. The
/// settings' beta is not used.
pub fn self_certainty<'a>(
    engine: &'a dyn Score,
    encoder: Encoder<'a>,
    settings: ScoringSettings,
) -> impl ScoreRollouts + use<'a> {
    SelfCertainty { engine, encoder, settings }
}

struct SelfCertainty<'a> {
    engine: &'a dyn Score,
    encoder: Encoder<'a>,
    settings: ScoringSettings,
}

impl ScoreRollouts for SelfCertainty<'_> {
    fn score_counted(
        &self,
        rollouts: &[Rollout],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<ProblemScores>, JobWork)> {
        let ScoringSettings { step_split, batch_tokens, tokens, part, .. } = &self.settings;
        let mut corpus = Corpus::default();
        let solutions = solutions(rollouts, &self.encoder, step_split, *part, &mut corpus)?;
        let log_vocab = (self.engine.describe().vocab_size as f64).ln();
        let means = mean_log_probs(self.engine, &corpus, *batch_tokens, observer)?;
        let gains = |solution: &Solution| {
            let of_tokens = &means[solution.response];
            let n_masked: usize = solution.masked.iter().map(ExactSizeIterator::len).sum();
            let n_counted = (of_tokens.len() - n_masked).max(1) as f64;
            let divergence = |&mean: &f32| (-f64::from(mean) - log_vocab) / n_counted;
            ValueRule::Sum.gains(of_tokens.iter().map(divergence).collect(), &solution.masked)
        };
        let scores = scores_of(rollouts, &solutions, &corpus, 1.0, *tokens, gains)?;
        Ok((scores, solution_work(&solutions, &corpus, *batch_tokens)?))
    }
}
