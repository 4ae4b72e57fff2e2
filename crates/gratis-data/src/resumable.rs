//! Resumable files of lines.
//!
//! While the file `NAME` is written, its lines are in `NAME.partial` beside it as JSON, whatever
//! the format of `NAME`, and `NAME.partial.state` records what they depend on: a line with the
//! [`Fingerprint`], then one per finished chunk with the number of lines and bytes up to there. A
//! job is continued only with the same fingerprint and from the end of a finished chunk, so its
//! chunks, and therefore the bits, are those of an uninterrupted job.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use gratis_model::atomic;
use gratis_model::destination::{Destination, is_same_file};
use gratis_model::lock::Lock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::exact::{self, NotFinite};
use crate::fingerprint::Fingerprint;
use crate::format::{Compression, Format, STANDARD_STREAM};
use crate::output::{Output, open_through};
use crate::parquet::ParquetWriter;
use crate::records::record;
use crate::records::rollout::Rollout;
use crate::table;
use crate::writer::{Written, compress};

/// What the lines are, which decides how they become Parquet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// Rollouts, with the columns of the authors' data set.
    Rollouts,
    /// Other records, with the columns that they have.
    Records,
}

/// An output of records of the type `T` that is reserved: nobody else writes it, and it can be written.
pub struct ReservedOutput<T> {
    path: PathBuf,
    lines: Lines,
    format: Format,
    destination: Destination,
    lock: Option<Lock>,
    record: PhantomData<fn(T)>,
}

#[expect(private_bounds, reason = "the types of records are those of `RecordWriter`")]
impl<T: Written> ReservedOutput<T> {
    /// Reserves `path`; `inputs` are what the job reads. `-` is standard output.
    ///
    /// # Errors
    /// [`gratis_model::Error::Locked`] if another process writes it, [`Error::OutputIsInput`],
    /// [`gratis_model::Error::IsFolder`], [`Error::InvalidFile`] for an unknown extension.
    pub fn new(path: &Path, inputs: &[&Path]) -> Result<Self> {
        check_output(path, inputs)?;
        let (format, destination) = (Format::of(path)?, Destination::of(path)?);
        let lock = match &destination {
            Destination::File(target) => Some(Lock::beside(target)?),
            _ if format == Format::Lines(Compression::None) => None,
            _ => return Err(invalid(path, "a file, or named `.jsonl`", "a pipe or a device")),
        };
        let lines = if T::ROWS.is_some() { Lines::Rollouts } else { Lines::Records };
        Ok(Self { path: path.to_owned(), lines, format, destination, lock, record: PhantomData })
    }
}

impl<T> ReservedOutput<T> {
    /// Whether what was written stays when the job is stopped, so that it needs a fingerprint.
    pub fn is_resumable(&self) -> bool {
        self.lock.is_some()
    }

    /// Begins to write, or continues after the lines that a stopped job with the same fingerprint left.
    /// The fingerprint of an output that is not resumable is not looked at.
    ///
    /// # Errors
    /// [`Error::PartialDiffers`] if another job left lines, [`Error::Io`].
    pub fn resume(self, fingerprint: &Fingerprint) -> Result<ResumableWriter<T>> {
        self.begin(fingerprint, OnPartial::Resume)
    }

