//! A content-addressed store of artefacts: results for the same settings are computed once.
//!
//! An artefact is a folder named by its kind and by the SHA-256 of its key. The key contains
//! everything that the artefact depends on, including the names of the artefacts it was made from.
//! A folder is written atomically, so a run that was stopped continues where it was. `key.json` in
//! each folder also holds the SHA-256 of every other file: an artefact whose files have changed is
//! removed and recomputed.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use gratis_model::atomic;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Part of every key: artefacts of a program that makes them differently are not found.
const RECIPE_VERSION: u32 = 1;
/// File with the key and the checksums.
const KEY_FILE: &str = "key.json";
/// The file of an artefact that is a value.
const VALUE_FILE: &str = "value.json";
/// Every process that uses the store holds a shared lock on this file.
const LOCK_FILE: &str = ".lock";

/// A folder of artefacts.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// Artefacts that were there already.
    pub(crate) n_found: usize,
    /// Artefacts that were made.
    pub(crate) n_made: usize,
    /// Artefacts whose checksums this process has compared or computed.
    checked: HashSet<PathBuf>,
    /// Held as long as the store is used; `None` where the folder cannot be written.
    _lock: Option<File>,
}

/// The content of [`KEY_FILE`].
#[derive(Debug, Serialize, Deserialize)]
struct KeyFile {
    #[serde(flatten)]
    key: serde_json::Map<String, Value>,
    /// SHA-256 of the other files by name.
    files: BTreeMap<String, String>,
}

/// The result of [`Store::find`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// The artefact.
    Found(PathBuf),
    /// There is none.
    Missing,
    /// There was one that cannot be used; it was removed.
    Damaged {
        /// Its name.
        artefact: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Store {
    /// The store in `folder`, which is created if need be. Drafts that killed processes have left
    /// there are removed, unless another process uses the store.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let path = folder.join(LOCK_FILE);
        // A store that cannot be written needs no lock: nothing is drafted in it.
        let lock = File::options().create(true).append(true).open(&path).ok();
        if let Some(lock) = &lock {
            if lock.try_lock().is_ok() {
                remove_drafts(folder)?;
                lock.unlock().map_err(Error::io("unlock", &path))?;
            }
            lock.lock_shared().map_err(Error::io("lock", &path))?;
        }
        let folder = folder.to_owned();
        Ok(Self { folder, n_found: 0, n_made: 0, checked: HashSet::new(), _lock: lock })
    }

    /// The artefact of this key.
    ///
    /// # Errors
    /// [`Error::Io`] if a damaged artefact cannot be removed.
    pub(crate) fn find(&mut self, kind: &str, key: &Value) -> Result<Lookup> {
        let folder = self.place(kind, key).0;
        if !folder.join(KEY_FILE).is_file() {
            return Ok(Lookup::Missing);
        }
        if !self.checked.contains(&folder) {
            if let Err(reason) = check(&folder) {
                return self.remove(&folder, reason);
            }
            self.checked.insert(folder.clone());
        }
        self.n_found += 1;
        Ok(Lookup::Found(folder))
    }

    /// Makes the artefact of this key: `make` fills a draft of its folder.
    ///
    /// # Errors
    /// Those of `make` and of the file system; then nothing is left.
    pub(crate) fn make(
        &mut self,
        kind: &str,
        key: &Value,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let (folder, key) = self.place(kind, key);
        atomic::write_folder(&folder, |draft| {
            make(draft)?;
            let file = KeyFile { key, files: checksums(draft)? };
            write_json(&draft.join(KEY_FILE), &file)
        })?;
        self.n_made += 1;
        self.checked.insert(folder.clone());
        Ok(folder)
    }

    /// The value of an artefact that [`Self::make_value`] made, or `None` if it is of another type: the
    /// artefact is then removed.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be removed.
    pub(crate) fn value<T: DeserializeOwned>(&mut self, artefact: &Path) -> Result<Option<T>> {
        match read_json(&artefact.join(VALUE_FILE)) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                self.remove(artefact, error.to_string())?;
                Ok(None)
            }
        }
    }

    /// As [`Self::make`], for a value.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn make_value(
        &mut self,
        kind: &str,
        key: &Value,
        value: &impl Serialize,
    ) -> Result<()> {
        self.make(kind, key, |draft| write_json(&draft.join(VALUE_FILE), value)).map(|_| ())
    }

    /// The folder that the artefact of this key has, or would have.
    pub(crate) fn place_of(&self, kind: &str, key: &Value) -> PathBuf {
        self.place(kind, key).0
    }

    /// The folder of the artefact of this key, and the whole key.
    fn place(&self, kind: &str, key: &Value) -> (PathBuf, serde_json::Map<String, Value>) {
        let key = json!({ "version": RECIPE_VERSION, "kind": kind, "key": key });
        let digest = hex(&Sha256::digest(key.to_string().as_bytes()));
        let key = match key {
            Value::Object(key) => key,
            _ => serde_json::Map::new(),
        };
        (self.folder.join(format!("{kind}-{}", &digest[..16])), key)
    }

    fn remove(&mut self, folder: &Path, reason: String) -> Result<Lookup> {
        self.checked.remove(folder);
        fs::remove_dir_all(folder).map_err(Error::io("remove", folder))?;
        Ok(Lookup::Damaged { artefact: name(folder), reason })
    }
}

