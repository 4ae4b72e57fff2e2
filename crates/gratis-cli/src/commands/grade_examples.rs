//! A few examples of each verdict of `gratis grade`, to look at.

use std::fmt;

use gratis_grading::{Grade, Verdict};

/// Examples kept of each verdict.
const N_EXAMPLES: usize = 3;
/// Characters shown of an answer.
const MAX_CHARS: usize = 60;

/// The first few graded answers of each verdict.
#[derive(Debug, Clone, Default)]
pub(super) struct GradeExamples {
    examples: Vec<(Verdict, String)>,
}

impl GradeExamples {
    /// Keeps `grade` if there are few of its verdict.
    pub(super) fn add(&mut self, gold: &str, grade: &Grade) {
        let n_known = self.examples.iter().filter(|(verdict, _)| *verdict == grade.verdict).count();
        if n_known == N_EXAMPLES {
            return;
        }
        let found = match &grade.extracted {
            Some(answer) => format!("`{}`", excerpt(answer)),
            None => "nothing".to_owned(),
        };
        self.examples.push((
            grade.verdict,
            format!("gold `{}`, found {found} ({})", excerpt(gold), name(grade.how)),
        ));
    }
}

impl fmt::Display for GradeExamples {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdicts =
            [Verdict::Correct, Verdict::Incorrect, Verdict::NoAnswer, Verdict::Malformed];
        let mut separator = "";
        for verdict in verdicts {
            for (_, example) in self.examples.iter().filter(|(other, _)| *other == verdict) {
                write!(formatter, "{separator}{}: {example}", name(verdict))?;
                separator = "\n";
            }
        }
        Ok(())
    }
}

/// The name a value has in files.
fn name(value: impl serde::Serialize) -> String {
    match serde_json::json!(value) {
        serde_json::Value::String(name) => name,
        other => other.to_string(),
    }
}

/// The end of an answer on one line: a gold solution ends with its answer.
fn excerpt(text: &str) -> String {
    let line = text.trim().lines().next_back().unwrap_or("");
    match line.char_indices().rev().nth(MAX_CHARS) {
        Some((start, _)) => format!("..{}", line[start..].trim_start()),
        None => line.to_owned(),
    }
}