    /// Discards the lines that a stopped job left, and begins to write.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn restart(self, fingerprint: &Fingerprint) -> Result<ResumableWriter<T>> {
        self.begin(fingerprint, OnPartial::Restart)
    }

    fn begin(self, fingerprint: &Fingerprint, on_partial: OnPartial) -> Result<ResumableWriter<T>> {
        let Self { path, lines, format, destination, lock, record } = self;
        let (Destination::File(target), Some(lock)) = (&destination, lock) else {
            let is_standard = destination == Destination::Standard;
            let path = if is_standard { PathBuf::from(STANDARD_STREAM) } else { path };
            let out = Out::Stream(open_through(&destination)?);
            return Ok(ResumableWriter { path, out, left: Left::default(), record });
        };
        let mut partial = Partial::at(target, lock)?;
        if on_partial == OnPartial::Restart {
            partial.remove().map_err(Error::io("remove", &partial.lines))?;
        }
        let left = partial.resume(fingerprint, target)?;
        partial.is_kept = left.n_lines > 0;
        let open = |path: &Path| File::options().append(true).open(path);
        let out = || {
            let file = open(&partial.lines)?;
            file.set_len(left.n_bytes)?;
            Ok((BufWriter::new(file), open(&partial.state)?))
        };
        let (file, state) = out().map_err(Error::io("write", &partial.lines))?;
        let Left { n_lines, n_bytes, .. } = left;
        let target = target.clone();
        let out = Out::File(Box::new(FileOut {
            target,
            partial,
            lines,
            format,
            file,
            state,
            n_lines,
            n_bytes,
        }));
        Ok(ResumableWriter { path, out, left, record })
    }
}

/// Checks that an output is no folder and none of the inputs, also by another name.
///
/// # Errors
/// [`Error::OutputIsInput`], [`gratis_model::Error::IsFolder`].
pub fn check_output(output: &Path, inputs: &[&Path]) -> Result<()> {
    let Destination::File(target) = Destination::of(output)? else { return Ok(()) };
    match inputs.iter().find(|input| is_same_file(&target, input)) {
        None => Ok(()),
        Some(input) => {
            Err(Error::OutputIsInput { output: output.to_owned(), input: (*input).to_owned() })
        }
    }
}

/// What to do with the lines that a stopped job left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnPartial {
    /// Continue, if they are those of the same job.
    Resume,
    /// Discard them.
    Restart,
}

/// What a stopped job left.
#[derive(Debug, Default)]
struct Left {
    /// Lines of finished chunks.
    n_lines: usize,
    n_bytes: u64,
    so_far: Option<Value>,
    /// Threads of the job that began, if this one has another number.
    other_n_threads: Option<usize>,
}

/// The files of the lines so far.
struct Partial {
    lines: PathBuf,
    state: PathBuf,
    /// Whether there is a finished chunk to continue from.
    is_kept: bool,
    // Dropped after the files are looked at for the last time.
    _lock: Lock,
}

/// A line of the state after the first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chunk {
    n_lines: usize,
    n_bytes: u64,
    so_far: Value,
}

impl Partial {
    fn at(target: &Path, lock: Lock) -> Result<Self> {
        let with = |suffix: &str| {
            let mut name = target.file_name().unwrap_or_default().to_owned();
            name.push(suffix);
            target.with_file_name(name)
        };
        let (lines, state) = (with(".partial"), with(".partial.state"));
        for path in [&lines, &state] {
            match fs::symlink_metadata(path) {
                Ok(found) if !found.is_file() => {
                    return Err(invalid(path, "a file that a stopped job left", "something else"));
                }
                _ => {}
            }
        }
        Ok(Self { lines, state, is_kept: true, _lock: lock })
    }

