//! Streams of JSON lines, plain or zstd, from files or standard input and to files or standard
//! output. Only one line is in memory at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::output::{Output, STANDARD_STREAM};
use super::record::{self, OnInvalid, Record};
use crate::error::{Error, Result};

/// Whether lines are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// Plain text.
    None,
    /// A zstd stream.
    Zstd,
}

/// Reads records line by line.
pub(super) struct LineReader<T> {
    path: PathBuf,
    source: Box<dyn BufRead>,
    buffer: Vec<u8>,
    line: u64,
    on_invalid: OnInvalid,
    n_skipped: u64,
    failed: bool,
    record: PhantomData<T>,
}

impl<T: Record> LineReader<T> {
    /// Opens `path`; `-` is standard input.
    pub(super) fn open(
        path: &Path,
        compression: Compression,
        on_invalid: OnInvalid,
    ) -> Result<Self> {
        let plain: Box<dyn BufRead> = if path == Path::new(STANDARD_STREAM) {
            Box::new(BufReader::new(io::stdin()))
        } else {
            Box::new(BufReader::new(File::open(path).map_err(Error::io("open", path))?))
        };
        let source = match compression {
            Compression::None => plain,
            Compression::Zstd => {
                let decoder = zstd::Decoder::with_buffer(plain).map_err(Error::io("read", path))?;
                Box::new(BufReader::new(decoder))
            }
        };
        Ok(Self {
            path: path.to_owned(),
            source,
            buffer: Vec::new(),
            line: 0,
            on_invalid,
            n_skipped: 0,
            failed: false,
            record: PhantomData,
        })
    }

    /// Lines left out so far.
    pub(super) fn n_skipped(&self) -> u64 {
        self.n_skipped
    }

    fn read(&mut self) -> Result<Option<T>> {
        loop {
            self.buffer.clear();
            let read = self.source.read_until(b'\n', &mut self.buffer);
            if read.map_err(Error::io("read", &self.path))? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if self.buffer.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match record::from_json::<T>(&self.buffer) {
                Ok(mut record) => {
                    record.number(self.line);
                    return Ok(Some(record));
                }
                Err(_) if self.on_invalid == OnInvalid::Skip => self.n_skipped += 1,
                Err(fault) => return Err(fault.at(&self.path, self.line)),
            }
        }
    }
}

impl<T: Record> Iterator for LineReader<T> {
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

/// Writes records line by line.
pub(super) struct LineWriter {
    sink: Sink,
}

enum Sink {
    Plain(Output),
    Zstd(zstd::Encoder<'static, Output>),
}

impl LineWriter {
    /// Begins a file of lines.
    pub(super) fn create(path: &Path, compression: Compression) -> Result<Self> {
        const DEFAULT_LEVEL: i32 = 0;
        let output = Output::create(path)?;
        let sink = match compression {
            Compression::None => Sink::Plain(output),
            Compression::Zstd => {
                let encoder = zstd::Encoder::new(output, DEFAULT_LEVEL);
                Sink::Zstd(encoder.map_err(Error::io("create", path))?)
            }
        };
        Ok(Self { sink })
    }

    /// Adds a record.
    pub(super) fn write<T: Record>(&mut self, record: &T) -> Result<()> {
        let path = match &self.sink {
            Sink::Plain(output) => output.path(),
            Sink::Zstd(encoder) => encoder.get_ref().path(),
        }
        .to_owned();
        let sink: &mut dyn Write = match &mut self.sink {
            Sink::Plain(output) => output,
            Sink::Zstd(encoder) => encoder,
        };
        serde_json::to_writer(&mut *sink, record)
            .map_err(io::Error::from)
            .and_then(|()| sink.write_all(b"\n"))
            .map_err(Error::io("write", path))
    }

    /// Makes the file appear under its name.
    pub(super) fn finish(self) -> Result<()> {
        match self.sink {
            Sink::Plain(output) => output.finish(),
            Sink::Zstd(encoder) => {
                let path = encoder.get_ref().path().to_owned();
                encoder.finish().map_err(Error::io("write", path))?.finish()
            }
        }
    }
}
