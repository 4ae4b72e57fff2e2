//! A place for temporary files, made when the first one is needed.

use std::cell::OnceCell;
use std::io::{Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};

use gratis_model::atomic;

use crate::error::{Error, Result};

/// A hidden folder in another one, removed with all that is in it when dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    beside: PathBuf,
    folder: OnceCell<(atomic::Temporary, tempfile::TempDir)>,
}

impl Scratch {
    /// A place in the folder `beside`, where nothing is written yet.
    pub(super) fn new(beside: &Path) -> Self {
        Self { beside: beside.to_owned(), folder: OnceCell::new() }
    }

    /// The folder, now made if it was not there.
    pub(super) fn folder(&self) -> Result<&Path> {
        if let Some((_, folder)) = self.folder.get() {
            return Ok(folder.path());
        }
        let create = || {
            let made = tempfile::Builder::new().prefix(".gratis-").tempdir_in(&self.beside)?;
            Ok((made.path().to_owned(), made))
        };
        let made = atomic::Temporary::create(create);
        let made = made.map_err(Error::io("create a temporary folder in", &self.beside))?;
        Ok(self.folder.get_or_init(|| made).1.path())
    }
}

/// Bytes that an operation puts aside and reads back from anywhere.
pub(super) trait Spool: Read + Write + Seek {}

impl<T: Read + Write + Seek> Spool for T {}

/// An empty spool: a temporary file, or memory where rollouts are in memory anyway.
pub(super) fn spool(scratch: Option<&Scratch>) -> Result<Box<dyn Spool>> {
    let Some(scratch) = scratch else { return Ok(Box::new(Cursor::new(Vec::new()))) };
    let folder = scratch.folder()?;
    let file = tempfile::tempfile_in(folder).map_err(Error::io("create", folder))?;
    Ok(Box::new(file))
}
