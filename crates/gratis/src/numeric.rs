//! Logistic functions and log-sum-exp that neither overflow nor saturate to NaN, the domain of numbers
//! such as beta, and how a number is shown.

use crate::error::{Error, Result};

/// Checks that the setting `field` is a finite number above 0.
///
/// # Errors
/// [`InvalidSetting`](crate::data::Error::InvalidSetting).
pub fn check_positive(field: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::setting(field, "a finite number above 0", value))
}

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `log sigmoid(x) = -log(1 + exp(-x))`, finite for every finite `x`.
pub(crate) fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// Binary cross-entropy of a logit, `-l log sigmoid(x) - (1-l) log sigmoid(-x)` for a label `l` in
/// `0..=1`, and its slope `sigmoid(x) - l`.
pub(crate) fn binary_cross_entropy(logit: f64, label: f64) -> (f64, f64) {
    let loss = -label * log_sigmoid(logit) - (1.0 - label) * log_sigmoid(-logit);
    (loss, sigmoid(logit) - label)
}

/// `log sum_i exp(x_i)`; minus infinity for no term.
pub fn log_sum_exp(terms: &[f64]) -> f64 {
    let max = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max.is_finite() {
        max + terms.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
    } else {
        max
    }
}

/// A value with four digits after the point, or in scientific form where those would be lost.
pub fn figure(value: f64) -> String {
    if value == 0.0 || !value.is_finite() || (0.01..1e6).contains(&value.abs()) {
        return format!("{value:.4}");
    }
    let text = format!("{value:.3e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_stay_finite() {
        for x in [-1e4, -700.0, -1.0, 0.0, 1.0, 700.0, 1e4] {
            assert!(log_sigmoid(x).is_finite() && (0.0..=1.0).contains(&sigmoid(x)), "at {x}");
        }
        assert_eq!(log_sigmoid(-1e4), -1e4);
        assert_eq!(log_sigmoid(0.0), -std::f64::consts::LN_2);
        assert_eq!(log_sum_exp(&[1e4, 1e4]), 1e4 + std::f64::consts::LN_2);
        assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
    }

    #[test]
    fn small_figures_keep_their_digits() {
        let figures = [0.0, 0.71234, 5e-7, 1.2345e-3, -0.004, 3e7, f64::NAN].map(figure);
        assert_eq!(figures, ["0.0000", "0.7123", "5e-7", "1.234e-3", "-4e-3", "3e7", "NaN"]);
    }
}
