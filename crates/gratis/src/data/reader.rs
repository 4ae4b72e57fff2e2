//! Reading records of any kind, one at a time: `.jsonl`, `.jsonl.zst`, `.parquet`, and `-` for
//! standard input as JSON lines. Memory does not grow with the file.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::format::{Compression, Format, STANDARD_STREAM};
use super::record::{self, Fault, OnInvalid, Record};
use super::rollout::{Answered, Rollout};
use super::rows;
use crate::error::{Error, Result};

/// Gives the next line or row with its number from 1, and the record or what is wrong with it.
pub(super) type Next<T> = Box<dyn FnMut() -> Result<Option<(u64, Result<T, Fault>)>>>;

/// Reads the records of a file.
pub struct RecordReader<T> {
    path: PathBuf,
    advance: Next<T>,
    on_invalid: OnInvalid,
    n_skipped: u64,
    failed: bool,
}

impl<T: Record> RecordReader<T> {
    /// Opens `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened, [`Error::InvalidFile`] for an unknown extension or a
    /// damaged Parquet file. Iteration yields [`Error::InvalidRecord`] for a line that is no such
    /// record, unless such lines are skipped.
    pub fn open(path: impl AsRef<Path>, on_invalid: OnInvalid) -> Result<Self> {
        let path = path.as_ref();
        let advance = match Format::of(path)? {
            Format::Lines(compression) => lines(path, compression)?,
            Format::Parquet => rows::rows(path)?,
        };
        Ok(Self { path: path.to_owned(), advance, on_invalid, n_skipped: 0, failed: false })
    }

    /// Lines left out so far under [`OnInvalid::Skip`].
    pub fn n_skipped(&self) -> u64 {
        self.n_skipped
    }

    fn read(&mut self) -> Result<Option<T>> {
        while let Some((number, record)) = (self.advance)()? {
            match record {
                Ok(mut record) => {
                    record.number(number);
                    return Ok(Some(record));
                }
                Err(_) if self.on_invalid == OnInvalid::Skip => self.n_skipped += 1,
                Err(fault) => return Err(fault.at(&self.path, number)),
            }
        }
        Ok(None)
    }
}

impl<T: Record> Iterator for RecordReader<T> {
    type Item = Result<T>;

    /// The next record; nothing more after an error.
    fn next(&mut self) -> Option<Result<T>> {
        if self.failed {
            return None;
        }
        let next = self.read().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

/// Whether this process reads its standard input already: a second reader would find nothing.
static STANDARD_INPUT_TAKEN: AtomicBool = AtomicBool::new(false);

/// The records of a file of lines; blank lines are passed over.
fn lines<T: Record>(path: &Path, compression: Compression) -> Result<Next<T>> {
    let plain: Box<dyn BufRead> = if path == Path::new(STANDARD_STREAM) {
        if STANDARD_INPUT_TAKEN.swap(true, Ordering::Relaxed) {
            return Err(Error::StandardInputTwice);
        }
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(path).map_err(Error::io("open", path))?))
    };
    let mut source: Box<dyn BufRead> = match compression {
        Compression::None => plain,
        Compression::Zstd => {
            let decoder = zstd::Decoder::with_buffer(plain).map_err(Error::io("read", path))?;
            Box::new(BufReader::new(decoder))
        }
    };
    let path = path.to_owned();
    let (mut buffer, mut number) = (Vec::new(), 0);
    Ok(Box::new(move || {
        loop {
            buffer.clear();
            let n_bytes = source.read_until(b'\n', &mut buffer);
            if n_bytes.map_err(Error::io("read", &path))? == 0 {
                return Ok(None);
            }
            number += 1;
            if !buffer.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some((number, record::from_json(&buffer))));
            }
        }
    }))
}

/// Rollout files read as one, and as often as needed: an operation that counts before it decides
/// reads them twice instead of holding them.
#[derive(Debug, Clone)]
pub struct RolloutFiles {
    paths: Vec<PathBuf>,
    on_invalid: OnInvalid,
    needs: Needs,
    n_skipped: Cell<u64>,
    /// What each file was when it was first opened.
    seen: RefCell<Vec<Option<Stamp>>>,
}

/// By which a file is known to be the same: its length and the time of its last change.
type Stamp = (u64, Option<SystemTime>);

/// The stamp of a file; none of a stream, which is read once.
fn stamp_of(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((found.len(), found.modified().ok()))
}

/// What a line must have beside a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Completions,
}

impl RolloutFiles {
    /// The files at `paths`, in this order. Standard input can be read once only.
    pub fn new(paths: Vec<PathBuf>, on_invalid: OnInvalid) -> Self {
        let seen = RefCell::new(vec![None; paths.len()]);
        Self { paths, on_invalid, needs: Needs::Nothing, n_skipped: Cell::new(0), seen }
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
        self.paths.iter().enumerate().flat_map(move |(idx, path)| {
            let first = self.check(idx, path).err().map(Err);
            let all = if first.is_some() { None } else { Some(self.read_file(path)) };
            let last = std::iter::once_with(move || self.check(idx, path).err().map(Err));
            let last = last.take(usize::from(all.is_some())).flatten();
            first.into_iter().chain(all.into_iter().flatten()).chain(last)
        })
    }

    /// Whether a file is what it was when it was first opened.
    fn check(&self, idx: usize, path: &Path) -> Result<()> {
        let Some(stamp) = stamp_of(path) else { return Ok(()) };
        let mut seen = self.seen.borrow_mut();
        if *seen[idx].get_or_insert(stamp) == stamp {
            return Ok(());
        }
        Err(Error::InputChanged { path: path.to_owned() })
    }

    fn read_file(&self, path: &Path) -> Box<dyn Iterator<Item = Result<Rollout>> + '_> {
        match self.needs {
            Needs::Nothing => self.read_as::<Rollout>(path),
            Needs::Completions => self.read_as::<Answered>(path),
        }
    }

    fn read_as<T: Record + Into<Rollout> + 'static>(
        &self,
        path: &Path,
    ) -> Box<dyn Iterator<Item = Result<Rollout>> + '_> {
        let before = self.n_skipped.get();
        match RecordReader::<T>::open(path, self.on_invalid) {
            Err(error) => Box::new(std::iter::once(Err(error))),
            Ok(mut reader) => Box::new(std::iter::from_fn(move || {
                let next = reader.next();
                self.n_skipped.set(before + reader.n_skipped());
                Some(next?.map(Into::into))
            })),
        }
    }

    /// Lines left out by the last pass under [`OnInvalid::Skip`].
    pub fn n_skipped(&self) -> u64 {
        self.n_skipped.get()
    }
}
