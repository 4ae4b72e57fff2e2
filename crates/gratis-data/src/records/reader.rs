//! Reading records of any kind, one at a time, from files of any container and shape: JSON lines, JSON
//! arrays, CSV and Parquet, compressed or not; a folder or a pattern stands for its files in order of
//! their names, and `-` for standard input. Memory does not grow with the file.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::container::{Container, Raw};
use super::problem::Problem;
use super::reading::{DoubtfulLabel, FileReading, Reading};
use super::record::{self, Fault, OnInvalid, Record, RowLayout};
use super::rollout::{Rollout, open_answered, open_bare};
use super::rows;
use super::score_table;
use super::shapes::{self, DataShape, Requests};
use crate::error::{Error, Result};
use crate::format::STANDARD_STREAM;

/// Reads the records of a file, or of the files in a folder: rollouts ([`Rollout`]), scores
/// ([`ProblemScores`](crate::ProblemScores)), grading cases ([`Case`](crate::Case)) or texts
/// ([`LanguageExample`](crate::LanguageExample)).
pub struct RecordReader<T> {
    source: Box<dyn Source<T>>,
    failed: bool,
}

/// Where records of the type `T` come from.
pub(crate) trait Source<T> {
    /// The next record.
    fn read(&mut self) -> Result<Option<T>>;

    /// Lines left out so far.
    fn n_skipped(&self) -> u64;

    /// How the file is read, in words.
    fn notice(&self) -> Option<&str>;
}

/// The records of files, of the type `R` as they are stored.
struct Files<R> {
    reading: FileReading,
    on_invalid: OnInvalid,
    tell: Option<fn(&Path, &str)>,
    requests: Option<Requests>,
    path: PathBuf,
    stream: Stream,
    shape: Option<DataShape>,
    rest: VecDeque<PathBuf>,
    /// A record whose problem may go on in the next one.
    pending: Option<(u64, Rollout)>,
    /// Problems of one record, each with its number there.
    ready: VecDeque<(u64, Rollout)>,
    notice: Option<String>,
    n_skipped: u64,
    record: std::marker::PhantomData<R>,
}

enum Stream {
    Text(Box<Container>),
    Rows(rows::Values),
}

/// A record as it was decoded.
enum Decoded<T> {
    Whole(T),
    /// Records like it that follow may belong to the same problem.
    Part(Box<Rollout>),
    /// Several problems in one record.
    Many(Vec<Rollout>),
    /// What was read before already.
    Nothing,
}

#[expect(private_bounds, reason = "the types of records are a closed set, which the type names")]
impl<T: Record> RecordReader<T> {
    /// Opens the file, folder or pattern `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened, [`Error::InvalidFile`] for a format that is not read or
    /// a damaged Parquet file. Iteration yields [`Error::InvalidRecord`] for a line that is no such
    /// record, unless such lines are skipped.
    pub fn open(path: impl AsRef<Path>, reading: impl Into<Reading>) -> Result<Self> {
        Ok(Self { source: T::open(path.as_ref(), reading.into())?, failed: false })
    }
}

impl RecordReader<Rollout> {
    /// Opens a file of rollouts with responses: a line without the column `completions` is invalid.
    ///
    /// # Errors
    /// As [`RecordReader::open`].
    pub fn answered(path: impl AsRef<Path>, reading: impl Into<Reading>) -> Result<Self> {
        Ok(Self { source: open_answered(path.as_ref(), reading.into())?, failed: false })
    }

    /// Opens a file of rollouts, and leaves out the columns that grading adds beside the labels:
    /// `extracted` and `how`.
    ///
    /// # Errors
    /// As [`RecordReader::open`].
    pub fn bare(path: impl AsRef<Path>, reading: impl Into<Reading>) -> Result<Self> {
        Ok(Self { source: open_bare(path.as_ref(), reading.into())?, failed: false })
    }

    /// Opens a file of problems to solve: their completions are ignored, and the prompt may be called
    /// `question` or `problem`, the reference `answer` or `gold`.
    ///
    /// # Errors
    /// As [`RecordReader::open`].
    pub fn problems(path: impl AsRef<Path>, reading: impl Into<Reading>) -> Result<Self> {
        let source = Box::new(Files::<Problem>::open(path.as_ref(), reading.into())?);
        Ok(Self { source, failed: false })
    }
}

impl<T> RecordReader<T> {
    /// Lines left out so far under [`OnInvalid::Skip`].
    pub fn n_skipped(&self) -> u64 {
        self.source.n_skipped()
    }

