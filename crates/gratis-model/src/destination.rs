//! The destination of an output: a file that is replaced atomically, or an existing stream or
//! device that is written to directly.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Longest chain of symbolic links.
const MAX_LINKS: usize = 40;

/// Where the bytes of an output go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output: `-`, `/dev/stdout`.
    Standard,
    /// A regular file, there already or not: replaced as a whole. Symbolic links are followed.
    File(PathBuf),
    /// A pipe, a terminal, a device: opened and written to.
    Through(PathBuf),
}

impl Destination {
    /// Determines what `path` is.
    ///
    /// # Errors
    /// [`Error::IsFolder`] for a folder, [`Error::Io`] for what cannot be looked at.
    pub fn of(path: &Path) -> Result<Self> {
        let standard = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
        if standard.iter().any(|name| path == Path::new(name)) {
            return Ok(Self::Standard);
        }
        let fault = |source| Error::Io { action: "write", path: path.to_owned(), source };
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(Error::IsFolder { path: path.to_owned() }),
            Ok(found) if !found.is_file() => Ok(Self::Through(path.to_owned())),
            Ok(_) => Ok(Self::File(follow(path).map_err(fault)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if path.as_os_str().to_string_lossy().ends_with(std::path::is_separator) {
                    return Err(Error::IsFolder { path: path.to_owned() });
                }
                Ok(Self::File(follow(path).map_err(fault)?))
            }
            Err(error) => Err(fault(error)),
        }
    }
}

/// The path at the end of a chain of symbolic links, which need not exist.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(&path)?;
                path = path.parent().unwrap_or(Path::new("")).join(target);
            }
            _ => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// Whether two paths are the same file, by whatever links. A path that does not exist equals no
/// other.
pub fn is_same_file(first: &Path, second: &Path) -> bool {
    same_file::is_same_file(first, second).unwrap_or(false)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_to_their_targets_and_devices_are_written_through() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let of = |name: &str| Destination::of(&at(name)).expect("found");
        assert_eq!(of("new"), Destination::File(at("new")));
        symlink("there/new", at("dangling")).expect("a link");
        assert_eq!(of("dangling"), Destination::File(at("there/new")));
        fs::write(at("old"), "").expect("written");
        symlink(at("old"), at("link")).expect("a link");
        assert_eq!(of("link"), Destination::File(at("old")));
        assert!(is_same_file(&at("old"), &at("link")) && !is_same_file(&at("old"), &at("new")));
        symlink("loop", at("loop")).expect("a link");
        assert!(Destination::of(&at("loop")).is_err());
        assert!(matches!(Destination::of(folder.path()), Err(Error::IsFolder { .. })));
        let null = PathBuf::from("/dev/null");
        assert_eq!(Destination::of(&null).expect("found"), Destination::Through(null));
        for name in ["-", "/dev/stdout"] {
            assert_eq!(Destination::of(Path::new(name)).expect("known"), Destination::Standard);
        }
    }
}
