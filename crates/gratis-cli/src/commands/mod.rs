//! One file per command.

pub(crate) mod annotate;
pub(crate) mod cast;
pub(crate) mod completions;
pub(crate) mod cost;
mod cost_servers;
pub(crate) mod data;
pub(crate) mod demo;
pub(crate) mod engine;
pub(crate) mod evaluate;
pub(crate) mod grade;
mod grade_examples;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod merge;
pub(crate) mod pretrain;
pub(crate) mod reproduce;
pub(crate) mod request;
pub(crate) mod resumable;
pub(crate) mod reward_model;
pub(crate) mod rollout;
pub(crate) mod sampling;
pub(crate) mod score;
pub(crate) mod select;
#[cfg(feature = "serve")]
pub(crate) mod serve;
mod server_plan;
pub(crate) mod theory;
pub(crate) mod train;
mod training;
#[cfg(feature = "serve")]
pub(crate) mod view;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use gratis::Error;
use gratis::data::{OnInvalid, Reading, RecordReader, ShapeSettings};
use serde::Serialize;
use tracing::{info, warn};

use crate::failure::CliError;
use crate::interrupt::{Continue, on_interrupt};
use crate::output;

/// How rollout files are read.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct InvalidArgs {
    /// Skip and count malformed lines instead of stopping at the first.
    #[arg(long)]
    skip_invalid: bool,
    #[command(flatten)]
    #[serde(skip_serializing_if = "ShapeSettings::is_default")]
    shape: ShapeSettings,
}

impl InvalidArgs {
    /// How files are read; what is found out about them goes to the log.
    pub(crate) fn reading(&self) -> Reading {
        let notice = |path: &Path, words: &str| info!("`{}`: {words}", path.display());
        let on_invalid = on_invalid(self.skip_invalid);
        Reading { on_invalid, shape: self.shape.clone(), notice: Some(notice) }
    }
}

/// The choice for the value of the flag.
pub(crate) fn on_invalid(skip: bool) -> OnInvalid {
    if skip { OnInvalid::Skip } else { OnInvalid::Stop }
}

/// Rejects the name of a single file as a model folder: only folders are written.
pub(crate) fn refuse_file_name(folder: &Path) -> Result<()> {
    let extension = folder.extension().and_then(|extension| extension.to_str());
    let extension = extension.map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("gguf" | "safetensors" | "bin" | "pt" | "pth" | "onnx") => Err(CliError::Mismatch {
            what: format!(
                "`{}` is a file name, but models are written as folders",
                folder.display()
            ),
            hint: "give the name of a folder; for GGUF, convert that folder with the tools of \
                   llama.cpp",
        }
        .into()),
        _ => Ok(()),
    }
}

/// All records of a file, for jobs that need them in memory at once.
pub(crate) fn read_records<T>(mut reader: RecordReader<T>) -> Result<Vec<T>> {
    let records = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    warn_skipped(reader.n_skipped(), "malformed lines");
    Ok(records)
}

/// All records of a file, of which there must be some.
///
/// # Errors
/// [`Error::NoExamples`] if there are none.
pub(crate) fn read_some<T>(mut reader: RecordReader<T>, purpose: &'static str) -> Result<Vec<T>> {
    let records = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    if records.is_empty() {
        return Err(Error::NoExamples { purpose, n_left_out: reader.n_skipped() }.into());
    }
    warn_skipped(reader.n_skipped(), "malformed lines");
    Ok(records)
}

/// Logs how much was skipped.
pub(crate) fn warn_skipped(n: u64, what: &str) {
    if n > 0 {
        warn!("skipped {n} {what}");
    }
}

/// Destination of the data.
#[derive(Debug, Clone, Args)]
pub(crate) struct OutputArgs {
    /// Output file; its name determines the format: `.jsonl`, `.jsonl.zst` or `.parquet`; `-` is
    /// standard output.
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    pub(crate) output: PathBuf,
}

/// Stands for the output file in [`OutputArgs::next`].
pub(crate) const OUTPUT: &str = "\0";

impl OutputArgs {
    /// Makes later interruptions report that a new run continues where the output file stops.
    pub(crate) fn on_interrupt(&self) {
        if self.is_file() {
            on_interrupt(Continue::SameCommand);
        }
    }

    /// Logs the command that usually comes next, if the output is a file.
    pub(crate) fn next(&self, words: &[&str]) {
        if self.is_file() {
            let output = self.output.to_string_lossy();
            let words = words.iter().map(|&word| if word == OUTPUT { &*output } else { word });
            output::next(&std::iter::once("gratis").chain(words).collect::<Vec<_>>());
        }
    }
}
