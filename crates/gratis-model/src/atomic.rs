//! Atomic writes of files and folders: a draft in the same folder, fsync, rename.
//!
//! A draft is called `.NAME.gratis-draft-XXXXXX` and locked while its process lives. A draft left
//! by a killed process is not locked; the next process that writes the same file or folder removes
//! it.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// Replaces the file at `path` by `bytes`. A reader sees either the old or the new content, never a
/// part.
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

/// A file under construction, buffered. It is in the folder of its destination, which it replaces
/// atomically when it is published, keeping the permissions of the old file; if dropped before
/// that, it leaves nothing behind.
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
        remove_stale_drafts(parent_of(path), |name| name == shortened(path));
        let create = || {
            let mode = mode_of(path);
            for _ in 0..ATTEMPTS {
                let file = temporary(&prefix_for(path), mode.unwrap_or(FILE_MODE))
                    .tempfile_in(parent_of(path))?;
                if is_locked_at(file.as_file(), file.path()) {
                    set_mode(file.as_file(), mode)?;
                    return Ok((file.path().to_owned(), file));
                }
            }
            Err(drafts_vanish())
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

    /// Moves the complete, synced file to its place.
    ///
    /// # Errors
    /// [`Error::Io`] with the path; what was there before is then still there.
    pub fn publish(self) -> Result<()> {
        let Self { path, writer, temporary, temporary_entry } = self;
        let publish = || {
            // Open, and so locked, until it has its name.
            let file = writer.into_inner()?;
            file.sync_all()?;
            temporary_entry.publish(|| Ok(temporary.persist(&path)?))?;
            drop(file);
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

/// Puts the finished file `draft` in the place of `path`, on the disk, with the permissions of the
/// file that was there.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn replace(draft: &Path, path: &Path) -> Result<()> {
    let attempt = || {
        let file = File::open(draft)?;
        keep_permissions(&file, path)?;
        file.sync_all()?;
        fs::rename(draft, path)?;
        sync_folder(parent_of(path))
    };
    attempt().map_err(at("write", path))
}

/// Writes a flat folder of files atomically: `fill` is given an empty temporary folder beside
/// `folder`, which is then renamed.
///
/// If `folder` already exists, its other files stay and each written file replaces its namesake, one
/// by one, `config.json` last: to change all files at once, write to a new name.
/// Parents of `folder` are created.
///
/// # Errors
/// [`Error::Io`], or whatever `fill` returns; a new folder is then not there at all.
pub fn write_folder<E: From<Error>>(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let draft = FolderDraft::create(folder)?;
    fill(draft.path())?;
    Ok(draft.publish()?)
}

/// As [`write_folder`], for a folder that must not change: where there is one with a `config.json`
/// already, every file must be there with the same bytes. So a process that was killed just before
/// its end can be run again.
///
/// # Errors
/// As [`write_folder`]; [`Error::FolderDiffers`] names the first file that differs.
pub fn write_new_folder<E: From<Error>>(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<Published, E> {
    let draft = FolderDraft::create(folder)?;
    fill(draft.path())?;
    if !folder.join(CONFIG_FILE).exists() {
        draft.publish()?;
        return Ok(Published::Written);
    }
    for file in draft.files().map_err(at("read", folder))? {
        let name = file.file_name().unwrap_or_default();
        let known = folder.join(name);
        let is_same = known.is_file()
            && same_bytes(&file, &known).map_err(|source| at("read", &known)(source))?;
        if !is_same {
            let file = name.to_string_lossy().into_owned();
            return Err(Error::FolderDiffers { path: folder.to_owned(), file }.into());
        }
    }
    Ok(Published::WasThere)
}

/// Removes a folder atomically: it is first moved into a draft, so a killed process leaves the
/// draft and not a part of the folder.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn remove_folder(folder: &Path) -> Result<()> {
    let draft = FolderDraft::create(folder)?;
    // Within a draft, which is removed by whoever comes next.
    let name = draft.path().join("removed");
    let remove = || {
        fs::rename(folder, &name)?;
        fs::remove_dir_all(&name)
    };
    remove().map_err(at("remove", folder))
}

/// The result of [`write_new_folder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The folder is new.
    Written,
    /// It was there with the same content.
    WasThere,
}

fn same_bytes(first: &Path, second: &Path) -> io::Result<bool> {
    use std::io::BufRead;
    let open = |path: &Path| Ok::<_, io::Error>(io::BufReader::new(File::open(path)?));
    let (mut first, mut second) = (open(first)?, open(second)?);
    loop {
        let (left, right) = (first.fill_buf()?, second.fill_buf()?);
        let n = left.len().min(right.len());
        if n == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        if left[..n] != right[..n] {
            return Ok(false);
        }
        first.consume(n);
        second.consume(n);
    }
}

/// A flat folder under construction beside its destination, or a place for temporary files that is
/// never published; dropped, it is removed with all that is in it.
#[derive(Debug)]
pub struct FolderDraft {
    destination: PathBuf,
    folder: tempfile::TempDir,
    entry: Temporary,
    // Open, and so locked, until the folder has its name.
    _lock: Option<File>,
}

impl FolderDraft {
    /// Begins the folder that will be at `destination`; its parents are created.
    ///
    /// # Errors
    /// [`Error::Io`] with the path, if its parent cannot be written.
    pub fn create(destination: &Path) -> Result<Self> {
        let parent = parent_of(destination);
        fs::create_dir_all(parent).map_err(at("create", parent))?;
        remove_stale_drafts(parent, |name| name == shortened(destination));
        let create = || {
            for _ in 0..ATTEMPTS {
                let made = temporary(&prefix_for(destination), FOLDER_MODE).tempdir_in(parent)?;
                // Elsewhere than on Unix a folder cannot be opened.
                let lock = File::open(made.path()).ok();
                if lock.as_ref().is_none_or(|lock| is_locked_at(lock, made.path())) {
                    return Ok((made.path().to_owned(), (made, lock)));
                }
            }
            Err(drafts_vanish())
        };
        let made = Temporary::create(create).map_err(at("create", destination))?;
        let (entry, (folder, lock)) = made;
        Ok(Self { destination: destination.to_owned(), folder, entry, _lock: lock })
    }

    /// Where it is now.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its files, `config.json` last.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.path())?;
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
        files.sort_by_key(|file| (file.ends_with(CONFIG_FILE), file.clone()));
        Ok(files)
    }

    fn publish(self) -> Result<()> {
        let destination = self.destination.clone();
        self.try_publish().map_err(at("write", &destination))
    }

    fn try_publish(self) -> io::Result<()> {
        let files = self.files()?;
        for file in &files {
            File::open(file)?.sync_all()?;
        }
        sync_folder(self.path())?;
        let Self { destination, folder, entry, _lock } = self;
        if !destination.exists() {
            entry.publish(|| fs::rename(folder.path(), &destination))?;
            return sync_folder(parent_of(&destination));
        }
        for file in &files {
            if let Some(name) = file.file_name() {
                fs::rename(file, destination.join(name))?;
            }
        }
        sync_folder(&destination)
    }
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
    /// Registers what `create` makes and returns its path, so that a concurrent removal does not
    /// miss it.
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
/// Returns the number removed.
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
/// The file that marks a folder as a model; it is moved into place last.
const CONFIG_FILE: &str = "config.json";
/// Between the name of what is written and six letters or digits.
const MARKER: &str = ".gratis-draft-";
const N_RANDOM: usize = 6;
/// Longest part of a name in the name of its draft, in bytes: file systems hold 255.
const MAX_NAME: usize = 180;
/// How often to retry if another process removes a draft before it is locked.
const ATTEMPTS: usize = 10;

/// The name of what is written, as the name of its draft has it.
fn shortened(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = (0..=name.len().min(MAX_NAME)).rfind(|&end| name.is_char_boundary(end));
    name[..end.unwrap_or(0)].to_owned()
}

/// Prefix of the temporary files beside `path` while it is written: `.NAME`.
pub(crate) fn draft_stem(path: &Path) -> String {
    format!(".{}", shortened(path))
}

fn prefix_for(path: &Path) -> String {
    draft_stem(path) + MARKER
}

/// What a draft of this file name is a draft of; a draft of a draft is one of the same.
fn drafted(name: &str) -> Option<&str> {
    let (of, random) = name.strip_prefix('.')?.rsplit_once(MARKER)?;
    let is_random = random.len() == N_RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_random && !of.is_empty()).then(|| drafted(of).unwrap_or(of))
}

