//! Scoring: rewards of every step of every completion (Eq. 2 and 3, Proposition 3.1).
//!
//! Masked tokens are excluded from all rewards of an implicit model: `sum_t m_t log_ratio_t`.
//! Duplicate completions are computed once, those of one problem share their prompt, and batches
//! are split by tokens.

use std::ops::Range;

use gratis_engine::Score;

use crate::cost::{JobWork, Work};
use crate::data::score::completion_hash;
use crate::data::{Extent, ProblemScores, Rollout, ScorePart, Scored};
use crate::data::{StepSplit, StepSplitter, ends_in_chars};
use crate::encoding::{
    Corpus, EncodedCompletion, Encoder, Item, encode_rollouts, log_probs, micro_batches,
};
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::reward::{Rewards, ValueRule, log_ratios};

/// Whether a score file holds the reward of every token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRewards {
    /// Left out.
    Omit,
    /// Written.
    Write,
}

/// Settings of scoring.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoringSettings {
    /// Factor of the log-ratio.
    pub beta: f64,
    /// How the log-ratios of a prefix make its Q value.
    pub value_rule: ValueRule,
    /// How completions without `steps` of their own are split.
    pub step_split: StepSplit,
    /// Tokens in a batch.
    pub batch_tokens: usize,
    /// Whether token rewards are written.
    pub tokens: TokenRewards,
    /// Which part of a completion is scored; the tokens outside it count as masked.
    pub part: ScorePart,
}

/// A scorer that gives every step of a completion a reward: implicit process reward models and the
/// baselines.
pub trait ScoreRollouts {
    /// The scores of all completions of `rollouts`, in their order.
    ///
    /// # Errors
    /// Those of the encoder and the engines; [`InvalidSetting`](crate::data::Error::InvalidSetting) if the given `steps` are not
    /// parts of their completion, or if the encoder left a completion out.
    fn score(
        &self,
        rollouts: &[Rollout],
        observer: &mut dyn Observer,
    ) -> Result<Vec<ProblemScores>> {
        self.score_counted(rollouts, observer).map(|(scores, _)| scores)
    }

    /// As [`Self::score`], with the forward passes of one model that it takes: as they are run, and as
    /// counted when every completion goes through on its own. The text is tokenised once for both.
    ///
    /// # Errors
    /// As [`Self::score`].
    fn score_counted(
        &self,
        rollouts: &[Rollout],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<ProblemScores>, JobWork)>;
}

/// The work of [`ScoreRollouts::score_counted`] where a completion is one response under its prompt.
pub(crate) fn solution_work(
    solutions: &[Solution],
    corpus: &Corpus,
    batch_tokens: usize,
) -> Result<JobWork> {
    let mut as_counted = Work::default();
    for solution in solutions {
        let n_response = corpus.responses()[solution.response].tokens.len();
        let n_prompt = corpus.path_len(solution.response) - n_response;
        as_counted += Work::of_response(n_prompt, n_response);
    }
    Ok(JobWork { as_run: pass_over(corpus, batch_tokens)?, as_counted })
}

/// One pass over every response of a corpus in batches.
pub(crate) fn pass_over(corpus: &Corpus, batch_tokens: usize) -> Result<Work> {
    let units: Vec<Item> = (0..corpus.responses().len()).map(Item::Response).collect();
    let mut work = Work::default();
    for batch in &micro_batches(corpus, &units, batch_tokens)?.packed {
        work += Work::of_batch(batch);
    }
    Ok(work)
}

/// Scores completions with a policy and, unless it is left out, a reference.
pub struct Scorer<'a> {
    /// The trained model.
    pub policy: &'a dyn Score,
    /// The model in the denominator; `None` scores by log-probabilities alone.
    pub reference: Option<&'a dyn Score>,
    /// Text to tokens.
    pub encoder: Encoder<'a>,
    /// The settings.
    pub settings: ScoringSettings,
}

