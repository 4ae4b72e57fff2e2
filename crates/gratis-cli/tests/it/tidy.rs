//! Keeps the house in order: which module may use which, that every file says what it is, and that
//! none grows past reading.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this has more than one subject.
const MAX_LINES: usize = 700;

/// Crate edges: each crate and the workspace crates it may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("gratis-grading", &[]),
    ("gratis-engine", &[]),
    ("gratis", &["gratis-engine", "gratis-grading"]),
    ("gratis-paper", &["gratis", "gratis-engine", "gratis-grading"]),
    ("gratis-cli", &["gratis", "gratis-engine", "gratis-grading", "gratis-paper"]),
];

/// Modules of `gratis` and what each may use of its siblings and of the other crates. `error`,
/// `numeric`, `observer`, `visible` and `atomic` hold no subject of the paper and are open to all.
const MODULES: &[(&str, &[&str])] = &[
    ("data", &["gratis_engine::atomic"]),
    ("objective", &[]),
    ("selection", &[]),
    ("cost", &["gratis_engine"]),
    ("reward", &["data"]),
    ("encoding", &["data", "objective", "gratis_engine"]),
    ("manifest", &["baseline", "data", "encoding", "objective", "selection"]),
    ("rollout", &["data", "encoding", "gratis_engine", "gratis_grading"]),
    ("training", &["cost", "data", "encoding", "objective", "reward", "gratis_engine"]),
    ("scoring", &["cost", "data", "encoding", "reward", "training", "gratis_engine"]),
    (
        "annotate",
        &["cost", "data", "encoding", "reward", "scoring", "gratis_engine", "gratis_grading"],
    ),
    (
        "baseline",
        &["cost", "data", "encoding", "objective", "scoring", "training", "gratis_engine"],
    ),
    ("evaluation", &["data", "reward", "selection", "gratis_grading"]),
    ("theory", &["encoding", "reward", "gratis_engine"]),
];

/// Modules every other may use.
const OPEN: &[&str] = &["error", "numeric", "observer", "visible"];

#[test]
fn crates_depend_one_way() {
    for (name, allowed) in CRATES {
        let manifest = read(&root().join("crates").join(name).join("Cargo.toml"));
        let dependencies = manifest.split("[dev-dependencies]").next().expect("a first part");
        for line in dependencies.lines().filter(|line| line.starts_with("gratis")) {
            let used = line.split(['.', ' ', '=']).next().expect("a name");
            assert!(allowed.contains(&used), "`{name}` must not depend on `{used}`");
        }
    }
}

#[test]
fn modules_of_gratis_use_only_what_the_table_allows() {
    let source = root().join("crates/gratis/src");
    let mut violations = Vec::new();
    for path in rust_files(&source) {
        let module = module_of(&source, &path);
        if module == "lib" || OPEN.contains(&module.as_str()) {
            continue;
        }
        let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == module) else {
            violations.push(format!("`{module}` is not in the table of modules"));
            continue;
        };
        for used in uses(&read(&path)) {
            let known = used == module
                || OPEN.contains(&used.as_str())
                || allowed.iter().any(|edge| *edge == "*" || used.starts_with(edge));
            if !known {
                violations.push(format!("{}: `{module}` must not use `{used}`", show(&path)));
            }
        }
    }
    assert!(violations.is_empty(), "forbidden edges:\n{}", violations.join("\n"));
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    let missing: Vec<_> =
        all_files().into_iter().filter(|path| !read(path).starts_with("//!")).collect();
    assert!(missing.is_empty(), "files without a `//!` header: {missing:#?}");
}

#[test]
fn no_file_grows_past_reading() {
    let long: Vec<_> = all_files()
        .into_iter()
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(n_lines, _)| *n_lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "files past {MAX_LINES} lines: {long:#?}");
}

/// What a file of `gratis` uses: sibling modules by name, other workspace crates by path.
fn uses(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // Unit tests stand at the end of a file and may look anywhere.
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            if let Some(group) = rest.strip_prefix('{') {
                found.extend(group.split(',').filter_map(identifier));
            } else {
                found.extend(identifier(rest));
            }
        }
        for name in ["gratis_engine", "gratis_grading"] {
            for (at, _) in line.match_indices(name) {
                let path = &line[at..];
                let is_atomic = path.starts_with("gratis_engine::atomic");
                found.insert(if is_atomic { "gratis_engine::atomic" } else { name }.to_owned());
            }
        }
    }
    found
}

fn identifier(text: &str) -> Option<String> {
    let name: String =
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    // Items re-exported at the root (`crate::Error`) belong to no module.
    name.starts_with(char::is_lowercase).then_some(name)
}

fn module_of(source: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(source).expect("below the source");
    let first = relative.components().next().expect("a component").as_os_str();
    first.to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn all_files() -> Vec<PathBuf> {
    CRATES
        .iter()
        .flat_map(|(name, _)| {
            let folder = root().join("crates").join(name);
            ["src", "tests", "examples", "benches"].map(|part| folder.join(part))
        })
        .flat_map(|folder| rust_files(&folder))
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("a readable entry").path())
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false if path.extension().is_some_and(|extension| extension == "rs") => vec![path],
            false => Vec::new(),
        })
        .collect();
    files.sort();
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", show(path)))
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn the_reader_of_uses_sees_what_is_used() {
    let text = "use crate::data::Rollout;\nuse crate::{reward, Error};\n// crate::world\n\
                fn f() { gratis_engine::atomic::write(); gratis_grading::grade(); }\n\
                #[cfg(test)]\nuse crate::training;\n";
    let expected = ["data", "gratis_engine::atomic", "gratis_grading", "reward"];
    assert_eq!(uses(text).into_iter().collect::<Vec<_>>(), expected);
}
