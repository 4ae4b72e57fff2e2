//! What the lines of a file depend on, so that only the same job can continue it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::error::{Error, Result};

/// Version of the files that hold a fingerprint, and of the lines that it stands for.
const VERSION: u32 = 1;

/// Everything that the lines of an output depend on: the command, the hashes of models and input,
/// the settings. The number of threads can change the last bits only: it is recorded and a change
/// is reported, but it does not prevent resuming.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    version: u32,
    parts: Map<String, Value>,
    n_threads: usize,
}

impl Fingerprint {
    /// The fingerprint of a command of this program's `release`, still without settings.
    pub fn new(command: &str, release: &str, n_threads: usize) -> Self {
        let parts = Map::new();
        Self { version: VERSION, parts, n_threads }.with("command", command).with("gratis", release)
    }

    /// The same with one more part. Its name is what the user knows it by.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.parts.insert(name.to_owned(), serde_json::json!(value));
        self
    }

    /// The same with the hash of records that are in memory.
    ///
    /// # Errors
    /// [`Error::Io`] if a record cannot be written as JSON.
    pub fn with_records(self, name: &str, records: &[impl Serialize]) -> Result<Self> {
        let mut hasher = Sha256::new();
        for record in records {
            let line = serde_json::to_vec(record);
            hasher.update(line.map_err(|error| Error::io("hash", name)(error.into()))?);
            hasher.update(b"\n");
        }
        Ok(self.with(name, hex(&hasher.finalize())))
    }

    /// Number of threads.
    pub fn n_threads(&self) -> usize {
        self.n_threads
    }

    /// The first part in which `self`, which is asked for, differs from `known`, which was written.
    pub(crate) fn first_difference(&self, known: &Self) -> Option<String> {
        if self.version != known.version {
            return Some(format!("the format is version {}, not {}", known.version, self.version));
        }
        let shown = |value: Option<&Value>| match value {
            None => "not set".to_owned(),
            Some(Value::Null) => "none".to_owned(),
            Some(Value::String(text)) if is_hash(text) => format!("`{}...`", &text[..12]),
            Some(Value::String(text)) => format!("`{text}`"),
            Some(value) => format!("`{value}`"),
        };
        let names = self.parts.keys().chain(known.parts.keys());
        let mut different = names.filter(|&name| self.parts.get(name) != known.parts.get(name));
        different.next().map(|name| {
            let (then, now) = (known.parts.get(name), self.parts.get(name));
            format!("{name} was {} and is now {}", shown(then), shown(now))
        })
    }
}

/// Whether a text is a SHA-256 in hexadecimal, of which the beginning is enough.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        let known = Fingerprint::new("score", "1.0", 1).with("beta", 0.1).with("reference", "a");
        assert_eq!(known.first_difference(&known), None);
        assert_eq!(Fingerprint { n_threads: 2, ..known.clone() }.first_difference(&known), None);
        let other = known.clone().with("beta", 0.5).with("reference", Value::Null);
        let difference = other.first_difference(&known);
        assert_eq!(difference.as_deref(), Some("beta was `0.1` and is now `0.5`"));
        let difference = known.clone().with("beta", 0.1).with("seed", 7).first_difference(&known);
        assert_eq!(difference.as_deref(), Some("seed was not set and is now `7`"));
        let difference = known.first_difference(&known.clone().with("seed", 7));
        assert_eq!(difference.as_deref(), Some("seed was `7` and is now not set"));
        let later = Fingerprint { version: 2, ..known.clone() };
        let difference = known.first_difference(&later);
        assert_eq!(difference.as_deref(), Some("the format is version 2, not 1"));
    }
}