    /// How the file is read, in words; `None` before its first record, and for our own columns.
    pub fn notice(&self) -> Option<&str> {
        self.source.notice()
    }
}

impl<T> Iterator for RecordReader<T> {
    type Item = Result<T>;

    /// The next record; nothing more after an error.
    fn next(&mut self) -> Option<Result<T>> {
        if self.failed {
            return None;
        }
        let next = self.source.read().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

impl<R: Record + Into<T>, T> Source<T> for Files<R> {
    fn read(&mut self) -> Result<Option<T>> {
        Ok(self.next()?.map(Into::into))
    }

    fn n_skipped(&self) -> u64 {
        self.n_skipped
    }

    fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }
}

/// The records of files, which are stored as those of the type `R`.
pub(crate) fn open_files<R: Record + Into<T>, T>(
    path: &Path,
    reading: Reading,
) -> Result<Box<dyn Source<T>>> {
    Ok(Box::new(Files::<R>::open(path, reading)?))
}

impl<R: Record> Files<R> {
    fn open(path: &Path, reading: Reading) -> Result<Self> {
        let Reading { on_invalid, shape, notice } = reading;
        let mut rest: VecDeque<_> = files(path)?.into();
        let path = rest.pop_front().unwrap_or_default();
        let requests = shape.batch_input.as_deref().map(Requests::read).transpose()?;
        Ok(Self {
            stream: Stream::open::<R>(&path)?,
            reading: FileReading { shape, ..FileReading::default() },
            on_invalid,
            tell: notice,
            requests,
            path,
            shape: None,
            rest,
            pending: None,
            ready: VecDeque::new(),
            notice: None,
            n_skipped: 0,
            record: std::marker::PhantomData,
        })
    }

    fn next(&mut self) -> Result<Option<R>> {
        loop {
            if let Some((number, rollout)) = self.ready.pop_front() {
                return self.whole(number, rollout).map(Some);
            }
            let next = match &mut self.stream {
                Stream::Text(container) => container.next()?,
                Stream::Rows(rows) => {
                    rows()?.map(|(number, row)| (number, row.map_or_else(Raw::Invalid, Raw::Row)))
                }
            };
            let Some((number, raw)) = next else {
                let finished = self.pending.take();
                if let Some(path) = self.rest.pop_front() {
                    self.stream = Stream::open::<R>(&path)?;
                    (self.path, self.shape, self.notice) = (path, None, None);
                    self.reading.doubtful_label = DoubtfulLabel::Unknown;
                    self.reading.filter = None;
                } else if finished.is_none() {
                    return Ok(None);
                }
                match finished {
                    Some((number, rollout)) => return self.whole(number, rollout).map(Some),
                    None => continue,
                }
            };
            let was_known = self.shape.is_some();
            let decoded = decode::<R>(
                raw,
                &mut self.reading,
                self.requests.as_ref(),
                &mut self.shape,
                &mut self.notice,
            );
            if !was_known && let (Some(tell), Some(words)) = (self.tell, &self.notice) {
                tell(&self.path, words);
            }
            match decoded {
                Ok(Decoded::Whole(mut record)) => {
                    record.number(number);
                    return Ok(Some(record));
                }
                Ok(Decoded::Part(rollout)) => {
                    let next = match &mut self.pending {
                        None => Some(rollout),
                        Some((_, pending)) => shapes::merge(pending, *rollout).err(),
                    };
                    if let Some(next) = next
                        && let Some((number, done)) = self.pending.replace((number, *next))
                    {
                        return self.whole(number, done).map(Some);
                    }
                }
                Ok(Decoded::Many(rollouts)) => self.ready.extend((1..).zip(rollouts)),
                Ok(Decoded::Nothing) => {}
                Err(_) if self.on_invalid == OnInvalid::Skip => self.n_skipped += 1,
                Err(fault) => return Err(fault.at(&self.path, number)),
            }
        }
    }

    fn whole(&self, number: u64, rollout: Rollout) -> Result<R> {
        let record = R::from_rollout(rollout).map_err(|fault| fault.at(&self.path, number));
        record.map(|mut record| {
            record.number(number);
            record
        })
    }
}

impl Stream {
    fn open<T: Record>(path: &Path) -> Result<Self> {
        if is_parquet(path)? {
            let rows = rows::values::<T>(path)?;
            Ok(Self::Rows(match T::ROWS {
                RowLayout::Record => rows,
                RowLayout::Candidate => score_table::joined(rows),
            }))
        } else {
            Ok(Self::Text(Box::new(Container::open(path)?)))
        }
    }
}

/// Whether a file holds Parquet, by its content; pipes are text.
fn is_parquet(path: &Path) -> Result<bool> {
    const MAGIC: &[u8] = b"PAR1";
    if path == Path::new(STANDARD_STREAM) || !path.is_file() {
        return Ok(false);
    }
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut start = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut start).map_err(Error::io("read", path))?;
    Ok(start == MAGIC || path.extension().is_some_and(|extension| extension == "parquet"))
}

