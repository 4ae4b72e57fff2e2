//! Scores of published reward models: one pass for all steps of a solution, the tokens that the
//! candidates of a problem have in common computed once.
//!
//! A process reward model gives each step a number of its own. It is both the step's process reward
//! and its Q value, and the outcome reward is that of the last step. An outcome reward model gives
//! one number to the solution as a whole.

use gratis_engine::Values;

use super::prompt::{Prompter, Sequence};
use super::recipe::{Reading, Reward, Scope};
use crate::cost::{JobWork, Work};
use crate::data::score::completion_hash;
use crate::data::{ProblemScores, Rollout, Scored};
use crate::data::{StepSplit, StepSplitter, ends_in_chars};
use crate::encoding::{Corpus, OnOverlong, head_values_at};
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::scoring::{ScoreRollouts, pass_over, steps_of};

/// Scores completions as the recipe of a published format says.
pub(crate) struct PublishedScorer<'a> {
    /// The model, whose values are the channels of its read-out.
    pub(crate) engine: &'a dyn Values,
    /// Text to tokens and reading positions.
    pub(crate) prompter: Prompter<'a>,
    /// What becomes of the channels.
    pub(crate) reward: &'a Reward,
    /// How completions without `steps` of their own are split.
    pub(crate) step_split: StepSplit,
    /// What to do with completions longer than the context.
    pub(crate) on_overlong: OnOverlong,
    /// Tokens in a batch.
    pub(crate) batch_tokens: usize,
}

/// A completion in the corpus.
struct Solution {
    rollout_idx: usize,
    completion_idx: usize,
    steps: Vec<std::ops::Range<usize>>,
    /// Index of its response.
    response: usize,
    /// Tokens of the response at which it is read, one per step that fits.
    reads: Vec<usize>,
    n_tokens: usize,
}

impl PublishedScorer<'_> {
    fn solutions(&self, rollouts: &[Rollout], corpus: &mut Corpus) -> Result<Vec<Solution>> {
        let splitter = StepSplitter::new(&self.step_split)?;
        let mut solutions = Vec::new();
        for (rollout_idx, rollout) in rollouts.iter().enumerate() {
            let mut own = Vec::new();
            for (idx, completion) in rollout.completions.iter().enumerate() {
                let steps = match self.prompter.recipe.scope {
                    Scope::Steps => steps_of(rollout, idx, &splitter)?,
                    Scope::Solution => std::iter::once(0..completion.text.len()).collect(),
                };
                let mut sequence = self.prompter.sequence(rollout, idx, &steps)?;
                if self.prompter.recipe.reading == Reading::Last {
                    // Padding after the token that is read changes nothing.
                    let n_read = sequence.reads.last().map_or(0, |&read| read + 1);
                    sequence.tokens.truncate(n_read);
                }
                if let Some(sequence) = self.fitting(sequence, rollout, idx)? {
                    own.push((idx, steps, sequence));
                }
            }
            let n_shared = shared(own.iter().map(|(_, _, sequence)| sequence));
            for (completion_idx, steps, sequence) in own {
                let Sequence { tokens, reads } = sequence;
                let prompt = corpus.prompt(&tokens[..n_shared]);
                let response = corpus.response(prompt, &tokens[n_shared..]);
                let reads = reads.into_iter().map(|read| read - n_shared).collect();
                let n_tokens = tokens.len();
                let solution =
                    Solution { rollout_idx, completion_idx, steps, response, reads, n_tokens };
                solutions.push(solution);
            }
        }
        Ok(solutions)
    }

    /// The sequence within the context. Of a process reward model the steps that do not fit may be
    /// cut off; the reward of a whole solution is at its end. `None` for a solution that is skipped:
    /// as asked for, or because nothing of it can be read.
    fn fitting(
        &self,
        sequence: Sequence,
        rollout: &Rollout,
        idx: usize,
    ) -> Result<Option<Sequence>> {
        let context_length = self.engine.describe().context_length;
        let n_tokens = sequence.tokens.len();
        if n_tokens <= context_length {
            return Ok(Some(sequence));
        }
        let Sequence { mut tokens, mut reads } = sequence;
        reads.retain(|&read| read < context_length);
        let may_cut = self.on_overlong == OnOverlong::Truncate
            && self.prompter.recipe.scope == Scope::Steps
            && !reads.is_empty();
        if !may_cut && self.on_overlong != OnOverlong::Stop {
            return Ok(None);
        }
        if !may_cut {
            return Err(Error::TooLong {
                problem: rollout.name().to_owned(),
                completion: idx + 1,
                n_tokens,
                context_length,
            });
        }
        tokens.truncate(context_length);
        Ok(Some(Sequence { tokens, reads }))
    }
}

