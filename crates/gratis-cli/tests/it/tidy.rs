//! Keeps the house in order: which module may use which, that every file says what it is, and that
//! none grows past reading.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this has more than one subject.
const MAX_LINES: usize = 700;

/// Crate edges: each crate and the workspace crates it may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("gratis-grading", &[]),
    ("gratis-model", &[]),
    ("gratis-engine", &[]),
    ("gratis-cpu", &["gratis-engine", "gratis-model"]),
    ("gratis-remote", &["gratis-engine", "gratis-model"]),
    ("gratis-data", &["gratis-engine", "gratis-model"]),
    (
        "gratis",
        &[
            "gratis-cpu",
            "gratis-data",
            "gratis-engine",
            "gratis-grading",
            "gratis-model",
            "gratis-remote",
        ],
    ),
    ("gratis-paper", &["gratis", "gratis-cpu", "gratis-engine", "gratis-grading", "gratis-model"]),
    ("gratis-serve", &["gratis", "gratis-grading", "gratis-model"]),
    (
        "gratis-cli",
        &[
            "gratis",
            "gratis-cpu",
            "gratis-engine",
            "gratis-grading",
            "gratis-model",
            "gratis-paper",
            "gratis-remote",
            "gratis-serve",
        ],
    ),
    ("gratis-py", &["gratis", "gratis-engine", "gratis-grading", "gratis-model"]),
];

/// Modules that are arithmetic: they know no model, no text and no module of their crate but these, nor
/// what the crate takes from others. Of the data layer, `selection` names `Aggregation` and `objective`
/// `ValueRule`, which are two of them.
const PURE: &[(&str, &str, &[&str])] = &[
    ("gratis", "objective", &["data::ValueRule", "error", "named_settings", "numeric"]),
    ("gratis", "selection", &["data::Aggregation", "error", "numeric"]),
    ("gratis-data", "aggregation", &["error"]),
    ("gratis-data", "value_rule", &[]),
];

#[test]
fn crates_depend_one_way() {
    let known: BTreeSet<&str> = CRATES.iter().map(|(name, _)| *name).collect();
    for entry in fs::read_dir(root().join("crates")).expect("the crates").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(known.contains(name.as_str()), "`{name}` is not in the table of crates");
    }
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
fn modules_of_every_crate_form_no_cycle() {
    let found: Vec<String> = CRATES
        .iter()
        .filter_map(|(name, _)| Some(format!("{name}: {}", cycle(&edges_of(name))?.join(" -> "))))
        .collect();
    assert!(found.is_empty(), "modules in a cycle: {found:#?}");
}

#[test]
fn objectives_and_selection_are_arithmetic() {
    for (name, module, allowed) in PURE {
        let source = root().join("crates").join(name).join("src");
        let own: Vec<PathBuf> = rust_files(&source)
            .into_iter()
            .filter(|path| module_of(&source, path) == *module)
            .collect();
        assert!(!own.is_empty(), "`{name}` has no module `{module}`");
        for path in own {
            let mut code = read(&path);
            for item in allowed.iter().filter(|allowed| allowed.contains("::")) {
                code = code.replace(&format!("crate::{item};"), "");
            }
            for used in uses(&code) {
                let is_allowed = used == *module || allowed.contains(&used.as_str());
                assert!(is_allowed, "`{module}` must not use `{used}`");
            }
            assert!(!code.contains("gratis_"), "{} must not use another crate", show(&path));
        }
    }
}

/// The modules of a crate, each with the siblings that it uses.
fn edges_of(name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let source = root().join("crates").join(name).join("src");
    let files = rust_files(&source);
    let modules: BTreeSet<String> = files.iter().map(|path| module_of(&source, path)).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in &files {
        let module = module_of(&source, path);
        if module == "lib" || module == "main" {
            continue;
        }
        let used = uses(&read(path)).into_iter().filter(|used| modules.contains(used));
        edges.entry(module.clone()).or_default().extend(used.filter(|used| *used != module));
    }
    edges
}

/// A cycle of the graph, its first module at both ends.
fn cycle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit<'a>(
        module: &'a str,
        edges: &'a BTreeMap<String, BTreeSet<String>>,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(at) = path.iter().position(|known| *known == module) {
            let cycle = path[at..].iter().chain([&module]);
            return Some(cycle.map(ToString::to_string).collect());
        }
        if !done.insert(module) {
            return None;
        }
        path.push(module);
        let mut used = edges.get(module).into_iter().flatten();
        let found = used.find_map(|used| visit(used, edges, path, done));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    edges.keys().find_map(|module| visit(module, edges, &mut Vec::new(), &mut done))
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

/// The sibling modules that a file uses.
fn uses(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // Unit tests stand at the end of a file and may look anywhere.
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code = code.lines().filter(is_code).collect::<Vec<_>>().join("\n");
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.extend(identifier(rest));
            continue;
        };
        let mut depth = 0;
        let items = group.split_inclusive(['{', '}', ',']).take_while(|part| {
            let is_within = depth >= 0;
            depth += i32::from(part.ends_with('{')) - i32::from(part.ends_with('}'));
            is_within
        });
        let mut depth = 0;
        for item in items {
            if depth == 0 {
                found.extend(identifier(item));
            }
            depth += i32::from(item.ends_with('{')) - i32::from(item.ends_with('}'));
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

pub(crate) fn module_of(source: &Path, path: &Path) -> String {
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

pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
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

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", show(path)))
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// Cargo strips no program whose package has an entry of its own, and the levels of `release` make a large one.
#[test]
fn the_binary_for_distribution_is_stripped_and_small() {
    let manifest = read(&root().join("Cargo.toml"));
    let after = manifest.split("\n[profile.dist]\n").nth(1).expect("the profile");
    let settings = after.split("\n[").next().expect("its settings");
    assert!(settings.contains("strip = \"symbols\""), "{settings}");
    assert!(!settings.contains("inherits = \"release\""), "{settings}");
    let entries = ["[profile.dist.package.gratis-cli]", "[profile.dev.package.gratis-cli]"];
    assert!(
        !entries.iter().any(|entry| manifest.contains(entry)),
        "an entry of the program's package"
    );
}

#[test]
fn the_reader_of_uses_sees_what_is_used() {
    let text = "use crate::data::Rollout;\nuse crate::{\n    reward::{Rewards, q},\n    training, Error,\n};\n\
                // crate::world\nfn f() { crate::numeric::sum(); }\n#[cfg(test)]\nuse crate::cost;\n";
    let expected = ["data", "numeric", "reward", "training"];
    assert_eq!(uses(text).into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_cycle_is_found() {
    let edges = |pairs: &[(&str, &str)]| {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, used) in pairs {
            edges.entry((*module).to_owned()).or_default().insert((*used).to_owned());
        }
        edges
    };
    assert_eq!(cycle(&edges(&[("a", "b"), ("a", "c"), ("b", "c"), ("c", "d")])), None);
    let found = cycle(&edges(&[("a", "b"), ("b", "c"), ("c", "b")])).expect("a cycle");
    assert_eq!(found, ["b", "c", "b"]);
}
