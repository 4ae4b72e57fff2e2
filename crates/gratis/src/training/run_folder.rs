//! The folder of a run: configuration, metrics, checkpoints to resume from, and the models.
//!
//! ```text
//! config.toml                   the resolved configuration, whole
//! metrics.jsonl                 one line per step or validation
//! metrics.csv  tensorboard/     the same for other tools, where asked for
//! checkpoints/step-00000100/    weights, both moments and the state of the trainer
//! best/  model/                 Hugging Face folders: best on validation, and after the last step
//! ```
//! Whatever is here is whole: folders and files are written as hidden drafts and then renamed. One
//! process at a time holds the folder's lock. What this program did not write is never removed.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use gratis_engine::{StateName, StateRef, Train};
use gratis_model::atomic;
use gratis_model::lock::Lock;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::card::{self, CARD, Figures, ModelCard};
use super::export::{Exports, LogFormat};
use super::metrics::{Evaluation, Line, Record, RewardCounts, StepMetrics};
use crate::data::Error as DataError;
use crate::digest::hex;
use crate::error::{Error, Result};

/// Version of the trainer's state in a checkpoint.
const VERSION: u32 = 1;
const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const CHECKPOINTS: &str = "checkpoints";
const STATE: &str = "trainer.json";

/// What to do with a folder that holds a run already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    /// Refuse.
    Fail,
    /// Go on from its last checkpoint, or from the start if there is none.
    Resume,
}

/// The best validation so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Step after which it was measured.
    pub step: u64,
    /// Loss on the validation split.
    pub loss: f64,
}

/// What a checkpoint holds beside the engine's state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrainerState {
    version: u32,
    /// Hash of the configuration and the data.
    run_hash: String,
    /// Steps taken.
    pub(super) n_taken: u64,
    /// The best validation so far.
    pub(super) best: Option<Best>,
    /// Rewards of the responses of the epoch so far.
    #[serde(default, skip_serializing_if = "RewardCounts::is_empty")]
    pub(super) rewards: RewardCounts,
    /// Where a remote engine keeps its state; `None` if it stands in the checkpoint's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    /// Threads of the process that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) n_threads: Option<usize>,
}

/// Time that a run has taken.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Seconds {
    /// Of the clock.
    pub(super) wall: Option<f64>,
    /// Of all processors.
    pub(super) processor: Option<f64>,
}

/// The folder of a run.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    run_hash: String,
    /// Files beside the weights of a model, by name.
    companions: Vec<(String, Vec<u8>)>,
    card: Option<ModelCard>,
    metrics: Option<fs::File>,
    exports: Exports,
    /// Time of training before this run resumed it.
    before: Seconds,
    /// Threads that compute, where the caller says.
    pub(super) n_threads: Option<usize>,
    _lock: Lock,
}

impl RunFolder {
    /// Makes the folder, or takes up the run that is in it. `config` is the resolved configuration
    /// and `data_hash` names the data: a run is only resumed with both unchanged. `companions` are
    /// files to write beside the weights of a model, such as those of the tokenizer and `gratis.json`:
    /// name and content.
    ///
    /// # Errors
    /// [`Error::RunExists`], [`Error::RunDiffers`], [`gratis_model::Error::Locked`], [`Io`](crate::data::Error::Io).
    pub fn open(
        path: &Path,
        config: &str,
        data_hash: &str,
        companions: Vec<(String, Vec<u8>)>,
        on_existing: OnExisting,
    ) -> Result<Self> {
        let config_path = path.join(CONFIG);
        check_existing(path, on_existing)?;
        if config_path.exists() {
            let known =
                fs::read_to_string(&config_path).map_err(Error::io("read", &config_path))?;
            if let Some(line) = first_difference(&known, config) {
                return Err(Error::RunDiffers { path: path.to_owned(), what: line });
            }
        }
        let checkpoints = path.join(CHECKPOINTS);
        fs::create_dir_all(&checkpoints).map_err(Error::io("create", &checkpoints))?;
        let lock = Lock::within(path)?;
        // Another run may have begun before the lock was taken.
        check_existing(path, on_existing)?;
        atomic::remove_stale_drafts(path, |name| DRAFTED.contains(&name));
        atomic::remove_stale_drafts(&checkpoints, |name| step_of(name).is_some());
        atomic::write(&config_path, config.as_bytes())?;
        let mut hasher = Sha256::new();
        hasher.update(config);
        hasher.update(data_hash);
        Ok(Self {
            path: path.to_owned(),
            run_hash: hex(&hasher.finalize()),
            companions,
            card: None,
            metrics: None,
            exports: Exports::default(),
            before: Seconds::default(),
            n_threads: None,
            _lock: lock,
        })
    }

    /// The same folder, whose checkpoints record the number of threads: it can change the last bits.
    #[must_use]
    pub fn with_threads(self, n_threads: usize) -> Self {
        Self { n_threads: Some(n_threads), ..self }
    }

    /// The same folder, whose models get a card.
    #[must_use]
    pub(crate) fn with_card(self, card: ModelCard) -> Self {
        Self { card: Some(card), ..self }
    }