/// The files that a path stands for.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let invalid = |expected: &str, got: &str| Error::InvalidFile {
        path: path.to_owned(),
        expected: expected.to_owned(),
        got: got.to_owned(),
    };
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(Error::io("read", path))?;
        let entries = entries.collect::<std::io::Result<Vec<_>>>();
        let entries = entries.map_err(Error::io("read", path))?;
        let mut found: Vec<_> = entries.iter().map(std::fs::DirEntry::path).collect();
        found.retain(|file| file.is_file() && has_known_extension(file));
        found.sort();
        if found.is_empty() {
            return Err(invalid("a folder with data files", "none with a known extension"));
        }
        return Ok(found);
    }
    let pattern = path.to_string_lossy();
    if path.exists() || !pattern.contains(['*', '?', '[']) {
        return Ok(vec![path.to_owned()]);
    }
    let found = glob::glob(&pattern).map_err(|error| invalid("a pattern", &error.to_string()))?;
    let found: Vec<_> = found.filter_map(std::result::Result::ok).filter(|p| p.is_file()).collect();
    if found.is_empty() {
        return Err(invalid("a pattern of file names", "no file that fits it"));
    }
    Ok(found)
}

fn has_known_extension(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    !name.starts_with('.')
        && matches!(extension, "jsonl" | "json" | "ndjson" | "jl" | "parquet" | "csv" | "tsv")
}

/// A record of type `T`: as it stands where it has our columns, else read through its shape, which
/// is found from the first record of a file.
fn decode<T: Record>(
    raw: Raw<'_>,
    reading: &mut FileReading,
    requests: Option<&Requests>,
    shape: &mut Option<DataShape>,
    notice: &mut Option<String>,
) -> Result<Decoded<T>, Fault> {
    let is_plain =
        !T::IS_ROLLOUT || (*shape == Some(DataShape::Gratis) && reading.shape.is_plain());
    let (line, value) = match raw {
        Raw::Json(line) if is_plain => return record::from_json(line).map(Decoded::Whole),
        Raw::Row(value) if is_plain => return record::from_value(value).map(Decoded::Whole),
        Raw::Json(line) => (Some(line), record::value_of(line)?),
        Raw::Row(value) => (None, value),
        Raw::Invalid(fault) => return Err(fault),
    };
    let mut record = record::object_of(value)?;
    shapes::rename(&mut record, &reading.shape.columns)?;
    shapes::fold_case(&mut record);
    let chosen = match (*shape, reading.shape.shape) {
        (Some(shape), _) | (None, Some(shape)) => shape,
        (None, None) => shapes::detect(&record)?,
    };
    if shape.is_none() {
        *shape = Some(chosen);
        *notice = words_for(chosen, &record, reading);
    }
    if chosen == DataShape::Gratis && reading.shape.is_plain() {
        let decoded = match line {
            Some(line) => record::from_json(line),
            None => record::from_value(Value::Object(record)),
        };
        return decoded.map(Decoded::Whole);
    }
    if reading.doubtful_label == DoubtfulLabel::Unknown {
        reading.doubtful_label = shapes::doubtful_label(&record);
    }
    if chosen == DataShape::LmEval && is_of_another_filter(&record, &mut reading.filter) {
        return Ok(Decoded::Nothing);
    }
    let mut rollouts = shapes::adapt_all(chosen, record, reading, requests)?;
    match (rollouts.len(), rollouts.pop()) {
        (1, Some(rollout)) if chosen.is_grouped() => Ok(Decoded::Part(Box::new(rollout))),
        (1, Some(rollout)) => T::from_rollout(rollout).map(Decoded::Whole),
        (_, last) => {
            rollouts.extend(last);
            Ok(Decoded::Many(rollouts))
        }
    }
}

/// Whether a sample is one of those of an earlier record again, as another filter read its answer.
fn is_of_another_filter(record: &Map<String, Value>, first: &mut Option<String>) -> bool {
    match record.get("filter").and_then(Value::as_str) {
        None => false,
        Some(filter) => first.get_or_insert_with(|| filter.to_owned()) != filter,
    }
}

