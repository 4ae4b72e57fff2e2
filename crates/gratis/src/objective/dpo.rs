//! Direct preference optimisation on pairs (Rafailov et al. 2023), with label smoothing.
//!
//! With `z = r_chosen - r_rejected`, `r = beta * sum_t log_ratio_t`, and the share `e` of pairs
//! assumed to have swapped labels: `L = -(1 - e) log sigmoid(z) - e log sigmoid(-z)`, so `dL/dz =
//! sigmoid(z) - (1 - e)`. Only the difference matters: adding a constant to both log-ratios changes
//! nothing.

use serde::{Deserialize, Serialize};

use super::{Definition, ObjectiveBatch, ObjectiveOutput, Unit};
use crate::error::{Error, Result};
use crate::numeric::{log_sigmoid, sigmoid};

/// Settings of direct preference optimisation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dpo {
    /// Factor of the log-ratio in the reward.
    pub beta: f64,
    /// Share of pairs assumed to have swapped labels, in `0..0.5`.
    pub label_smoothing: f64,
}

impl Default for Dpo {
    fn default() -> Self {
        Self { beta: 0.05, label_smoothing: 0.0 }
    }
}

impl Definition for Dpo {
    fn name(&self) -> &'static str {
        "dpo"
    }

    fn beta(&self) -> f64 {
        self.beta
    }

    fn set_beta(&mut self, beta: f64) {
        self.beta = beta;
    }

    fn defaults_source(&self) -> &'static str {
        "paper, section 4.1 (beta 0.05); no smoothing, as the authors' code"
    }

    fn unit(&self) -> Unit {
        Unit::Pair
    }

    fn validate(&self) -> Result<()> {
        if !(0.0..0.5).contains(&self.label_smoothing) {
            return Err(Error::setting("label_smoothing", "in 0..0.5", self.label_smoothing));
        }
        Ok(())
    }

    fn evaluate(&self, batch: &ObjectiveBatch) -> ObjectiveOutput {
        let log_ratios = batch.response_log_ratios();
        let (mut loss, mut slopes) = (0.0, vec![0.0; log_ratios.len()]);
        for pair in batch.pairs {
            let z = self.beta * (log_ratios[pair.chosen] - log_ratios[pair.rejected]);
            let (kept, flipped) = (1.0 - self.label_smoothing, self.label_smoothing);
            loss -= kept * log_sigmoid(z) + flipped * log_sigmoid(-z);
            let slope = self.beta * (flipped * sigmoid(z) - kept * sigmoid(-z));
            slopes[pair.chosen] += slope;
            slopes[pair.rejected] -= slope;
        }
        batch.output_of_sums(self.beta, loss, &slopes)
    }
}
