//! First-error F1, as ProcessBench defines it (paper section 5).
//!
//! A reward model predicts that the first step whose process reward is below a threshold is the
//! first error, and that there is none if no step is below it. The score is the harmonic mean of
//! the accuracy on solutions with an error (the very step must be named) and on solutions without.
//! The threshold is tuned on other problems than those reported.

use serde::{Deserialize, Serialize};

/// A solution's process rewards and the truth about it.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedSolution {
    /// Process reward of each step: `[n_steps]`.
    pub process_rewards: Vec<f64>,
    /// Index of the first wrong step; `None` if all are right.
    pub first_error: Option<usize>,
}

impl JudgedSolution {
    /// The thresholds `low < t <= high` with which the prediction is right; `None` if there is
    /// none, because an earlier step has a reward as low as that of the first error.
    fn right_thresholds(&self) -> Option<(f64, f64)> {
        let min = |rewards: &[f64]| rewards.iter().copied().fold(f64::INFINITY, f64::min);
        match self.first_error {
            None => Some((f64::NEG_INFINITY, min(&self.process_rewards))),
            Some(error_idx) => {
                let low = *self.process_rewards.get(error_idx)?;
                let high = min(&self.process_rewards[..error_idx]);
                (low < high).then_some((low, high))
            }
        }
    }

    /// Index of the first step whose reward is below `threshold`.
    pub fn predict(process_rewards: &[f64], threshold: f64) -> Option<usize> {
        process_rewards.iter().position(|&reward| reward < threshold)
    }

    /// The threshold with the highest F1 on `solutions`, which must not be those reported, with the
    /// score it has there. Among equal ones the lowest; it lies half way between the rewards it
    /// separates.
    ///
    /// Each solution is predicted correctly in one interval of thresholds only, so one sweep over the
    /// sorted ends finds the best: `O(n log n)`. `None` for no finite reward.
    pub fn tune_threshold(solutions: &[Self]) -> Option<FirstErrorScore> {
        let (mut n, mut right) = (Counts::default(), Counts::default());
        // (reward that the threshold passes, whether the prediction becomes right, of which solution)
        let mut events: Vec<(f64, bool, usize)> = Vec::with_capacity(2 * solutions.len());
        for (idx, solution) in solutions.iter().enumerate() {
            *n.of(solution) += 1;
            if let Some((low, high)) = solution.right_thresholds() {
                if low == f64::NEG_INFINITY {
                    *right.of(solution) += 1;
                } else {
                    events.push((low, true, idx));
                }
                if high < f64::INFINITY {
                    events.push((high, false, idx));
                }
            }
        }
        events.retain(|(reward, ..)| reward.is_finite());
        events.sort_by(|a, b| a.0.total_cmp(&b.0));

        let mut best = FirstErrorScore::new(events.first()?.0, n, right);
        for (idx, &(reward, becomes_right, solution_idx)) in events.iter().enumerate() {
            let count = right.of(&solutions[solution_idx]);
            if becomes_right {
                *count += 1;
            } else {
                *count -= 1;
            }
            let next = events.get(idx + 1).map(|event| event.0);
            if next == Some(reward) {
                continue;
            }
            let threshold = next.map_or(reward.next_up(), |next| between(reward, next));
            let score = FirstErrorScore::new(threshold, n, right);
            if score.f1 > best.f1 {
                best = score;
            }
        }
        Some(best)
    }
}

/// The score at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FirstErrorScore {
    /// A step with a process reward below this is predicted to be wrong.
    pub threshold: f64,
    /// Solutions with an error.
    pub n_erroneous: usize,
    /// Solutions without.
    pub n_correct: usize,
    /// Share of the erroneous solutions whose first error is named; 0 without such solutions.
    pub accuracy_erroneous: f64,
    /// Share of the correct solutions in which no error is named; 0 without such solutions.
    pub accuracy_correct: f64,
    /// Harmonic mean of the two accuracies; 0 if one of them is.
    pub f1: f64,
}