/// How a file is read, if not as our own columns.
fn words_for(
    shape: DataShape,
    record: &Map<String, Value>,
    reading: &FileReading,
) -> Option<String> {
    if shape == DataShape::Gratis {
        return None;
    }
    let columns = shapes::mapping(shape, record);
    let columns: Vec<_> =
        columns.iter().map(|(ours, theirs)| format!("`{ours}` from `{theirs}`")).collect();
    let columns =
        if columns.is_empty() { String::new() } else { format!(": {}", columns.join(", ")) };
    let unread = match shape {
        DataShape::Problems | DataShape::Responses => shapes::unread_label(record, reading),
        _ => None,
    };
    let unread = unread.unwrap_or_default();
    Some(format!("read as {} (`--shape {shape}`){columns}{unread}", shape.describe()))
}

/// Rollout files read as one, and as often as needed: an operation that counts before it decides
/// reads them twice instead of holding them.
#[derive(Debug, Clone)]
pub struct RolloutFiles {
    paths: Vec<PathBuf>,
    reading: Reading,
    needs: Needs,
    n_skipped: Cell<u64>,
    /// Whether a pass has told how the files are read.
    is_told: Cell<bool>,
    /// What the files of each path were when they were first opened.
    seen: RefCell<Vec<Option<Vec<Stamp>>>>,
}

/// By which a file is known to be the same: its name, its length and the time of its last change.
type Stamp = (PathBuf, u64, Option<SystemTime>);

/// The stamps of the files that a path stands for; none of a stream, which is read once.
fn stamps_of(path: &Path) -> Option<Vec<Stamp>> {
    let stamp = |file: PathBuf| {
        let found = std::fs::metadata(&file).ok().filter(std::fs::Metadata::is_file)?;
        Some((file, found.len(), found.modified().ok()))
    };
    files(path).ok()?.into_iter().map(stamp).collect()
}

/// What a line must have beside a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Completions,
}

impl RolloutFiles {
    /// The files at `paths`, in this order. Standard input can be read once only.
    pub fn new(paths: Vec<PathBuf>, reading: impl Into<Reading>) -> Self {
        Self {
            seen: RefCell::new(vec![None; paths.len()]),
            paths,
            reading: reading.into(),
            needs: Needs::Nothing,
            n_skipped: Cell::new(0),
            is_told: Cell::new(false),
        }
    }

    /// The same files, of which a line without the column `completions` is invalid.
    #[must_use]
    pub fn answered(self) -> Self {
        Self { needs: Needs::Completions, ..self }
    }

    /// The rollouts from the beginning; errors as of [`RecordReader`], and [`Error::InputChanged`] at
    /// the beginning or the end of a file that is not what it was.
    pub fn read(&self) -> impl Iterator<Item = Result<Rollout>> + '_ {
        self.n_skipped.set(0);
        let notice = self.reading.notice.filter(|_| !self.is_told.replace(true));
        let reading = Reading { notice, ..self.reading.clone() };
        self.paths.iter().enumerate().flat_map(move |(idx, path)| {
            let first = self.check(idx, path).err().map(Err);
            let all = if first.is_some() { None } else { Some(self.read_file(path, &reading)) };
            let last = std::iter::once_with(move || self.check(idx, path).err().map(Err));
            let last = last.take(usize::from(all.is_some())).flatten();
            first.into_iter().chain(all.into_iter().flatten()).chain(last)
        })
    }

    /// Whether the files of a path are what they were when they were first opened.
    fn check(&self, idx: usize, path: &Path) -> Result<()> {
        let Some(stamps) = stamps_of(path) else { return Ok(()) };
        let mut seen = self.seen.borrow_mut();
        if *seen[idx].get_or_insert_with(|| stamps.clone()) == stamps {
            return Ok(());
        }
        Err(Error::InputChanged { path: path.to_owned() })
    }

    fn read_file(
        &self,
        path: &Path,
        reading: &Reading,
    ) -> Box<dyn Iterator<Item = Result<Rollout>> + '_> {
        let before = self.n_skipped.get();
        let open = match self.needs {
            Needs::Nothing => RecordReader::<Rollout>::open,
            Needs::Completions => RecordReader::<Rollout>::answered,
        };
        match open(path, reading.clone()) {
            Err(error) => Box::new(std::iter::once(Err(error))),
            Ok(mut reader) => Box::new(std::iter::from_fn(move || {
                let next = reader.next();
                self.n_skipped.set(before + reader.n_skipped());
                next
            })),
        }
    }

    /// Lines left out by the last pass under [`OnInvalid::Skip`].
    pub fn n_skipped(&self) -> u64 {
        self.n_skipped.get()
    }
}
