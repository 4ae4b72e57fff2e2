//! Squared loss of self-play preference optimisation on pairs (Wu et al. 2024), with the hard
//! preference probabilities 1 and 0.
//!
//! With the log-ratios `s` summed over tokens:
//! `L = (s_chosen - 1 / (2 beta))^2 + (s_rejected + 1 / (2 beta))^2`, which is `1 / beta^2` times
//! the squared distance of the rewards `beta s` from +1/2 and -1/2.

use serde::{Deserialize, Serialize};

use super::{Definition, ObjectiveBatch, ObjectiveOutput, Unit};

/// Settings of the squared loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sppo {
    /// Factor of the log-ratio in the reward, `1 / eta` in the publication.
    pub beta: f64,
}

impl Default for Sppo {
    fn default() -> Self {
        Self { beta: 0.05 }
    }
}

impl Definition for Sppo {
    fn name(&self) -> &'static str {
        "sppo"
    }

    fn beta(&self) -> f64 {
        self.beta
    }

    fn set_beta(&mut self, beta: f64) {
        self.beta = beta;
    }

    fn defaults_source(&self) -> &'static str {
        "beta of the paper's other objectives (section 4.1)"
    }

    fn unit(&self) -> Unit {
        Unit::Pair
    }

    fn evaluate(&self, batch: &ObjectiveBatch) -> ObjectiveOutput {
        let log_ratios = batch.response_log_ratios();
        let target = 0.5 / self.beta;
        let (mut loss, mut slopes) = (0.0, vec![0.0; log_ratios.len()]);
        for pair in batch.pairs {
            let chosen = log_ratios[pair.chosen] - target;
            let rejected = log_ratios[pair.rejected] + target;
            loss += chosen * chosen + rejected * rejected;
            slopes[pair.chosen] += 2.0 * chosen;
            slopes[pair.rejected] += 2.0 * rejected;
        }
        batch.output_of_sums(self.beta, loss, &slopes)
    }
}
