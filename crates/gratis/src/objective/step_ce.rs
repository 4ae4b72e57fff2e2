//! Cross-entropy of step labels on Q values: an explicit process reward model with the log-ratio
//! parameterisation, to compare labels independently of the parameterisation (paper section 4.2).
//!
//! With the Q values `q_t` at the ends of a response's `n` labelled steps and their labels `l_t` in
//! `0..=1`: `L = -(1/n) sum_t [l_t log sigmoid(q_t) + (1 - l_t) log sigmoid(-q_t)]`.

use serde::{Deserialize, Serialize};

use super::{Definition, ObjectiveBatch, ObjectiveOutput};
use crate::numeric::binary_cross_entropy;

/// Settings of the cross-entropy of step labels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepCe {
    /// Factor of the log-ratio in the reward.
    pub beta: f64,
}

impl Default for StepCe {
    fn default() -> Self {
        Self { beta: 0.05 }
    }
}

impl Definition for StepCe {
    fn name(&self) -> &'static str {
        "step_ce"
    }

    fn beta(&self) -> f64 {
        self.beta
    }

    fn set_beta(&mut self, beta: f64) {
        self.beta = beta;
    }

    fn defaults_source(&self) -> &'static str {
        "paper, section 4.1 (beta 0.05)"
    }

    fn needs_step_labels(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: &ObjectiveBatch) -> ObjectiveOutput {
        batch.output_of_q_values(self.beta, binary_cross_entropy)
    }
}
