//! The metrics of a step and of a validation.

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
    pub warnings: Vec<Warning>,
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
}

/// Sums over the micro-batches of a batch.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    loss: f64,
    accurate: Mean,
    ranked: Mean,
    correct: Mean,
    incorrect: Mean,
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
        if is_correct { self.correct.add(reward) } else { self.incorrect.add(reward) }
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
