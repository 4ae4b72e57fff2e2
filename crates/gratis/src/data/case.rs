//! Grading cases: a gold answer and a prediction a line, whatever else stands beside them.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::file::lines_only;
use super::lines::{LineReader, LineWriter};
use super::record::{Fault, Field, OnInvalid, Record};
use crate::error::Result;

/// One line of a case file (`.jsonl`, `.jsonl.zst`, `-`), with all of its fields in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Case {
    /// The fields as they were read.
    pub fields: Map<String, Value>,
}

impl Case {
    /// The gold answer; empty if absent.
    pub fn gold(&self) -> Cow<'_, str> {
        self.text("gold")
    }

    /// The prediction, a bare answer or a whole solution; empty if absent.
    pub fn pred(&self) -> Cow<'_, str> {
        self.text("pred")
    }

    /// A field as text: a number stands for its digits, null for nothing.
    fn text(&self, name: &str) -> Cow<'_, str> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Cow::Borrowed(""),
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(other) => Cow::Owned(other.to_string()),
        }
    }
}

impl Record for Case {
    const FIELDS: &'static [Field] = &[];

    fn fault(&self) -> Option<Fault> {
        None
    }
}

/// Reads a case file one case at a time.
pub struct CaseReader {
    lines: LineReader<Case>,
}

impl CaseReader {
    /// Opens `path`.
    ///
    /// # Errors
    /// As [`RolloutReader::open`](super::RolloutReader::open).
    pub fn open(path: impl AsRef<Path>, on_invalid: OnInvalid) -> Result<Self> {
        let path = path.as_ref();
        Ok(Self { lines: LineReader::open(path, lines_only(path)?, on_invalid)? })
    }

    /// Lines left out so far under [`OnInvalid::Skip`].
    pub fn n_skipped(&self) -> u64 {
        self.lines.n_skipped()
    }
}

impl Iterator for CaseReader {
    type Item = Result<Case>;

    fn next(&mut self) -> Option<Result<Case>> {
        self.lines.next()
    }
}

/// Writes a case file one case at a time; it appears when [`CaseWriter::finish`] is called.
pub struct CaseWriter {
    lines: LineWriter,
}

impl CaseWriter {
    /// Begins the file `path`.
    ///
    /// # Errors
    /// As [`RolloutWriter::create`](super::RolloutWriter::create).
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Ok(Self { lines: LineWriter::create(path, lines_only(path)?)? })
    }

    /// Adds a case.
    pub fn write(&mut self, case: &Case) -> Result<()> {
        self.lines.write(case)
    }

    /// Makes the file appear under its name.
    pub fn finish(self) -> Result<()> {
        self.lines.finish()
    }
}
