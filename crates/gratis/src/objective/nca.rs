//! Noise contrastive alignment on pairs (Chen et al. 2024).
//!
//! With `r = beta * sum_t log_ratio_t`: `L = -log sigmoid(r_chosen) - 1/2 log sigmoid(-r_chosen) -
//! 1/2 log sigmoid(-r_rejected)`. Unlike DPO it depends on each reward separately: the chosen one
//! is pulled to a finite value (`sigmoid(r) = 2/3`), the rejected one down.

use serde::{Deserialize, Serialize};

use super::{Definition, ObjectiveBatch, ObjectiveOutput, Unit};
use crate::numeric::{log_sigmoid, sigmoid};

/// Settings of noise contrastive alignment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nca {
    /// Factor of the log-ratio in the reward.
    pub beta: f64,
}

impl Default for Nca {
    fn default() -> Self {
        Self { beta: 0.05 }
    }
}

impl Definition for Nca {
    fn name(&self) -> &'static str {
        "nca"
    }

    fn beta(&self) -> f64 {
        self.beta
    }

    fn set_beta(&mut self, beta: f64) {
        self.beta = beta;
    }

    fn defaults_source(&self) -> &'static str {
        "paper, section 4.1 (beta 0.05, for all its objectives)"
    }

    fn unit(&self) -> Unit {
        Unit::Pair
    }

    fn evaluate(&self, batch: &ObjectiveBatch) -> ObjectiveOutput {
        let log_ratios = batch.response_log_ratios();
        let (mut loss, mut slopes) = (0.0, vec![0.0; log_ratios.len()]);
        for pair in batch.pairs {
            let chosen = self.beta * log_ratios[pair.chosen];
            let rejected = self.beta * log_ratios[pair.rejected];
            loss -= log_sigmoid(chosen) + 0.5 * (log_sigmoid(-chosen) + log_sigmoid(-rejected));
            slopes[pair.chosen] += self.beta * (0.5 * sigmoid(chosen) - sigmoid(-chosen));
            slopes[pair.rejected] += self.beta * 0.5 * sigmoid(rejected);
        }
        batch.output_of_sums(self.beta, loss, &slopes)
    }
}
