//! The metrics of a step and of a validation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::watch::Warning;

/// One optimizer step, as written to `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Steps taken, this one included.
    pub step: u64,
    /// The pass over the data this step belongs to, from 0.
    pub epoch: usize,
    /// Loss and rewards of the optimizer batch, before the step.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// Global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Tokens that went through the engine, each shared prompt counted once per micro-batch.
    pub n_tokens: u64,
    /// Warnings that this step gave rise to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<Warning>,
}

/// Loss and rewards of a batch or of a validation split.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The loss in nats.
    pub loss: f64,
    /// Share of responses whose outcome reward is above 0 exactly where the label is correct. A soft
    /// label above 1/2 counts as correct, one below as incorrect; responses labelled 1/2 are left
    /// out here and of both mean rewards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Share of pairs whose chosen response has the higher reward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair_accuracy: Option<f64>,
    /// Mean outcome reward of correct responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_correct: Option<f64>,
    /// Mean outcome reward of incorrect responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_incorrect: Option<f64>,
    /// The outcome rewards of all responses; in a line of its own in files (kind `rewards`).
    #[serde(skip)]
    pub(super) rewards: RewardCounts,
}

/// Numbers of correct and of incorrect responses by outcome reward.
///
/// A reward `r` is in bin `k = sign(r) * floor(4 * log2(1 + |r| / 0.01))`: the bins are fixed, so that
/// counts of several batches add up, and grow with the distance from 0.
/// Files have a list of bin, correct and incorrect responses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<(i32, u64, u64)>", into = "Vec<(i32, u64, u64)>")]
pub(super) struct RewardCounts {
    bins: BTreeMap<i32, [u64; 2]>,
}

impl From<Vec<(i32, u64, u64)>> for RewardCounts {
    fn from(bins: Vec<(i32, u64, u64)>) -> Self {
        Self { bins: bins.into_iter().map(|(bin, right, wrong)| (bin, [right, wrong])).collect() }
    }
}

impl From<RewardCounts> for Vec<(i32, u64, u64)> {
    fn from(counts: RewardCounts) -> Self {
        counts.bins.into_iter().map(|(bin, [right, wrong])| (bin, right, wrong)).collect()
    }
}

impl RewardCounts {
    /// Adds a response.
    fn count(&mut self, reward: f64, is_correct: bool) {
        let size = (4.0 * (1.0 + reward.abs() / 0.01).log2()).floor();
        let bin = if reward < 0.0 { -size } else { size } as i32;
        self.bins.entry(bin).or_default()[usize::from(!is_correct)] += 1;
    }

    /// Adds other counts.
    pub(super) fn add(&mut self, other: &Self) {
        for (bin, counts) in &other.bins {
            let own = self.bins.entry(*bin).or_default();
            own.iter_mut().zip(counts).for_each(|(own, n)| *own += n);
        }
    }

    /// Whether nothing was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }
}

/// What the rewards of a line were measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RewardsOf {
    /// The responses of the last epoch, each before the step that it was part of.
    Training,
    /// The validation split.
    Validation,
}

/// A line of `metrics.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    #[serde(flatten)]
    pub(super) record: Record,
    /// Seconds of training so far, summed over the runs that were resumed; absent where the
    /// observer has no clock. The only figure of a run that is not reproducible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wall_seconds: Option<f64>,
    /// Processor seconds so far, summed likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) processor_seconds: Option<f64>,
}

/// What a line of `metrics.jsonl` is about.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Record {
    /// An optimizer step.
    Step(StepMetrics),
    /// A measurement on the validation split.
    Validation {
        /// Steps taken before it.
        step: u64,
        /// Loss and rewards.
        #[serde(flatten)]
        evaluation: Evaluation,
    },
    /// Numbers of responses by reward: after each validation, and without a validation split at the
    /// end of the training.
    Rewards {
        /// Steps taken before it.
        step: u64,
        /// What it was measured on.
        split: RewardsOf,
        /// Correct and incorrect responses per bin.
        bins: RewardCounts,
    },
}

impl Record {
    /// The step it belongs to.
    pub(super) fn step(&self) -> u64 {
        match self {
            Self::Step(metrics) => metrics.step,
            Self::Validation { step, .. } | Self::Rewards { step, .. } => *step,
        }
    }
}

/// Sums over the micro-batches of a batch.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    loss: f64,
    accurate: Mean,
    ranked: Mean,
    correct: Mean,
    incorrect: Mean,
    rewards: RewardCounts,
}

impl Tally {
    /// Adds a micro-batch's share of the loss.
    pub fn add_loss(&mut self, loss: f64) {
        self.loss += loss;
    }

    /// Adds a response's outcome reward and its label.
    pub fn add_reward(&mut self, reward: f64, label: f64) {
        if label == 0.5 {
            return;
        }
        let is_correct = label > 0.5;
        self.accurate.add(f64::from(u8::from((reward > 0.0) == is_correct)));
        if is_correct {
            self.correct.add(reward);
        } else {
            self.incorrect.add(reward);
        }
        self.rewards.count(reward, is_correct);
    }

    /// Adds a pair's outcome rewards.
    pub fn add_pair(&mut self, chosen: f64, rejected: f64) {
        self.ranked.add(f64::from(u8::from(chosen > rejected)));
    }

    /// The loss so far.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// The metrics of everything added.
    pub fn evaluation(&self) -> Evaluation {
        Evaluation {
            loss: self.loss,
            accuracy: self.accurate.value(),
            pair_accuracy: self.ranked.value(),
            reward_correct: self.correct.value(),
            reward_incorrect: self.incorrect.value(),
            rewards: self.rewards.clone(),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Mean {
    sum: f64,
    n: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.n += 1;
    }

    fn value(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewards_are_counted_in_fixed_bins() {
        let mut counts = RewardCounts::default();
        for (reward, is_correct) in [(0.0, true), (-0.001, false), (0.01, true), (-0.01, false)] {
            counts.count(reward, is_correct);
        }
        counts.count(1e4, true);
        let text = serde_json::to_string(&counts).expect("JSON");
        // log2(1 + 1) = 1; log2(1 + 1e6) = 19.93.
        assert_eq!(text, "[[-4,0,1],[0,1,1],[4,1,0],[79,1,0]]");
        let mut twice = counts.clone();
        twice.add(&counts);
        assert_eq!(twice.bins[&0], [2, 2]);
        let record = Record::Rewards { step: 3, split: RewardsOf::Training, bins: counts };
        let line = Line { record, wall_seconds: Some(1.5), processor_seconds: None };
        let text = serde_json::to_string(&line).expect("JSON");
        let read: Line = serde_json::from_str(&text).expect("the same");
        assert_eq!(serde_json::to_string(&read).expect("JSON"), text);
        assert!(text.starts_with(r#"{"kind":"rewards","step":3,"split":"training""#), "{text}");
    }
}
