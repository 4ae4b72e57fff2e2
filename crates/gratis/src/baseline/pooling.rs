//! From token values to prefix values.
//!
//! With `a_s` the head's value at token `s` and `v_t` the state's value, if the head has one:
//! - own: `V_t = a_t + v_t`: the head's value at the prefix's last token;
//! - log-sum-exp: `V_t = -log sum_{s<=t} exp(-a_s) + v_t`: the odds of an error add up over the
//!   tokens, so `V_t` is at most the lowest `a_s` so far.

use serde::{Deserialize, Serialize};

use crate::numeric::log_sum_exp;

/// How the token values of a response are combined into the value of each prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// `V_t = a_t`.
    #[default]
    Own,
    /// `V_t = -log sum_{s<=t} exp(-a_s)`.
    LogSumExp,
}

impl Pooling {
    /// `V_t` of each prefix, `[n_tokens]`, from a head's row `[n_channels, n_tokens]`.
    pub(crate) fn prefix_values(self, row: &[f32], n_channels: usize) -> Vec<f64> {
        let (actions, states) = row.split_at(row.len() / n_channels.max(1));
        let mut values = self.pool(actions);
        for (value, &state) in values.iter_mut().zip(states) {
            *value += f64::from(state);
        }
        values
    }

    /// Backward pass: from `slopes` `dL/dV_t` (`[n_tokens]`) to `dL/drow`, `[n_channels, n_tokens]`.
    pub(super) fn row_slopes(self, row: &[f32], n_channels: usize, slopes: &[f64]) -> Vec<f64> {
        let actions = &row[..row.len() / n_channels.max(1)];
        let mut of_row = match self {
            Self::Own => slopes.to_vec(),
            Self::LogSumExp => {
                // `dV_t/da_s = exp(V_t - a_s)` for `s <= t`; V never rises, so with
                // `later_s = sum_{t>=s} slope_t exp(V_t - V_s)` no exponent is above 0.
                let pooled = self.pool(actions);
                let mut later = 0.0;
                let mut reversed: Vec<f64> = (0..actions.len())
                    .rev()
                    .map(|s| {
                        if s + 1 < pooled.len() {
                            later *= (pooled[s + 1] - pooled[s]).exp();
                        }
                        later += slopes[s];
                        later * (pooled[s] - f64::from(actions[s])).exp()
                    })
                    .collect();
                reversed.reverse();
                reversed
            }
        };
        for _ in 1..n_channels {
            of_row.extend_from_slice(slopes);
        }
        of_row
    }

    /// Without the state's value.
    fn pool(self, actions: &[f32]) -> Vec<f64> {
        let actions = actions.iter().map(|&action| f64::from(action));
        match self {
            Self::Own => actions.collect(),
            Self::LogSumExp => actions
                .scan(f64::NEG_INFINITY, |sum, action| {
                    *sum = log_sum_exp(&[*sum, -action]);
                    Some(-*sum)
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        let row = [0.0, 0.0, 3.0, 0.5, 0.0, -1.0];
        assert_eq!(Pooling::Own.prefix_values(&row, 2), [0.5, 0.0, 2.0]);
        let pooled = Pooling::LogSumExp.prefix_values(&row, 2);
        let two = -std::f64::consts::LN_2;
        let three = -(2.0 + (-3.0f64).exp()).ln() - 1.0;
        for (got, expected) in pooled.iter().zip([0.5, two, three]) {
            assert!((got - expected).abs() < 1e-12, "{pooled:?}");
        }
    }

    proptest! {
        #[test]
        fn slopes_agree_with_differences_and_stay_finite(
            row in prop::collection::vec(-6.0f32..6.0, 2..20),
            scale in prop::sample::select(vec![1.0f32, 1000.0]),
        ) {
            for n_channels in [1, 2] {
                let n = row.len() / n_channels;
                let row: Vec<f32> = row[..n * n_channels].iter().map(|x| x * scale).collect();
                let slopes: Vec<f64> = (0..n).map(|t| (t as f64 * 0.9 + 0.3).sin()).collect();
                for pooling in [Pooling::Own, Pooling::LogSumExp] {
                    let got = pooling.row_slopes(&row, n_channels, &slopes);
                    prop_assert!(got.iter().all(|slope| slope.is_finite()));
                    if scale > 1.0 {
                        continue;
                    }
                    let loss = |row: &[f32]| -> f64 {
                        let values = pooling.prefix_values(row, n_channels);
                        values.iter().zip(&slopes).map(|(value, slope)| value * slope).sum()
                    };
                    for idx in 0..row.len() {
                        let moved = |by: f32| {
                            let mut row = row.clone();
                            row[idx] += by;
                            (loss(&row), f64::from(row[idx]))
                        };
                        let ((above, high), (below, low)) = (moved(0.01), moved(-0.01));
                        let difference = (above - below) / (high - low);
                        // Observed: 6.6e-6, the curvature of exp over the interval.
                        prop_assert!((difference - got[idx]).abs() < 1e-4, "{difference} {got:?}");
                    }
                }
            }
        }
    }
}
