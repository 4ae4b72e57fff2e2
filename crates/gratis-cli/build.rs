//! The commit of the build, for `gratis --version`: `GRATIS_COMMIT`, or what git says in a release build.
//! Without git there is none.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=GRATIS_COMMIT");
    let given = std::env::var("GRATIS_COMMIT").ok().filter(|commit| !commit.is_empty());
    // A development build is not made anew after every commit.
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given.or_else(|| if is_release { from_git() } else { None });
    let commit = commit.unwrap_or_else(|| "unknown".to_owned());
    let target = std::env::var("TARGET").unwrap_or_default();
    let features = if std::env::var_os("CARGO_FEATURE_SERVE").is_some() { "serve" } else { "none" };
    let values = [("COMMIT", commit), ("FEATURES", features.to_owned()), ("TARGET", target)];
    for (name, value) in values {
        println!("cargo::rustc-env=GRATIS_{name}={value}");
    }
}

/// The commit, if this folder is under git, and whether files were changed since.
fn from_git() -> Option<String> {
    let head = git(&["rev-parse", "--git-path", "HEAD"])?;
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    for path in [head, log] {
        println!("cargo::rerun-if-changed={path}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}, with changes") })
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
