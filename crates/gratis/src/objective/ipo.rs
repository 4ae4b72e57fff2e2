//! Identity preference optimisation on pairs (Azar et al. 2024).
//!
//! With `h` the difference of the chosen and the rejected response's log-ratio: `L = (h - 1 / (2
//! beta))^2`, so the difference is pulled to a finite margin. The log-ratio is the published sum
//! over tokens, or their mean, as in other implementations.

use serde::{Deserialize, Serialize};

use super::{Definition, ObjectiveBatch, ObjectiveOutput, Pair, Unit};

/// How the log-ratios of a response's tokens are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenPooling {
    /// Their sum, the reward of the paper.
    #[default]
    Sum,
    /// Their mean.
    Mean,
}

/// Settings of identity preference optimisation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ipo {
    /// Strength of the regularisation, `tau` in the publication: the margin is `1 / (2 beta)` nats.
    pub beta: f64,
    /// Sum or mean over tokens.
    pub pooling: TokenPooling,
}

impl Default for Ipo {
    fn default() -> Self {
        Self { beta: 0.05, pooling: TokenPooling::Sum }
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
            TokenPooling::Sum => 1.0,
            TokenPooling::Mean => 1.0 / batch.log_ratios[idx].len() as f64,
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
