//! Resumable outputs: reserved before the models are loaded, started with the fingerprint of
//! everything that their lines depend on, with a record of the cost so far.

use std::fs;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use gratis::cost::{JobWork, Work};
use gratis::data::{Fingerprint, Lines, ReservedOutput, ResumableWriter, check_output};
use gratis::manifest;
use gratis_model::destination::Destination;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::OutputArgs;
use crate::Common;
use crate::temporary::TemporaryFolder;
use crate::usage;

/// Destination of the data, and what happens to lines that an interrupted job left there.
#[derive(Debug, Clone, Args)]
pub(crate) struct ResumableArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) restart: RestartArgs,
}

/// What happens to the lines that an interrupted job left.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct RestartArgs {
    /// Discard the lines that an interrupted run left in `OUTPUT.partial` and start over. By
    /// default the job continues after these lines, or is rejected if anything that they depend on
    /// differs.
    #[arg(long)]
    restart: bool,
}

impl OutputArgs {
    /// Checks that the output is not a folder and not one of the inputs.
    pub(crate) fn check(&self, inputs: &[&Path]) -> Result<()> {
        Ok(check_output(&self.output, inputs)?)
    }

    /// Whether the output is a file, not a stream.
    pub(crate) fn is_file(&self) -> bool {
        is_file(&self.output)
    }
}

/// Whether an output is a file, not a stream.
pub(crate) fn is_file(output: &Path) -> bool {
    matches!(Destination::of(output), Ok(Destination::File(_)))
}

impl ResumableArgs {
    /// Reserves the output for this process.
    pub(crate) fn reserve(&self, lines: Lines, inputs: &[&Path]) -> Result<ReservedOutput> {
        Ok(ReservedOutput::new(&self.output.output, lines, inputs)?)
    }
}

impl RestartArgs {
    /// Starts an output, or continues where an interrupted run stopped.
    pub(crate) fn begin(
        self,
        output: ReservedOutput,
        fingerprint: &Fingerprint,
    ) -> Result<ResumableWriter> {
        let writer =
            if self.restart { output.restart(fingerprint) } else { output.resume(fingerprint) }?;
        if let Some(n_threads) = writer.other_n_threads() {
            warn!(
                "the interrupted run had {n_threads} threads and this one has {}: the last bits of \
                 its lines may differ",
                fingerprint.n_threads()
            );
        }
        Ok(writer)
    }
}

/// The fingerprint of a command, before its settings are added.
pub(crate) fn fingerprint(command: &str, common: &Common) -> Fingerprint {
    Fingerprint::new(command, env!("CARGO_PKG_VERSION"), common.threads)
}

/// The cost of a job, including the runs that it continues.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// Passes as run.
    pub(crate) as_run: Work,
    /// Passes as the paper counts.
    pub(crate) as_counted: Work,
    /// Processor seconds of interrupted runs.
    pub(crate) cpu_seconds_before: f64,
}

impl Spent {
    /// Adds passes.
    pub(crate) fn add(&mut self, work: JobWork) {
        self.as_run += work.as_run;
        self.as_counted += work.as_counted;
    }

    /// The cost for the run that continues this one.
    pub(crate) fn so_far(mut self) -> Self {
        self.cpu_seconds_before += usage::cpu_seconds().unwrap_or(0.0);
        self
    }
}

/// A file that a job reads, with the hash of its content if its output is resumable.
pub(crate) struct Input {
    /// The path to read; it can be read repeatedly if the output is resumable.
    pub(crate) path: PathBuf,
    /// SHA-256 of its bytes.
    pub(crate) hash: Option<String>,
    _copy: Option<TemporaryFolder>,
}

impl Input {
    /// Prepares an input. A stream is copied if the output is resumable.
    pub(crate) fn prepare(given: &Path, output: &ReservedOutput) -> Result<Self> {
        if !output.is_resumable() {
            return Ok(Self { path: given.to_owned(), hash: None, _copy: None });
        }
        if !is_stream(given) {
            let hash = Some(hash_input(given)?);
            return Ok(Self { path: given.to_owned(), hash, _copy: None });
        }
        let folder = TemporaryFolder::new()?;
        let path = folder.path().join("standard-input.jsonl");
        let copy = || {
            let mut to = fs::File::create(&path)?;
            if given == Path::new("-") {
                io::copy(&mut io::stdin().lock(), &mut to)
            } else {
                io::copy(&mut BufReader::new(fs::File::open(given)?), &mut to)
            }
        };
        copy().with_context(|| format!("cannot copy `{}`", given.display()))?;
        Ok(Self { hash: Some(manifest::hash_file(&path)?), path, _copy: Some(folder) })
    }
}

/// Whether an input can be read only once: standard input, a pipe, a device.
pub(crate) fn is_stream(input: &Path) -> bool {
    input == Path::new("-")
        || fs::metadata(input).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// SHA-256 of a file, or of the files of a folder with their names.
fn hash_input(path: &Path) -> Result<String> {
    if !path.is_dir() {
        return Ok(manifest::hash_file(path)?);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot read `{}`", path.display()))? {
        let path = entry?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let mut parts = Vec::new();
    for path in &paths {
        parts.push(format!("{}:{}", path.display(), manifest::hash_file(path)?));
    }
    Ok(parts.join(" "))
}
