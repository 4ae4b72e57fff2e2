//! How the log-ratios of a prefix make its value: their sum, or their mean over the tokens so far.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// How the log-ratios of a prefix make its Q value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum ValueRule {
    /// `beta` times their sum (paper Eq. 2).
    #[default]
    Sum,
    /// `beta` times their mean over the tokens so far.
    Mean,
}

impl ValueRule {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Mean => "mean",
        }
    }

    /// What each token adds to the value of its prefix, in units of beta: `[n_tokens]`, from the
    /// log-ratios (`[n_tokens]`). Tokens in the ranges `masked` have no part in any value.
    pub fn gains(self, mut log_ratios: Vec<f64>, masked: &[Range<usize>]) -> Vec<f64> {
        for range in masked {
            log_ratios[range.clone()].fill(0.0);
        }
        if self == Self::Sum {
            return log_ratios;
        }
        let is_masked = |token: usize| masked.iter().any(|range| range.contains(&token));
        let (mut sum, mut n_counted, mut before) = (0.0, 0, 0.0);
        for (token, gain) in log_ratios.iter_mut().enumerate() {
            if is_masked(token) {
                continue;
            }
            sum += *gain;
            n_counted += 1;
            let value = sum / f64::from(n_counted);
            *gain = value - before;
            before = value;
        }
        log_ratios
    }
}
