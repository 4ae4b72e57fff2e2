//! Losses of a scalar head, as pure functions of the prefix values `V_t`.
//!
//! - outcome: `BCE(V_T, l)` at the last token, the usual outcome reward model;
//! - Bradley-Terry: `-log sigmoid(V_T(chosen) - V_T(rejected))` on pairs of a problem;
//! - steps: `(1/n) sum_k BCE(V_{e_k}, l_k)` at the ends `e_k` of the labelled steps, hard or soft
//!   labels, the usual process reward model (Lightman et al. 2023, Wang et al. 2023);
//! - every token: `(1/T) sum_t (sigmoid(V_t) - l)^2` with the outcome label, the verifier of
//!   AutoPSV (Lu et al. 2024). The sigmoid keeps its confidence within 0 and 1, so its relative
//!   change is defined.

use serde::{Deserialize, Serialize};

use crate::numeric::{binary_cross_entropy, log_sigmoid, sigmoid};
use crate::objective::StepLabel;

/// The loss of a scalar head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum ValueObjective {
    /// Cross-entropy of the outcome label at the last token.
    #[default]
    Outcome,
    /// Bradley-Terry on pairs, at the last token.
    BradleyTerry,
    /// Cross-entropy of step labels at step ends.
    Steps,
    /// Squared error of the outcome label at every token.
    EveryToken,
}

impl ValueObjective {
    /// Whether it learns from pairs of a correct and an incorrect response.
    pub fn needs_pairs(self) -> bool {
        self == Self::BradleyTerry
    }

    /// Whether it learns from labels of steps.
    pub fn needs_step_labels(self) -> bool {
        self == Self::Steps
    }

    /// Loss of one response and `dL/dV_t`, `[n_tokens]`. Pairs have [`pair_loss`].
    pub(super) fn response_loss(
        self,
        values: &[f64],
        is_correct: bool,
        steps: &[StepLabel],
    ) -> (f64, Vec<f64>) {
        let mut slopes = vec![0.0; values.len()];
        let outcome = f64::from(u8::from(is_correct));
        let mut loss = 0.0;
        match self {
            Self::Outcome | Self::BradleyTerry => {
                if let (Some(&value), Some(slope)) = (values.last(), slopes.last_mut()) {
                    (loss, *slope) = binary_cross_entropy(value, outcome);
                }
            }
            Self::Steps => {
                let n_steps = steps.len() as f64;
                for step in steps {
                    let (step_loss, slope) = binary_cross_entropy(values[step.end - 1], step.label);
                    loss += step_loss / n_steps;
                    slopes[step.end - 1] += slope / n_steps;
                }
            }
            Self::EveryToken => {
                let n_tokens = values.len() as f64;
                for (value, slope) in values.iter().zip(&mut slopes) {
                    let confidence = sigmoid(*value);
                    let error = confidence - outcome;
                    loss += error.powi(2) / n_tokens;
                    *slope = 2.0 * error * confidence * sigmoid(-value) / n_tokens;
                }
            }
        }
        (loss, slopes)
    }
}

/// Bradley-Terry: the loss of a pair's last values and its slope by the chosen one; that by the
/// rejected one is the opposite.
pub(super) fn pair_loss(chosen: f64, rejected: f64) -> (f64, f64) {
    let margin = chosen - rejected;
    (-log_sigmoid(margin), -sigmoid(-margin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        let ln2 = std::f64::consts::LN_2;
        let steps = [StepLabel { end: 1, label: 1.0 }, StepLabel { end: 3, label: 0.25 }];
        let loss = |objective: ValueObjective| objective.response_loss(&[0.0; 3], false, &steps);
        assert_eq!(loss(ValueObjective::Outcome), (ln2, vec![0.0, 0.0, 0.5]));
        let (steps, slopes) = loss(ValueObjective::Steps);
        assert!((steps - ln2).abs() < 1e-15);
        assert_eq!(slopes, [-0.25, 0.0, 0.125]);
        let (squares, slopes) = loss(ValueObjective::EveryToken);
        assert!((squares - 0.25).abs() < 1e-15 && (slopes[0] - 0.25 / 3.0).abs() < 1e-15);
        assert_eq!(pair_loss(1.5, 1.5), (ln2, -0.5));
    }

    proptest! {
        #[test]
        fn slopes_agree_with_differences(
            values in prop::collection::vec(-8.0..8.0, 3..12),
            is_correct: bool,
            label in 0.0..=1.0,
        ) {
            let n = values.len();
            let steps = [StepLabel { end: 2, label }, StepLabel { end: n, label: 0.0 }];
            for objective in
                [ValueObjective::Outcome, ValueObjective::Steps, ValueObjective::EveryToken]
            {
                let loss = |values: &[f64]| objective.response_loss(values, is_correct, &steps);
                let (_, slopes) = loss(&values);
                for idx in 0..n {
                    let moved = |by: f64| {
                        let mut values = values.clone();
                        values[idx] += by;
                        loss(&values).0
                    };
                    let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    // Observed below 1e-10.
                    prop_assert!((difference - slopes[idx]).abs() < 1e-8);
                }
            }
            let (chosen, rejected) = (values[0], values[1]);
            let slope = pair_loss(chosen, rejected).1;
            let moved = |by: f64| pair_loss(chosen + by, rejected).0;
            prop_assert!(((moved(1e-5) - moved(-1e-5)) / 2e-5 - slope).abs() < 1e-8);
        }
    }
}
