//! Writing records one at a time, into a file that appears under its name when it is finished and
//! otherwise leaves nothing behind. The name decides the format, for every kind of record.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use crate::case::Case;
use crate::error::{Error, Result};
use crate::exact::{self, NotFinite};
use crate::format::{Compression, Format};
use crate::output::Output;
use crate::parquet::ParquetWriter;
use crate::records::rollout::Rollout;
use crate::score::ProblemScores;
use crate::table;

/// The level of zstd that stands for its own default.
const DEFAULT_LEVEL: i32 = 0;

/// Writes records as lines of JSON (`.jsonl`, `.jsonl.zst`, `-`) or as Parquet: rollouts
/// ([`Rollout`]) with the columns of the authors' data set; scores ([`ProblemScores`]), grading cases
/// ([`Case`]) and JSON values with the columns that they have.
pub struct RecordWriter<T> {
    sink: Sink<T>,
}

enum Sink<T> {
    Lines(Box<Lines>),
    Rows(Box<dyn Rows<T>>),
}

/// Where lines go.
enum Lines {
    Plain(Output),
    Zstd(zstd::Encoder<'static, Output>),
    /// Lines in a temporary file without a name, until their columns are known.
    Table(BufWriter<File>, Output),
}

/// A file of rows whose columns are known before its records.
pub(crate) trait Rows<T> {
    /// Adds a record.
    fn add(&mut self, record: T) -> Result<()>;

    /// Makes the file appear under its name.
    fn complete(self: Box<Self>) -> Result<()>;
}

/// Begins a file of rows.
type BeginRows<T> = fn(Output) -> Box<dyn Rows<T>>;

/// A record that can be written.
pub(crate) trait Written: Serialize + Sync + Sized {
    /// How a Parquet file begins, if its columns are known before its records.
    const ROWS: Option<BeginRows<Self>> = None;

    /// The record as a line. Each type has its own method, so that it is compiled here, where lines are
    /// made fast, and not in the crate that writes.
    fn line(&self, form: Form) -> io::Result<Vec<u8>>;
}

impl Written for Case {
    fn line(&self, form: Form) -> io::Result<Vec<u8>> {
        form.line_of(self)
    }
}

impl Written for ProblemScores {
    fn line(&self, form: Form) -> io::Result<Vec<u8>> {
        form.line_of(self)
    }
}

impl Written for serde_json::Value {
    fn line(&self, form: Form) -> io::Result<Vec<u8>> {
        form.line_of(self)
    }
}

impl Written for Rollout {
    const ROWS: Option<BeginRows<Self>> = Some(|output| Box::new(ParquetWriter::create(output)));

    fn line(&self, form: Form) -> io::Result<Vec<u8>> {
        form.line_of(self)
    }
}

impl Rows<Rollout> for ParquetWriter {
    fn add(&mut self, rollout: Rollout) -> Result<()> {
        self.write(rollout)
    }

    fn complete(self: Box<Self>) -> Result<()> {
        self.finish()
    }
}

/// What stands in the line of a record for numbers that JSON does not hold.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Json,
    /// They are held, to be read again.
    Held,
}

impl Form {
    /// A record as a line.
    fn line_of(self, record: &impl Serialize) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(record)?;
        if let Self::Json = self {
            line = exact::restore(line, NotFinite::Null);
        }
        line.push(b'\n');
        Ok(line)
    }
}

impl Lines {
    fn form(&self) -> Form {
        match self {
            Self::Plain(_) | Self::Zstd(_) => Form::Json,
            Self::Table(..) => Form::Held,
        }
    }

    fn output(&self) -> &Output {
        match self {
            Self::Plain(output) | Self::Table(_, output) => output,
            Self::Zstd(encoder) => encoder.get_ref(),
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(output) => output,
            Self::Zstd(encoder) => encoder,
            Self::Table(lines, _) => lines,
        }
    }

    fn put(&mut self, line: io::Result<Vec<u8>>) -> Result<()> {
        let put = line.and_then(|line| self.writer().write_all(&line));
        put.map_err(|error| Error::io("write", self.output().path())(error))
    }
}

#[expect(private_bounds, reason = "the types of records are a closed set, which the type names")]
impl<T: Written> RecordWriter<T> {
    /// Begins the file `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if its folder cannot be written, [`Error::InvalidFile`] for an unknown
    /// extension.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let format = Format::of(path)?;
        let output = Output::create(path)?;
        let path = output.path().to_owned();
        let lines = match (format, T::ROWS) {
            (Format::Lines(Compression::None), _) => Lines::Plain(output),
            (Format::Lines(Compression::Zstd), _) => {
                let encoder = zstd::Encoder::new(output, DEFAULT_LEVEL);
                Lines::Zstd(encoder.map_err(Error::io("write", path))?)
            }
            (Format::Parquet, Some(begin)) => return Ok(Self { sink: Sink::Rows(begin(output)) }),
            (Format::Parquet, None) => {
                let spool = tempfile::tempfile_in(output.folder());
                let spool = spool.map_err(Error::io("write", path))?;
                Lines::Table(BufWriter::new(spool), output)
            }
        };
        Ok(Self { sink: Sink::Lines(Box::new(lines)) })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, record: T) -> Result<()> {
        match &mut self.sink {
            Sink::Lines(lines) => lines.put(record.line(lines.form())),
            Sink::Rows(rows) => rows.add(record),
        }
    }

    /// Adds records in their order; lines are made over all cores.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_all(&mut self, records: Vec<T>) -> Result<()> {
        match &mut self.sink {
            Sink::Lines(lines) => {
                let form = lines.form();
                let all: Vec<_> = records.par_iter().map(|record| record.line(form)).collect();
                all.into_iter().try_for_each(|line| lines.put(line))
            }
            Sink::Rows(rows) => records.into_iter().try_for_each(|record| rows.add(record)),
        }
    }

    /// Makes the file appear under its name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let lines = match self.sink {
            Sink::Rows(rows) => return rows.complete(),
            Sink::Lines(lines) => *lines,
        };
        match lines {
            Lines::Plain(output) => output.finish(),
            Lines::Zstd(encoder) => {
                let path = encoder.get_ref().path().to_owned();
                encoder.finish().map_err(Error::io("write", path))?.finish()
            }
            Lines::Table(lines, output) => {
                let rewind = || {
                    let mut lines = lines.into_inner().map_err(io::IntoInnerError::into_error)?;
                    lines.rewind()?;
                    Ok(lines)
                };
                let path = output.path().to_owned();
                table::write(rewind().map_err(Error::io("write", path))?, output)?.finish()
            }
        }
    }
}

/// Writes a file of lines as one that is compressed.
pub(crate) fn compress(mut lines: File, output: Output) -> Result<()> {
    let path = output.path().to_owned();
    let copy = || {
        let mut encoder = zstd::Encoder::new(output, DEFAULT_LEVEL)?;
        io::copy(&mut lines, &mut encoder)?;
        encoder.finish()
    };
    copy().map_err(Error::io("write", path))?.finish()
}
