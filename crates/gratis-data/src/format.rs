//! The formats of data files, determined by their names, for reading and writing; `-` is
//! standard input or output as JSON lines, and so is a pipe or a device without such a name.

use std::path::Path;

use crate::error::{Error, Result};

/// Standard input or output in place of a file.
pub(crate) const STANDARD_STREAM: &str = "-";

/// How a file holds its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Lines(Compression),
    /// One row each.
    Parquet,
}

/// Whether lines are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Plain text.
    None,
    /// A zstd stream.
    Zstd,
}

impl Format {
    /// The format given by a file's name.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let name = path.to_string_lossy();
        if name == STANDARD_STREAM || name.ends_with(".jsonl") || name.ends_with(".json") {
            Ok(Self::Lines(Compression::None))
        } else if name.ends_with(".jsonl.zst") {
            Ok(Self::Lines(Compression::Zstd))
        } else if name.ends_with(".parquet") {
            Ok(Self::Parquet)
        } else if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            // A pipe or a device has no name to choose by.
            Ok(Self::Lines(Compression::None))
        } else {
            Err(Error::InvalidFile {
                path: path.to_owned(),
                expected: "named `.jsonl`, `.jsonl.zst` or `.parquet` (or `-`)".to_owned(),
                got: match path.extension() {
                    Some(extension) => format!("`.{}`", extension.to_string_lossy()),
                    None => "no extension".to_owned(),
                },
            })
        }
    }
}
