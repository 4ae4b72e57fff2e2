//! Cross-entropy on outcome labels, Eq. 5 of the paper.
//!
//! With `r = beta * sum_t log_ratio_t` and the label `l` in {0, 1}, or a soft label between them:
//! `L = -l log sigmoid(r) - (1 - l) log sigmoid(-r)`, so `dL/dr = sigmoid(r) - l`. The logarithm is
//! taken of the logit, never of a saturated sigmoid. The sum over tokens is not divided by their
//! number; the end-of-turn token counts.

use serde::{Deserialize, Serialize};

use super::{Definition, ObjectiveBatch, ObjectiveOutput};
use crate::numeric::{binary_cross_entropy, log_sigmoid, sigmoid};

/// Settings of the cross-entropy objective.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ce {
    /// Factor of the log-ratio in the reward.
    pub beta: f64,
}

impl Default for Ce {
    fn default() -> Self {
        Self { beta: 0.05 }
    }
}

impl Definition for Ce {
    fn name(&self) -> &'static str {
        "ce"
    }

    fn beta(&self) -> f64 {
        self.beta
    }

    fn set_beta(&mut self, beta: f64) {
        self.beta = beta;
    }

    fn defaults_source(&self) -> &'static str {
        "paper, section 4.1 (beta 0.05); the same in the authors' code"
    }

    fn takes_soft_labels(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: &ObjectiveBatch) -> ObjectiveOutput {
        let (mut loss, mut slopes) = (0.0, Vec::with_capacity(batch.labels.len()));
        for (log_ratio, &label) in batch.response_log_ratios().into_iter().zip(batch.labels) {
            let reward = self.beta * log_ratio;
            if label > 0.0 && label < 1.0 {
                let (of_response, slope) = binary_cross_entropy(reward, label);
                loss += of_response;
                slopes.push(self.beta * slope);
                continue;
            }
            // `sigmoid(r) - 1` would lose the digits that `sigmoid(-r)` keeps.
            let sign = if label == 1.0 { 1.0 } else { -1.0 };
            loss -= log_sigmoid(sign * reward);
            slopes.push(-self.beta * sign * sigmoid(-sign * reward));
        }
        batch.output_of_sums(self.beta, loss, &slopes)
    }
}
