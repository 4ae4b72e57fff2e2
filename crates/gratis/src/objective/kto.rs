//! Kahneman-Tversky optimisation on unpaired labels (Ethayarajh et al. 2024).
//!
//! With `r = beta * sum_t log_ratio_t` and the reference point `z0 = beta * max(0, KL)`, where `KL`
//! is the mean log-ratio of mismatched responses (those of one problem under the prompt of the
//! next), detached: `L = w_d (1 - sigmoid(r - z0))` for a correct response and
//! `L = w_u (1 - sigmoid(z0 - r))` for an incorrect one. The reference point couples the batch.

use serde::{Deserialize, Serialize};

use super::{Definition, ObjectiveBatch, ObjectiveOutput};
use crate::error::{Error, Result};
use crate::numeric::sigmoid;

/// Settings of Kahneman-Tversky optimisation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kto {
    /// Factor of the log-ratio in the reward.
    pub beta: f64,
    /// Weight of correct responses, not negative.
    pub desirable_weight: f64,
    /// Weight of incorrect responses, not negative.
    pub undesirable_weight: f64,
}

impl Default for Kto {
    fn default() -> Self {
        Self { beta: 0.05, desirable_weight: 1.0, undesirable_weight: 1.0 }
    }
}

impl Definition for Kto {
    fn name(&self) -> &'static str {
        "kto"
    }

    fn beta(&self) -> f64 {
        self.beta
    }

    fn set_beta(&mut self, beta: f64) {
        self.beta = beta;
    }

    fn defaults_source(&self) -> &'static str {
        "paper, section 4.1 (beta 0.05, for all its objectives); weights 1 from the authors' code"
    }

    fn couples_batch(&self) -> bool {
        true
    }

    fn validate(&self) -> Result<()> {
        for (field, weight) in [
            ("desirable_weight", self.desirable_weight),
            ("undesirable_weight", self.undesirable_weight),
        ] {
            if !(weight >= 0.0 && weight.is_finite()) {
                return Err(Error::setting(field, "a finite number, not negative", weight));
            }
        }
        Ok(())
    }

    fn evaluate(&self, batch: &ObjectiveBatch) -> ObjectiveOutput {
        let divergence = batch.mismatched_log_ratio.max(0.0);
        let (mut loss, mut slopes) = (0.0, Vec::with_capacity(batch.labels.len()));
        for (log_ratio, &label) in batch.response_log_ratios().into_iter().zip(batch.labels) {
            let (sign, weight) = if label == 1.0 {
                (1.0, self.desirable_weight)
            } else {
                (-1.0, self.undesirable_weight)
            };
            let z = sign * self.beta * (log_ratio - divergence);
            loss += weight * sigmoid(-z);
            slopes.push(-weight * sign * self.beta * sigmoid(z) * sigmoid(-z));
        }
        batch.output_of_sums(self.beta, loss, &slopes)
    }
}
