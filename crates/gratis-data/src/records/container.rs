//! Files of text as a sequence of JSON records, whatever holds them: lines, a JSON array, objects
//! over several lines, CSV; plain or compressed. The content decides, not the name (but for CSV and
//! TSV, which no content tells apart from text).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::bufread::MultiGzDecoder;
use serde_json::{Map, Value};

use super::record::Fault;
use crate::error::{Error, Result};
use crate::format::STANDARD_STREAM;

/// One record as it stands in its file.
pub(crate) enum Raw<'a> {
    /// The bytes of a JSON value.
    Json(&'a [u8]),
    /// A row.
    Row(Value),
    /// What is wrong with it.
    Invalid(Fault),
}

/// The records of a file, one at a time, each with its line from 1 (for an array: the line on which
/// it begins; for CSV: the record).
pub(crate) struct Container {
    source: Source,
    path: std::path::PathBuf,
    buffer: Vec<u8>,
    number: u64,
}

enum Source {
    Lines(Box<dyn BufRead>),
    Values { bytes: Box<dyn BufRead>, line: u64, in_array: bool, done: bool },
    Csv { reader: Box<csv::Reader<Box<dyn BufRead>>>, headers: Vec<String> },
}

/// Beginnings of files in formats that are not read, with what to do.
const FOREIGN: [(&[u8], &str, &str); 5] = [
    (b"BZh", "bzip2", "decompress it first (`bunzip2`), or compress it with gzip or zstd"),
    (b"\xfd7zXZ\0", "xz", "decompress it first (`unxz`), or compress it with gzip or zstd"),
    (b"ARROW1", "an Arrow file", "write it as Parquet or JSON lines"),
    (b"\xff\xff\xff\xff", "an Arrow stream", "write it as Parquet or JSON lines"),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
];

/// Whether this process reads its standard input already: a second reader would find nothing.
static STANDARD_INPUT_TAKEN: AtomicBool = AtomicBool::new(false);

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BOM: &[u8] = b"\xef\xbb\xbf";

impl Container {
    /// Opens a file of text; `-` is standard input.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::InvalidFile`] for a format that is not read.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let plain: Box<dyn Read> = if path == Path::new(STANDARD_STREAM) {
            if STANDARD_INPUT_TAKEN.swap(true, Ordering::Relaxed) {
                return Err(Error::StandardInputTwice);
            }
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).map_err(Error::io("open", path))?)
        };
        let mut source: Box<dyn BufRead> = Box::new(BufReader::with_capacity(1 << 16, plain));
        let name = path.to_string_lossy().to_ascii_lowercase();
        let mut name = name.as_str();
        for _ in 0..2 {
            let start = source.fill_buf().map_err(Error::io("read", path))?;
            source = if start.starts_with(GZIP) {
                name = name.strip_suffix(".gz").unwrap_or(name);
                Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(source)))
            } else if start.starts_with(ZSTD) {
                name = name.strip_suffix(".zst").unwrap_or(name);
                let decoder = zstd::Decoder::with_buffer(source);
                Box::new(BufReader::with_capacity(
                    1 << 16,
                    decoder.map_err(Error::io("read", path))?,
                ))
            } else {
                break;
            };
        }
        let start = source.fill_buf().map_err(Error::io("read", path))?;
        refuse_foreign(path, start)?;
        if start.starts_with(BOM) {
            source.consume(BOM.len());
        }
        let delimiter = match name.rsplit('.').next() {
            Some("csv") => Some(b','),
            Some("tsv") => Some(b'\t'),
            _ => None,
        };
        let source = match delimiter {
            Some(delimiter) => csv(path, source, delimiter)?,
            None => text(path, source)?,
        };
        Ok(Self { source, path: path.to_owned(), buffer: Vec::new(), number: 0 })
    }

    /// The next record; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Raw<'_>)>> {
        let path = &self.path;
        let reading = || Error::io("read", path);
        match &mut self.source {
            Source::Lines(source) => loop {
                self.buffer.clear();
                read_line(source, &mut self.buffer).map_err(reading())?;
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                self.number += 1;
                if !self.buffer.iter().all(u8::is_ascii_whitespace) {
                    return Ok(Some((self.number, Raw::Json(&self.buffer))));
                }
            },
            Source::Values { bytes, line, in_array, done } => {
                if *done {
                    return Ok(None);
                }
                self.buffer.clear();
                let found = next_value(bytes, &mut self.buffer, line, *in_array);
                match found.map_err(reading())? {
                    Found::Value(number) => Ok(Some((number, Raw::Json(&self.buffer)))),
                    Found::End => {
                        *done = true;
                        Ok(None)
                    }
                    Found::Torn(number) => {
                        *done = true;
                        let fault =
                            Fault::new("record", "a whole JSON value", "the end of the file");
                        Ok(Some((number, Raw::Invalid(fault))))
                    }
                }
            }
            Source::Csv { reader, headers } => {
                let mut row = csv::StringRecord::new();
                match reader.read_record(&mut row) {
                    Ok(false) => Ok(None),
                    Ok(true) => {
                        self.number += 1;
                        Ok(Some((self.number, Raw::Row(row_value(headers, &row)))))
                    }
                    Err(error) if error.is_io_error() => {
                        let message = error.to_string();
                        Err(reading()(io::Error::other(message)))
                    }
                    Err(error) => {
                        self.number += 1;
                        let fault =
                            Fault::new("record", "a row like the header", error.to_string());
                        Ok(Some((self.number, Raw::Invalid(fault))))
                    }
                }
            }
        }
    }
}

