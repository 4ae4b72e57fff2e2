//! Applying operations: to rollouts in memory, and to files of any size.
//!
//! Between two operations on a file, and if standard input is needed twice, rollouts are stored in
//! temporary files beside the output, never in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use gratis_model::destination::Destination;

use super::operation::{Counts, DataOperation, OperationReport, Outcome};
use super::scratch::Scratch;
use super::split::{OTHER_SIDE, Side, Split};
use crate::error::Result;
use crate::format::STANDARD_STREAM;
use crate::observer::Observer;
use crate::records::reader::{RecordReader, RolloutFiles};
use crate::records::reading::Reading;
use crate::records::record::OnInvalid;
use crate::records::rollout::Rollout;
use crate::resumable::check_output;
use crate::writer::RecordWriter;

/// Rollouts one after the other.
pub(crate) type Rollouts<'a> = Box<dyn Iterator<Item = Result<Rollout>> + 'a>;

/// Returns the same rollouts from the beginning on every call.
type Open<'a> = dyn Fn() -> Result<Rollouts<'a>> + 'a;

/// Rollouts between two progress reports.
const TELL_EVERY: u64 = 256;

/// Runs one operation on the rollouts from `open`, in two passes if necessary; `emit` receives the
/// result.
fn run(
    operation: &DataOperation,
    open: &Open,
    scratch: Option<&Scratch>,
    emit: &mut dyn FnMut(Rollout) -> Result<()>,
    observer: &mut dyn Observer,
) -> Result<OperationReport> {
    let mut work = operation.start(scratch)?;
    let mut n_problems = None;
    if operation.surveys() {
        observer.stage(&format!("count for {operation}"), None);
        let mut n = 0;
        for rollout in open()? {
            work.survey(n, &rollout?)?;
            n += 1;
            tell(observer, n);
        }
        work.decide()?;
        n_problems = Some(n);
    }
    observer.stage(&operation.to_string(), n_problems);
    let mut before = Counts::default();
    let mut out = Outcome { emit, after: Counts::default(), remarks: BTreeMap::new() };
    for rollout in open()? {
        let rollout = rollout?;
        let number = before.n_problems;
        before.add(&rollout);
        work.apply(number, rollout, &mut out)?;
        tell(observer, before.n_problems);
    }
    work.finish(&mut out)?;
    let Outcome { after, remarks, .. } = out;
    Ok(OperationReport { operation: operation.clone(), before, after, remarks })
}

fn tell(observer: &mut dyn Observer, n: u64) {
    if n.is_multiple_of(TELL_EVERY) {
        observer.advance(TELL_EVERY, &[]);
    }
}

