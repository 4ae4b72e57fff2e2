//! Warnings about a training run that goes wrong without an error: divergence, a vanished gradient, and
//! data of which an objective uses little. Each kind is given once per run. Those about a step are
//! recorded in its metrics.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::dataset::RewardData;
use super::metrics::StepMetrics;
use crate::numeric::figure;

/// A loss above this and above twice the first one counts as divergence at once.
const LOSS_LIMIT: f64 = 50.0;
/// Steps in a row that the other rules need, so that a single odd batch does not trigger them.
const N_IN_A_ROW: u32 = 5;
/// A gradient norm below this counts as 0.
const SMALLEST_NORM: f64 = 1e-12;

/// Something that is probably wrong with a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "warning", rename_all = "snake_case")]
pub(crate) enum Warning {
    /// The loss is far above that of the first step.
    Divergence {
        /// Loss of the step.
        loss: f64,
        /// Loss of the first step.
        start: f64,
    },
    /// The gradient is 0, or so small that nothing is learnt.
    VanishedGradient {
        /// The largest norm of these steps.
        gradient_norm: f64,
        /// Steps in a row.
        n_steps: u32,
    },
    /// A pairwise objective uses a minority of the problems.
    FewPairs {
        /// Pairs of a correct and an incorrect response.
        n_pairs: usize,
        /// Problems that have one.
        n_with_pairs: usize,
        /// Problems in all.
        n_problems: usize,
    },
    /// KTO estimates its reference point from no response where a batch is of one problem.
    NoMismatch {
        /// Optimizer batches without a mismatched response.
        n_batches: usize,
        /// Optimizer batches in all.
        n_all: usize,
    },
    /// Mismatched responses of KTO that exceed the context with the prompt of another problem.
    MismatchTooLong {
        /// Left out of the estimate.
        n_left_out: usize,
        /// Mismatched responses in all.
        n_all: usize,
        /// Tokens that the context holds.
        context_length: usize,
    },
}

impl Warning {
    /// A warning where most problems of the data give no pair.
    pub(crate) fn of_pairs(data: &RewardData) -> Option<Self> {
        let RewardData { pairs, n_with_pairs, n_problems, .. } = data;
        let (n_pairs, n_with_pairs, n_problems) = (pairs.len(), *n_with_pairs, *n_problems);
        let is_few = 2 * n_with_pairs < n_problems;
        is_few.then_some(Self::FewPairs { n_pairs, n_with_pairs, n_problems })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Divergence { loss, start } => write!(
                f,
                "the training diverges: the loss is {}, and was {} at the first step; lower the \
                 learning rate",
                figure(*loss),
                figure(*start)
            ),
            Self::VanishedGradient { gradient_norm, n_steps } => {
                let norm = figure(*gradient_norm);
                let steps = if *n_steps == 1 { "step" } else { "steps" };
                write!(f, "the gradient norm is {norm} over {n_steps} {steps}: nothing is learnt")
            }
            Self::FewPairs { n_pairs, n_with_pairs, n_problems } => write!(
                f,
                "{n_pairs} pairs from {n_with_pairs} of {n_problems} problems: the others have \
                 responses of one class only and add nothing to a pairwise objective; `ce` and `kto` \
                 use all responses"
            ),
            Self::NoMismatch { n_batches, n_all } => write!(
                f,
                "the reference point of `kto` is 0 in {n_batches} of {n_all} batches, because all \
                 their responses are of one problem; use a larger `--batch-size`"
            ),
            Self::MismatchTooLong { n_left_out, n_all, context_length } => write!(
                f,
                "left {n_left_out} of {n_all} mismatched responses out of the reference point of \
                 `kto`: with the prompt of another problem they exceed the context of \
                 {context_length} tokens"
            ),
        }
    }
}

/// What a run has shown so far. It depends on the steps alone, so that a resumed run rebuilds it from
/// the metrics.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    /// Steps of the whole run, which may be fewer than the rules need.
    n_steps: u64,
    /// Loss of the first step.
    start: Option<f64>,
    n_high: u32,
    n_flat: u32,
    largest_flat: f64,
    has_diverged: bool,
    has_vanished: bool,
}

impl Watch {
    /// Nothing seen yet of a run of so many steps.
    pub(super) fn new(n_steps: u64) -> Self {
        Self { n_steps, ..Self::default() }
    }