fn invalid(path: &Path, expected: &str, got: String) -> Error {
    Error::InvalidFile { path: path.to_owned(), expected: expected.to_owned(), got }
}

fn refuse_foreign(path: &Path, start: &[u8]) -> Result<()> {
    const EXPECTED: &str = "JSON lines, a JSON array, CSV or Parquet";
    if let Some((_, name, advice)) = FOREIGN.iter().find(|(magic, ..)| start.starts_with(magic)) {
        return Err(invalid(path, EXPECTED, format!("{name}: {advice}")));
    }
    let is_utf16 = start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff");
    if is_utf16 || start.iter().take(4).filter(|&&byte| byte == 0).count() == 2 {
        let got = "UTF-16: convert it (`iconv -f UTF-16 -t UTF-8`)".to_owned();
        return Err(invalid(path, "text in UTF-8", got));
    }
    Ok(())
}

/// Lines where the first one is a whole value, else values over any number of lines.
fn text(path: &Path, mut source: Box<dyn BufRead>) -> Result<Source> {
    let mut line = 1;
    loop {
        let start = source.fill_buf().map_err(Error::io("read", path))?;
        let Some(&first) = start.first() else { return Ok(Source::Lines(source)) };
        if first.is_ascii_whitespace() {
            line += u64::from(first == b'\n');
            source.consume(1);
            continue;
        }
        if first == b'[' {
            source.consume(1);
            return Ok(Source::Values { bytes: source, line, in_array: true, done: false });
        }
        // A pretty-printed object has nothing but its opening bracket on its first line.
        let end = start.iter().position(|&byte| byte == b'\n').unwrap_or(start.len());
        let is_pretty = start[..end].trim_ascii() == b"{" && end < start.len();
        if is_pretty {
            return Ok(Source::Values { bytes: source, line, in_array: false, done: false });
        }
        let skipped = line - 1;
        if skipped == 0 {
            return Ok(Source::Lines(source));
        }
        // Blank lines count.
        let blank = vec![b'\n'; usize::try_from(skipped).unwrap_or(0)];
        return Ok(Source::Lines(Box::new(BufReader::new(io::Cursor::new(blank)).chain(source))));
    }
}

enum Found {
    /// A value that begins on this line.
    Value(u64),
    End,
    /// The file ends within the value that begins on this line.
    Torn(u64),
}

/// Copies the next value of an array, or of a sequence of values, into `buffer`.
fn next_value(
    bytes: &mut Box<dyn BufRead>,
    buffer: &mut Vec<u8>,
    line: &mut u64,
    in_array: bool,
) -> io::Result<Found> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut began = *line;
    loop {
        let chunk = bytes.fill_buf()?;
        if chunk.is_empty() {
            let is_whole = buffer.iter().all(u8::is_ascii_whitespace) && !in_array;
            return Ok(if is_whole { Found::End } else { Found::Torn(began) });
        }
        let mut n_used = 0;
        let mut found = None;
        for &byte in chunk {
            n_used += 1;
            *line += u64::from(byte == b'\n');
            if in_string {
                in_string = byte != b'"' || escaped;
                escaped = byte == b'\\' && !escaped;
                buffer.push(byte);
                continue;
            }
            if buffer.is_empty() && (byte.is_ascii_whitespace() || (in_array && byte == b',')) {
                began = *line;
                continue;
            }
            match byte {
                b'"' => in_string = true,
                b'{' | b'[' => depth += 1,
                b']' if depth == 0 && in_array => {
                    let is_last = buffer.is_empty();
                    // A scalar before the end of the array is a record too, if not a valid one.
                    found = Some(if is_last { Found::End } else { Found::Value(began) });
                    break;
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                b',' if depth == 0 && in_array => {
                    found = Some(Found::Value(began));
                    break;
                }
                _ => {}
            }
            buffer.push(byte);
            if depth == 0 && matches!(byte, b'}' | b']') {
                found = Some(Found::Value(began));
                break;
            }
        }
        bytes.consume(n_used);
        if let Some(found) = found {
            return Ok(found);
        }
    }
}

fn csv(path: &Path, source: Box<dyn BufRead>, delimiter: u8) -> Result<Source> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(source);
    let headers = reader.headers().map_err(|error| {
        invalid(path, "a header with the names of the columns", error.to_string())
    })?;
    let headers = headers.iter().map(str::to_owned).collect();
    Ok(Source::Csv { reader: Box::new(reader), headers })
}

/// A row as an object. A cell that is a JSON list or object is read as one, an empty one is absent.
fn row_value(headers: &[String], row: &csv::StringRecord) -> Value {
    let cell = |text: &str| match text.as_bytes().first() {
        Some(b'[' | b'{') => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        _ => Value::from(text),
    };
    let cells = headers.iter().zip(row).filter(|(_, text)| !text.is_empty());
    Value::Object(cells.map(|(name, text)| (name.clone(), cell(text))).collect::<Map<_, _>>())
}

/// As [`BufRead::read_until`] the end of a line, which it finds faster.
fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let available = match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            available => available?,
        };
        let end = memchr::memchr(b'\n', available).map(|at| at + 1);
        let n = end.unwrap_or(available.len());
        line.extend_from_slice(&available[..n]);
        source.consume(n);
        if end.is_some() || n == 0 {
            return Ok(());
        }
    }
}