impl FirstErrorScore {
    fn new(threshold: f64, n: Counts, right: Counts) -> Self {
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        let accuracy_erroneous = share(right.erroneous, n.erroneous);
        let accuracy_correct = share(right.correct, n.correct);
        let sum = accuracy_erroneous + accuracy_correct;
        Self {
            threshold,
            n_erroneous: n.erroneous,
            n_correct: n.correct,
            accuracy_erroneous,
            accuracy_correct,
            f1: if sum > 0.0 { 2.0 * accuracy_erroneous * accuracy_correct / sum } else { 0.0 },
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    erroneous: usize,
    correct: usize,
}

impl Counts {
    fn of(&mut self, solution: &JudgedSolution) -> &mut usize {
        match solution.first_error {
            Some(_) => &mut self.erroneous,
            None => &mut self.correct,
        }
    }
}

/// How often a prediction was right: what a score is made of, and what can be added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstErrorCounts {
    /// Solutions with an error.
    pub n_erroneous: usize,
    /// Solutions without.
    pub n_correct: usize,
    /// Erroneous solutions whose first error was named.
    pub right_erroneous: usize,
    /// Correct solutions in which no error was named.
    pub right_correct: usize,
}

impl FirstErrorCounts {
    /// Counts right predictions of `solutions` at a given threshold.
    pub fn of(solutions: &[JudgedSolution], threshold: f64) -> Self {
        let (mut n, mut right) = (Counts::default(), Counts::default());
        for solution in solutions {
            *n.of(solution) += 1;
            let predicted = JudgedSolution::predict(&solution.process_rewards, threshold);
            *right.of(solution) += usize::from(predicted == solution.first_error);
        }
        Self {
            n_erroneous: n.erroneous,
            n_correct: n.correct,
            right_erroneous: right.erroneous,
            right_correct: right.correct,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            n_erroneous: self.n_erroneous + other.n_erroneous,
            n_correct: self.n_correct + other.n_correct,
            right_erroneous: self.right_erroneous + other.right_erroneous,
            right_correct: self.right_correct + other.right_correct,
        }
    }

    /// The score they make at the threshold they were counted with.
    pub fn score(self, threshold: f64) -> FirstErrorScore {
        let Self { n_erroneous, n_correct, right_erroneous, right_correct } = self;
        FirstErrorScore::new(
            threshold,
            Counts { erroneous: n_erroneous, correct: n_correct },
            Counts { erroneous: right_erroneous, correct: right_correct },
        )
    }
}

/// A number above `low` and at most `high`: half way, where there is something between them.
pub(super) fn between(low: f64, high: f64) -> f64 {
    let middle = low + (high - low) / 2.0;
    if middle > low { middle } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn score(solutions: &[JudgedSolution], threshold: f64) -> FirstErrorScore {
        FirstErrorCounts::of(solutions, threshold).score(threshold)
    }

    fn judged(process_rewards: &[f64], first_error: Option<usize>) -> JudgedSolution {
        JudgedSolution { process_rewards: process_rewards.to_vec(), first_error }
    }

    #[test]
    fn the_score_is_the_harmonic_mean_of_both_accuracies() {
        let solutions = [
            judged(&[1.0, -2.0, -3.0], Some(1)), // named
            judged(&[-1.0, -2.0], Some(1)),      // the step before is named
            judged(&[1.0, 0.5], Some(0)),        // none is named
            judged(&[1.0, 0.0], None),           // none is named: right
            judged(&[1.0, 2.0], None),
            judged(&[-1.0, 2.0], None), // wrongly named
        ];
        let score = score(&solutions, 0.0);
        assert_eq!((score.n_erroneous, score.n_correct), (3, 3));
        assert_eq!(score.accuracy_erroneous, 1.0 / 3.0);
        assert_eq!(score.accuracy_correct, 2.0 / 3.0);
        assert!((score.f1 - 4.0 / 9.0).abs() < 1e-15);
    }

    #[test]
    fn separable_rewards_are_separated_half_way() {
        let solutions = [judged(&[1.0, -3.0], Some(1)), judged(&[1.0, -1.0], None)];
        let best = JudgedSolution::tune_threshold(&solutions).expect("rewards");
        assert_eq!((best.threshold, best.f1), (-2.0, 1.0));
    }

    #[test]
    fn nothing_to_tune_on_is_none() {
        assert_eq!(JudgedSolution::tune_threshold(&[]), None);
        assert_eq!(JudgedSolution::tune_threshold(&[judged(&[], None)]), None);
    }

    proptest! {
        #[test]
        fn the_sweep_finds_what_trying_every_threshold_finds(
            rows in prop::collection::vec(
                (prop::collection::vec(-4..4i32, 1..6), 0..8usize), 1..30,
            ),
        ) {
            let solutions: Vec<_> = rows
                .iter()
                .map(|(rewards, label)| {
                    let rewards: Vec<f64> = rewards.iter().map(|&r| f64::from(r)).collect();
                    judged(&rewards, (*label < rewards.len()).then_some(*label))
                })
                .collect();
            let exhaustive = (-10..10)
                .map(|t| score(&solutions, f64::from(t) / 2.0).f1)
                .fold(0.0, f64::max);
            let best = JudgedSolution::tune_threshold(&solutions).map_or(0.0, |best| best.f1);
            prop_assert_eq!(best, exhaustive);
            if let Some(best) = JudgedSolution::tune_threshold(&solutions) {
                prop_assert_eq!(score(&solutions, best.threshold), best);
            }
        }
    }
}