/// Removes the drafts in `folder` that processes left when they were killed, of the names that
/// `is_own` picks. Those of a living process are locked and stay; so does every file that is not
/// called as drafts are. Returns the number removed.
pub fn remove_stale_drafts(folder: &Path, is_own: impl Fn(&str) -> bool) -> usize {
    // Drafts that cannot be read or removed do no harm.
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let is_stale = |path: &Path| {
        let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        let Ok(file) = File::open(path) else { return false };
        !is_link && file.try_lock().is_ok() && is_at(&file, path)
    };
    let remove = |path: &Path| {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.is_ok()
    };
    let mut n_removed = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let path = entry.path();
        if drafted(&name.to_string_lossy()).is_some_and(&is_own) && is_stale(&path) && remove(&path)
        {
            n_removed += 1;
        }
    }
    n_removed
}

/// Locks a draft that was just made; no if another process has taken it for a stale one.
fn is_locked_at(file: &File, path: &Path) -> bool {
    match file.try_lock() {
        Ok(()) => is_at(file, path),
        Err(TryLockError::WouldBlock) => false,
        // This file system has no locks: nobody takes it for stale.
        Err(TryLockError::Error(_)) => true,
    }
}

/// Whether an open file is still the one at `path`.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let opened = file.try_clone().and_then(same_file::Handle::from_file);
    let found = same_file::Handle::from_path(path);
    opened.and_then(|opened| Ok(opened == found?)).unwrap_or(false)
}