impl ScoreRollouts for Scorer<'_> {
    fn score_counted(
        &self,
        rollouts: &[Rollout],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<ProblemScores>, JobWork)> {
        let mut corpus = Corpus::default();
        let ScoringSettings { step_split, part, .. } = &self.settings;
        let solutions = solutions(rollouts, &self.encoder, step_split, *part, &mut corpus)?;
        let budget = self.settings.batch_tokens;
        let policy = log_probs(self.policy, &corpus, budget, observer)?;
        let reference = match self.reference {
            Some(engine) => Some(log_probs(engine, &corpus, budget, observer)?),
            None => None,
        };
        let gains = |solution: &Solution| {
            let response = solution.response;
            let reference = reference.as_ref().map(|reference| &reference[response][..]);
            self.settings
                .value_rule
                .gains(log_ratios(&policy[response], reference), &solution.masked)
        };
        let ScoringSettings { beta, tokens, .. } = self.settings;
        let scores = scores_of(rollouts, &solutions, &corpus, beta, tokens, gains)?;
        Ok((scores, solution_work(&solutions, &corpus, budget)?))
    }
}

/// A completion with its steps, as tokens in a corpus.
#[derive(Debug, Clone)]
pub struct Solution {
    rollout_idx: usize,
    completion_idx: usize,
    /// Index of the response in the corpus; copies share it.
    pub response: usize,
    /// The steps as ranges of its bytes.
    steps: Vec<Range<usize>>,
    /// Steps that were read, of a response that was truncated.
    n_read: Option<usize>,
    /// One past the last token of each step.
    pub step_ends: Vec<usize>,
    /// Tokens that a mask excludes from the rewards, or that are outside the part that is scored, in
    /// rising ranges.
    pub masked: Vec<Range<usize>>,
    /// Whether it has the part that is scored.
    presence: Presence,
}

/// Whether a completion has the part that is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Present,
    Absent,
}

impl Solution {
    /// Marks the rewards of fully masked steps as unknown: a step has no reward, rather than 0, if
    /// all of its tokens are excluded.
    fn without_masked_steps(&self, rewards: &mut [f64]) {
        let mut start = 0;
        for (reward, &end) in rewards.iter_mut().zip(&self.step_ends) {
            let covers = |range: &Range<usize>| range.start <= start && end <= range.end;
            if start < end && self.masked.iter().any(covers) {
                *reward = f64::NAN;
            }
            start = end;
        }
    }
}

/// All completions with their steps: those that the rollouts give, or else by the split, as far as they
/// lie in `part`.
///
/// # Errors
/// Those of the split and of the encoder.
pub fn solutions(
    rollouts: &[Rollout],
    encoder: &Encoder,
    step_split: &StepSplit,
    part: ScorePart,
    corpus: &mut Corpus,
) -> Result<Vec<Solution>> {
    let opening = encoder.opening().map(|opening| opening.tag.to_owned());
    let splitter = StepSplitter::new(step_split)?;
    let mut solutions = Vec::new();
    for completion in encode_rollouts(rollouts, encoder, corpus)? {
        let EncodedCompletion { rollout_idx, completion_idx, response, starts, mut masked, cut_at } =
            completion;
        let mut steps = steps_of(&rollouts[rollout_idx], completion_idx, &splitter)?;
        let text = &rollouts[rollout_idx].completions[completion_idx].text;
        let mut presence = Presence::Present;
        if part != ScorePart::All {
            match part.range(text, opening.as_deref()) {
                None => presence = Presence::Absent,
                Some(range) => {
                    masked = masked_outside(&masked, &starts, &range, text.len());
                    steps = ScorePart::steps_within(text, &steps, &range);
                }
            }
        }
        let step_ends = Rewards::step_ends_in_tokens(&starts, &steps);
        solutions.push(Solution {
            rollout_idx,
            completion_idx,
            response,
            n_read: cut_at.map(|cut| steps.partition_point(|step| step.start < cut)),
            steps,
            step_ends,
            masked,
            presence,
        });
    }
    Ok(solutions)
}

