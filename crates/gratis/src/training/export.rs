//! The metrics of a run in the formats of other tools, written beside `metrics.jsonl`: event files of
//! TensorBoard, and a table of comma-separated values, which W&B and spreadsheets read.
//!
//! Both follow from the lines of `metrics.jsonl`, so a resumed run writes them anew from the lines it
//! keeps and then goes on.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use gratis_model::atomic;
use serde::{Deserialize, Serialize};

use super::metrics::{Evaluation, Line, Record};
use super::tensorboard;
use crate::error::{Error, Result};

/// A format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Event files of TensorBoard, in `tensorboard/`.
    Tensorboard,
    /// A table, `metrics.csv`: one row per step or validation.
    Csv,
}

impl LogFormat {
    const ALL: [Self; 2] = [Self::Tensorboard, Self::Csv];

    /// Its file in a run folder.
    fn path(self, run: &Path) -> PathBuf {
        match self {
            Self::Tensorboard => run.join("tensorboard").join("events.out.tfevents.0.gratis"),
            Self::Csv => run.join("metrics.csv"),
        }
    }
}

/// Names of the numbers of a line, in the order of the columns.
const COLUMNS: [&str; 18] = [
    "train/loss",
    "train/accuracy",
    "train/pair_accuracy",
    "train/reward_correct",
    "train/reward_incorrect",
    "train/margin",
    "train/gradient_norm",
    "train/learning_rate",
    "train/n_tokens",
    "train/epoch",
    "validation/loss",
    "validation/accuracy",
    "validation/pair_accuracy",
    "validation/reward_correct",
    "validation/reward_incorrect",
    "validation/margin",
    "wall_seconds",
    "processor_seconds",
];

/// The files of a run that hold its metrics in other formats.
#[derive(Debug, Default)]
pub(super) struct Exports {
    run: PathBuf,
    formats: Vec<LogFormat>,
    /// Seconds since 1970 at the beginning of this process.
    now: f64,
    /// Seconds of training before it.
    before: f64,
    files: Vec<fs::File>,
}

impl Exports {
    /// Those asked for, and those that an earlier process of the run has begun.
    pub(super) fn new(run: &Path, asked_for: &[LogFormat], now: f64) -> Self {
        let is_used = |format: &LogFormat| asked_for.contains(format) || format.path(run).exists();
        let formats = LogFormat::ALL.into_iter().filter(is_used).collect();
        Self { run: run.to_owned(), formats, now, ..Self::default() }
    }

    /// Begins the files with the lines that the run keeps; `before` are the seconds that it took.
    pub(super) fn begin(&mut self, lines: &[Line], before: Option<f64>) -> Result<()> {
        self.before = before.unwrap_or(0.0);
        self.files.clear();
        for format in self.formats.clone() {
            let path = format.path(&self.run);
            let mut bytes = match format {
                LogFormat::Tensorboard => tensorboard::header(self.now - self.before),
                LogFormat::Csv => format!("step,{}\n", COLUMNS.join(",")).into_bytes(),
            };
            for line in lines {
                bytes.extend(self.bytes(format, line));
            }
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            }
            atomic::write(&path, &bytes)?;
            let file = fs::OpenOptions::new().append(true).open(&path);
            self.files.push(file.map_err(Error::io("open", &path))?);
        }
        Ok(())
    }

    /// Adds a line.
    pub(super) fn add(&mut self, line: &Line) -> Result<()> {
        for nth in 0..self.files.len() {
            let format = self.formats[nth];
            let bytes = self.bytes(format, line);
            let written = self.files[nth].write_all(&bytes);
            written.map_err(Error::io("write", &format.path(&self.run)))?;
        }
        Ok(())
    }

    fn bytes(&self, format: LogFormat, line: &Line) -> Vec<u8> {
        let (step, values) = numbers(line);
        match format {
            LogFormat::Tensorboard => {
                let seconds = self.now - self.before + line.wall_seconds.unwrap_or(self.before);
                let known = COLUMNS.into_iter().zip(values);
                let is_scalar = |name: &str| name.contains('/');
                let known: Vec<(&str, f64)> = known
                    .filter_map(|(name, value)| Some((name, value?)))
                    .filter(|(name, _)| is_scalar(name))
                    .collect();
                if known.is_empty() {
                    return Vec::new();
                }
                tensorboard::scalars(seconds, step, &known)
            }
            LogFormat::Csv => {
                if values[..16].iter().all(Option::is_none) {
                    return Vec::new();
                }
                let cells = values.iter().map(|value| match value {
                    Some(value) => value.to_string(),
                    None => String::new(),
                });
                let cells: Vec<String> = cells.collect();
                format!("{step},{}\n", cells.join(",")).into_bytes()
            }
        }
    }
}

/// The step of a line, and its numbers in the order of [`COLUMNS`].
fn numbers(line: &Line) -> (u64, [Option<f64>; 18]) {
    let mut values = [None; 18];
    let of = |evaluation: &Evaluation| {
        let Evaluation { loss, accuracy, pair_accuracy, reward_correct, reward_incorrect, .. } =
            *evaluation;
        let margin = reward_correct.zip(reward_incorrect).map(|(right, wrong)| right - wrong);
        [Some(loss), accuracy, pair_accuracy, reward_correct, reward_incorrect, margin]
    };
    let step = match &line.record {
        Record::Step(metrics) => {
            values[..6].copy_from_slice(&of(&metrics.evaluation));
            values[6] = Some(metrics.gradient_norm);
            values[7] = Some(metrics.learning_rate);
            values[8] = Some(metrics.n_tokens as f64);
            values[9] = Some(metrics.epoch as f64);
            metrics.step
        }
        Record::Validation { step, evaluation } => {
            values[10..16].copy_from_slice(&of(evaluation));
            *step
        }
        Record::Rewards { step, .. } => *step,
    };
    values[16] = line.wall_seconds;
    values[17] = line.processor_seconds;
    (step, values)
}
