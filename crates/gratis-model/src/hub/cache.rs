//! The cache on disk, in the layout that the Hugging Face libraries share:
//!
//! ```text
//! models--org--name/
//!   blobs/TAG                      content, named by its entity tag
//!   snapshots/COMMIT/config.json   -> ../../blobs/TAG
//!   refs/main                      the commit that a revision is
//! .locks/models--org--name/TAG.lock
//! ```
//!
//! Cached files are checked before they are used: always the length of weights, the hash of small
//! files, and that no link points outside the repository's folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::DownloadObserver;
use super::digest;
use super::name::{Commit, EntityTag, HubName};
use crate::error::{Error, Result};
use crate::{atomic, checkpoint};

/// Files up to this size are hashed whenever they are looked at.
const MAX_HASHED: u64 = 64 << 20;

/// The folder of one repository.
pub(super) struct RepositoryCache {
    folder: PathBuf,
    locks: PathBuf,
}

/// A file of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Absent,
    Good,
    /// There, and not what it should be.
    Damaged(String),
}

/// How thoroughly a blob is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scrutiny {
    /// Its length, and its hash if it is small.
    Ordinary,
    /// Its hash, whatever the size: something is known to be wrong.
    Full,
}

impl RepositoryCache {
    pub(super) fn new(cache: &Path, name: &HubName) -> Self {
        let folder_name = name.folder_name();
        Self { locks: cache.join(".locks").join(&folder_name), folder: cache.join(folder_name) }
    }

    /// The commit that a revision was when it was last fetched.
    pub(super) fn commit_of(&self, revision: &str) -> Option<Commit> {
        let of_branch = || {
            let text = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
            Commit::parse(&text)
        };
        Commit::of_revision(revision).or_else(of_branch)
    }

    /// Notes which commit a revision is.
    pub(super) fn note_commit(&self, revision: &str, commit: &Commit) -> Result<()> {
        if self.commit_of(revision).as_ref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        create_parent(&path)?;
        atomic::write(&path, commit.as_str().as_bytes())
    }

    /// The folder of a commit's files.
    pub(super) fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.folder.join("snapshots").join(commit.as_str())
    }

    /// Looks at a file of a snapshot.
    pub(super) fn entry(&self, path: &Path) -> Entry {
        match self.entry_fault(path) {
            Ok(None) => Entry::Good,
            Ok(Some(reason)) => Entry::Damaged(reason),
            Err(error) if error.kind() == ErrorKind::NotFound => Entry::Absent,
            Err(error) => Entry::Damaged(error.to_string()),
        }
    }

    fn entry_fault(&self, path: &Path) -> io::Result<Option<String>> {
        let real = path.canonicalize()?;
        let metadata = real.metadata()?;
        if !metadata.is_file() {
            return Ok(Some("it is no file".to_owned()));
        }
        if !real.starts_with(self.folder.canonicalize()?)
            && !self.blobs().canonicalize().is_ok_and(|blobs| real.starts_with(blobs))
        {
            return Ok(Some(format!("it is a link out of the cache, to `{}`", real.display())));
        }
        let is_link = path.symlink_metadata()?.is_symlink();
        let tag = real.file_name().filter(|_| is_link).and_then(|name| name.to_str());
        if metadata.len() <= MAX_HASHED
            && let Some(tag) = tag.and_then(EntityTag::parse)
            && let Some(fault) = digest::file_fault(&real, &tag)?
        {
            return Ok(Some(fault));
        }
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            // The header says how long the file is.
            return Ok(match checkpoint::check_file(path) {
                Err(Error::MalformedFile { reason, .. }) => Some(reason),
                _ => None,
            });
        }
        Ok(None)
    }

    /// Where the content of a tag is.
    pub(super) fn blob(&self, tag: &EntityTag) -> Result<PathBuf> {
        let path = self.blobs().join(tag.as_str());
        create_parent(&path)?;
        Ok(path)
    }

    fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    /// Lets other processes wait that would write the same blob.
    pub(super) fn lock(
        &self,
        tag: &EntityTag,
        file: &str,
        observer: &mut dyn DownloadObserver,
    ) -> Result<File> {
        let path = self.locks.join(format!("{}.lock", tag.as_str()));
        create_parent(&path)?;
        let mut lock = || {
            let lock = File::options().create(true).truncate(false).write(true).open(&path)?;
            match lock.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    observer.wait(file);
                    lock.lock()?;
                }
                // Without locks the hash still tells of two writers.
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(error),
                Ok(()) => {}
            }
            Ok(lock)
        };
        lock().map_err(|source| Error::Io { action: "lock", path: path.clone(), source })
    }

    /// Whether a blob is there and right; one that is wrong is removed.
    pub(super) fn has_blob(
        &self,
        tag: &EntityTag,
        n_bytes: Option<u64>,
        scrutiny: Scrutiny,
    ) -> Result<bool> {
        let path = self.blob(tag)?;
        let look = || {
            let Ok(metadata) = path.symlink_metadata() else { return Ok(false) };
            let is_right = metadata.is_file()
                && n_bytes.is_none_or(|n_bytes| metadata.len() == n_bytes)
                && (scrutiny == Scrutiny::Ordinary && metadata.len() > MAX_HASHED
                    || digest::file_fault(&path, tag)?.is_none());
            if !is_right {
                fs::remove_file(&path)?;
            }
            Ok(is_right)
        };
        look().map_err(|source| Error::Io { action: "check", path: path.clone(), source })
    }

    /// Makes a blob a file of a snapshot.
    pub(super) fn link(&self, tag: &EntityTag, commit: &Commit, file: &str) -> Result<()> {
        let path = self.snapshot(commit).join(file);
        create_parent(&path)?;
        let blob = self.blob(tag)?;
        let draft = path.with_file_name(format!(".{file}.link"));
        let link = || {
            match fs::remove_file(&draft) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let target = Path::new("..").join("..").join("blobs").join(tag.as_str());
            if make_link(&target, &draft).is_err() {
                // Without links the snapshot holds the content itself.
                return fs::rename(&blob, &path);
            }
            fs::rename(&draft, &path)
        };
        link().map_err(|source| Error::Io { action: "create", path: path.clone(), source })
    }
}

#[cfg(unix)]
fn make_link(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn make_link(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn make_link(_: &Path, _: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

fn create_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|source| Error::Io {
        action: "create",
        path: parent.to_owned(),
        source,
    })
}
