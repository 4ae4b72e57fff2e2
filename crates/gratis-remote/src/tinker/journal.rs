//! The journal of a training: a line of JSON before each request and one after it.
//!
//! It says which models a run created, so that a run which is resumed frees those that a killed one
//! left on the server, and which requests were sent, with the hashes of their bodies.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::session::Body;
use crate::error::{Error, Result};

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line {
    /// A model was created.
    Model {
        /// Its id.
        id: String,
    },
    /// A model was freed.
    Freed {
        /// Its id.
        id: String,
    },
    /// A request is about to be sent.
    Sending {
        /// What it asks for.
        kind: String,
        /// Its number.
        seq_id: u64,
        /// Hash of its body.
        hash: String,
    },
    /// The server has accepted a request.
    Sent {
        /// The number of the request.
        seq_id: u64,
        /// Its id with the server.
        request_id: String,
    },
}

/// A journal on disk, or nowhere.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    file: Option<(PathBuf, File)>,
}

impl Journal {
    /// Opens a journal to append to it; what it holds so far.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Line>)> {
        let failed = |source| Error::Write { path: path.to_owned(), source };
        let known = std::fs::read_to_string(path).unwrap_or_default();
        // A kill may have torn the last line.
        let lines = known.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        if !known.is_empty() && !known.ends_with('\n') {
            file.write_all(b"\n").map_err(failed)?;
        }
        Ok((Self { file: Some((path.to_owned(), file)) }, lines))
    }

    /// The models that were created and not freed.
    pub(crate) fn left_over(lines: &[Line]) -> Vec<String> {
        let mut models: Vec<String> = Vec::new();
        for line in lines {
            match line {
                Line::Model { id } => models.push(id.clone()),
                Line::Freed { id } => models.retain(|known| known != id),
                Line::Sending { .. } | Line::Sent { .. } => {}
            }
        }
        models
    }

    pub(crate) fn write(&mut self, line: &Line) -> Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let text = format!("{}\n", serde_json::json!(line));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.flush());
        written.map_err(|source| Error::Write { path: path.clone(), source })
    }

    pub(super) fn sending(&mut self, kind: &str, seq_id: u64, body: Body<'_>) -> Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        let digest = match body {
            Body::Json(value) => Sha256::digest(value.to_string()),
            Body::Protobuf(bytes) => Sha256::digest(bytes),
        };
        let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let hash = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
        self.write(&Line::Sending { kind: kind.to_owned(), seq_id, hash })
    }

    pub(super) fn sent(&mut self, seq_id: u64, request_id: &str) -> Result<()> {
        self.write(&Line::Sent { seq_id, request_id: request_id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_were_not_freed_are_found_after_a_torn_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.jsonl");
        let (mut journal, lines) = Journal::open(&path).expect("opened");
        assert!(lines.is_empty());
        for id in ["a", "b"] {
            journal.write(&Line::Model { id: id.to_owned() }).expect("written");
        }
        journal.sending("optim_step", 3, Body::Protobuf(b"x")).expect("written");
        journal.write(&Line::Freed { id: "a".to_owned() }).expect("written");
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(br#"{"event":"model","id":"#))
            .expect("torn");
        let (_, lines) = Journal::open(&path).expect("opened");
        assert_eq!(lines.len(), 4);
        assert_eq!(Journal::left_over(&lines), ["b"]);
    }
}
