//! What `gratis --version` says: the release, the commit, the features and the platform.

/// The text after the name of the program.
pub(crate) const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("GRATIS_COMMIT"),
    "\nfeatures: ",
    env!("GRATIS_FEATURES"),
    "\ntarget: ",
    env!("GRATIS_TARGET")
);
