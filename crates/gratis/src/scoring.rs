//! Scoring: rewards of every step of every completion (Eq. 2 and 3, Proposition 3.1).
//!
//! Completions that are copies are computed once, those of one problem share their prompt, and
//! batches are cut by tokens.

use std::ops::Range;

use gratis_engine::Engine;

use crate::data::steps::{StepSplit, StepSplitter, ends_in_chars, locate};
use crate::data::{CompletionScore, Rollout, Score};
use crate::encoding::{Corpus, Encoder, encode_rollouts, log_probs, problem_name};
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::reward::{Rewards, step_ends_in_tokens};

/// Whether a score file holds the reward of every token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRewards {
    /// Left out.
    Omit,
    /// Written.
    Write,
}

/// What scoring depends on beside the models.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoringSettings {
    /// Factor of the log-ratio.
    pub beta: f64,
    /// How completions without `steps` of their own are split.
    pub step_split: StepSplit,
    /// Tokens in a batch.
    pub batch_tokens: usize,
    /// Whether token rewards are written.
    pub tokens: TokenRewards,
}

/// Scores completions with a policy and, unless it is left out, a reference.
pub struct Scorer<'a> {
    /// The trained model.
    pub policy: &'a mut dyn Engine,
    /// The model in the denominator; `None` scores by log-probabilities alone.
    pub reference: Option<&'a mut dyn Engine>,
    /// Text to tokens.
    pub encoder: Encoder<'a>,
    /// The settings.
    pub settings: ScoringSettings,
}

impl Scorer<'_> {
    /// The scores of all completions of `rollouts`, in their order.
    ///
    /// # Errors
    /// Those of the encoder and the engines; [`Error::InvalidSetting`] if the given `steps` are not
    /// parts of their completion, or if the encoder left a completion out.
    pub fn score(
        &mut self,
        rollouts: &[Rollout],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Score>> {
        let mut corpus = Corpus::default();
        let completions = encode_rollouts(rollouts, &self.encoder, &mut corpus)?;
        let budget = self.settings.batch_tokens;
        let policy = log_probs(self.policy, &corpus, budget, observer)?;
        let reference = match &mut self.reference {
            Some(engine) => Some(log_probs(*engine, &corpus, budget, observer)?),
            None => None,
        };

        let splitter = StepSplitter::new(&self.settings.step_split)?;
        let mut all: Vec<Score> =
            rollouts.iter().map(|rollout| Score::new(problem_name(rollout), Vec::new())).collect();
        for completion in completions {
            let log_ratios: Vec<f64> = match &reference {
                None => policy[completion.response].iter().map(|&lp| lp.into()).collect(),
                Some(reference) => {
                    let pairs =
                        policy[completion.response].iter().zip(&reference[completion.response]);
                    pairs.map(|(&lp, &lp_ref)| f64::from(lp) - f64::from(lp_ref)).collect()
                }
            };
            let rollout = &rollouts[completion.rollout_idx];
            let steps = steps_of(rollout, completion.completion_idx, &splitter)?;
            let text_ends: Vec<usize> = steps.iter().map(|step| step.end).collect();
            let token_ends = step_ends_in_tokens(&completion.starts, &text_ends);
            let rewards = Rewards::new(&log_ratios, self.settings.beta, &token_ends)?;
            let text = &rollout.completions[completion.completion_idx];
            all[completion.rollout_idx].scores.push(CompletionScore {
                outcome: rewards.outcome,
                steps: rewards.steps,
                q_values: rewards.q_values,
                step_ends: ends_in_chars(text, &steps),
                tokens: (self.settings.tokens == TokenRewards::Write).then_some(rewards.tokens),
            });
        }
        for (rollout, score) in rollouts.iter().zip(&all) {
            let (n, n_scored) = (rollout.completions.len(), score.scores.len());
            if n != n_scored {
                let expected = format!("a score for each of {n} completions of `{}`", score.id);
                return Err(Error::setting("scores", expected, n_scored));
            }
        }
        Ok(all)
    }
}

/// The steps of a completion as ranges of its bytes: those that the rollout gives, or by the split.
/// A text of white space alone is one step.
fn steps_of(rollout: &Rollout, idx: usize, splitter: &StepSplitter) -> Result<Vec<Range<usize>>> {
    let text = &rollout.completions[idx];
    let given = rollout.steps.as_ref().map(|steps| steps[idx].as_slice()).unwrap_or_default();
    let mut steps = if given.is_empty() { splitter.split(text) } else { locate(text, given)? };
    if steps.is_empty() {
        steps.push(0..text.len());
    }
    Ok(steps)
}