    /// The same folder, with the metrics in these formats too, and in those that the run has already.
    /// `now` are the seconds since 1970, for formats that record the time.
    #[must_use]
    pub fn with_logs(self, formats: &[LogFormat], now: f64) -> Self {
        Self { exports: Exports::new(&self.path, formats, now), ..self }
    }

    /// Whether a run may be opened here: to be asked before hours of work.
    ///
    /// # Errors
    /// [`Error::RunExists`] if there is a run that is not to be resumed,
    /// [`gratis_model::Error::Locked`] if another process is writing it.
    pub fn check(path: &Path, on_existing: OnExisting) -> Result<()> {
        check_existing(path, on_existing)?;
        if path.is_dir() {
            drop(Lock::within(path)?);
        }
        Ok(())
    }

    /// Restores `engine` to the newest checkpoint and cuts the metrics back to it; without a
    /// checkpoint the run starts from the beginning. A kill may have come before old checkpoints
    /// were removed.
    pub(super) fn resume(
        &mut self,
        engine: &mut dyn Train,
        keep_last: usize,
    ) -> Result<TrainerState> {
        let state = match self.checkpoints()?.pop() {
            None => TrainerState::default(),
            Some((step, folder)) => {
                let state = self.read_state(step, &folder)?;
                let saved = match &state.uri {
                    Some(uri) => StateRef::Uri(uri.clone()),
                    None => StateRef::Folder(folder),
                };
                engine.load_state(&saved)?;
                state
            }
        };
        self.prune(keep_last)?;
        self.cut_metrics(state.n_taken)?;
        Ok(state)
    }

    /// The steps that the metrics hold, and the last measurement on the validation split.
    pub(super) fn so_far(&self) -> Result<(Vec<StepMetrics>, Option<Evaluation>)> {
        let path = self.path.join(METRICS);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), None)),
            text => text.map_err(Error::io("read", &path))?,
        };
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let (mut steps, mut validation) = (Vec::new(), None);
        for line in lines {
            match line.record {
                Record::Step(metrics) => steps.push(metrics),
                Record::Validation { evaluation, .. } => validation = Some(evaluation),
                Record::Rewards { .. } => {}
            }
        }
        Ok((steps, validation))
    }

    /// Processor seconds of training before this run resumed it.
    pub(super) fn processor_seconds_before(&self) -> f64 {
        self.before.processor.unwrap_or(0.0)
    }

    /// Appends a line to the metrics; `seconds` is the time since this run began to train.
    pub(super) fn record(&mut self, record: Record, seconds: Seconds) -> Result<()> {
        // Milliseconds are as exact as a clock is here.
        let rounded = |seconds: f64| (seconds * 1e3).round() / 1e3;
        let sum =
            |before: Option<f64>, now: Option<f64>| Some(rounded(before.unwrap_or(0.0) + now?));
        let wall_seconds = sum(self.before.wall, seconds.wall);
        let processor_seconds = sum(self.before.processor, seconds.processor);
        let path = self.path.join(METRICS);
        let file = match &mut self.metrics {
            Some(file) => file,
            none => {
                let file = fs::OpenOptions::new().create(true).append(true).open(&path);
                none.insert(file.map_err(Error::io("open", &path))?)
            }
        };
        // One write a line: a kill leaves at most the last line torn, and resuming cuts it off.
        let line = Line { record, wall_seconds, processor_seconds };
        let text = format!("{}\n", serde_json::json!(line));
        file.write_all(text.as_bytes()).map_err(Error::io("write", &path))?;
        self.exports.add(&line)
    }

    /// Writes a checkpoint and removes all but the `keep_last` newest.
    pub(super) fn save_checkpoint(
        &self,
        engine: &dyn Train,
        n_taken: u64,
        best: Option<Best>,
        rewards: &RewardCounts,
        keep_last: usize,
    ) -> Result<()> {
        let name = step_name(n_taken);
        atomic::write_folder(&self.path.join(CHECKPOINTS).join(&name), |folder| {
            let saved = engine.save_state(&StateName { folder: folder.to_owned(), name })?;
            let uri = match saved {
                StateRef::Folder(_) => None,
                StateRef::Uri(uri) => Some(uri),
            };
            let (run_hash, n_threads) = (self.run_hash.clone(), self.n_threads);
            let rewards = rewards.clone();
            let version = VERSION;
            let state = TrainerState { version, run_hash, n_taken, best, rewards, uri, n_threads };
            let text = serde_json::json!(state).to_string();
            Ok::<_, Error>(atomic::write(&folder.join(STATE), text.as_bytes())?)
        })?;
        self.prune(keep_last)
    }

    /// Removes all checkpoints of this run but the `keep_last` newest. A checkpoint is renamed to a
    /// draft first, so that one that a kill leaves half removed is never taken for a checkpoint, nor
    /// somebody's folder for one that is half removed.
    fn prune(&self, keep_last: usize) -> Result<()> {
        let mut own = self.checkpoints()?;
        own.retain(|(step, folder)| self.read_state(*step, folder).is_ok());
        own.truncate(own.len().saturating_sub(keep_last));
        for (_, folder) in own {
            atomic::remove_folder(&folder)?;
        }
        Ok(())
    }

    /// Writes the weights with their companions as the model folder `name`.
    pub(super) fn publish(&self, engine: &dyn Train, name: &str, figures: Figures) -> Result<()> {
        let place = self.path.join(name);
        let card = self.card.as_ref().filter(|_| card::may_be_written(&place));
        atomic::write_folder(&place, |folder| {
            engine.save_weights(folder)?;
            if let Some(card) = card {
                atomic::write(&folder.join(CARD), &card::signed(&card.text(figures)))?;
            }
            for (name, bytes) in &self.companions {
                atomic::write(&folder.join(name), bytes)?;
            }
            Ok(())
        })
    }

    /// The checkpoints with their steps, oldest first.
    fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>> {
        let folder = self.path.join(CHECKPOINTS);
        let entries = fs::read_dir(&folder).map_err(Error::io("read", &folder))?;
        let mut found: Vec<(u64, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let step = step_of(entry.file_name().to_str()?)?;
                entry.path().join(STATE).is_file().then(|| (step, entry.path()))
            })
            .collect();
        found.sort();
        Ok(found)
    }

    fn read_state(&self, step: u64, folder: &Path) -> Result<TrainerState> {
        let path = folder.join(STATE);
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let state: TrainerState =
            serde_json::from_slice(&bytes).map_err(|error| DataError::InvalidFile {
                path: path.clone(),
                expected: "the state of a trainer".to_owned(),
                got: error.to_string(),
            })?;
        if state.version != VERSION {
            return Err(DataError::InvalidFile {
                path,
                expected: format!("version {VERSION}"),
                got: format!("version {}", state.version),
            }
            .into());
        }
        if state.n_taken != step {
            return Err(DataError::InvalidFile {
                path,
                expected: format!("the state after step {step}, as its folder is called"),
                got: format!("that after step {}", state.n_taken),
            }
            .into());
        }
        if state.run_hash != self.run_hash {
            let what = "the data or the starting weights".to_owned();
            return Err(Error::RunDiffers { path: self.path.clone(), what });
        }
        Ok(state)
    }

    /// Keeps the whole lines of the metrics up to step `n_taken`.
    fn cut_metrics(&mut self, n_taken: u64) -> Result<()> {
        self.metrics = None;
        self.before = Seconds::default();
        let path = self.path.join(METRICS);
        let Ok(file) = fs::File::open(&path) else { return self.exports.begin(&[], None) };
        let (mut kept, mut lines) = (String::new(), Vec::new());
        for line in BufReader::new(file).lines() {
            let line = line.map_err(Error::io("read", &path))?;
            match serde_json::from_str::<Line>(&line) {
                Ok(known) if known.record.step() <= n_taken => {
                    self.before.wall = known.wall_seconds.or(self.before.wall);
                    self.before.processor = known.processor_seconds.or(self.before.processor);
                    kept.push_str(&line);
                    kept.push('\n');
                    lines.push(known);
                }
                _ => break,
            }
        }
        atomic::write(&path, kept.as_bytes())?;
        self.exports.begin(&lines, self.before.wall)
    }
}

