//! Artefacts by content: what was made once from the same settings is found again.
//!
//! An artefact is a folder named by its kind and by the SHA-256 of its key, which holds everything
//! it depends on, the names of the artefacts it was made from included. A folder appears whole or
//! not at all, so that a run that was stopped goes on where it was.

use std::path::{Path, PathBuf};

use gratis_model::atomic;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use gratis::encoding::corpus::hex;
use gratis::error::{Error, Result};

/// Part of every key: artefacts of a program that makes them otherwise are not found.
const RECIPE_VERSION: u32 = 1;
/// File with the key, for whoever wonders what an artefact is.
const KEY_FILE: &str = "key.json";

/// A folder of artefacts.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// Artefacts that were there already.
    pub n_found: usize,
    /// Artefacts that were made.
    pub n_made: usize,
}

impl Store {
    /// The store in `folder`, which need not exist.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), n_found: 0, n_made: 0 }
    }

    /// The artefact of this key, and whether it is there.
    fn place(&self, kind: &str, key: &Value) -> (PathBuf, bool) {
        let digest = hex(&Sha256::digest(key.to_string().as_bytes()));
        let folder = self.folder.join(format!("{kind}-{}", &digest[..16]));
        let is_there = folder.join(KEY_FILE).is_file();
        (folder, is_there)
    }

    /// The folder of the artefact of this key; `make` fills a draft of it if it is not there.
    ///
    /// # Errors
    /// Those of `make` and of the file system: nothing is then left.
    pub fn folder(
        &mut self,
        kind: &str,
        key: &impl Serialize,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let key = json!({ "version": RECIPE_VERSION, "kind": kind, "key": key });
        let (folder, is_there) = self.place(kind, &key);
        if is_there {
            self.n_found += 1;
            return Ok(folder);
        }
        atomic::write_folder(&folder, |draft| {
            make(draft)?;
            let text = format!("{key:#}\n");
            Ok::<_, Error>(atomic::write(&draft.join(KEY_FILE), text.as_bytes())?)
        })?;
        self.n_made += 1;
        Ok(folder)
    }

    /// As [`Self::folder`], for a value kept as `value.json`.
    ///
    /// # Errors
    /// As [`Self::folder`]; [`Error::Io`] if the file there cannot be read back.
    pub fn value<T: Serialize + DeserializeOwned>(
        &mut self,
        kind: &str,
        key: &impl Serialize,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let folder =
            self.folder(kind, key, |draft| write_json(&draft.join("value.json"), &make()?))?;
        read_json(&folder.join("value.json"))
    }
}

/// The name of an artefact: part of the keys of what is made from it.
pub fn name(artefact: &Path) -> String {
    artefact.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Writes a value as JSON, whole or not at all.
///
/// # Errors
/// Those of the file system.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::io("write", path)(std::io::Error::other(error)))?;
    Ok(atomic::write(path, (text + "\n").as_bytes())?)
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
/// [`Error::Io`] with the path, also where the content is not what it should be.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::io("read", path)(std::io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_found_and_what_failed_is_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Store::new(folder.path());
        let mut n_calls = 0;
        for _ in 0..2 {
            let value: f64 = store
                .value("number", &json!({ "seed": 1 }), || {
                    n_calls += 1;
                    Ok(0.1 + 0.2)
                })
                .expect("made");
            assert_eq!(value, 0.1 + 0.2);
        }
        assert_eq!((n_calls, store.n_made, store.n_found), (1, 1, 1));

        let failing = store.folder("number", &json!({ "seed": 2 }), |draft| {
            std::fs::write(draft.join("half"), "half").expect("written");
            Err(Error::NoExamples { purpose: "fail with" })
        });
        assert!(failing.is_err());
        let n_folders = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(n_folders, 1, "nothing half-made is left");
    }
}
