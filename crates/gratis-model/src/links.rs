//! Symbolic links in the folder of a model.
//!
//! A model folder may be untrusted, and its files are printed and copied into models made from it.
//! A link to a file elsewhere would expose that file, so it is rejected. The links of a hub's
//! cache, from a snapshot to the blobs beside it, are the exception.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::{Error, Result};

/// Checks that no link to a file leads out of a model's folder.
///
/// A folder that does not exist or cannot be listed is ignored here; reading it gives the error.
///
/// # Errors
/// [`Error::ForeignLink`] with the link and where it leads.
pub fn check(folder: &Path) -> Result<()> {
    let Ok(real) = folder.canonicalize() else { return Ok(()) };
    let Ok(entries) = real.read_dir() else { return Ok(()) };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            continue;
        }
        // A link to nothing is as good as no file.
        let Ok(target) = entry.path().canonicalize() else { continue };
        if target.is_dir() || target.starts_with(&real) || is_blob(&real, &target) {
            continue;
        }
        return Err(Error::ForeignLink { path: folder.join(entry.file_name()), target });
    }
    Ok(())
}

/// Checks that a folder is no link out of the one above it.
///
/// # Errors
/// As [`check`].
pub fn check_within(folder: &Path, above: &Path) -> Result<()> {
    let (Ok(target), Ok(real)) = (folder.canonicalize(), above.canonicalize()) else {
        return Ok(());
    };
    if target.starts_with(&real) {
        return Ok(());
    }
    Err(Error::ForeignLink { path: folder.to_owned(), target })
}

/// Whether a file is a blob of the cache in which `folder` is a snapshot:
/// `models--org--name/snapshots/COMMIT` and `models--org--name/blobs/TAG`.
fn is_blob(folder: &Path, target: &Path) -> bool {
    let snapshots =
        folder.parent().filter(|parent| parent.file_name() == Some("snapshots".as_ref()));
    let Some(repository) = snapshots.and_then(Path::parent) else { return false };
    let is_of_hub = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with("models--"));
    repository.file_name().is_some_and(is_of_hub)
        // Both paths are real ones: `blobs` is no link itself.
        && target.parent() == Some(&repository.join("blobs"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_stays_in_its_folder_or_leads_to_a_blob() {
        let root = tempfile::tempdir().expect("a folder");
        let path = |name: &str| root.path().join(name);
        fs::write(path("secret"), "secret").expect("written");
        fs::create_dir(path("model")).expect("made");
        fs::write(path("model/a.json"), "{}").expect("written");
        symlink("a.json", path("model/b.json")).expect("linked");
        symlink("../absent", path("model/c.json")).expect("linked");
        symlink(path("model"), path("by-link")).expect("linked");
        check(&path("model")).expect("all within");
        check(&path("by-link")).expect("all within");
        check(&path("absent")).expect("left to whoever reads it");

        symlink("../secret", path("model/config.json")).expect("linked");
        let error = check(&path("by-link")).expect_err("leaves").to_string();
        assert!(error.contains("by-link/config.json` is a link out of the model's"), "{error}");

        let snapshot = path("models--org--name/snapshots/0");
        fs::create_dir_all(&snapshot).expect("made");
        fs::create_dir(path("models--org--name/blobs")).expect("made");
        fs::write(path("models--org--name/blobs/tag"), "{}").expect("written");
        symlink("../../blobs/tag", snapshot.join("config.json")).expect("linked");
        check(&snapshot).expect("a blob of the cache");
        // A folder of blobs that is a link could be any folder.
        fs::rename(path("models--org--name/blobs"), path("elsewhere")).expect("moved");
        symlink("../elsewhere", path("models--org--name/blobs")).expect("linked");
        check(&snapshot).expect_err("leaves");
    }
}
