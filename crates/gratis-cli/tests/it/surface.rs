//! The public surface of every library: how many types and functions each crate exposes, and how many of
//! them its documentation shows. The lint `unreachable_pub` makes every `pub` a name that another crate
//! can reach; what stands in a module under `#[doc(hidden)]` is for the crates of this workspace.

use std::collections::BTreeSet;
use std::path::Path;

use crate::tidy::{module_of, read, root, rust_files};

/// Public types, and public functions and constants, that a crate may have, and that its documentation may
/// show. To add one, raise the numbers in the same change and say what it is for.
const CEILINGS: &[(&str, Surface, Surface)] = &[
    ("gratis-data", of(45, 13), of(34, 4)),
    ("gratis", of(125, 39), of(55, 14)),
    ("gratis-cpu", of(8, 3), of(8, 2)),
    ("gratis-engine", of(26, 0), of(26, 0)),
    ("gratis-grading", of(12, 5), of(12, 5)),
    ("gratis-model", of(63, 32), of(63, 32)),
    ("gratis-paper", of(19, 11), of(19, 11)),
    ("gratis-remote", of(16, 1), of(16, 1)),
    ("gratis-serve", of(9, 4), of(9, 4)),
];

/// Public items of a crate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Surface {
    /// Structs, enums, traits and aliases.
    n_types: usize,
    /// Functions, constants and statics outside `impl` blocks.
    n_functions: usize,
}

const fn of(n_types: usize, n_functions: usize) -> Surface {
    Surface { n_types, n_functions }
}

impl Surface {
    /// Counts the public items of a file, those called `hidden` left out.
    fn add(&mut self, code: &str, hidden: &BTreeSet<String>) {
        for line in code.lines().filter_map(|line| line.strip_prefix("pub ")) {
            let is_modifier = |word: &&str| ["unsafe", "async"].contains(word);
            let words: Vec<&str> =
                line.split_whitespace().skip_while(is_modifier).take(3).collect();
            let (kind, name) = match words[..] {
                ["const", "fn", name] => ("fn", name),
                [kind, name, ..] => (kind, name),
                _ => continue,
            };
            if hidden.contains(identifier(name)) {
                continue;
            }
            match kind {
                "struct" | "enum" | "trait" | "type" | "union" => self.n_types += 1,
                "fn" | "const" | "static" => self.n_functions += 1,
                _ => {}
            }
        }
    }

    fn is_within(self, ceiling: Self) -> bool {
        self.n_types <= ceiling.n_types && self.n_functions <= ceiling.n_functions
    }
}

fn identifier(word: &str) -> &str {
    word.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// What the root of a crate exposes without documentation: each is declared on the line below a
/// `#[doc(hidden)]`.
#[derive(Debug, Default)]
struct Hidden {
    modules: BTreeSet<String>,
    /// Items of other modules.
    items: BTreeSet<String>,
    /// The modules of these items, as paths.
    from: BTreeSet<String>,
}

impl Hidden {
    fn of(root: &str) -> Self {
        let mut hidden = Self::default();
        for declaration in root.split("\n#[doc(hidden)]\n").skip(1) {
            let declaration = declaration.split(';').next().unwrap_or_default();
            if let Some(module) = declaration.strip_prefix("pub mod ") {
                hidden.modules.insert(module.to_owned());
            } else if let Some(path) = declaration.strip_prefix("pub use ") {
                let (from, names) = path.rsplit_once("::").unwrap_or_default();
                hidden.from.insert(from.to_owned());
                hidden.items.extend(names_of(names));
            }
        }
        hidden
    }
}

/// The names in `A` or `{A, b}`, the last part of a path.
fn names_of(names: &str) -> impl Iterator<Item = String> {
    let names = names.trim_matches(['{', '}']).split(',');
    names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// The names that a module exposes of others.
fn exposed(code: &str) -> impl Iterator<Item = String> {
    let uses = code.split("\npub use ").skip(1);
    uses.flat_map(|used| {
        let path = used.split(';').next().unwrap_or_default();
        names_of(path.rsplit_once("::").map_or(path, |(_, names)| names))
    })
}

/// Whether every module on a path is public, so that the documentation shows what it has.
fn is_shown(source: &Path, path: &str) -> bool {
    let mut within = source.to_owned();
    let mut code = read(&source.join("lib.rs"));
    for module in path.split("::") {
        if !code.lines().any(|line| line == format!("pub mod {module};")) {
            return false;
        }
        within = within.join(module);
        let file = within.with_extension("rs");
        code = read(&if file.exists() { file } else { within.join("mod.rs") });
    }
    true
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts, with `--nocapture`")]
fn no_crate_exposes_more_than_is_agreed() {
    for &(name, all_at_most, documented_at_most) in CEILINGS {
        let source = root().join("crates").join(name).join("src");
        let hidden = Hidden::of(&read(&source.join("lib.rs")));
        for from in &hidden.from {
            assert!(
                !is_shown(&source, from),
                "{name}: what the root hides of `{from}` is shown there"
            );
        }
        let (mut all, mut documented) = (Surface::default(), Surface::default());
        for path in rust_files(&source) {
            let code = read(&path);
            all.add(&code, &BTreeSet::new());
            let module = module_of(&source, &path);
            if hidden.modules.contains(&module) {
                continue;
            }
            documented.add(&code, &hidden.items);
            for module in &hidden.modules {
                let shown = format!("pub use crate::{module}::");
                assert!(!code.contains(&shown), "{} shows what is hidden", path.display());
            }
            if module != "lib" {
                let shown: Vec<String> =
                    exposed(&code).filter(|name| hidden.items.contains(name)).collect();
                assert!(shown.is_empty(), "{} shows what is hidden: {shown:?}", path.display());
            }
        }
        println!(
            "{name}: {} types, {} functions; documented: {}, {}",
            all.n_types, all.n_functions, documented.n_types, documented.n_functions
        );
        assert!(
            all.is_within(all_at_most) && documented.is_within(documented_at_most),
            "`{name}` exposes {all:?}, of which documented {documented:?}, but the ceilings are \
             {all_at_most:?} and {documented_at_most:?}: make what no other crate needs `pub(crate)`"
        );
    }
}

#[test]
fn public_items_are_counted_and_others_are_not() {
    let mut surface = Surface::default();
    let code = "pub struct A;\npub(crate) struct B;\npub mod c;\npub use d::E;\npub unsafe trait F {}\n\
                pub const fn g() {}\npub const H: u8 = 0;\nimpl A {\n    pub fn i() {}\n}\n";
    surface.add(code, &BTreeSet::new());
    assert_eq!(surface, of(2, 2));
    let mut shown = Surface::default();
    shown.add(code, &BTreeSet::from(["A".to_owned(), "g".to_owned()]));
    assert_eq!(shown, of(1, 1));
}

#[test]
fn hidden_modules_and_items_are_those_below_the_attribute() {
    let code = "pub mod a;\n#[doc(hidden)]\npub mod b;\npub mod c;\n#[doc(hidden)]\npub use d::{E, f};\n\
                pub use g::H;\n#[doc(hidden)]\npub use i::k::J;\n";
    let Hidden { modules, items, from } = Hidden::of(code);
    assert_eq!(modules.into_iter().collect::<Vec<_>>(), ["b"]);
    assert_eq!(items.into_iter().collect::<Vec<_>>(), ["E", "J", "f"]);
    assert_eq!(from.into_iter().collect::<Vec<_>>(), ["d", "i::k"]);
    assert_eq!(exposed(code).collect::<Vec<_>>(), ["E", "f", "H", "J"]);
}