fn drafts_vanish() -> io::Error {
    io::Error::other("another process removes its drafts")
}

/// The permissions of the regular file at `path`, if there is one.
fn mode_of(path: &Path) -> Option<u32> {
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    #[cfg(unix)]
    return Some(std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777);
    #[cfg(not(unix))]
    return found.permissions().readonly().then_some(0o444);
}

/// Gives a file the permissions of the one at `path`, which it is to replace, if there is one.
///
/// # Errors
/// The operating system's.
pub fn keep_permissions(file: &File, path: &Path) -> io::Result<()> {
    set_mode(file, mode_of(path))
}

fn set_mode(file: &File, mode: Option<u32>) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(mode) = mode {
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    }
    let _ = (file, mode);
    Ok(())
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

pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes renames in `folder` durable, if the system can sync folders.
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
    fn a_file_that_is_replaced_keeps_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, b"old").expect("written");
        let mode = || fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        for expected in [0o600, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(expected)).expect("set");
            write(&path, b"new").expect("written");
            assert_eq!(mode(), expected);
            fs::write(folder.path().join("draft"), b"newer").expect("written");
            replace(&folder.path().join("draft"), &path).expect("replaced");
            assert_eq!(mode(), expected);
        }
    }

    #[test]
    fn drafts_of_the_killed_go_and_everything_else_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.json");
        let kept = [
            ".a.json.Ab12cd",
            ".a.json.backup",
            ".a.json.gratis-draft-",
            ".a.json.gratis-draft-12345",
            ".a.json.gratis-draft-1234567",
            ".a.json.gratis-draft-12345-",
            ".b.json.gratis-draft-123456",
            "a.json.gratis-draft-123456",
        ];
        for name in kept.iter().chain(&[".a.json.gratis-draft-Ab12cd"]) {
            fs::write(folder.path().join(name), "x").expect("written");
        }
        fs::create_dir(folder.path().join("..a.json.gratis-draft-123456.gratis-draft-654321"))
            .expect("made");
        let living = Draft::create(&path).expect("a draft");
        write(&path, b"new").expect("written");
        let mut expected: Vec<String> = kept.iter().map(ToString::to_string).collect();
        let draft = living.temporary.file_name().expect("a name").to_string_lossy().into_owned();
        expected.extend([draft, "a.json".to_owned()]);
        expected.sort();
        assert_eq!(names(folder.path()), expected, "a draft in use stays");
    }

    #[test]
    fn a_folder_that_is_there_already_is_recognised_by_its_bytes() {
        let root = tempfile::tempdir().expect("a folder");
        let target = root.path().join("model");
        let make = |weights: &'static str| {
            write_new_folder(&target, |folder| {
                write(&folder.join("config.json"), b"{}")?;
                write(&folder.join("weights"), weights.as_bytes())
            })
        };
        assert_eq!(make("1").expect("new"), Published::Written);
        fs::write(target.join("notes"), "mine").expect("written");
        assert_eq!(make("1").expect("the same"), Published::WasThere);
        let error: Error = make("2").expect_err("another");
        assert!(
            matches!(&error, Error::FolderDiffers { file, .. } if file == "weights"),
            "{error}"
        );
        assert_eq!(fs::read(target.join("weights")).expect("there"), b"1");
        assert_eq!(names(root.path()), ["model"]);
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
