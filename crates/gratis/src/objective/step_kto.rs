//! The step-level form of KTO for a second stage on step labels, appendix C.2 of the paper.
//!
//! With the process rewards `r_t` of a response's `n` steps and their labels `l_t` in {+1, -1}: `L
//! = -(1/n) sum_t log sigmoid(l_t |r_t|)`, so a correct step's reward grows in magnitude and an
//! incorrect one's shrinks. Taken literally, the negative reward of a correct step becomes more
//! negative; [`Magnitude::Signed`] uses `l_t r_t`, which raises the reward of correct steps and
//! lowers that of incorrect ones, as the text of the appendix describes. Start from a model that
//! was trained on outcome labels. A soft label of 1/2 or more counts as correct.

use serde::{Deserialize, Serialize};

use super::{Definition, ObjectiveBatch, ObjectiveOutput};
use crate::numeric::{log_sigmoid, sigmoid};

/// How the process reward enters the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Magnitude {
    /// `|r_t|`, as in the paper's equation. At exactly 0 it has no slope and stays there.
    #[default]
    Absolute,
    /// `r_t`.
    Signed,
}

/// Settings of the step-level form of KTO.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepKto {
    /// Factor of the log-ratio in the reward.
    pub beta: f64,
    /// How the process reward enters the loss.
    pub magnitude: Magnitude,
}

impl Default for StepKto {
    fn default() -> Self {
        Self { beta: 0.05, magnitude: Magnitude::Absolute }
    }
}

impl Definition for StepKto {
    fn name(&self) -> &'static str {
        "step_kto"
    }

    fn beta(&self) -> f64 {
        self.beta
    }

    fn set_beta(&mut self, beta: f64) {
        self.beta = beta;
    }

    fn defaults_source(&self) -> &'static str {
        "paper, appendix C.2 (equation) and section 4.1 (beta 0.05)"
    }

    fn needs_step_labels(&self) -> bool {
        true
    }

    fn reason_for_no_gradient(&self) -> Option<&'static str> {
        (self.magnitude == Magnitude::Absolute).then_some(
            "`step_kto` has no slope where the reward of a step is exactly 0, which is everywhere if the \
             model equals its reference: start from a model trained on outcome labels, or use \
             `--objective step_kto,magnitude=signed`",
        )
    }

    fn evaluate(&self, batch: &ObjectiveBatch) -> ObjectiveOutput {
        batch.output_of_steps(self.beta, |rewards, labels| {
            let n_steps = rewards.len() as f64;
            let mut loss = 0.0;
            let slopes = rewards
                .iter()
                .zip(labels)
                .map(|(&reward, &label)| {
                    let label = if label >= 0.5 { 1.0 } else { -1.0 };
                    let (magnitude, sign) = match self.magnitude {
                        Magnitude::Signed => (reward, 1.0),
                        Magnitude::Absolute if reward == 0.0 => (0.0, 0.0),
                        Magnitude::Absolute => (reward.abs(), reward.signum()),
                    };
                    loss -= log_sigmoid(label * magnitude) / n_steps;
                    -label * sign * sigmoid(-label * magnitude) / n_steps
                })
                .collect();
            (loss, slopes)
        })
    }
}
