//! Outputs of records: a file that appears under its name only when it is complete, or a stream:
//! standard output, a pipe, a device.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use gratis_model::atomic::Draft;
use gratis_model::destination::Destination;
use gratis_model::lock::Lock;

use crate::error::{Error, Result};
use crate::format::STANDARD_STREAM;

/// A file under construction, or an open stream.
pub(crate) struct Output {
    /// As it was given.
    path: PathBuf,
    sink: Sink,
}

enum Sink {
    /// A file; dropped before [`Output::finish`], it leaves nothing behind.
    File(Draft, Option<Lock>),
    Through(BufWriter<Box<dyn Write + Send>>),
}

impl Output {
    /// Begins the file `path`, which no other process can begin until this one has ended. `-` is
    /// standard output; a pipe or a device is written through.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let sink = match Destination::of(path)? {
            Destination::File(target) => {
                let lock = Lock::beside(&target)?;
                Sink::File(Draft::create(&target)?, Some(lock))
            }
            Destination::Standard => {
                let sink = Sink::Through(BufWriter::new(open_through(&Destination::Standard)?));
                return Ok(Self { path: PathBuf::from(STANDARD_STREAM), sink });
            }
            through @ Destination::Through(_) => {
                Sink::Through(BufWriter::new(open_through(&through)?))
            }
        };
        Ok(Self { path: path.to_owned(), sink })
    }

    /// Begins the file `target`, whose lock the caller holds.
    pub(crate) fn create_locked(path: &Path, target: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), sink: Sink::File(Draft::create(target)?, None) })
    }

    /// The destination, as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that contains it.
    pub(crate) fn folder(&self) -> &Path {
        let path = match &self.sink {
            Sink::File(draft, _) => draft.path(),
            Sink::Through(_) => &self.path,
        };
        match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// Makes the file appear under its name, whole and on the disk.
    pub(crate) fn finish(self) -> Result<()> {
        match self.sink {
            Sink::File(draft, _lock) => Ok(draft.publish()?),
            Sink::Through(mut stream) => stream.flush().map_err(Error::io("write", self.path)),
        }
    }

    fn sink(&mut self) -> &mut dyn Write {
        match &mut self.sink {
            Sink::File(draft, _) => draft,
            Sink::Through(stream) => stream,
        }
    }
}

/// Opens what is not replaced but written to.
pub(crate) fn open_through(destination: &Destination) -> Result<Box<dyn Write + Send>> {
    match destination {
        Destination::Standard => Ok(Box::new(io::stdout())),
        Destination::Through(path) | Destination::File(path) => {
            let file = File::options().write(true).open(path);
            Ok(Box::new(file.map_err(Error::io("write", path))?))
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
