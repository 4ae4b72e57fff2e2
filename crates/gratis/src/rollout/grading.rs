//! Outcome labels: a completion is correct if its final answer equals the problem's.

use gratis_grading::{Grade, Grader, Options, Verdict};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::data::{Completion, Rollout};

/// Number of completions per verdict.
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
    /// Problems without a gold answer; their completions are not graded.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub without_reference: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
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

    /// Counts the grades of a problem; `None` for one without a gold answer.
    pub fn add_problem(&mut self, grades: Option<&[Grade]>) {
        match grades {
            Some(grades) => grades.iter().for_each(|grade| self.add(grade.verdict)),
            None => self.without_reference += 1,
        }
    }
}

/// Completions that one thread grades in a row, with the gold answer read once.
const COMPLETIONS_AT_ONCE: usize = 16;

/// Sets `correctness` of a rollout by comparing each completion's final answer with `reference`,
/// adds the columns `extracted` and `how`, and counts the verdicts. Completions are graded over
/// all cores; the grades are in their order. A problem without `reference` stays as it is, its
/// labels included, and is counted.
pub fn grade(rollout: &mut Rollout, options: &Options, counts: &mut GradeCounts) -> Vec<Grade> {
    let grades = grade_one(rollout, options);
    counts.add_problem(grades.as_deref());
    grades.unwrap_or_default()
}

/// As [`grade`] for many rollouts over all cores: the grades of each, `None` without a `reference`.
pub fn grade_all(rollouts: &mut [Rollout], options: &Options) -> Vec<Option<Vec<Grade>>> {
    rollouts.par_iter_mut().map(|rollout| grade_one(rollout, options)).collect()
}

fn grade_one(rollout: &mut Rollout, options: &Options) -> Option<Vec<Grade>> {
    let Rollout { reference, completions, .. } = &*rollout;
    if reference.trim().is_empty() {
        return None;
    }
    let grades: Vec<Grade> = completions
        .par_chunks(COMPLETIONS_AT_ONCE)
        .flat_map_iter(|completions| {
            let grader = Grader::new(reference, options);
            completions.iter().map(move |completion| grader.grade(&completion.text))
        })
        .collect();
    for (completion, grade) in rollout.completions.iter_mut().zip(&grades) {
        completion.label = Some(grade.verdict.is_correct());
        completion.soft_label = None;
        completion.extra.insert(Completion::EXTRACTED.to_owned(), json!(grade.extracted));
        completion.extra.insert(Completion::HOW.to_owned(), json!(grade.how));
    }
    Some(grades)
}
