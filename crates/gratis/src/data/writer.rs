//! Writing records one at a time, into a file that appears under its name when it is finished and
//! otherwise leaves nothing behind. `-` is standard output.

use std::io::{self, Write};
use std::marker::PhantomData;
use std::path::Path;

use serde::Serialize;

use super::format::{Compression, Format};
use super::output::Output;
use super::parquet::ParquetWriter;
use super::rollout::Rollout;
use crate::error::{Error, Result};

/// Writes records as lines of JSON: `.jsonl`, `.jsonl.zst`, `-`.
pub struct LineWriter<T> {
    sink: Sink,
    record: PhantomData<fn(T)>,
}

enum Sink {
    Plain(Output),
    Zstd(zstd::Encoder<'static, Output>),
}

impl Sink {
    fn output(&self) -> &Output {
        match self {
            Self::Plain(output) => output,
            Self::Zstd(encoder) => encoder.get_ref(),
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(output) => output,
            Self::Zstd(encoder) => encoder,
        }
    }
}

impl<T: Serialize> LineWriter<T> {
    /// Begins the file `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if its folder cannot be written, [`Error::InvalidFile`] for another extension.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        const DEFAULT_LEVEL: i32 = 0;
        let path = path.as_ref();
        let compression = Compression::of(path)?;
        let output = Output::create(path)?;
        let sink = match compression {
            Compression::None => Sink::Plain(output),
            Compression::Zstd => {
                let encoder = zstd::Encoder::new(output, DEFAULT_LEVEL);
                Sink::Zstd(encoder.map_err(Error::io("write", path))?)
            }
        };
        Ok(Self { sink, record: PhantomData })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, record: &T) -> Result<()> {
        let mut put = || {
            let writer = self.sink.writer();
            serde_json::to_writer(&mut *writer, record)?;
            writer.write_all(b"\n")
        };
        put().map_err(|error: io::Error| Error::io("write", self.sink.output().path())(error))
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
        }
    }
}

/// Writes rollouts as lines or as Parquet, by the file's name.
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
        let sink = match Format::of(path)? {
            Format::Lines(_) => RolloutSink::Lines(LineWriter::create(path)?),
            Format::Parquet => RolloutSink::Parquet(ParquetWriter::create(path)?),
        };
        Ok(Self { sink })
    }

    /// Adds a rollout.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, rollout: &Rollout) -> Result<()> {
        match &mut self.sink {
            RolloutSink::Lines(lines) => lines.write(rollout),
            RolloutSink::Parquet(rows) => rows.write(rollout),
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
