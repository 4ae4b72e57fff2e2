//! Operations on rollouts: what goes in, what comes out, and what was kept and dropped.
//!
//! An operation sees each rollout once, or twice where a global count decides. It holds no rollout
//! beyond the current one, so that a file of any size can pass through; what an operation must
//! remember is said in its own file. All choices come from the operation's seed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::balance::{BalanceDataset, BalanceInstructions};
use super::dedup::Deduplicate;
use super::file::{RolloutReader, RolloutWriter};
use super::mix::Mix;
use super::output::STANDARD_STREAM;
use super::pairs::MakePairs;
use super::record::OnInvalid;
use super::replace::ReplaceResponses;
use super::rollout::Rollout;
use super::split::KeepSide;
use super::subsample::{SubsampleInstructions, SubsampleResponses};
use crate::error::{Error, Result};

/// The settings of an operation.
pub(super) trait Start {
    /// Checks the settings and sets the operation to work.
    fn start(&self) -> Result<Box<dyn Operation>>;
}

/// An operation at work.
pub(super) trait Operation {
    /// Whether it must see all rollouts before it can decide on the first.
    fn surveys(&self) -> bool {
        false
    }

    /// The first pass; `number` counts the rollouts from 0.
    fn survey(&mut self, number: u64, rollout: &Rollout) -> Result<()> {
        let _ = (number, rollout);
        Ok(())
    }

    /// Between the passes.
    fn decide(&mut self) -> Result<()> {
        Ok(())
    }

    /// The second, or only, pass.
    fn apply(&mut self, number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()>;

    /// After the last rollout.
    fn finish(&mut self, out: &mut Outcome) -> Result<()> {
        let _ = out;
        Ok(())
    }
}

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// The closed set of operations, each with its settings.
        ///
        /// In a configuration: a table with the operation's `name` and its settings,
        /// `{ name = "subsample_instructions", share = 0.25, seed = 1 }`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", rename_all = "snake_case")]
        pub enum DataOperation {
            $($(#[$doc])* $variant($variant),)*
        }

        impl DataOperation {
            fn start(&self) -> Result<Box<dyn Operation>> {
                match self {
                    $(Self::$variant(settings) => settings.start(),)*
                }
            }
        }
    };
}

operations! {
    /// As many correct as incorrect responses in the whole data set.
    BalanceDataset,
    /// As many correct as incorrect responses of each instruction.
    BalanceInstructions,
    /// A share of the instructions.
    SubsampleInstructions,
    /// Some responses of each instruction.
    SubsampleResponses,
    /// No response that repeats an earlier one.
    Deduplicate,
    /// The rollouts of another file besides.
    Mix,
    /// Some responses from another file instead.
    ReplaceResponses,
    /// One rollout for each pair of a correct and an incorrect response.
    MakePairs,
    /// One side of a split by problem.
    KeepSide,
}

/// How much data there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rollout records.
    pub n_problems: u64,
    /// Responses in them.
    pub n_responses: u64,
    /// Responses labelled correct.
    pub n_correct: u64,
    /// Responses labelled incorrect; what is neither has no label.
    pub n_incorrect: u64,
}

impl Counts {
    pub(super) fn add(&mut self, rollout: &Rollout) {
        self.n_problems += 1;
        self.n_responses += rollout.completions.len() as u64;
        for &correct in rollout.correctness.iter().flatten() {
            *(if correct { &mut self.n_correct } else { &mut self.n_incorrect }) += 1;
        }
    }
}

/// What an operation kept and dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationReport {
    /// The operation with its settings.
    pub operation: DataOperation,
    /// What went in.
    pub before: Counts,
    /// What came out.
    pub after: Counts,
    /// How often each thing worth telling happened, by what it is: `problems of one class dropped`.
    pub remarks: BTreeMap<String, u64>,
}

/// Takes what an operation lets pass and counts it.
pub(super) struct Outcome<'a> {
    emit: &'a mut dyn FnMut(Rollout) -> Result<()>,
    after: Counts,
    remarks: BTreeMap<String, u64>,
}

impl Outcome<'_> {
    /// Lets a rollout pass.
    pub(super) fn keep(&mut self, rollout: Rollout) -> Result<()> {
        self.after.add(&rollout);
        (self.emit)(rollout)
    }

    /// Counts something that happened.
    pub(super) fn remark(&mut self, what: &str, n: u64) {
        if n > 0 {
            *self.remarks.entry(what.to_owned()).or_default() += n;
        }
    }
}

type Rollouts<'a> = Box<dyn Iterator<Item = Result<Rollout>> + 'a>;

