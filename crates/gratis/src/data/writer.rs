//! Writing records one at a time, into a file that appears under its name when it is finished and
//! otherwise leaves nothing behind. The name decides the format, for every kind of record.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::marker::PhantomData;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::exact::{self, NotFinite};
use super::format::{Compression, Format};
use super::output::Output;
use super::parquet::ParquetWriter;
use super::rollout::Rollout;
use super::table;
use crate::error::{Error, Result};

/// The level of zstd that stands for its own default.
const DEFAULT_LEVEL: i32 = 0;

/// Writes records of any kind as lines of JSON (`.jsonl`, `.jsonl.zst`, `-`) or as Parquet, whose
/// columns are found from the records.
pub struct LineWriter<T> {
    sink: Sink,
    record: PhantomData<fn(T)>,
}

enum Sink {
    Plain(Output),
    Zstd(zstd::Encoder<'static, Output>),
    /// Lines in a temporary file without a name, until their columns are known.
    Table(BufWriter<File>, Output),
}

/// What stands in the line of a record for numbers that JSON does not hold.
#[derive(Clone, Copy)]
enum Form {
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

impl Sink {
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
}

impl<T: Serialize> LineWriter<T> {
    /// Begins the file `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if its folder cannot be written, [`Error::InvalidFile`] for another extension.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let format = Format::of(path)?;
        Self::begin(format, Output::create(path)?)
    }

    /// Begins a file of this format.
    pub(super) fn begin(format: Format, output: Output) -> Result<Self> {
        let path = output.path().to_owned();
        let sink = match format {
            Format::Lines(Compression::None) => Sink::Plain(output),
            Format::Lines(Compression::Zstd) => {
                let encoder = zstd::Encoder::new(output, DEFAULT_LEVEL);
                Sink::Zstd(encoder.map_err(Error::io("write", path))?)
            }
            Format::Parquet => {
                let spool = tempfile::tempfile_in(output.folder());
                let spool = spool.map_err(Error::io("write", path))?;
                Sink::Table(BufWriter::new(spool), output)
            }
        };
        Ok(Self { sink, record: PhantomData })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, record: &T) -> Result<()> {
        let line = self.sink.form().line_of(record);
        self.put(line)
    }

    /// Adds records in their order; their lines are made over all cores.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_all(&mut self, records: &[T]) -> Result<()>
    where
        T: Sync,
    {
        let form = self.sink.form();
        let lines: Vec<_> = records.par_iter().map(|record| form.line_of(record)).collect();
        lines.into_iter().try_for_each(|line| self.put(line))
    }

    fn put(&mut self, line: io::Result<Vec<u8>>) -> Result<()> {
        let put = line.and_then(|line| self.sink.writer().write_all(&line));
        put.map_err(|error| Error::io("write", self.sink.output().path())(error))
    }

    /// Makes the file appear under its name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        match self.sink {
            Sink::Plain(output) => output.finish(),
            Sink::Zstd(encoder) => {
                let path = encoder.get_ref().path().to_owned();
                encoder.finish().map_err(Error::io("write", path))?.finish()
            }
            Sink::Table(lines, output) => {
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
pub(super) fn compress(mut lines: File, output: Output) -> Result<()> {
    let path = output.path().to_owned();
    let copy = || {
        let mut encoder = zstd::Encoder::new(output, DEFAULT_LEVEL)?;
        io::copy(&mut lines, &mut encoder)?;
        encoder.finish()
    };
    copy().map_err(Error::io("write", path))?.finish()
}

/// Writes rollouts as lines or as Parquet with the columns of the authors' data set.
pub struct RolloutWriter {
    sink: RolloutSink,
}

enum RolloutSink {
    Lines(LineWriter<Rollout>),
    Parquet(ParquetWriter),
}

impl RolloutWriter {
    /// Begins the file `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if its folder cannot be written, [`Error::InvalidFile`] for an unknown
    /// extension.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let format = Format::of(path)?;
        Self::begin(format, Output::create(path)?)
    }

    /// Begins a file of this format.
    pub(super) fn begin(format: Format, output: Output) -> Result<Self> {
        let sink = match format {
            Format::Lines(_) => RolloutSink::Lines(LineWriter::begin(format, output)?),
            Format::Parquet => RolloutSink::Parquet(ParquetWriter::create(output)),
        };
        Ok(Self { sink })
    }

    /// Adds a rollout.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, rollout: Rollout) -> Result<()> {
        match &mut self.sink {
            RolloutSink::Lines(lines) => lines.write(&rollout),
            RolloutSink::Parquet(rows) => rows.write(rollout),
        }
    }

    /// Adds rollouts in their order; lines are made over all cores.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_all(&mut self, rollouts: Vec<Rollout>) -> Result<()> {
        match &mut self.sink {
            RolloutSink::Lines(lines) => lines.write_all(&rollouts),
            RolloutSink::Parquet(rows) => {
                rollouts.into_iter().try_for_each(|rollout| rows.write(rollout))
            }
        }
    }

    /// Makes the file appear under its name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        match self.sink {
            RolloutSink::Lines(lines) => lines.finish(),
            RolloutSink::Parquet(rows) => rows.finish(),
        }
    }
}
