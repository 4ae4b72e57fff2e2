//! PRMBench's files: solutions into which an error of one of nine kinds was written, with the numbers
//! of the steps that are wrong.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::records::completion::Completion;
use crate::records::reader::RecordReader;
use crate::records::record::{Fault, Field, OnInvalid, Record, Shape};
use crate::records::rollout::Rollout;

/// Between the steps of a solution as a model reads it.
const SEPARATOR: &str = "\n\n";

/// Kind of the error that was written into a solution, by the name that files have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// NR: a step that is not needed. The files spell it so.
    #[serde(rename = "redundency")]
    Redundancy,
    /// NCL: a conclusion that is its own premise.
    Circular,
    /// ES: a statement against known facts.
    Counterfactual,
    /// SC: a step against an earlier one.
    StepContradiction,
    /// DC: a rule used outside its domain.
    DomainInconsistency,
    /// CI: something false said with confidence.
    Confidence,
    /// PS: a condition is missing from the problem.
    MissingCondition,
    /// DR: an error that looks right.
    Deception,
    /// MS: other solutions, all steps of which are right.
    MultiSolutions,
}

impl Category {
    /// All of them, in the benchmark's order.
    pub const ALL: [Self; 9] = [
        Self::Redundancy,
        Self::Circular,
        Self::Counterfactual,
        Self::StepContradiction,
        Self::DomainInconsistency,
        Self::Confidence,
        Self::MissingCondition,
        Self::Deception,
        Self::MultiSolutions,
    ];

    /// As in the files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redundancy => "redundency",
            Self::Circular => "circular",
            Self::Counterfactual => "counterfactual",
            Self::StepContradiction => "step_contradiction",
            Self::DomainInconsistency => "domain_inconsistency",
            Self::Confidence => "confidence",
            Self::MissingCondition => "missing_condition",
            Self::Deception => "deception",
            Self::MultiSolutions => "multi_solutions",
        }
    }

    /// As in the benchmark's tables.
    pub fn short(self) -> &'static str {
        match self {
            Self::Redundancy => "NR",
            Self::Circular => "NCL",
            Self::Counterfactual => "ES",
            Self::StepContradiction => "SC",
            Self::DomainInconsistency => "DC",
            Self::Confidence => "CI",
            Self::MissingCondition => "PS",
            Self::Deception => "DR",
            Self::MultiSolutions => "MS",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }
}

/// One line of the benchmark's files; fields that are not needed are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Entry {
    idx: String,
    modified_question: String,
    modified_process: Vec<String>,
    /// Numbers of the wrong steps, from 1.
    error_steps: Vec<i64>,
    classification: String,
}

impl Record for Entry {
    type Columns = Self;

    const FIELDS: &'static [Field] = &[
        Field::required("idx", &Shape::Text),
        Field::required("modified_question", &Shape::Text),
        Field::required("modified_process", &Shape::List(&Shape::Text)),
        Field::required("error_steps", &Shape::List(&Shape::Number)),
        Field::required("classification", &Shape::Text),
    ];

    fn from_columns(columns: Self) -> std::result::Result<Self, Fault> {
        if columns.modified_process.is_empty() {
            return Err(Fault::new("modified_process", "one step or more", "an empty list"));
        }
        if Category::parse(&columns.classification).is_none() {
            let names = Category::ALL.map(|category| format!("`{}`", category.name()));
            let got = format!("`{}`", columns.classification);
            return Err(Fault::new("classification", names.join(", "), got));
        }
        Ok(columns)
    }
}

/// The solutions of the benchmark, ready to be scored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Solutions {
    /// One solution a record: prompts repeat.
    pub rollouts: Vec<Rollout>,
    /// The category of each, and whether each of its steps is wrong: `[n_solutions][n_steps]`.
    pub labels: Vec<(Category, Vec<bool>)>,
    /// Entries that repeat an earlier one of their category and are skipped, as in the benchmark.
    pub n_repeated: usize,
    /// Numbers of wrong steps beyond the solution, which the benchmark ignores.
    pub n_beyond: usize,
}

