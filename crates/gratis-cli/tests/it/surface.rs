//! The public surface of every library: how many types and functions each crate exposes. The lint
//! `unreachable_pub` makes every `pub` a name that another crate can reach.

use crate::tidy::{read, root, rust_files};

/// Public types, and public functions and constants, that a crate may have. To add one, raise the number
/// in the same change and say what it is for.
const CEILINGS: &[(&str, usize, usize)] = &[
    // Of these, two hold what `select` reads, in few pieces of memory.
    ("gratis", 177, 69),
    ("gratis-cpu", 8, 2),
    ("gratis-engine", 26, 0),
    ("gratis-grading", 12, 5),
    ("gratis-model", 62, 32),
    ("gratis-paper", 19, 11),
    ("gratis-remote", 16, 1),
    ("gratis-serve", 9, 4),
];

/// Public items of a crate.
#[derive(Debug, Default, PartialEq, Eq)]
struct Surface {
    /// Structs, enums, traits and aliases.
    n_types: usize,
    /// Functions, constants and statics outside `impl` blocks.
    n_functions: usize,
}

impl Surface {
    fn add(&mut self, code: &str) {
        for line in code.lines().filter_map(|line| line.strip_prefix("pub ")) {
            let is_modifier = |word: &&str| ["unsafe", "async"].contains(word);
            let words: Vec<&str> =
                line.split_whitespace().skip_while(is_modifier).take(2).collect();
            match words[..] {
                ["struct" | "enum" | "trait" | "type" | "union", _] => self.n_types += 1,
                ["fn" | "const" | "static", _] => self.n_functions += 1,
                _ => {}
            }
        }
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts, with `--nocapture`")]
fn no_crate_exposes_more_than_is_agreed() {
    for &(name, n_types, n_functions) in CEILINGS {
        let mut surface = Surface::default();
        for path in rust_files(&root().join("crates").join(name).join("src")) {
            surface.add(&read(&path));
        }
        println!("{name}: {} types, {} functions", surface.n_types, surface.n_functions);
        assert!(
            surface.n_types <= n_types && surface.n_functions <= n_functions,
            "`{name}` exposes {surface:?}, more than {n_types} types and {n_functions} functions: make \
             what no other crate needs `pub(crate)`"
        );
    }
}

#[test]
fn public_items_are_counted_and_others_are_not() {
    let mut surface = Surface::default();
    surface.add(
        "pub struct A;\npub(crate) struct B;\npub mod c;\npub use d::E;\npub unsafe trait F {}\n\
         pub const fn g() {}\npub const H: u8 = 0;\nimpl A {\n    pub fn i() {}\n}\n",
    );
    assert_eq!(surface, Surface { n_types: 2, n_functions: 2 });
}
