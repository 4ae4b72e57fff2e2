//! Random choices that depend on a seed and a text only: not on the order of a file, the thread
//! count or the platform.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// A stream of random numbers of its own for each (seed, text).
pub(crate) fn rng_of(seed: u64, text: &str) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(digest(seed, &[text]))
}

/// A number that places `parts` in a random order which depends on the seed.
pub(crate) fn rank_of(seed: u64, parts: &[&str]) -> u64 {
    let bytes = digest(seed, parts);
    bytes.iter().take(8).fold(0, |rank, &byte| rank << 8 | u64::from(byte))
}

pub(crate) fn digest(seed: u64, parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The `n`-th smallest of `ranks`, so that `rank <= threshold` keeps `n` of them; `None` for none.
pub(crate) fn threshold_of(mut ranks: Vec<u64>, n: usize) -> Option<u64> {
    ranks.sort_unstable();
    ranks.get(n.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn choices_are_pinned() {
        // A change of these numbers changes every seeded choice ever published.
        assert_eq!(rank_of(1, &["a", "b"]), 5_950_893_037_404_278_551);
        assert_ne!(rank_of(1, &["a", "b"]), rank_of(1, &["ab", ""]));
        assert_ne!(rank_of(1, &["a"]), rank_of(2, &["a"]));
        assert_eq!(rng_of(7, "x").next_u64(), 2_017_919_591_509_300_076);
    }
}
