//! Files of rollouts and of scores, by their extension: `.jsonl`, `.jsonl.zst` and, for rollouts,
//! `.parquet`; `-` is standard input or output as JSON lines.
//!
//! All of them stream: memory does not grow with the file.

use std::path::Path;

use super::lines::{Compression, LineReader, LineWriter};
use super::output::STANDARD_STREAM;
use super::parquet::{ParquetReader, ParquetWriter};
use super::record::OnInvalid;
use super::rollout::Rollout;
use super::score::Score;
use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Lines(Compression),
    Parquet,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        let name = path.to_string_lossy();
        if name == STANDARD_STREAM || name.ends_with(".jsonl") || name.ends_with(".json") {
            Ok(Self::Lines(Compression::None))
        } else if name.ends_with(".jsonl.zst") {
            Ok(Self::Lines(Compression::Zstd))
        } else if name.ends_with(".parquet") {
            Ok(Self::Parquet)
        } else {
            Err(Error::InvalidFile {
                path: path.to_owned(),
                expected: "named `.jsonl`, `.jsonl.zst` or `.parquet` (or `-`)".to_owned(),
                got: "another extension".to_owned(),
            })
        }
    }
}

/// Reads a rollout file one record at a time.
pub struct RolloutReader {
    source: RolloutSource,
}

enum RolloutSource {
    Lines(LineReader<Rollout>),
    Parquet(ParquetReader),
}

impl RolloutReader {
    /// Opens `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened, [`Error::InvalidFile`] for an unknown extension or a
    /// damaged Parquet file. Iteration yields [`Error::InvalidRecord`] for a line that is no
    /// rollout, unless such lines are skipped.
    pub fn open(path: impl AsRef<Path>, on_invalid: OnInvalid) -> Result<Self> {
        let path = path.as_ref();
        let source = match Format::of(path)? {
            Format::Lines(compression) => {
                RolloutSource::Lines(LineReader::open(path, compression, on_invalid)?)
            }
            Format::Parquet => RolloutSource::Parquet(ParquetReader::open(path, on_invalid)?),
        };
        Ok(Self { source })
    }

    /// Lines left out so far under [`OnInvalid::Skip`].
    pub fn n_skipped(&self) -> u64 {
        match &self.source {
            RolloutSource::Lines(lines) => lines.n_skipped(),
            RolloutSource::Parquet(rows) => rows.n_skipped(),
        }
    }
}

impl Iterator for RolloutReader {
    type Item = Result<Rollout>;

    fn next(&mut self) -> Option<Result<Rollout>> {
        match &mut self.source {
            RolloutSource::Lines(lines) => lines.next(),
            RolloutSource::Parquet(rows) => rows.next(),
        }
    }
}

/// Writes a rollout file one record at a time. The file appears when [`RolloutWriter::finish`] is
/// called; dropped before that, it leaves nothing behind.
pub struct RolloutWriter {
    sink: RolloutSink,
}

enum RolloutSink {
    Lines(LineWriter),
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
            Format::Lines(compression) => {
                RolloutSink::Lines(LineWriter::create(path, compression)?)
            }
            Format::Parquet => RolloutSink::Parquet(ParquetWriter::create(path)?),
        };
        Ok(Self { sink })
    }

    /// Adds a rollout.
    pub fn write(&mut self, rollout: &Rollout) -> Result<()> {
        match &mut self.sink {
            RolloutSink::Lines(lines) => lines.write(rollout),
            RolloutSink::Parquet(rows) => rows.write(rollout),
        }
    }

    /// Makes the file appear under its name.
    pub fn finish(self) -> Result<()> {
        match self.sink {
            RolloutSink::Lines(lines) => lines.finish(),
            RolloutSink::Parquet(rows) => rows.finish(),
        }
    }
}

/// Reads a scores file (`.jsonl`, `.jsonl.zst`, `-`) one record at a time.
pub struct ScoreReader {
    lines: LineReader<Score>,
}

impl ScoreReader {
    /// Opens `path`.
    ///
    /// # Errors
    /// As [`RolloutReader::open`].
    pub fn open(path: impl AsRef<Path>, on_invalid: OnInvalid) -> Result<Self> {
        let path = path.as_ref();
        Ok(Self { lines: LineReader::open(path, lines_only(path)?, on_invalid)? })
    }

    /// Lines left out so far under [`OnInvalid::Skip`].
    pub fn n_skipped(&self) -> u64 {
        self.lines.n_skipped()
    }
}

impl Iterator for ScoreReader {
    type Item = Result<Score>;

    fn next(&mut self) -> Option<Result<Score>> {
        self.lines.next()
    }
}

/// Writes a scores file one record at a time; it appears when [`ScoreWriter::finish`] is called.
pub struct ScoreWriter {
    lines: LineWriter,
}

impl ScoreWriter {
    /// Begins the file `path`.
    ///
    /// # Errors
    /// As [`RolloutWriter::create`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Ok(Self { lines: LineWriter::create(path, lines_only(path)?)? })
    }

    /// Adds the scores of a problem.
    pub fn write(&mut self, score: &Score) -> Result<()> {
        self.lines.write(score)
    }

    /// Makes the file appear under its name.
    pub fn finish(self) -> Result<()> {
        self.lines.finish()
    }
}

pub(super) fn lines_only(path: &Path) -> Result<Compression> {
    match Format::of(path)? {
        Format::Lines(compression) => Ok(compression),
        Format::Parquet => Err(Error::InvalidFile {
            path: path.to_owned(),
            expected: "named `.jsonl` or `.jsonl.zst` (or `-`)".to_owned(),
            got: "`.parquet`".to_owned(),
        }),
    }
}
