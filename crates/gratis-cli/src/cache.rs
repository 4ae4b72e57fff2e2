//! The cache folder: `--cache`, `GRATIS_CACHE`, or the platform's default.

use std::path::{Path, PathBuf};

use etcetera::{BaseStrategy, choose_base_strategy};
use tracing::warn;

/// Environment variable for the cache folder.
const VARIABLE: &str = "GRATIS_CACHE";

/// The folder for one kind of cached files. If none was given and the platform's cannot be created,
/// returns `None` and logs a warning: nothing is cached then.
pub(crate) fn folder(given: Option<&Path>, kind: &str) -> Option<PathBuf> {
    let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    if let Some(named) = given.map(Path::to_owned).or(variable.map(PathBuf::from)) {
        return Some(named.join(kind));
    }
    let of_platform = choose_base_strategy().ok()?.cache_dir().join("gratis").join(kind);
    match is_writable(&of_platform) {
        Ok(()) => Some(of_platform),
        Err(error) => {
            let path = of_platform.display();
            warn!("nothing is cached: `{path}`: {error} (`--cache` names another folder)");
            None
        }
    }
}

fn is_writable(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    tempfile::tempfile_in(folder).map(|_| ())
}
