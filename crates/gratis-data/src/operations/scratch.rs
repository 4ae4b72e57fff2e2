//! A place for temporary files, made when the first one is needed.

use std::cell::OnceCell;
use std::io::{Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};

use gratis_model::atomic::FolderDraft;

use crate::error::{Error, Result};

/// A hidden folder in another one, removed with all that is in it when dropped; what a killed process
/// left there is removed when the next one is made.
#[derive(Debug)]
pub(crate) struct Scratch {
    beside: PathBuf,
    folder: OnceCell<FolderDraft>,
}

impl Scratch {
    /// A place in the folder `beside`, where nothing is written yet.
    pub(crate) fn new(beside: &Path) -> Self {
        Self { beside: beside.to_owned(), folder: OnceCell::new() }
    }

    /// The folder, now made if it was not there.
    pub(crate) fn folder(&self) -> Result<&Path> {
        if let Some(folder) = self.folder.get() {
            return Ok(folder.path());
        }
        let made =
            FolderDraft::create(&self.beside.join("scratch")).map_err(|error| match error {
                gratis_model::Error::Io { source, .. } => {
                    Error::io("create a temporary folder in", &self.beside)(source)
                }
                error => error.into(),
            })?;
        Ok(self.folder.get_or_init(|| made).path())
    }
}

/// Bytes that an operation puts aside and reads back from anywhere.
pub(crate) trait Spool: Read + Write + Seek {}

impl<T: Read + Write + Seek> Spool for T {}

/// An empty spool: a temporary file, or memory where rollouts are in memory anyway.
pub(crate) fn spool(scratch: Option<&Scratch>) -> Result<Box<dyn Spool>> {
    spool_in(scratch.map(Scratch::folder).transpose()?)
}

/// An empty spool in this folder, or in memory.
pub(crate) fn spool_in(folder: Option<&Path>) -> Result<Box<dyn Spool>> {
    let Some(folder) = folder else { return Ok(Box::new(Cursor::new(Vec::new()))) };
    let file = tempfile::tempfile_in(folder).map_err(Error::io("create", folder))?;
    Ok(Box::new(file))
}