    /// Adds a step and returns the warnings that it gives rise to for the first time.
    pub(super) fn observe(&mut self, metrics: &StepMetrics) -> Vec<Warning> {
        let (loss, norm) = (metrics.evaluation.loss, metrics.gradient_norm);
        let start = *self.start.get_or_insert(loss);
        let mut warnings = Vec::new();

        let is_high = loss > 10.0 * start.abs() + 1.0;
        self.n_high = if is_high { self.n_high + 1 } else { 0 };
        let is_beyond = loss > LOSS_LIMIT.max(2.0 * start.abs());
        if !self.has_diverged && (is_beyond || self.n_high >= N_IN_A_ROW) {
            self.has_diverged = true;
            warnings.push(Warning::Divergence { loss, start });
        }

        if norm < SMALLEST_NORM {
            self.n_flat += 1;
            self.largest_flat = self.largest_flat.max(norm);
        } else {
            (self.n_flat, self.largest_flat) = (0, 0.0);
        }
        let all_are_flat = metrics.step == self.n_steps && u64::from(self.n_flat) == self.n_steps;
        let is_0_from_the_start = metrics.step == 1 && norm == 0.0;
        let has_vanished = self.n_flat >= N_IN_A_ROW || all_are_flat || is_0_from_the_start;
        if has_vanished && !self.has_vanished {
            self.has_vanished = true;
            let (gradient_norm, n_steps) = (self.largest_flat, self.n_flat);
            warnings.push(Warning::VanishedGradient { gradient_norm, n_steps });
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Evaluation;

    fn seen(steps: &[(f64, f64)]) -> Vec<(usize, Warning)> {
        let mut watch = Watch::new(steps.len() as u64);
        let of_step = |(nth, &(loss, gradient_norm)): (usize, &(f64, f64))| {
            let metrics = StepMetrics {
                step: nth as u64 + 1,
                epoch: 0,
                evaluation: Evaluation { loss, ..Evaluation::default() },
                gradient_norm,
                learning_rate: 1.0,
                n_tokens: 1,
                warnings: Vec::new(),
            };
            watch.observe(&metrics).into_iter().map(|warning| (nth, warning)).collect::<Vec<_>>()
        };
        steps.iter().enumerate().flat_map(of_step).collect()
    }

    #[test]
    fn a_loss_far_above_the_first_is_reported_once() {
        let start = 0.7;
        let rising = [0.7, 8.5, 9.0, 0.6, 9.0, 9.0, 9.0, 9.0, 9.0, 60.0].map(|loss| (loss, 1.0));
        assert_eq!(seen(&rising), [(8, Warning::Divergence { loss: 9.0, start })]);
        let jump = [(0.7, 1.0), (146_493.0, 1.0), (200_000.0, 1.0)];
        assert_eq!(seen(&jump), [(1, Warning::Divergence { loss: 146_493.0, start })]);
        // `ipo` at beta 0.05 begins at 100; a hard batch does not count as divergence.
        assert_eq!(seen(&[100.0, 120.0, 90.0, 150.0].map(|loss| (loss, 1.0))), []);
        assert_eq!(seen(&[0.7, 3.0, 4.0, 5.0, 6.0, 7.0, 7.5].map(|loss| (loss, 1.0))), []);
    }

    #[test]
    fn a_vanished_gradient_is_reported_once() {
        let warning = |gradient_norm, n_steps| Warning::VanishedGradient { gradient_norm, n_steps };
        let flat = [1.0, 0.0, 0.0, 1e-13, 0.0, 0.0, 0.0].map(|norm| (0.7, norm));
        assert_eq!(seen(&flat), [(5, warning(1e-13, 5))]);
        let steps = [1e-13, 0.0, 0.0, 0.0, 1.0, 0.0].map(|norm| (0.7, norm));
        assert_eq!(seen(&steps), [], "never five in a row");
        assert_eq!(seen(&[(0.7, 1e-13); 2]), [(1, warning(1e-13, 2))], "a run of two steps");
        assert_eq!(seen(&[(0.7, 0.0); 9]), [(0, warning(0.0, 1))], "at the start");
        assert_eq!(
            warning(0.0, 1).to_string(),
            "the gradient norm is 0.0000 over 1 step: nothing is learnt"
        );
    }
}
