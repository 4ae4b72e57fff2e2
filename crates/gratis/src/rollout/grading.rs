//! Outcome labels: a completion is correct if its final answer is the problem's.

use gratis_grading::{Options, Verdict};
use serde::{Deserialize, Serialize};

use rayon::prelude::*;

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

    /// Counts one more.
    pub fn add(&mut self, verdict: Verdict) {
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
/// adds the columns `extracted` and `how`, and counts the verdicts. Completions are graded over
/// all cores; the grades are in their order.
pub fn grade(
    rollout: &mut Rollout,
    options: &Options,
    counts: &mut GradeCounts,
) -> Vec<gratis_grading::Grade> {
    let Rollout { reference, completions, .. } = &*rollout;
    let grades: Vec<_> = completions
        .par_iter()
        .map(|completion| gratis_grading::grade(reference, completion, options))
        .collect();
    let column = |value: fn(&gratis_grading::Grade) -> serde_json::Value| {
        serde_json::Value::Array(grades.iter().map(value).collect())
    };
    rollout
        .extra
        .insert("extracted".to_owned(), column(|grade| serde_json::json!(grade.extracted)));
    rollout.extra.insert("how".to_owned(), column(|grade| serde_json::json!(grade.how)));
    for grade in &grades {
        counts.add(grade.verdict);
    }
    rollout.correctness = Some(grades.iter().map(|grade| grade.verdict.is_correct()).collect());
    grades
}