    fn remove(&self) -> io::Result<()> {
        [&self.lines, &self.state].into_iter().try_for_each(|path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    /// Finds where to continue, and makes the files where there is nothing to continue.
    fn resume(&self, fingerprint: &Fingerprint, target: &Path) -> Result<Left> {
        let differs =
            |what: &str| Error::PartialDiffers { path: self.lines.clone(), what: what.to_owned() };
        let n_there = match fs::metadata(&self.lines) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let first = format!("{}\n", serde_json::json!(fingerprint));
                atomic::write(&self.state, first.as_bytes())?;
                let made = File::create_new(&self.lines)
                    .and_then(|file| atomic::keep_permissions(&file, target));
                made.map_err(Error::io("write", &self.lines))?;
                return Ok(Left::default());
            }
            Err(error) => return Err(Error::io("read", &self.lines)(error)),
        };
        let state = match fs::read_to_string(&self.state) {
            Ok(state) => state,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(differs("nothing says what it was begun with"));
            }
            Err(error) => return Err(Error::io("read", &self.state)(error)),
        };
        // A kill may have truncated the last line.
        let whole = &state[..state.rfind('\n').map_or(0, |end| end + 1)];
        let mut entries = whole.lines();
        let known = entries.next().and_then(|line| serde_json::from_str::<Fingerprint>(line).ok());
        let known = known.ok_or_else(|| differs("what it was begun with cannot be read"))?;
        if let Some(difference) = fingerprint.first_difference(&known) {
            return Err(differs(&difference));
        }
        let chunks = entries.map_while(|line| serde_json::from_str::<Chunk>(line).ok());
        let last = chunks.take_while(|chunk| chunk.n_bytes <= n_there).last();
        // Whatever follows a torn line is not read again.
        let file = File::options().append(true).open(&self.state);
        let cut = file.and_then(|file| file.set_len(whole.len() as u64));
        cut.map_err(Error::io("write", &self.state))?;
        let other_n_threads =
            (known.n_threads() != fingerprint.n_threads()).then(|| known.n_threads());
        Ok(match last {
            None => Left { other_n_threads, ..Left::default() },
            Some(Chunk { n_lines, n_bytes, so_far }) => {
                Left { n_lines, n_bytes, so_far: Some(so_far), other_n_threads }
            }
        })
    }
}

impl Drop for Partial {
    /// Without a finished chunk there is nothing to continue.
    fn drop(&mut self) {
        if !self.is_kept {
            // Where they cannot be removed, they do no harm.
            let _ = self.remove();
        }
    }
}

/// Writes records of the type `T` to a file that appears whole, or to a stream as they come.
///
/// A job that was stopped can be continued; one that failed before its first chunk leaves nothing.
pub struct ResumableWriter<T> {
    path: PathBuf,
    out: Out,
    left: Left,
    record: PhantomData<fn(T)>,
}

enum Out {
    File(Box<FileOut>),
    Stream(Box<dyn Write>),
}

struct FileOut {
    target: PathBuf,
    partial: Partial,
    lines: Lines,
    format: Format,
    file: BufWriter<File>,
    state: File,
    n_lines: usize,
    n_bytes: u64,
}

impl<T: Serialize> ResumableWriter<T> {
    /// Lines that a stopped job left, after which this one continues.
    pub fn n_resumed(&self) -> usize {
        self.left.n_lines
    }

    /// Threads of the job that began, if this one has another number.
    pub fn other_n_threads(&self) -> Option<usize> {
        self.left.other_n_threads
    }

    /// What the stopped job gave to [`ResumableWriter::end_chunk`] last; the default if it left
    /// nothing.
    ///
    /// # Errors
    /// [`Error::InvalidFile`] if it is something else.
    pub fn so_far<S: DeserializeOwned + Default>(&self) -> Result<S> {
        let Some(value) = &self.left.so_far else { return Ok(S::default()) };
        let parsed = S::deserialize(value);
        parsed.map_err(|error| invalid(&self.path, "continued from what it was begun with", error))
    }

