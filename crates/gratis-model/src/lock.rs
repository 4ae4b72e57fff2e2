//! Locks that allow only one process at a time to write a file or folder.
//!
//! The operating system releases a lock when its process ends in any way, so a lock file left by a
//! killed process is not locked and is reused. The lock file names its holder and is removed with
//! the lock. If the file system does not support locks, nothing is locked.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::atomic::{Temporary, draft_stem, is_at, parent_of};
use crate::error::{Error, Result};

/// Ends the name of a lock file; within a folder it is the whole name.
const SUFFIX: &str = ".gratis-lock";
/// How often to retry if another process has just removed a lock file.
const ATTEMPTS: usize = 100;

/// Sole permission to write a file or a folder, until dropped.
#[derive(Debug)]
pub struct Lock {
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    // Closing it unlocks it.
    _file: File,
    _entry: Temporary,
}

impl Lock {
    /// Locks the file or folder that is to be written at `path`; the lock file is beside it.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process holds it, [`Error::Io`] if the folder cannot be written.
    pub fn beside(path: &Path) -> Result<Self> {
        Self::acquire(parent_of(path).join(format!("{}{SUFFIX}", draft_stem(path))), path)
    }

    /// Locks the folder `path`, which exists; the lock file is in it.
    ///
    /// # Errors
    /// As [`Self::beside`].
    pub fn within(path: &Path) -> Result<Self> {
        Self::acquire(path.join(SUFFIX), path)
    }

    fn acquire(lock: PathBuf, what: &Path) -> Result<Self> {
        let fault = |source| Error::Io { action: "write", path: what.to_owned(), source };
        for _ in 0..ATTEMPTS {
            if fs::symlink_metadata(&lock).is_ok_and(|found| !found.is_file()) {
                let taken = format!("`{}` is no file", lock.display());
                return Err(fault(io::Error::new(io::ErrorKind::AlreadyExists, taken)));
            }
            let open = || {
                let mut options = File::options();
                let file =
                    options.read(true).write(true).create(true).truncate(false).open(&lock)?;
                Ok((lock.clone(), file))
            };
            let (entry, mut file) = Temporary::create(open).map_err(fault)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Err(held_by(&mut file, what)),
                // This file system has no locks.
                Err(TryLockError::Error(_)) => {
                    let _ = fs::remove_file(&lock);
                    return Ok(Self { held: None });
                }
                Ok(()) if !is_at(&file, &lock) => {}
                Ok(()) => {
                    let pid = format!("{}\n", std::process::id());
                    // For the message of others only.
                    let _ = file.set_len(0).and_then(|()| file.write_all(pid.as_bytes()));
                    return Ok(Self {
                        held: Some(Held { path: lock, _file: file, _entry: entry }),
                    });
                }
            }
        }
        Err(fault(io::Error::new(io::ErrorKind::WouldBlock, "its lock file keeps changing")))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            // While it is locked, so that nobody else's is removed. One that stays does no harm.
            let _ = fs::remove_file(&held.path);
        }
    }
}

fn held_by(file: &mut File, what: &Path) -> Error {
    let mut text = String::new();
    // Elsewhere than on Unix, what is locked cannot be read.
    let _ = file.read_to_string(&mut text);
    let since = file.metadata().and_then(|found| found.modified()).ok().and_then(utc);
    Error::Locked { path: what.to_owned(), pid: text.trim().parse().ok(), since }
}

/// A time as `2024-07-26 09:30:00 UTC`.
fn utc(time: SystemTime) -> Option<String> {
    let seconds = i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, so that a leap day ends its year; eras of 400 years have equal lengths.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_writer_is_told_who_holds_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.jsonl");
        let first = Lock::beside(&path).expect("free");
        let error = Lock::beside(&path).expect_err("held");
        let Error::Locked { pid, since, .. } = &error else { panic!("{error}") };
        assert_eq!(*pid, Some(std::process::id()));
        assert!(since.as_ref().is_some_and(|text| text.ends_with(" UTC")), "{since:?}");
        let start = format!("`{}` is being written by process ", path.display());
        assert!(error.to_string().starts_with(&start), "{error}");
        drop(first);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        Lock::beside(&path).expect("free again");
    }

    #[test]
    fn a_lock_file_that_a_killed_process_left_is_taken_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.jsonl");
        fs::write(folder.path().join(".out.jsonl.gratis-lock"), "1\n").expect("written");
        drop(Lock::beside(&path).expect("nobody holds it"));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        fs::write(folder.path().join(".gratis-lock"), "1\n").expect("written");
        let lock = Lock::within(folder.path()).expect("nobody holds it");
        assert!(matches!(Lock::within(folder.path()), Err(Error::Locked { .. })));
        drop(lock);
    }

    #[test]
    fn a_time_is_printed_by_the_calendar() {
        let text = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds)).expect("a time");
        assert_eq!(text(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(text(1_709_251_199), "2024-02-29 23:59:59 UTC");
        assert_eq!(text(1_721_986_200), "2024-07-26 09:30:00 UTC");
    }
}