/// Compares the files of an artefact with their checksums; an error says what is wrong.
fn check(folder: &Path) -> Result<(), String> {
    let key: KeyFile = read_json(&folder.join(KEY_FILE))
        .map_err(|_| format!("`{KEY_FILE}` is damaged or holds no checksums"))?;
    let found = checksums(folder).map_err(|error| error.to_string())?;
    let changed = key.files.iter().find(|(file, sum)| found.get(*file) != Some(sum));
    match changed {
        Some((file, _)) if !found.contains_key(file) => Err(format!("`{file}` is missing")),
        Some((file, _)) => Err(format!("`{file}` has changed")),
        None => Ok(()),
    }
}

/// SHA-256 of every file of a folder but [`KEY_FILE`].
fn checksums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if name != KEY_FILE && path.is_file() {
            let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
            sums.insert(name, hex(&Sha256::digest(&bytes)));
        }
    }
    Ok(sums)
}

/// Removes the drafts of artefacts in `folder`, and nothing else.
fn remove_drafts(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if is_draft(&name(&path)) && path.is_dir() {
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Whether a name is that of a draft: `.reward-0123456789abcdef.Xy12Zz`, or of a draft of that folder,
/// `..reward-0123456789abcdef.Xy12Zz.Ab34Cd`.
fn is_draft(name: &str) -> bool {
    let is_random = |part: &str| part.len() == 6 && part.chars().all(char::is_alphanumeric);
    let is_artefact = |part: &str| {
        part.split_once('-').is_some_and(|(kind, digest)| {
            !kind.is_empty()
                && kind.chars().all(|c| c.is_ascii_lowercase())
                && digest.len() == 16
                && digest.chars().all(|c| c.is_ascii_hexdigit())
        })
    };
    match name.split('.').collect::<Vec<_>>()[..] {
        ["", artefact, random] => is_artefact(artefact) && is_random(random),
        ["", "", artefact, outer, inner] => {
            is_artefact(artefact) && is_random(outer) && is_random(inner)
        }
        _ => false,
    }
}

/// The name of an artefact: part of the keys of what is made from it.
pub(crate) fn name(artefact: &Path) -> String {
    artefact.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Writes a value as JSON, whole or not at all.
///
/// # Errors
/// Those of the file system.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|source| Error::Json { path: path.to_owned(), source })?;
    Ok(atomic::write(path, (text + "\n").as_bytes())?)
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
/// [`Error::Io`] and [`Error::Json`] with the path.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    serde_json::from_str(&text).map_err(|source| Error::Json { path: path.to_owned(), source })
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests;