/// How many tokens all sequences begin with, before the first that is read.
fn shared<'a>(mut sequences: impl Iterator<Item = &'a Sequence>) -> usize {
    let Some(first) = sequences.next() else { return 0 };
    let before = |sequence: &Sequence| sequence.reads.first().copied().unwrap_or_default();
    sequences.fold(before(first), |n_shared, sequence| {
        let same = first.tokens.iter().zip(&sequence.tokens).take_while(|(a, b)| a == b).count();
        n_shared.min(same).min(before(sequence))
    })
}

impl ScoreRollouts for PublishedScorer<'_> {
    fn score_counted(
        &self,
        rollouts: &[Rollout],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<ProblemScores>, JobWork)> {
        let mut corpus = Corpus::default();
        let solutions = self.solutions(rollouts, &mut corpus)?;
        let mut wanted = vec![Vec::new(); corpus.responses().len()];
        for solution in &solutions {
            wanted[solution.response].extend(&solution.reads);
        }
        for wanted in &mut wanted {
            wanted.sort_unstable();
            wanted.dedup();
        }
        let rows = head_values_at(self.engine, &corpus, &wanted, self.batch_tokens, observer)?;
        let n_channels = self.engine.n_channels();
        let mut as_counted = Work::default();
        for solution in &solutions {
            let n_predicted = solution.reads.len() as u64;
            as_counted += Work { n_predicted, ..Work::of_response(solution.n_tokens, 0) };
        }
        let work = JobWork { as_run: pass_over(&corpus, self.batch_tokens)?, as_counted };
        let mut all: Vec<ProblemScores> = rollouts
            .iter()
            .map(|rollout| {
                let skipped = |text| Scored::skipped(&rollout.prompt, text);
                ProblemScores::new(
                    rollout.name().to_owned(),
                    rollout.texts().map(skipped).collect(),
                )
            })
            .collect();
        for Solution { rollout_idx, completion_idx, steps, response, mut reads, .. } in solutions {
            let row = &rows[response];
            let n_tokens = row.len() / n_channels.max(1);
            let channels = |read: usize| -> Vec<f64> {
                (0..n_channels).map(|channel| f64::from(row[channel * n_tokens + read])).collect()
            };
            let opening = match self.prompter.recipe.reading {
                Reading::LastAndOpening(_) if reads.len() > 1 => channels(reads.remove(0)),
                _ => Vec::new(),
            };
            let rewards = reads.iter().map(|&read| self.reward.of(&channels(read), &opening));
            let mut rewards: Vec<f64> = rewards.collect();
            let rollout = &rollouts[rollout_idx];
            if let Some(idx) = rewards.iter().position(|reward| !reward.is_finite()) {
                return Err(Error::NonFiniteReward {
                    problem: rollout.name().to_owned(),
                    completion: completion_idx + 1,
                    what: format!("the model computes {} for step {}", rewards[idx], idx + 1),
                });
            }
            let n_read = rewards.len();
            rewards.resize(steps.len(), f64::NAN);
            let text = &rollout.completions[completion_idx].text;
            let scored = Scored {
                hash: Some(completion_hash(&rollout.prompt, text)),
                outcome: rewards.last().copied().unwrap_or(f64::NAN),
                q_values: rewards.clone(),
                steps: rewards,
                step_ends: ends_in_chars(text, &steps),
                ..Scored::default()
            };
            let is_whole = n_read == steps.len();
            all[rollout_idx].scores[completion_idx] =
                if is_whole { scored } else { scored.truncated(n_read) };
        }
        Ok((all, work))
    }
}