    /// Appends a record as a line and hands it to the operating system.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, record: &T) -> Result<()> {
        let line = serde_json::to_vec(record);
        let line = line.map_err(|e| Error::io("write", &self.path)(e.into()))?;
        let mut line = exact::restore(line, NotFinite::Null);
        line.push(b'\n');
        let out: &mut dyn Write = match &mut self.out {
            Out::File(out) => {
                out.n_lines += 1;
                out.n_bytes += line.len() as u64;
                &mut out.file
            }
            Out::Stream(stream) => stream,
        };
        out.write_all(&line).and_then(|()| out.flush()).map_err(Error::io("write", &self.path))
    }

    /// Ends a chunk: from here a stopped job is continued. `so_far` is given back then.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn end_chunk(&mut self, so_far: &impl Serialize) -> Result<()> {
        let Out::File(out) = &mut self.out else { return Ok(()) };
        let (n_lines, n_bytes) = (out.n_lines, out.n_bytes);
        let chunk = Chunk { n_lines, n_bytes, so_far: serde_json::json!(so_far) };
        // One write: a kill leaves at most the last line torn.
        let line = format!("{}\n", serde_json::json!(chunk));
        out.state.write_all(line.as_bytes()).map_err(Error::io("write", &self.path))?;
        out.partial.is_kept = true;
        Ok(())
    }

    /// Gives the file up: nothing is left to go on with.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard(self) -> Result<()> {
        match self.out {
            Out::File(out) => out.partial.remove().map_err(Error::io("remove", &self.path)),
            Out::Stream(_) => Ok(()),
        }
    }

    /// Puts the file in its place, in the format of its name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let path = self.path;
        let Out::File(out) = self.out else { return Ok(()) };
        let FileOut { target, partial, lines, format, file, .. } = *out;
        let flushed = file.into_inner().map_err(io::IntoInnerError::into_error);
        flushed.map_err(Error::io("write", &path))?;
        let open = || File::open(&partial.lines).map_err(Error::io("read", &partial.lines));
        let begin = || Output::create_locked(&path, &target);
        match (format, lines) {
            (Format::Lines(Compression::None), _) => atomic::replace(&partial.lines, &target)?,
            (Format::Lines(Compression::Zstd), _) => compress(open()?, begin()?)?,
            (Format::Parquet, Lines::Records) => table::write(open()?, begin()?)?.finish()?,
            (Format::Parquet, Lines::Rollouts) => {
                let mut writer = ParquetWriter::create(begin()?);
                for (line, number) in BufReader::new(open()?).split(b'\n').zip(1..) {
                    let line = line.map_err(Error::io("read", &partial.lines))?;
                    let rollout = record::from_json::<Rollout>(&line);
                    writer.write(rollout.map_err(|fault| fault.at(&partial.lines, number))?)?;
                }
                writer.finish()?;
            }
        }
        partial.remove().map_err(Error::io("remove", &path))
    }
}

