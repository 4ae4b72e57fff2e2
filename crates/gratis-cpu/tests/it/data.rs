//! Test data that stands beside the checkout and is not part of it.

use std::path::PathBuf;

/// The folder `name` of the shared data, or `None` with the reason printed.
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: `{}` is absent", path.display());
    None
}
