//! Outcome labels: a completion is correct if its final answer is the problem's.

use gratis_grading::{Options, Verdict};
use serde::{Deserialize, Serialize};

use crate::data::Rollout;

/// How many completions got which verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GradeCounts {
    /// The answer is the problem's.
    pub correct: u64,
    /// There is another answer.
    pub incorrect: u64,
    /// There is no answer.
    pub no_answer: u64,
    /// An answer is marked but cannot be read.
    pub malformed: u64,
}

impl GradeCounts {
    /// Number of completions graded.
    pub fn n(&self) -> u64 {
        self.correct + self.incorrect + self.no_answer + self.malformed
    }

    fn add(&mut self, verdict: Verdict) {
        let count = match verdict {
            Verdict::Correct => &mut self.correct,
            Verdict::Incorrect => &mut self.incorrect,
            Verdict::NoAnswer => &mut self.no_answer,
            Verdict::Malformed => &mut self.malformed,
        };
        *count += 1;
    }
}

/// Sets `correctness` of a rollout by comparing each completion's final answer with `reference`,
/// and counts the verdicts.
pub fn grade(rollout: &mut Rollout, options: &Options, counts: &mut GradeCounts) {
    let labels = rollout.completions.iter().map(|completion| {
        let verdict = gratis_grading::grade(&rollout.reference, completion, options).verdict;
        counts.add(verdict);
        verdict.is_correct()
    });
    rollout.correctness = Some(labels.collect());
}