fn invalid(path: &Path, expected: &str, got: impl ToString) -> Error {
    Error::InvalidFile {
        path: path.to_owned(),
        expected: expected.to_owned(),
        got: got.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint() -> Fingerprint {
        Fingerprint::new("test", "1.0", 1).with("model", "a")
    }

    fn begin(path: &Path, fingerprint: &Fingerprint) -> Result<ResumableWriter<Value>> {
        ReservedOutput::new(path, &[])?.resume(fingerprint)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries.map(|e| name(e).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Two finished chunks of two lines, and half of a third.
    fn stop(path: &Path) {
        let mut writer = begin(path, &fingerprint()).expect("begun");
        for line in 0..5 {
            writer.write(&serde_json::json!({ "line": line })).expect("written");
            if line % 2 == 1 {
                writer.end_chunk(&(line + 1)).expect("written");
            }
        }
    }

    #[test]
    fn a_stopped_file_goes_on_after_its_last_finished_chunk() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.jsonl");
        let mut writer = begin(&path, &fingerprint()).expect("begun");
        writer.write(&1.into()).expect("written");
        drop(writer);
        assert!(names(folder.path()).is_empty(), "no chunk was finished");
        stop(&path);
        assert_eq!(names(folder.path()), ["out.jsonl.partial", "out.jsonl.partial.state"]);
        // As a kill would leave them.
        for name in ["out.jsonl.partial", "out.jsonl.partial.state"] {
            let mut file =
                File::options().append(true).open(folder.path().join(name)).expect("there");
            file.write_all(b"{\"to").expect("torn");
        }
        let mut writer = begin(&path, &fingerprint()).expect("resumed");
        assert_eq!((writer.n_resumed(), writer.so_far::<u32>().expect("a number")), (4, 4));
        for line in 4..6 {
            writer.write(&serde_json::json!({ "line": line })).expect("written");
        }
        writer.end_chunk(&6).expect("written");
        writer.finish().expect("in place");
        let lines = [0, 1, 2, 3, 4, 5].map(|line| format!("{{\"line\":{line}}}\n")).concat();
        assert_eq!(fs::read_to_string(&path).expect("there"), lines);
        assert_eq!(names(folder.path()), ["out.jsonl"]);
    }

    #[test]
    fn lines_of_another_job_are_refused_and_kept_unless_it_is_to_begin_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.jsonl");
        stop(&path);
        let other = fingerprint().with("model", "b");
        let error = begin(&path, &other).map(|_| ()).expect_err("another model");
        let text = error.to_string();
        assert!(text.ends_with("model was `a` and is now `b`"), "{text}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--restart")));
        // Without a word about what it is.
        let state = folder.path().join("out.jsonl.partial.state");
        let known = fs::read(&state).expect("there");
        fs::remove_file(&state).expect("removed");
        let error = begin(&path, &fingerprint()).map(|_| ()).expect_err("unknown");
        assert!(error.to_string().ends_with("nothing says what it was begun with"), "{error}");
        fs::write(&state, known).expect("written");
        let writer = begin(&path, &fingerprint()).expect("the same");
        assert_eq!(writer.n_resumed(), 4);
        drop(writer);
        let output = ReservedOutput::<Value>::new(&path, &[]).expect("free");
        let writer = output.restart(&other).expect("anew");
        assert_eq!((writer.n_resumed(), writer.so_far::<u32>().expect("nothing")), (0, 0));
        writer.finish().expect("in place");
        assert_eq!(fs::read(&path).expect("there"), b"");
    }

    #[test]
    fn the_name_decides_the_format_and_one_job_writes_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["out.jsonl", "out.jsonl.zst", "out.parquet"] {
            let path = folder.path().join(name);
            stop(&path);
            let writer = begin(&path, &fingerprint()).expect("resumed");
            let second = begin(&path, &fingerprint()).map(|_| ());
            assert!(second.expect_err("held").to_string().contains("is being written by process"));
            writer.finish().expect("in place");
            let bytes = fs::read(&path).expect("there");
            let expected: &[u8] = match name {
                "out.jsonl" => b"{\"li",
                "out.parquet" => b"PAR1",
                _ => &[0x28, 0xb5, 0x2f, 0xfd],
            };
            assert!(bytes.starts_with(expected), "{name}: {:?}", &bytes[..8]);
        }
        assert_eq!(names(folder.path()), ["out.jsonl", "out.jsonl.zst", "out.parquet"]);
    }

    #[cfg(unix)]
    #[test]
    fn the_input_a_folder_and_a_linked_partial_are_refused() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("in.jsonl"), "mine").expect("written");
        symlink("in.jsonl", at("link.jsonl")).expect("a link");
        let input = at("in.jsonl");
        let refused = |name: &str| {
            let reserved = ReservedOutput::<Value>::new(&at(name), &[&input]);
            let begun = reserved.and_then(|output| output.resume(&fingerprint()));
            begun.map(|_| ()).expect_err("refused").to_string()
        };
        assert!(refused("in.jsonl").contains("is its input"));
        assert!(refused("link.jsonl").contains("is its input"));
        assert!(refused("").contains("is a folder"));
        symlink("in.jsonl", at("out.jsonl.partial")).expect("a link");
        assert!(refused("out.jsonl").contains("should be a file that a stopped job left"));
        assert_eq!(fs::read(at("in.jsonl")).expect("there"), b"mine");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_written_through_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("there")).expect("made");
        fs::write(at("there/out.jsonl"), "old").expect("written");
        fs::set_permissions(at("there/out.jsonl"), fs::Permissions::from_mode(0o600)).expect("set");
        symlink("there/out.jsonl", at("out.jsonl")).expect("a link");
        let mut writer = begin(&at("out.jsonl"), &fingerprint()).expect("begun");
        let mode = |name: &str| fs::metadata(at(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode("there/out.jsonl.partial"), 0o600);
        writer.write(&1.into()).expect("written");
        writer.finish().expect("in place");
        assert!(fs::symlink_metadata(at("out.jsonl")).expect("there").is_symlink());
        assert_eq!(fs::read(at("there/out.jsonl")).expect("there"), b"1\n");
        assert_eq!(mode("there/out.jsonl"), 0o600);
    }
}
