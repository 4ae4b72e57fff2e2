//! The files of ProcessBench (Zheng et al. 2024): solutions given as steps, with the index of the first
//! wrong one or -1, in a file per subset (JSON, JSON lines or Parquet).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::records::completion::Completion;
use crate::records::reader::RecordReader;
use crate::records::record::{Fault, Field, OnInvalid, Record, Shape};
use crate::records::rollout::Rollout;

/// Between the steps of a solution as a model reads it.
const SEPARATOR: &str = "\n\n";

/// One solution of the benchmark.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    generator: String,
    problem: String,
    steps: Vec<String>,
    /// Index of the first wrong step, or -1.
    label: i64,
    #[serde(default)]
    final_answer_correct: Option<bool>,
}

impl Record for Entry {
    type Columns = Self;

    const FIELDS: &'static [Field] = &[
        Field::required("id", &Shape::Text),
        Field::optional("generator", &Shape::Text),
        Field::required("problem", &Shape::Text),
        Field::required("steps", &Shape::List(&Shape::Text)),
        Field::required("label", &Shape::Number),
        Field::optional("final_answer_correct", &Shape::Bool),
    ];

    fn from_columns(entry: Self) -> std::result::Result<Self, Fault> {
        let n = entry.steps.len();
        if n == 0 {
            return Err(Fault::new(
                "steps",
                "at least one step",
                format!("none of `{}`", entry.id),
            ));
        }
        match usize::try_from(entry.label) {
            Ok(step) if step < n => Ok(entry),
            Err(_) if entry.label == -1 => Ok(entry),
            _ => {
                let got = format!("label {} of `{}` with {n} steps", entry.label, entry.id);
                Err(Fault::new("label", "-1, or the index of a step", got))
            }
        }
    }
}

/// The solutions of a subset, ready to be scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// The solutions, one per record: prompts may repeat.
    pub rollouts: Vec<Rollout>,
    /// Index of the first wrong step of each; `None` if all are right.
    pub first_errors: Vec<Option<usize>>,
}

impl Subset {
    /// The names of the benchmark's subsets, in its order.
    pub const NAMES: [&str; 4] = [Self::TUNED_ON, "math", "olympiadbench", "omnimath"];

    /// The name of the one on which thresholds are tuned.
    pub const TUNED_ON: &str = "gsm8k";

    /// Reads a file of a subset: JSON, JSON lines or Parquet.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::InvalidRecord`] for another format, a solution without steps, or a label
    /// that names no step; [`Error::InvalidFile`] for a file without solutions.
    pub fn read(path: &Path, name: &str) -> Result<Self> {
        let entries = RecordReader::<Entry>::open(path, OnInvalid::Stop)?;
        let entries = entries.collect::<Result<Vec<_>>>()?;
        if entries.is_empty() {
            return Err(Error::InvalidFile {
                path: path.to_owned(),
                expected: "solutions with `id`, `problem`, `steps` and `label`".to_owned(),
                got: "an empty list".to_owned(),
            });
        }
        let mut subset =
            Self { name: name.to_owned(), rollouts: Vec::new(), first_errors: Vec::new() };
        for entry in entries {
            let Entry { id, generator, problem, steps, label, final_answer_correct } = entry;
            let first_error = usize::try_from(label).ok();
            let mut extra = serde_json::Map::new();
            extra.insert("generator".to_owned(), generator.into());
            subset.first_errors.push(first_error);
            subset.rollouts.push(Rollout {
                id: Some(id),
                prompt: problem,
                dataset: name.to_owned(),
                completions: vec![Completion {
                    label: final_answer_correct,
                    ..Completion::from(steps.join(SEPARATOR)).with_steps(steps)
                }],
                extra,
                ..Rollout::default()
            });
        }
        Ok(subset)
    }
}

/// The subsets in a folder, GSM8K's first.
///
/// # Errors
/// Those of [`Subset::read`]; [`Error::Io`], naming GSM8K's file, if the folder has no subset.
pub fn read(folder: &Path) -> Result<Vec<Subset>> {
    let there = |name: &&str| file_of(folder, name).exists();
    let mut names: Vec<&str> = Subset::NAMES.into_iter().filter(there).collect();
    if names.is_empty() {
        names.push(Subset::TUNED_ON);
    }
    names.into_iter().map(|name| Subset::read(&file_of(folder, name), name)).collect()
}

/// The file of a subset: `NAME.json`, unless only one of another format is there.
fn file_of(folder: &Path, name: &str) -> PathBuf {
    let names = ["json", "jsonl", "parquet"].map(|extension| format!("{name}.{extension}"));
    let published = format!("{name}-00000-of-00001.parquet");
    let mut paths = names.iter().chain([&published]).map(|name| folder.join(name));
    paths.find(|path| path.exists()).unwrap_or_else(|| folder.join(format!("{name}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_become_rollouts_and_wrong_ones_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gsm8k.json");
        let entry = |label: i64| {
            format!(r#"[{{"id": "g-0", "problem": "p", "steps": ["a", "b"], "label": {label}}}]"#)
        };
        std::fs::write(&path, entry(1)).expect("written");
        let subsets = read(folder.path()).expect("read");
        assert_eq!(subsets.len(), 1, "the others are not there");
        assert_eq!(subsets[0].first_errors, [Some(1)]);
        assert_eq!(subsets[0].rollouts[0].completions[0].text, "a\n\nb");
        for (text, needle) in [
            (entry(2), "label 2 of `g-0` with 2 steps"),
            (entry(-2), "label -2 of `g-0`"),
            ("[]".to_owned(), "an empty list"),
            (r#"[{"id": "g-0"}]"#.to_owned(), "`problem` should be a string, got nothing"),
            (
                r#"[{"id": "g-0", "problem": "p", "steps": [], "label": -1}]"#.to_owned(),
                "none of `g-0`",
            ),
        ] {
            std::fs::write(&path, text).expect("written");
            let error = read(folder.path()).expect_err("refused").to_string();
            assert!(error.contains(needle) && error.contains("gsm8k.json"), "{error}");
        }
        std::fs::remove_file(&path).expect("removed");
        let lines = entry(1).replace(['[', ']'], "").replace(r#""a", "b""#, r#"["a", "b"]"#);
        std::fs::write(folder.path().join("gsm8k.jsonl"), lines).expect("written");
        assert_eq!(read(folder.path()).expect("lines"), subsets);
        std::fs::remove_file(folder.path().join("gsm8k.jsonl")).expect("removed");
        assert!(read(folder.path()).is_err(), "no subset");
    }
}
