//! The journal of a training: a line of JSON before each request and one after it.
//!
//! It says which models a run created and which requests were sent for each, with their numbers, the
//! hashes of their bodies and the ids of their results. A run that was killed takes its model up
//! again where it still is: it asks for the results of the requests that the journal has instead of
//! sending them again, so no step is taken twice. Other models that it left are freed.

use std::collections::BTreeMap;
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
        /// Its session.
        #[serde(default)]
        session: String,
        /// Rank and seed of the adapter that is trained; none for the model of a probe.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        adapter: Option<(usize, u64)>,
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
        /// The model.
        #[serde(default)]
        model: String,
        /// Its number.
        seq_id: u64,
        /// Hash of its body.
        hash: String,
    },
    /// The server has accepted a request.
    Sent {
        /// The model.
        #[serde(default)]
        model: String,
        /// The number of the request.
        seq_id: u64,
        /// Its id with the server.
        request_id: String,
    },
    /// A state was saved.
    Saved {
        /// The model.
        model: String,
        /// The number of the request.
        seq_id: u64,
        /// Where it is.
        uri: String,
        /// How many names of checkpoints were tried so far.
        n_saved: u64,
    },
}

/// A request of an earlier process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PastRequest {
    pub(crate) kind: String,
    pub(crate) hash: String,
    /// Hashes of the requests that were sent under this number before: saves whose names were taken.
    pub(crate) refused: Vec<String>,
    /// The id of its result, if the server had accepted it.
    pub(crate) request_id: Option<String>,
}

/// A model of an earlier process that was not freed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PastModel {
    pub(crate) id: String,
    pub(crate) session: String,
    /// Rank and seed; none for the model of a probe.
    pub(crate) adapter: Option<(usize, u64)>,
    pub(crate) requests: BTreeMap<u64, PastRequest>,
    /// Numbers of the requests that saved states, their URIs, and the names tried.
    saved: Vec<(u64, String, u64)>,
}

impl PastModel {
    /// The number of the last request before a run in the state `uri` goes on, or in that of a fresh
    /// adapter, and the names of checkpoints tried until then.
    pub(crate) fn position(&self, uri: Option<&str>) -> Option<(u64, u64)> {
        if let Some(uri) = uri {
            let found = self.saved.iter().find(|(_, known, _)| known == uri);
            return found.map(|&(seq_id, _, n_saved)| (seq_id, n_saved));
        }
        let first = self.requests.values().next()?;
        (first.kind != "load_weights").then_some((0, 0))
    }
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

    /// Of the models that were created and not freed: the last with this rank and seed, and the others,
    /// oldest first. A run that was killed while it probed left a model of the probe after its own.
    pub(crate) fn left_over(
        lines: &[Line],
        own: (usize, u64),
    ) -> (Option<PastModel>, Vec<PastModel>) {
        let mut models: Vec<PastModel> = Vec::new();
        for line in lines {
            let of = |id: &str| models.iter().rposition(|known| known.id == id);
            match line {
                Line::Model { id, session, adapter } => models.push(PastModel {
                    id: id.clone(),
                    session: session.clone(),
                    adapter: *adapter,
                    ..PastModel::default()
                }),
                Line::Freed { id } => models.retain(|known| known.id != *id),
                Line::Sending { kind, model, seq_id, hash } => {
                    let Some(at) = of(model) else { continue };
                    let before = models[at].requests.remove(seq_id);
                    let mut refused = Vec::new();
                    if let Some(before) = before {
                        refused = before.refused;
                        refused.push(before.hash);
                        // The same request, sent again after a kill.
                        refused.retain(|other| other != hash);
                    }
                    let (kind, hash) = (kind.clone(), hash.clone());
                    let request = PastRequest { kind, hash, refused, request_id: None };
                    models[at].requests.insert(*seq_id, request);
                }
                Line::Sent { model, seq_id, request_id } => {
                    let Some(at) = of(model) else { continue };
                    if let Some(request) = models[at].requests.get_mut(seq_id) {
                        request.request_id = Some(request_id.clone());
                    }
                }
                Line::Saved { model, seq_id, uri, n_saved } => {
                    let Some(at) = of(model) else { continue };
                    models[at].saved.push((*seq_id, uri.clone(), *n_saved));
                }
            }
        }
        let last = models.iter().rposition(|model| model.adapter == Some(own));
        (last.map(|at| models.remove(at)), models)
    }