/// Runs one operation: `open` gives the rollouts, twice if need be, `emit` takes the result.
fn run<'a>(
    operation: &DataOperation,
    open: &mut dyn FnMut() -> Result<Rollouts<'a>>,
    emit: &mut dyn FnMut(Rollout) -> Result<()>,
) -> Result<OperationReport> {
    let mut work = operation.start()?;
    if work.surveys() {
        for (rollout, number) in open()?.zip(0..) {
            work.survey(number, &rollout?)?;
        }
        work.decide()?;
    }
    let mut before = Counts::default();
    let mut out = Outcome { emit, after: Counts::default(), remarks: BTreeMap::new() };
    for (rollout, number) in open()?.zip(0..) {
        let rollout = rollout?;
        before.add(&rollout);
        work.apply(number, rollout, &mut out)?;
    }
    work.finish(&mut out)?;
    let Outcome { after, remarks, .. } = out;
    Ok(OperationReport { operation: operation.clone(), before, after, remarks })
}

/// Applies operations, one after the other, to rollouts in memory.
///
/// # Errors
/// Whatever an operation finds: settings outside their domain, labels that are not there, classes
/// that are empty, files that cannot be read.
pub fn apply(
    operations: &[DataOperation],
    mut rollouts: Vec<Rollout>,
) -> Result<(Vec<Rollout>, Vec<OperationReport>)> {
    let mut reports = Vec::new();
    for operation in operations {
        let mut result = Vec::new();
        let mut open = || Ok(Box::new(rollouts.iter().cloned().map(Ok)) as Rollouts<'_>);
        let mut emit = |rollout| {
            result.push(rollout);
            Ok(())
        };
        reports.push(run(operation, &mut open, &mut emit)?);
        rollouts = result;
    }
    Ok((rollouts, reports))
}

/// What happened to a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileReport {
    /// Lines left out under [`OnInvalid::Skip`].
    pub n_skipped: u64,
    /// One report an operation.
    pub operations: Vec<OperationReport>,
}

/// Applies operations, one after the other, to the file `input` and writes the file `output`;
/// without operations it converts between formats. Memory does not grow with the file, except as
/// the operations say; what passes between two operations, and standard input where it is needed
/// twice, goes through temporary files beside the output.
///
/// # Errors
/// As [`apply`], and those of reading and writing.
pub fn apply_to_file(
    operations: &[DataOperation],
    input: &Path,
    on_invalid: OnInvalid,
    output: &Path,
) -> Result<FileReport> {
    let folder = spool_folder(output)?;
    let mut report = FileReport { n_skipped: 0, operations: Vec::new() };
    let mut source = Source { path: input.to_owned(), on_invalid };
    let needs_spool = input == Path::new(STANDARD_STREAM)
        && operations.first().map(DataOperation::start).transpose()?.is_some_and(|op| op.surveys());
    if operations.is_empty() || needs_spool {
        let spool = folder.path().join("input.jsonl.zst");
        let target = if operations.is_empty() { output } else { &spool };
        let mut writer = RolloutWriter::create(target)?;
        let mut reader = RolloutReader::open(input, on_invalid)?;
        for rollout in reader.by_ref() {
            writer.write(&rollout?)?;
        }
        report.n_skipped = reader.n_skipped();
        writer.finish()?;
        source = Source { path: spool, on_invalid: OnInvalid::Stop };
    }
    for (idx, operation) in operations.iter().enumerate() {
        let is_last = idx + 1 == operations.len();
        let spool = folder.path().join(format!("{idx}.jsonl.zst"));
        let mut writer = RolloutWriter::create(if is_last { output } else { &spool })?;
        let n_skipped = std::cell::Cell::new(0);
        let mut open = || source.open(&n_skipped);
        report.operations.push(run(operation, &mut open, &mut |rollout| writer.write(&rollout))?);
        report.n_skipped += n_skipped.get();
        writer.finish()?;
        source = Source { path: spool, on_invalid: OnInvalid::Stop };
    }
    Ok(report)
}

/// A file that can be read as often as needed.
struct Source {
    path: PathBuf,
    on_invalid: OnInvalid,
}

impl Source {
    /// Reads it from the beginning; `n_skipped` is how many lines this pass has left out.
    fn open<'a>(&self, n_skipped: &'a std::cell::Cell<u64>) -> Result<Rollouts<'a>> {
        let mut reader = RolloutReader::open(&self.path, self.on_invalid)?;
        Ok(Box::new(std::iter::from_fn(move || {
            let next = reader.next();
            n_skipped.set(reader.n_skipped());
            next
        })))
    }
}

/// A folder for temporary files on the output's file system, removed when dropped.
fn spool_folder(output: &Path) -> Result<tempfile::TempDir> {
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(".gratis-")
        .tempdir_in(folder)
        .map_err(Error::io("create", output))
}
