//! Cross-entropy of the outcome label at every prefix (IPVRM, Gao et al. 2026, arXiv 2604.13197).
//!
//! The value of a prefix is the running *mean* of the log-ratio, `v_t = (beta / t) sum_{i<=t}
//! log_ratio_i`, and the outcome label `l` in {0, 1} is the target of each of a response's `n`
//! prefixes: `L = -(1/n) sum_t [l log sigmoid(v_t - m) + (1 - l) log sigmoid(-v_t - m)]`. The
//! margin `m >= 0` asks for values beyond it on the right side of zero.

use serde::{Deserialize, Serialize};

use super::{Definition, ObjectiveBatch, ObjectiveOutput};
use crate::error::{Error, Result};
use crate::numeric::{log_sigmoid, sigmoid};

/// Settings of the cross-entropy at every prefix.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrefixCe {
    /// Factor of the mean log-ratio in a prefix's value: much larger than for objectives on sums.
    pub beta: f64,
    /// Required distance of a value from zero, in nats, not negative.
    pub margin: f64,
}

impl Default for PrefixCe {
    fn default() -> Self {
        Self { beta: 10.0, margin: 0.0 }
    }
}

impl Definition for PrefixCe {
    fn name(&self) -> &'static str {
        "prefix_ce"
    }

    fn beta(&self) -> f64 {
        self.beta
    }

    fn set_beta(&mut self, beta: f64) {
        self.beta = beta;
    }

    fn defaults_source(&self) -> &'static str {
        "arXiv 2604.13197 (beta 10); no margin"
    }

    fn validate(&self) -> Result<()> {
        if !(self.margin >= 0.0 && self.margin.is_finite()) {
            return Err(Error::setting("margin", "a finite number, not negative", self.margin));
        }
        Ok(())
    }

    fn evaluate(&self, batch: &ObjectiveBatch) -> ObjectiveOutput {
        let n_units = batch.n_units as f64;
        let mut loss = 0.0;
        let mut weights = Vec::with_capacity(batch.log_ratios.len());
        for (tokens, &label) in batch.log_ratios.iter().zip(batch.labels) {
            let sign = if label == 1.0 { 1.0 } else { -1.0 };
            let scale = 1.0 / (tokens.len() as f64 * n_units);
            let mut sum = 0.0;
            let mut slopes = Vec::with_capacity(tokens.len());
            for (t, log_ratio) in tokens.iter().enumerate() {
                sum += log_ratio;
                let to_value = self.beta / (t + 1) as f64;
                let z = sign * to_value * sum - self.margin;
                loss -= scale * log_sigmoid(z);
                slopes.push(-scale * sign * to_value * sigmoid(-z));
            }
            // A token is part of every prefix from its own on.
            for t in (1..slopes.len()).rev() {
                slopes[t - 1] += slopes[t];
            }
            weights.push(slopes);
        }
        ObjectiveOutput { loss, weights, outcome_rewards: batch.rewards(self.beta) }
    }
}