    pub(crate) fn write(&mut self, line: &Line) -> Result<()> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let text = format!("{}\n", serde_json::json!(line));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.flush());
        written.map_err(|source| Error::Write { path: path.clone(), source })
    }

    pub(super) fn sending(
        &mut self,
        model: &str,
        kind: &str,
        seq_id: u64,
        hash: String,
    ) -> Result<()> {
        let (model, kind) = (model.to_owned(), kind.to_owned());
        self.write(&Line::Sending { kind, model, seq_id, hash })
    }

    pub(super) fn sent(&mut self, model: &str, seq_id: u64, request_id: &str) -> Result<()> {
        let (model, request_id) = (model.to_owned(), request_id.to_owned());
        self.write(&Line::Sent { model, seq_id, request_id })
    }
}

/// The hash of a body, as it stands in the journal.
pub(super) fn hash_of(body: Body<'_>) -> String {
    let digest = match body {
        Body::Json(value) => Sha256::digest(value.to_string()),
        Body::Protobuf(bytes) => Sha256::digest(bytes),
    };
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_process_left_is_found_after_a_torn_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.jsonl");
        let (mut journal, lines) = Journal::open(&path).expect("opened");
        assert!(lines.is_empty());
        for id in ["a", "b"] {
            let (id, session) = (id.to_owned(), "s".to_owned());
            journal.write(&Line::Model { id, session, adapter: Some((8, 1)) }).expect("written");
        }
        let hash = hash_of(Body::Protobuf(b"x"));
        for (seq_id, kind) in [(1, "forward"), (2, "save_weights"), (3, "optim_step")] {
            journal.sending("b", kind, seq_id, hash.clone()).expect("written");
        }
        journal.sent("b", 2, "17").expect("written");
        let (model, uri) = ("b".to_owned(), "tinker://b/weights/x-4".to_owned());
        let saved = Line::Saved { model, seq_id: 2, uri: uri.clone(), n_saved: 4 };
        journal.write(&saved).expect("written");
        journal.write(&Line::Freed { id: "a".to_owned() }).expect("written");
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(br#"{"event":"model","id":"#))
            .expect("torn");
        let (_, lines) = Journal::open(&path).expect("opened");
        assert_eq!(lines.len(), 8);
        let (own, others) = Journal::left_over(&lines, (8, 1));
        let own = own.expect("it was not freed");
        assert_eq!((&own.id[..], others.len()), ("b", 0));
        assert_eq!(own.adapter, Some((8, 1)));
        let ids: Vec<_> = own.requests.values().map(|one| one.request_id.as_deref()).collect();
        assert_eq!(ids, [None, Some("17"), None]);
        assert_eq!(own.position(Some(&uri)), Some((2, 4)));
        assert_eq!(own.position(Some("tinker://a/weights/x-4")), None);
        assert_eq!(own.position(None), Some((0, 0)));
    }

    #[test]
    fn a_model_is_found_before_that_of_a_probe() {
        let line = |id: &str, adapter| {
            let (id, session) = (id.to_owned(), "s".to_owned());
            Line::Model { id, session, adapter }
        };
        let lines = [line("own", Some((8, 1))), line("other", Some((4, 1))), line("probe", None)];
        let (own, others) = Journal::left_over(&lines, (8, 1));
        assert_eq!(own.map(|model| model.id).as_deref(), Some("own"));
        assert_eq!(
            others.iter().map(|model| &model.id[..]).collect::<Vec<_>>(),
            ["other", "probe"]
        );
    }
}
