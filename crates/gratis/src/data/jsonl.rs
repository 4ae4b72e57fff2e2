//! Lines of JSON of any kind, and files that a stopped job goes on with. `-` is standard input or
//! output.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::record::OnInvalid;
use crate::error::{Error, Result};

/// A value and the line it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<T> {
    /// The file; `-` is standard input.
    pub path: Arc<Path>,
    /// The line, from 1.
    pub line: u64,
    /// What stands there.
    pub value: T,
}

/// The records of a file, one by one; `.zst` is decompressed, blank lines are passed over.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened; each item is [`Error::InvalidRecord`] for a line
/// that is no `T`, naming line and field.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<impl Iterator<Item = Result<Record<T>>>> {
    let reader = open(path)?;
    let path: Arc<Path> = path.into();
    let lines = reader
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.as_ref().is_ok_and(|line| line.trim().is_empty()));
    Ok(lines.map(move |(text, line)| {
        let text = text.map_err(Error::io("read", &*path))?;
        let mut parser = serde_json::Deserializer::from_str(&text);
        let value = serde_path_to_error::deserialize(&mut parser);
        let value = value.map_err(|error| invalid(&path, line, &error))?;
        Ok(Record { path: Arc::clone(&path), line, value })
    }))
}

/// All records of a file and how many lines were left out.
///
/// # Errors
/// As [`read`]; with [`OnInvalid::Skip`] only [`Error::Io`].
pub fn read_all<T: DeserializeOwned>(
    path: &Path,
    on_invalid: OnInvalid,
) -> Result<(Vec<Record<T>>, u64)> {
    let (mut records, mut n_skipped) = (Vec::new(), 0);
    for record in read(path)? {
        match record {
            Err(Error::InvalidRecord { .. }) if on_invalid == OnInvalid::Skip => n_skipped += 1,
            record => records.push(record?),
        }
    }
    Ok((records, n_skipped))
}

fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).map_err(Error::io("open", path))?;
    if path.extension().is_some_and(|extension| extension == "zst") {
        let decoder = zstd::Decoder::new(file).map_err(Error::io("read", path))?;
        return Ok(Box::new(BufReader::new(decoder)));
    }
    Ok(Box::new(BufReader::new(file)))
}

fn invalid(path: &Path, line: u64, error: &serde_path_to_error::Error<serde_json::Error>) -> Error {
    let message = error.inner().to_string();
    // `invalid type: integer 3, expected a string at line 1 column 9`, `missing field ...`
    let message = message.split(" at line ").next().unwrap_or_default();
    let (got, expected) = message.split_once(", expected ").unwrap_or((message, "valid JSON"));
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    let (field, expected, got) = match missing {
        Some(field) => (field.to_owned(), "there", "nothing"),
        None => (error.path().to_string(), expected, got.trim_start_matches("invalid type: ")),
    };
    Error::InvalidRecord {
        path: path.to_owned(),
        line,
        field,
        expected: expected.to_owned(),
        got: got.to_owned(),
    }
}

/// Writes lines to a file that appears whole, or to standard output as they come.
///
/// While a file is being written its lines stand in `NAME.partial` beside it. A job that was
/// stopped can go on from there.
#[derive(Debug)]
pub struct ResumableWriter {
    path: PathBuf,
    partial: Option<PathBuf>,
    out: Out,
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
        if path == Path::new("-") {
            let out = Out::Stdout(io::stdout());
            return Ok((Self { path: path.to_owned(), partial: None, out }, 0));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let partial = path.with_file_name(name);
        let known = match std::fs::read(&partial) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("read", &partial)(error)),
        };
        // A kill may have torn the last line.
        let n_whole = known.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let n_lines = known[..n_whole].split_inclusive(|&byte| byte == b'\n').count();
        let open = || {
            let file = File::options().create(true).append(true).open(&partial)?;
            file.set_len(n_whole as u64)?;
            Ok(file)
        };
        let file = open().map_err(Error::io("write", path))?;
        let out = Out::File(BufWriter::new(file));
        Ok((Self { path: path.to_owned(), partial: Some(partial), out }, n_lines))
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

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        let (Out::File(file), Some(partial)) = (self.out, self.partial) else { return Ok(()) };
        let place = || {
            file.into_inner()?.sync_all()?;
            std::fs::rename(&partial, &self.path)
        };
        place().map_err(Error::io("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only parsed")]
    struct Line {
        prompt: String,
        completions: Vec<String>,
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rollouts.jsonl");
        std::fs::write(&path, text).expect("written");
        (folder, path)
    }

    #[test]
    fn a_malformed_line_names_line_and_field() {
        let good = r#"{"prompt": "p", "completions": ["c"]}"#;
        for (bad, field, rest) in [
            (
                r#"{"prompt": 3, "completions": []}"#,
                "prompt",
                "should be a string, got integer `3`",
            ),
            (r#"{"prompt": "p"}"#, "completions", "should be there, got nothing"),
            (
                r#"{"prompt": "p", "completions": [1]}"#,
                "completions[0]",
                "a string, got integer `1`",
            ),
            (r#"{"prompt": "#, "prompt", "should be valid JSON, got EOF while parsing"),
        ] {
            let (_folder, path) = file(&format!("{good}\n\n{bad}\n{good}\n"));
            let error = read_all::<Line>(&path, OnInvalid::Stop).expect_err("malformed");
            let text = error.to_string();
            assert!(
                text.contains(&format!(", line 3: `{field}`")) && text.contains(rest),
                "{text}"
            );
            let (records, n_skipped) = read_all::<Line>(&path, OnInvalid::Skip).expect("read");
            assert_eq!((records.len(), n_skipped), (2, 1));
            assert_eq!(records[1].line, 4);
        }
    }

    #[test]
    fn a_stopped_file_goes_on_after_its_last_whole_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.jsonl");
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
