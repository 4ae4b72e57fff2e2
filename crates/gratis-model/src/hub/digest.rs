//! Hashes of content as entity tags name them: SHA-256, and SHA-1 as git computes it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::name::{EntityTag, TagHash};

/// Bytes read at a time.
pub(super) const CHUNK: usize = 1 << 20;

/// The running hash of some content whose length is known beforehand.
pub(super) enum Digest {
    /// SHA-256 of the content.
    Sha256(Sha256),
    /// SHA-1 of the git blob and of the bare content.
    Sha1 { blob: Sha1, bare: Sha1 },
    /// The entity tag is not a hash.
    None,
}

impl Digest {
    /// The hash that `tag` names, for content of `n_bytes`.
    pub(super) fn new(tag: &EntityTag, n_bytes: Option<u64>) -> Self {
        match (tag.hash(), n_bytes) {
            (Some(TagHash::Sha256), _) => Self::Sha256(Sha256::new()),
            (Some(TagHash::Sha1), Some(n_bytes)) => {
                let blob = Sha1::new_with_prefix(format!("blob {n_bytes}\0"));
                Self::Sha1 { blob, bare: Sha1::new() }
            }
            // The header of a git blob holds its length.
            (Some(TagHash::Sha1) | None, _) => Self::None,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha1 { blob, bare } => {
                blob.update(bytes);
                bare.update(bytes);
            }
            Self::None => {}
        }
    }

    /// Whether the content is the one that `tag` names, as far as a hash can tell.
    ///
    /// # Errors
    /// The hash that it has instead, and the name of the hash.
    pub(super) fn check(self, tag: &EntityTag) -> Result<(), String> {
        let (name, found) = match self {
            Self::Sha256(hash) => ("SHA-256", vec![hex(&hash.finalize())]),
            Self::Sha1 { blob, bare } => {
                ("git SHA-1", vec![hex(&blob.finalize()), hex(&bare.finalize())])
            }
            Self::None => return Ok(()),
        };
        if found.iter().any(|hash| hash == tag.as_str()) {
            return Ok(());
        }
        Err(format!("its {name} is {}, not {}", found[0], tag.as_str()))
    }
}

/// Feeds a file to `digest`; its length.
pub(super) fn read_into(digest: &mut Digest, file: &mut impl Read) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut n_bytes = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(n_bytes);
        }
        digest.update(&buffer[..n]);
        n_bytes += n as u64;
    }
}

/// Checks the whole content of a file against its entity tag: what is wrong with it, if anything.
pub(super) fn file_fault(path: &Path, tag: &EntityTag) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let mut digest = Digest::new(tag, Some(file.metadata()?.len()));
    read_into(&mut digest, &mut file)?;
    Ok(digest.check(tag).err())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tag: &str, content: &[u8]) -> Result<(), String> {
        let tag = EntityTag::parse(tag).expect("a tag");
        let mut digest = Digest::new(&tag, Some(content.len() as u64));
        let (first, second) = content.split_at(content.len() / 2);
        digest.update(first);
        digest.update(second);
        digest.check(&tag)
    }

    #[test]
    fn the_tag_is_a_sha_256_or_that_of_a_git_blob() {
        // As `sha256sum`, `git hash-object` and `sha1sum` print them.
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let git = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";
        let bare = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";
        for tag in [sha256, git, bare] {
            check(tag, b"hello").expect("its own");
            let message = check(tag, b"hellp").expect_err("another");
            assert!(message.ends_with(&format!("not {tag}")), "{message}");
        }
        check("not-a-hash", b"hello").expect("nothing to compare with");
    }
}