/// Applies operations, one after the other, to rollouts in memory.
///
/// # Errors
/// Whatever an operation finds: settings outside their domain, labels that are not there, classes
/// that are empty, files that cannot be read.
pub fn apply(
    operations: &[DataOperation],
    mut rollouts: Vec<Rollout>,
    observer: &mut dyn Observer,
) -> Result<(Vec<Rollout>, Vec<OperationReport>)> {
    let mut reports = Vec::new();
    for operation in operations {
        let mut result = Vec::new();
        let open = || Ok(Box::new(rollouts.iter().cloned().map(Ok)) as Rollouts<'_>);
        let mut emit = |rollout| {
            result.push(rollout);
            Ok(())
        };
        reports.push(run(operation, &open, None, &mut emit, observer)?);
        rollouts = result;
    }
    Ok((rollouts, reports))
}

/// Applies operations in order to the rollouts from `open`, which is called again if an operation
/// must see all rollouts before it decides. `emit` receives the result, or the unchanged rollouts
/// if there is no operation. Files between two operations are kept in the folder `scratch` until
/// the end.
///
/// # Errors
/// As [`apply`], and those of `open`, `emit`, reading and writing. An error of another type that `emit`
/// meets is an [`Error::Caller`](crate::Error::Caller).
pub fn apply_streaming(
    operations: &[DataOperation],
    open: &Open<'_>,
    scratch: &Path,
    emit: &mut dyn FnMut(Rollout) -> Result<()>,
    observer: &mut dyn Observer,
) -> Result<Vec<OperationReport>> {
    let Some((last, before)) = operations.split_last() else {
        open()?.try_for_each(|rollout| emit(rollout?))?;
        return Ok(Vec::new());
    };
    let scratch = Scratch::new(scratch);
    let mut reports = Vec::new();
    let mut between: Option<RolloutFiles> = None;
    for (idx, operation) in before.iter().enumerate() {
        let path = scratch.folder()?.join(format!("{idx}.jsonl.zst"));
        let mut writer = RecordWriter::create(&path)?;
        let mut write = |rollout| writer.write(rollout);
        reports.push(run_on(operation, between.as_ref(), open, &scratch, &mut write, observer)?);
        writer.finish()?;
        between = Some(RolloutFiles::new(vec![path], OnInvalid::Stop));
    }
    reports.push(run_on(last, between.as_ref(), open, &scratch, emit, observer)?);
    Ok(reports)
}

/// Runs an operation on the output of the previous one, or the first one on the rollouts from
/// `open`.
fn run_on(
    operation: &DataOperation,
    between: Option<&RolloutFiles>,
    open: &Open<'_>,
    scratch: &Scratch,
    emit: &mut dyn FnMut(Rollout) -> Result<()>,
    observer: &mut dyn Observer,
) -> Result<OperationReport> {
    match between {
        None => run(operation, open, Some(scratch), emit, observer),
        Some(files) => {
            let open = || Ok(Box::new(files.read()) as Rollouts<'_>);
            run(operation, &open, Some(scratch), emit, observer)
        }
    }
}

/// What was written to a file, and how it came about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FileReport {
    /// Lines skipped under [`OnInvalid::Skip`].
    pub n_skipped: u64,
    /// One report per operation.
    pub operations: Vec<OperationReport>,
    /// What was written.
    pub written: Counts,
}

/// Applies operations, one after the other, to the file `input` and writes the file `output`;
/// without operations it converts between formats. Memory does not grow with the file, except as
/// the operations say.
///
/// # Errors
/// As [`apply`], and those of reading and writing; nothing is then at `output`.
pub fn apply_to_file(
    operations: &[DataOperation],
    input: &Path,
    reading: impl Into<Reading>,
    output: &Path,
    observer: &mut dyn Observer,
) -> Result<FileReport> {
    let others = operations.iter().filter_map(|operation| match operation {
        DataOperation::Mix { path, .. } | DataOperation::ReplaceResponses { path, .. } => {
            Some(path.as_path())
        }
        _ => None,
    });
    check_output(output, &std::iter::once(input).chain(others).collect::<Vec<_>>())?;
    // Beside the target file if the output is a link; a stream has no folder.
    let target = match Destination::of(output)? {
        Destination::File(target) => target,
        Destination::Standard | Destination::Through(_) => PathBuf::new(),
    };
    let beside = folder_of(&target);
    let mut writer = RecordWriter::create(output)?;
    let mut written = Counts::default();
    let mut write = |rollout: Rollout| {
        written.add(&rollout);
        writer.write(rollout)
    };
    let scratch = Scratch::new(beside);
    let is_read_twice = operations.first().is_some_and(DataOperation::surveys);
    let (files, n_skipped) = if is_read_twice && input == Path::new(STANDARD_STREAM) {
        let (path, n_skipped) = RecordReader::open(input, reading)?.spool(scratch.folder()?)?;
        (RolloutFiles::new(vec![path], OnInvalid::Stop), n_skipped)
    } else {
        (RolloutFiles::new(vec![input.to_owned()], reading), 0)
    };
    let open = || Ok(Box::new(files.read()) as Rollouts<'_>);
    let operations = apply_streaming(operations, &open, beside, &mut write, observer)?;
    let n_skipped = n_skipped + files.n_skipped();
    writer.finish()?;
    Ok(FileReport { n_skipped, operations, written })
}

impl RecordReader<Rollout> {
    /// Copies rollouts that can be read only once into the folder `scratch`; returns the copy and the
    /// number of lines skipped.
    ///
    /// # Errors
    /// Those of reading and writing.
    #[doc(hidden)]
    pub fn spool(mut self, scratch: &Path) -> Result<(PathBuf, u64)> {
        let path = scratch.join("input.jsonl.zst");
        let mut writer = RecordWriter::create(&path)?;
        for rollout in self.by_ref() {
            writer.write(rollout?)?;
        }
        writer.finish()?;
        Ok((path, self.n_skipped()))
    }
}

/// Writes both sides of a split of the file `input` in one pass: what [`DataOperation::KeepSide`]
/// keeps with the first and with the second side, and the same reports.
///
/// # Errors
/// [`crate::Error::InvalidSetting`] for a share outside its domain, and those of reading and writing;
/// neither file is then there.
pub fn split_file(
    share: f64,
    seed: u64,
    input: &Path,
    reading: impl Into<Reading>,
    outputs: [&Path; 2],
    observer: &mut dyn Observer,
) -> Result<[FileReport; 2]> {
    let split = Split { share, seed };
    split.validate()?;
    let [first, second] = outputs;
    check_output(first, &[input, second])?;
    check_output(second, &[input])?;
    let mut written = [Counts::default(); 2];
    let mut before = Counts::default();
    let mut writers = [RecordWriter::create(first)?, RecordWriter::create(second)?];
    let mut reader = RecordReader::<Rollout>::open(input, reading)?;
    observer.stage("split", None);
    for rollout in reader.by_ref() {
        let rollout = rollout?;
        let idx = match split.side(&rollout.prompt) {
            Side::First => 0,
            Side::Second => 1,
        };
        before.add(&rollout);
        written[idx].add(&rollout);
        writers[idx].write(rollout)?;
        tell(observer, before.n_problems);
    }
    let n_skipped = reader.n_skipped();
    for writer in writers {
        writer.finish()?;
    }
    let report = |side, after: Counts| {
        let n_others = before.n_problems - after.n_problems;
        let remarks = (n_others > 0).then(|| (OTHER_SIDE.to_owned(), n_others));
        let operation = DataOperation::KeepSide { side, share, seed };
        let remarks = remarks.into_iter().collect();
        let operations = vec![OperationReport { operation, before, after, remarks }];
        FileReport { n_skipped, operations, written: after }
    };
    Ok([report(Side::First, written[0]), report(Side::Second, written[1])])
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
