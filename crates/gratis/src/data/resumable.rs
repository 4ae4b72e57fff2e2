//! Files of lines that a stopped job goes on with.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use gratis_model::atomic;
use serde::Serialize;

use super::format::STANDARD_STREAM;
use crate::error::{Error, Result};

/// Writes lines to a file that appears whole, or to standard output as they come.
///
/// While a file is being written its lines stand in `NAME.partial` beside it. A job that was
/// stopped can go on from there; one that failed before its first line leaves nothing.
#[derive(Debug)]
pub struct ResumableWriter {
    path: PathBuf,
    partial: Option<Partial>,
    out: Out,
}

/// The path of the lines so far.
#[derive(Debug)]
struct Partial(PathBuf);

impl Drop for Partial {
    /// Without a line there is nothing to go on with.
    fn drop(&mut self) {
        if std::fs::metadata(&self.0).is_ok_and(|file| file.len() == 0) {
            // Where it cannot be removed, an empty file does no harm.
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

#[derive(Debug)]
enum Out {
    File(BufWriter<File>),
    Stdout(io::Stdout),
}

impl ResumableWriter {
    /// Starts the file and answers with the number of whole lines that a stopped job left.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn resume(path: &Path) -> Result<(Self, usize)> {
        if path == Path::new(STANDARD_STREAM) {
            let out = Out::Stdout(io::stdout());
            return Ok((Self { path: path.to_owned(), partial: None, out }, 0));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let partial = path.with_file_name(name);
        // A kill may have torn the last line.
        let (n_lines, n_whole) = match File::open(&partial) {
            Ok(file) => whole_lines(BufReader::new(file)).map_err(Error::io("read", &partial))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, 0),
            Err(error) => return Err(Error::io("read", &partial)(error)),
        };
        let open = || {
            let file = File::options().create(true).append(true).open(&partial)?;
            file.set_len(n_whole)?;
            Ok(file)
        };
        let file = open().map_err(Error::io("write", path))?;
        let out = Out::File(BufWriter::new(file));
        Ok((Self { path: path.to_owned(), partial: Some(Partial(partial)), out }, n_lines))
    }

    /// Appends a value as a line and hands it to the operating system.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, value: &impl Serialize) -> Result<()> {
        let out: &mut dyn Write = match &mut self.out {
            Out::File(file) => file,
            Out::Stdout(stdout) => stdout,
        };
        let mut put = || {
            serde_json::to_writer(&mut *out, value)?;
            out.write_all(b"\n")?;
            out.flush()
        };
        put().map_err(Error::io("write", &self.path))
    }

    /// Gives the file up: nothing is left to go on with.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard(self) -> Result<()> {
        match &self.partial {
            Some(Partial(path)) => std::fs::remove_file(path).map_err(Error::io("remove", path)),
            None => Ok(()),
        }
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let (Out::File(file), Some(partial)) = (self.out, self.partial) else { return Ok(()) };
        let flushed = file.into_inner().map_err(io::IntoInnerError::into_error);
        flushed.map_err(Error::io("write", &self.path))?;
        Ok(atomic::replace(&partial.0, &self.path)?)
    }
}

/// Number of whole lines, and their bytes.
fn whole_lines(mut source: impl BufRead) -> io::Result<(usize, u64)> {
    let (mut n_lines, mut n_whole, mut n_read) = (0, 0, 0);
    loop {
        let bytes = source.fill_buf()?;
        if bytes.is_empty() {
            return Ok((n_lines, n_whole));
        }
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            n_lines += 1;
            n_whole = n_read + at as u64 + 1;
        }
        let n = bytes.len();
        n_read += n as u64;
        source.consume(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_file_goes_on_after_its_last_whole_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.jsonl");
        let (writer, _) = ResumableWriter::resume(&path).expect("a file");
        drop(writer);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
        let (mut writer, _) = ResumableWriter::resume(&path).expect("a file");
        writer.write(&1).expect("written");
        drop(writer);
        assert!(!path.exists());
        let partial = folder.path().join("out.jsonl.partial");
        std::fs::write(&partial, "1\n2\n{\"to").expect("torn");
        let (mut writer, n_lines) = ResumableWriter::resume(&path).expect("resumed");
        assert_eq!(n_lines, 2);
        writer.write(&3).expect("written");
        writer.finish().expect("in place");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "1\n2\n3\n");
        assert!(!partial.exists());
    }
}
