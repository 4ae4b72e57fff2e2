//! Files and folders that are never half-written: a temporary in the same folder, fsync, rename.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// Replaces the file at `path` by `bytes`. A reader sees the old content or the new, never a part.
///
/// # Errors
/// [`Error::Io`] with the path; the old file is then still there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |file| file.write_all(bytes))
}

/// As [`write()`], for content that `fill` streams into a buffered file.
///
/// # Errors
/// As [`write()`]; an error of `fill` is reported the same way.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<()> {
    let mut draft = Draft::create(path)?;
    fill(&mut draft.writer).map_err(at("write", path))?;
    draft.publish()
}

/// A file under construction, buffered. It stands beside its destination, which it replaces as a
/// whole when it is published; dropped before that, it leaves nothing behind.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    writer: BufWriter<File>,
    temporary: tempfile::TempPath,
    temporary_entry: Temporary,
}

impl Draft {
    /// Begins the file that will be at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] with the path, if its folder cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let create = || {
            let file = temporary(&prefix_for(path), FILE_MODE).tempfile_in(parent_of(path))?;
            let path = file.path().to_owned();
            Ok((path, file))
        };
        let (temporary_entry, file) = Temporary::create(create).map_err(at("write", path))?;
        let (file, temporary) = file.into_parts();
        let writer = BufWriter::with_capacity(1 << 20, file);
        Ok(Self { path: path.to_owned(), writer, temporary, temporary_entry })
    }

    /// Where the file will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the file in its place, whole and on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] with the path; what was there before is then still there.
    pub fn publish(self) -> Result<()> {
        let Self { path, writer, temporary, temporary_entry } = self;
        let publish = || {
            writer.into_inner()?.sync_all()?;
            temporary_entry.publish(|| Ok(temporary.persist(&path)?))?;
            sync_folder(parent_of(&path))
        };
        publish().map_err(at("write", &path))
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Puts the finished file `draft` in the place of `path`, on the disk.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn replace(draft: &Path, path: &Path) -> Result<()> {
    let attempt = || {
        File::open(draft)?.sync_all()?;
        fs::rename(draft, path)?;
        sync_folder(parent_of(path))
    };
    attempt().map_err(at("write", path))
}

/// Writes a flat folder of files as a whole: `fill` is given an empty temporary folder beside
/// `folder`, which then takes its name.
///
/// If `folder` already exists, its other files stay and each written file replaces its namesake, one
/// by one, `config.json` last: whoever needs all files to change at once writes to a new name.
/// Parents of `folder` are created.
///
/// # Errors
/// [`Error::Io`], or whatever `fill` returns; a new folder is then not there at all.
pub fn write_folder<E: From<Error>>(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let parent = parent_of(folder);
    fs::create_dir_all(parent).map_err(at("create", parent))?;
    let create = || {
        let made = temporary(&prefix_for(folder), FOLDER_MODE).tempdir_in(parent)?;
        Ok((made.path().to_owned(), made))
    };
    let (entry, temporary) = Temporary::create(create).map_err(at("create", folder))?;
    fill(temporary.path())?;
    let publish = || {
        let mut files: Vec<PathBuf> = fs::read_dir(temporary.path())?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()?;
        files.sort_by_key(|file| (file.ends_with("config.json"), file.clone()));
        for file in &files {
            File::open(file)?.sync_all()?;
        }
        sync_folder(temporary.path())?;
        if !folder.exists() {
            entry.publish(|| fs::rename(temporary.path(), folder))?;
            return sync_folder(parent);
        }
        for file in &files {
            if let Some(name) = file.file_name() {
                fs::rename(file, folder.join(name))?;
            }
        }
        sync_folder(folder)
    };
    Ok(publish().map_err(at("write", folder))?)
}

/// The temporaries of this process that still exist.
static TEMPORARIES: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn temporaries() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    // A panic elsewhere leaves the set as it was.
    TEMPORARIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The entry of a temporary file or folder in the list that [`remove_temporaries`] works through.
/// Dropping it takes the temporary off the list; removing the temporary itself is its owner's duty.
#[derive(Debug)]
pub struct Temporary(PathBuf);

impl Temporary {
    /// Lists what `create` makes and answers with its path, so that none escapes a removal that
    /// happens at the same time.
    ///
    /// # Errors
    /// Those of `create`.
    pub fn create<T>(create: impl FnOnce() -> io::Result<(PathBuf, T)>) -> io::Result<(Self, T)> {
        let mut all = temporaries();
        let (path, made) = create()?;
        // The signal may come after a change of the working folder.
        let path = std::path::absolute(&path)?;
        all.insert(path.clone());
        Ok((Self(path), made))
    }

    /// Renames the temporary to its final name: afterwards nothing is left to remove.
    fn publish<T>(self, rename: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut all = temporaries();
        let renamed = rename()?;
        all.remove(&self.0);
        drop(all);
        Ok(renamed)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        temporaries().remove(&self.0);
    }
}

/// Removes every temporary file and folder of this process, for a process that is about to end
/// without unwinding, such as on a signal. Threads that create or publish a temporary afterwards
/// block for good.
///
/// Answers with the number removed.
pub fn remove_temporaries() -> usize {
    /// A thread that is writing into a folder may add a file while it is being removed.
    const ATTEMPTS: usize = 5;
    let all = temporaries();
    let remove = |path: &PathBuf| {
        (0..ATTEMPTS).any(|_| {
            let removed =
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.is_ok()
        })
    };
    let n_removed = all.iter().filter(|path| remove(path)).count();
    // Never unlocked again: see above.
    std::mem::forget(all);
    n_removed
}

const FILE_MODE: u32 = 0o666;
const FOLDER_MODE: u32 = 0o777;

/// Begins the name of a temporary: hidden, and telling what is being written.
fn prefix_for(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    format!(".{name}.")
}

/// A temporary with the permissions that an ordinary file or folder would have.
fn temporary(prefix: &str, mode: u32) -> tempfile::Builder<'_, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes renames in `folder` durable, where the system lets a folder be synced.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.json");
        write(&path, b"old").expect("written");
        let error = write_with(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        })
        .expect_err("fails");
        assert!(error.to_string().starts_with("cannot write `"), "{error}");
        assert_eq!(fs::read(&path).expect("still there"), b"old");
        write(&path, b"new").expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"new");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write(&ours, b"").expect("written");
        fs::write(&plain, b"").expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let root = tempfile::tempdir().expect("a folder");
        let target = root.path().join("runs/model");
        let fill = |text: &'static str, fail: bool| {
            write_folder(&target, |folder| {
                write(&folder.join("config.json"), text.as_bytes())?;
                if fail {
                    return Err(Error::InvalidDate { text: "stop".to_owned() });
                }
                write(&folder.join("weights"), text.as_bytes())
            })
        };
        fill("1", true).expect_err("stopped");
        assert!(!target.exists());
        fill("1", false).expect("written");
        fs::write(target.join("notes"), "mine").expect("written");
        fill("2", true).expect_err("stopped");
        assert_eq!(fs::read(target.join("config.json")).expect("there"), b"1");
        fill("2", false).expect("written");
        assert_eq!(fs::read(target.join("config.json")).expect("there"), b"2");
        assert_eq!(names(&target), ["config.json", "notes", "weights"]);
        assert_eq!(names(&root.path().join("runs")), ["model"]);
    }

    #[test]
    fn an_unwritable_place_is_named() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("absent/file");
        let error = write(&path, b"").expect_err("no folder");
        assert!(matches!(error, Error::Io { action: "write", path: p, .. } if p == path));
    }
}