/// The masked tokens with those outside a part of the text. What follows the text, such as an
/// end-of-turn token, belongs to the part that ends it.
fn masked_outside(
    masked: &[Range<usize>],
    starts: &[usize],
    part: &Range<usize>,
    n_text: usize,
) -> Vec<Range<usize>> {
    let first = starts.partition_point(|&start| start < part.start);
    let last = if part.end == n_text {
        starts.len()
    } else {
        starts.partition_point(|&start| start < part.end)
    };
    let within = masked.iter().map(|range| range.start.max(first)..range.end.min(last));
    let within = within.filter(|range| range.start < range.end);
    let before = std::iter::once(0..first);
    let all = before.chain(within).chain(std::iter::once(last..starts.len()));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in all.filter(|range| !range.is_empty()) {
        match merged.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Scores from what each token of a solution adds to its value, in units of `beta`: the log-ratios
/// of an implicit model, the differences of a baseline's values. `corpus` is that of the solutions.
///
/// # Errors
/// [`InvalidSetting`](crate::data::Error::InvalidSetting) if a completion has no solution; [`Error::NonFiniteReward`] if a gain or a
/// reward is NaN or infinite.
pub fn scores_of(
    rollouts: &[Rollout],
    solutions: &[Solution],
    corpus: &Corpus,
    beta: f64,
    tokens: TokenRewards,
    gains: impl Fn(&Solution) -> Vec<f64>,
) -> Result<Vec<ProblemScores>> {
    let mut all: Vec<ProblemScores> = rollouts
        .iter()
        .map(|rollout| {
            let skipped = |text| Scored::skipped(&rollout.prompt, text);
            ProblemScores::new(rollout.name().to_owned(), rollout.texts().map(skipped).collect())
        })
        .collect();
    for solution in solutions {
        let rollout = &rollouts[solution.rollout_idx];
        let place = &mut all[solution.rollout_idx].scores[solution.completion_idx];
        if solution.presence == Presence::Absent {
            place.extent = Some(Extent::Absent);
            continue;
        }
        let gains = gains(solution);
        let mut rewards = Rewards::new(&gains, beta, &solution.step_ends)?;
        if let Some(what) = non_finite(&gains, &rewards, beta) {
            let (problem, completion) = (rollout.name().to_owned(), solution.completion_idx + 1);
            return Err(Error::NonFiniteReward { problem, completion, what });
        }
        solution.without_masked_steps(&mut rewards.steps);
        let text = &rollout.completions[solution.completion_idx].text;
        let has_tokens = tokens == TokenRewards::Write;
        let scored = Scored {
            hash: Some(completion_hash(&rollout.prompt, text)),
            extent: None,
            outcome: rewards.outcome,
            steps: rewards.steps,
            q_values: rewards.q_values,
            step_ends: ends_in_chars(text, &solution.steps),
            tokens: has_tokens.then_some(rewards.tokens),
            token_ids: has_tokens.then(|| corpus.responses()[solution.response].tokens.clone()),
            token_step_ends: has_tokens.then(|| solution.step_ends.clone()),
            masked_tokens: (has_tokens && !solution.masked.is_empty())
                .then(|| solution.masked.iter().map(|range| (range.start, range.end)).collect()),
        };
        *place = match solution.n_read {
            None => scored,
            Some(n_read) => scored.truncated(n_read),
        };
    }
    Ok(all)
}

/// The first number that is not finite: of what the model computed, or of the rewards made of it.
fn non_finite(gains: &[f64], rewards: &Rewards, beta: f64) -> Option<String> {
    let find = |values: &[f64]| {
        let idx = values.iter().position(|value| !value.is_finite())?;
        Some((idx + 1, values[idx]))
    };
    if let Some((token, value)) = find(gains) {
        return Some(format!("the model computes {value} at token {token}"));
    }
    if let Some((step, value)) = find(&rewards.steps).or_else(|| find(&rewards.q_values)) {
        return Some(format!("the reward of step {step} is {value} with a beta of {beta:e}"));
    }
    let (token, value) = find(&rewards.tokens)?;
    Some(format!("the reward of token {token} is {value} with a beta of {beta:e}"))
}

/// The steps of a completion as ranges of its bytes: those that the rollout gives, or by the split.
/// A text of white space alone is one step.
pub(crate) fn steps_of(
    rollout: &Rollout,
    idx: usize,
    splitter: &StepSplitter,
) -> Result<Vec<Range<usize>>> {
    let text = &rollout.completions[idx].text;
    let mut steps = rollout.given_steps(idx)?;
    if steps.is_empty() {
        steps = splitter.split(text);
    }
    if steps.is_empty() {
        steps.push(0..text.len());
    }
    Ok(steps)
}
