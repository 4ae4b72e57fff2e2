//! A file that appears under its name only when it is complete.

use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Standard input or output in place of a file.
pub(super) const STANDARD_STREAM: &str = "-";

/// A file under construction, or standard output.
///
/// It is written beside its destination and renamed by [`Output::finish`]; dropped before that, it
/// leaves nothing behind.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    File(BufWriter<NamedTempFile>),
    Standard(BufWriter<Stdout>),
}

impl Output {
    /// Begins the file `path`; `-` is standard output.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let sink = if path == Path::new(STANDARD_STREAM) {
            Sink::Standard(BufWriter::new(io::stdout()))
        } else {
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            let mut builder = tempfile::Builder::new();
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                // Narrowed by the umask as for any new file; the crate's own default is 0600.
                builder.permissions(std::fs::Permissions::from_mode(0o666));
            }
            let file = builder.prefix(".gratis-").tempfile_in(folder);
            Sink::File(BufWriter::new(file.map_err(Error::io("create", path))?))
        };
        Ok(Self { path: path.to_owned(), sink })
    }

    /// The destination.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file appear under its name, whole and on the disk.
    pub(super) fn finish(self) -> Result<()> {
        let Self { path, sink } = self;
        match sink {
            Sink::Standard(mut stdout) => stdout.flush(),
            Sink::File(file) => {
                file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| {
                    file.as_file().sync_all()?;
                    file.persist(&path).map_err(|error| error.error)?;
                    Ok(())
                })
            }
        }
        .map_err(Error::io("write", path))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::File(file) => file.write(bytes),
            Sink::Standard(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::File(file) => file.flush(),
            Sink::Standard(stdout) => stdout.flush(),
        }
    }
}
