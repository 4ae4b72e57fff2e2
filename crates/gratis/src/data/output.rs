//! Where records go: a file that appears under its name only when it is complete, or standard
//! output.

use std::io::{self, BufWriter, Stdout, Write};
use std::path::Path;

use gratis_model::atomic::Draft;

use super::format::STANDARD_STREAM;
use crate::error::{Error, Result};

/// A file under construction, or standard output.
#[derive(Debug)]
pub(super) enum Output {
    /// A file; dropped before [`Output::finish`], it leaves nothing behind.
    File(Draft),
    /// Standard output.
    Standard(BufWriter<Stdout>),
}

impl Output {
    /// Begins the file `path`; `-` is standard output.
    pub(super) fn create(path: &Path) -> Result<Self> {
        Ok(if path == Path::new(STANDARD_STREAM) {
            Self::Standard(BufWriter::new(io::stdout()))
        } else {
            Self::File(Draft::create(path)?)
        })
    }

    /// The destination.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(draft) => draft.path(),
            Self::Standard(_) => Path::new(STANDARD_STREAM),
        }
    }

    /// Makes the file appear under its name, whole and on the disk.
    pub(super) fn finish(self) -> Result<()> {
        match self {
            Self::File(draft) => Ok(draft.publish()?),
            Self::Standard(mut stdout) => {
                stdout.flush().map_err(Error::io("write", STANDARD_STREAM))
            }
        }
    }

    fn sink(&mut self) -> &mut dyn Write {
        match self {
            Self::File(draft) => draft,
            Self::Standard(stdout) => stdout,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink().flush()
    }
}
