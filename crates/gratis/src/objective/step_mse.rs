//! Squared error of step values for a second stage on step labels, as the authors' code computes it
//! instead of the equation of appendix C.2.
//!
//! With the Q values `q_t` at the ends of a response's `n` steps and their labels `l_t` in `0..=1`:
//! `L = (1/n) sum_t (sigmoid(q_t) - l_t)^2`. Soft labels keep their share.

use serde::{Deserialize, Serialize};

use super::{Definition, ObjectiveBatch, ObjectiveOutput};
use crate::numeric::sigmoid;

/// Settings of the squared error of step values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepMse {
    /// Factor of the log-ratio in the reward.
    pub beta: f64,
}

impl Default for StepMse {
    fn default() -> Self {
        Self { beta: 0.05 }
    }
}

impl Definition for StepMse {
    fn name(&self) -> &'static str {
        "step_mse"
    }

    fn beta(&self) -> f64 {
        self.beta
    }

    fn set_beta(&mut self, beta: f64) {
        self.beta = beta;
    }

    fn defaults_source(&self) -> &'static str {
        "authors' code (form); paper, section 4.1 (beta 0.05)"
    }

    fn needs_step_labels(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: &ObjectiveBatch) -> ObjectiveOutput {
        batch.output_of_q_values(self.beta, |q_value, label| {
            let value = sigmoid(q_value);
            let error = value - label;
            (error.powi(2), 2.0 * error * value * sigmoid(-q_value))
        })
    }
}