/// What is written into the folder itself.
const DRAFTED: [&str; 4] = ["best", "model", CONFIG, METRICS];

fn check_existing(path: &Path, on_existing: OnExisting) -> Result<()> {
    if on_existing == OnExisting::Fail && path.join(CONFIG).exists() {
        return Err(Error::RunExists { path: path.to_owned() });
    }
    Ok(())
}

fn step_name(step: u64) -> String {
    format!("step-{step:08}")
}

/// The step of a checkpoint's folder; none if a folder of this name is not ours.
fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (name == step_name(step)).then_some(step)
}

/// The first line of `new` that `old` has not, or the other way round, or that only their order
/// differs.
fn first_difference(old: &str, new: &str) -> Option<String> {
    let missing = |from: &str, other: &str| {
        from.lines().find(|line| !other.lines().any(|known| known == *line)).map(str::to_owned)
    };
    let line = missing(old, new).or_else(|| missing(new, old)).map(|line| format!("`{line}`"));
    line.or_else(|| (old != new).then(|| "the order of the settings".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_written_here_are_checkpoints() {
        assert_eq!(step_of("step-00000012"), Some(12));
        assert_eq!(step_of("step-123456789"), Some(123_456_789));
        for name in ["step-12", "step-00000012-kept", "step-", "step-+0000012", "step-000000012"] {
            assert_eq!(step_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_difference_is_named_by_its_line() {
        assert_eq!(first_difference("a = 1\nb = 2\n", "a = 1\nb = 2\n"), None);
        assert_eq!(first_difference("a = 1\n", "a = 2\n").as_deref(), Some("`a = 1`"));
        let turned = first_difference("a\nb\n", "b\na\n");
        assert_eq!(turned.as_deref(), Some("the order of the settings"));
    }
}
