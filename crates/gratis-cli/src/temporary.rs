//! A folder for temporary files, removed at the end and on a signal.

use std::path::Path;

use gratis_model::atomic;
use tempfile::TempDir;

use crate::failure::CliError;

/// A temporary folder, removed when dropped.
#[derive(Debug)]
pub(crate) struct TemporaryFolder {
    folder: TempDir,
    _entry: atomic::Temporary,
}

impl TemporaryFolder {
    /// Creates the folder in the place for temporary files.
    pub(crate) fn new() -> Result<Self, CliError> {
        let create = || {
            let folder = tempfile::tempdir()?;
            Ok((folder.path().to_owned(), folder))
        };
        let (entry, folder) = atomic::Temporary::create(create).map_err(|source| {
            let place = std::env::temp_dir().display().to_string();
            CliError::Temporary { place, is_set: std::env::var_os("TMPDIR").is_some(), source }
        })?;
        Ok(Self { folder, _entry: entry })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}
