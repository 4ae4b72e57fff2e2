//! Names from outside that become paths or parts of an address: repositories, revisions, commits,
//! entity tags and file names. Each is checked here before anything else is done with it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Longest repository name, as on the Hugging Face hub.
const MAX_REPOSITORY: usize = 96;
/// Longest revision.
const MAX_REVISION: usize = 200;
/// Longest single component of a path. File systems allow 255 bytes; suffixes need some of them.
const MAX_COMPONENT: usize = 200;
/// Endings of names that the caches give to files of their own.
const RESERVED_SUFFIXES: &[&str] = &[".incomplete", ".part", ".lock"];
/// The revision of a name that gives none.
const DEFAULT_REVISION: &str = "main";

/// The name of a model on a hub, with both parts checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    repository: String,
    revision: Option<String>,
}

impl HubName {
    /// A name from its parts.
    ///
    /// # Errors
    /// [`Error::HubName`] if one of them is not of the form that a hub allows.
    pub fn new(repository: &str, revision: Option<&str>) -> Result<Self> {
        let given = || revision.map_or(repository.to_owned(), |at| format!("{repository}@{at}"));
        if !is_repository(repository) || !revision.is_none_or(is_revision) {
            return Err(Error::HubName { name: given() });
        }
        Ok(Self { repository: repository.to_owned(), revision: revision.map(str::to_owned) })
    }

    /// `org/name`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Branch, tag or commit, where one is given.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// Whether a revision has the form of a branch, a tag or a commit.
    pub fn is_revision(text: &str) -> bool {
        is_revision(text)
    }

    /// The revision that is asked for.
    pub(super) fn revision_or_default(&self) -> &str {
        self.revision.as_deref().unwrap_or(DEFAULT_REVISION)
    }

    /// Folder of the repository in a cache.
    pub(super) fn folder_name(&self) -> String {
        format!("models--{}", self.repository.replace('/', "--"))
    }
}

impl FromStr for HubName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('@') {
            Some((repository, revision)) => Self::new(repository, Some(revision)),
            None => Self::new(text, None),
        }
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repository)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(formatter, "@{revision}"))
    }
}

/// A commit as a hub names it: one component of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit(String);

impl Commit {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        is_component(text).then(|| Self(text.to_owned()))
    }

    /// The commit that a revision is, if it is a full hash.
    pub(super) fn of_revision(revision: &str) -> Option<Self> {
        (revision.len() == 40 && is_lower_hex(revision)).then(|| Self(revision.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// An entity tag: the name of a file's content, one component of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntityTag(String);

/// The hash of the content that an entity tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagHash {
    /// Of a file in large file storage.
    Sha256,
    /// Of any other file: SHA-1 of a git blob. Some mirrors give the SHA-1 of the bare content.
    Sha1,
}

impl EntityTag {
    /// Reads a header: a tag in quotes, perhaps marked as weak.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let text = header.trim();
        let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        let is_reserved = RESERVED_SUFFIXES.iter().any(|suffix| text.ends_with(suffix));
        (is_component(text) && !is_reserved).then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash that it is, if it has the form of one.
    pub(super) fn hash(&self) -> Option<TagHash> {
        match self.0.len() {
            64 if is_lower_hex(&self.0) => Some(TagHash::Sha256),
            40 if is_lower_hex(&self.0) => Some(TagHash::Sha1),
            _ => None,
        }
    }
}

/// Whether a text names a file in a folder, and nothing else.
pub(super) fn is_file_name(text: &str) -> bool {
    is_component(text)
}

/// `org/name` by the rules of the hub. `--` would be ambiguous in the cache, where it stands for
/// the slash.
fn is_repository(text: &str) -> bool {
    let mut parts = text.split('/');
    let is_part = |part: &str| {
        let is_edge = |c: char| c == '.' || c == '-';
        is_component(part) && !part.starts_with(is_edge) && !part.ends_with(is_edge)
    };
    let has_two_parts = parts.by_ref().take(2).filter(|part| is_part(part)).count() == 2;
    has_two_parts
        && parts.next().is_none()
        && text.len() <= MAX_REPOSITORY
        && !text.contains("--")
        && !text.contains("..")
}

/// A git reference without what git forbids or a file system would read otherwise.
fn is_revision(text: &str) -> bool {
    let is_lock = |part: &str| Path::new(part).extension().is_some_and(|end| end == "lock");
    let is_part = |part: &str| is_component(part) && !is_lock(part);
    text.len() <= MAX_REVISION && !text.contains("..") && text.split('/').all(is_part)
}

/// One component of a path: letters, digits and `-_.+`, and not hidden.
fn is_component(text: &str) -> bool {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    (1..=MAX_COMPONENT).contains(&text.len())
        && !text.starts_with('.')
        && text.chars().all(is_known)
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_two_parts_and_perhaps_a_revision() {
        let name: HubName = "org/name.v1@refs/pr/3".parse().expect("a name");
        assert_eq!(name.repository(), "org/name.v1");
        assert_eq!(name.revision(), Some("refs/pr/3"));
        assert_eq!(name.to_string(), "org/name.v1@refs/pr/3");
        assert_eq!(name.folder_name(), "models--org--name.v1");
        for text in ["name", "a/b/c", "/name", "../name", "org/", "org/na me", "org/name@", ""] {
            assert!(text.parse::<HubName>().is_err(), "`{text}`");
        }
        // Both would be `models--a--b--c` in the cache.
        assert!("a--b/c".parse::<HubName>().is_err() && "a/b--c".parse::<HubName>().is_err());
        assert!(format!("org/{}", "n".repeat(93)).parse::<HubName>().is_err());
    }

    #[test]
    fn a_revision_never_leaves_its_folder() {
        for text in ["main", "v1.0", "refs/pr/3", "0123456789abcdef", "feature/x+y"] {
            assert!(is_revision(text), "`{text}`");
        }
        for text in [
            "",
            "/",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            "a/.b",
            "..",
            ".",
            "a\\b",
            "C:/x",
            "a b",
            "a%2fb",
            "a?b",
            "a#b",
            "x.lock",
            "a\0b",
            "a\nb",
            "é",
        ] {
            assert!(!is_revision(text), "`{text}`");
        }
    }

    #[test]
    fn tags_and_commits_are_single_components() {
        let tag = |text: &str| EntityTag::parse(text).map(|tag| tag.as_str().to_owned());
        assert_eq!(tag("\"abc-12\"").as_deref(), Some("abc-12"));
        assert_eq!(tag("W/\"abc\"").as_deref(), Some("abc"));
        for text in ["", "\"\"", "\"../x\"", "/tmp/x", "a/b", ".hidden", "x.lock", "x.incomplete"] {
            assert_eq!(tag(text), None, "`{text}`");
        }
        assert_eq!(Commit::parse("../../x"), None);
        assert_eq!(Commit::parse("/x"), None);
        assert_eq!(Commit::of_revision("main"), None);
        assert!(Commit::of_revision(&"a1".repeat(20)).is_some());
        let hash = |n: usize| EntityTag::parse(&"a".repeat(n)).expect("a tag").hash();
        assert_eq!((hash(64), hash(40)), (Some(TagHash::Sha256), Some(TagHash::Sha1)));
        assert_eq!(hash(32), None);
        assert!(!is_file_name("../model.safetensors") && !is_file_name("a/b"));
    }
}