impl Solutions {
    /// Reads the benchmark's files, together.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::InvalidRecord`] naming file, line and field of another format;
    /// [`Error::InvalidFile`] for a file without an entry.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut solutions = Self::default();
        let mut seen: HashSet<(Category, String)> = HashSet::new();
        for path in paths {
            let mut n_entries = 0;
            for entry in RecordReader::<Entry>::open(path, OnInvalid::Stop)? {
                n_entries += 1;
                solutions.push(entry?, &mut seen);
            }
            if n_entries == 0 {
                return Err(Error::InvalidFile {
                    path: path.clone(),
                    expected: "one solution a line".to_owned(),
                    got: "an empty file".to_owned(),
                });
            }
        }
        Ok(solutions)
    }

    fn push(&mut self, entry: Entry, seen: &mut HashSet<(Category, String)>) {
        let Entry { idx, modified_question, modified_process: steps, error_steps, classification } =
            entry;
        // Checked when the entry was read.
        let Some(category) = Category::parse(&classification) else { return };
        if !seen.insert((category, idx.clone())) {
            self.n_repeated += 1;
            return;
        }
        let mut is_wrong = vec![false; steps.len()];
        for number in error_steps {
            let step_idx = number.checked_sub(1).and_then(|idx| usize::try_from(idx).ok());
            match step_idx.and_then(|idx| is_wrong.get_mut(idx)) {
                Some(is_wrong) => *is_wrong = true,
                None => self.n_beyond += 1,
            }
        }
        self.labels.push((category, is_wrong));
        self.rollouts.push(Rollout {
            id: Some(format!("{classification}/{idx}")),
            prompt: modified_question,
            dataset: "prmbench".to_owned(),
            completions: vec![Completion::from(steps.join(SEPARATOR)).with_steps(steps)],
            ..Rollout::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{"idx": "p1_0", "original_question": "q", "modified_question": "m",
        "original_process": ["o"], "modified_process": ["1. a", "2. b"], "modified_steps": [2],
        "error_steps": [2, 5], "reason": "r", "question": "q", "classification": "redundency"}"#;

    #[test]
    fn entries_become_rollouts_and_repeated_ones_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("prmbench.jsonl");
        let entry = ENTRY.replace('\n', " ");
        let other = entry.replace("redundency", "multi_solutions");
        std::fs::write(&path, format!("{entry}\n{other}\n{entry}\n")).expect("written");
        let solutions = Solutions::read(&[path]).expect("read");
        assert_eq!((solutions.rollouts.len(), solutions.n_repeated, solutions.n_beyond), (2, 1, 2));
        assert_eq!(solutions.rollouts[0].prompt, "m");
        assert_eq!(solutions.rollouts[0].completions[0].text, "1. a\n\n2. b");
        assert_eq!(solutions.labels[0], (Category::Redundancy, vec![false, true]));
    }

    #[test]
    fn another_format_is_refused_by_line_and_field() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("prmbench.jsonl");
        let entry = ENTRY.replace('\n', " ");
        for (text, needle) in [
            (entry.replace("modified_process", "steps"), "`modified_process`"),
            (entry.replace("[2, 5]", "\"2\""), "`error_steps`"),
            (entry.replace("redundency", "typos"), "`typos`"),
            (entry.replace(r#"["1. a", "2. b"]"#, "[]"), "an empty list"),
            (entry[..entry.len() / 2].to_owned(), "a JSON object"),
        ] {
            std::fs::write(&path, format!("{entry}\n{text}\n")).expect("written");
            let error = Solutions::read(std::slice::from_ref(&path)).expect_err("refused");
            let error = error.to_string();
            assert!(error.contains(needle) && error.contains("prmbench.jsonl`, line 2"), "{error}");
        }
        std::fs::write(&path, "\n").expect("written");
        assert!(Solutions::read(&[path]).is_err(), "an empty file");
    }
}
