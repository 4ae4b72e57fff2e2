//! Identity preference optimisation on pairs (Azar et al. 2024).
//!
//! With `h` the difference of the chosen and the rejected response's log-ratio: `L = (h - 1 / (2
//! beta))^2`, so the difference is pulled to a finite margin. The log-ratio is the published sum
//! over tokens, or their mean, as in other implementations.

use serde::{Deserialize, Serialize};

use super::{Definition, ObjectiveBatch, ObjectiveOutput, Pair, Unit};
use crate::data::ValueRule;

/// Settings of identity preference optimisation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ipo {
    /// Strength of the regularisation, `tau` in the publication: the margin is `1 / (2 beta)` nats.
    pub beta: f64,
    /// Whether the log-ratio of a response is the sum over its tokens, the reward of the paper, or their
    /// mean.
    pub pooling: ValueRule,
}

impl Default for Ipo {
    fn default() -> Self {
        Self { beta: 0.05, pooling: ValueRule::Sum }
    }
}

impl Definition for Ipo {
    fn name(&self) -> &'static str {
        "ipo"
    }

    fn beta(&self) -> f64 {
        self.beta
    }

    fn set_beta(&mut self, beta: f64) {
        self.beta = beta;
    }

    fn defaults_source(&self) -> &'static str {
        "beta of the paper's other objectives (section 4.1); the sum as published by Azar et al."
    }

    fn unit(&self) -> Unit {
        Unit::Pair
    }

    fn evaluate(&self, batch: &ObjectiveBatch) -> ObjectiveOutput {
        let log_ratios = batch.response_log_ratios();
        let share = |idx: usize| match self.pooling {
            ValueRule::Sum => 1.0,
            ValueRule::Mean => 1.0 / batch.log_ratios[idx].len() as f64,
        };
        let (mut loss, mut slopes) = (0.0, vec![0.0; log_ratios.len()]);
        for &Pair { chosen, rejected } in batch.pairs {
            let h = log_ratios[chosen] * share(chosen) - log_ratios[rejected] * share(rejected);
            let error = h - 0.5 / self.beta;
            loss += error * error;
            slopes[chosen] += 2.0 * error * share(chosen);
            slopes[rejected] -= 2.0 * error * share(rejected);
        }
        batch.output_of_sums(self.beta, loss, &slopes)
    }
}
