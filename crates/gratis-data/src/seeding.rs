//! Random choices that depend on a seed and a text only: not on the order of a file, the thread
//! count or the platform.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// A stream of random numbers of its own for each (seed, text).
pub(crate) fn rng_of(seed: u64, text: &str) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(digest(seed, &[text]))
}

/// Places drawn with replacement: those of [`RngExt::random_range`] with [`ChaCha8Rng`]. A type rather than
/// a generic call, so that drawing is compiled with this crate, at its level of optimisation.
#[derive(Debug)]
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// Draws that depend on `seed` only.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A place below `n`.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    /// As many places as `places` holds, each below their number.
    pub fn fill(&mut self, places: &mut [usize]) {
        let n = places.len();
        let mut left = places.iter_mut();
        self.each(n, |drawn| {
            if let Some(place) = left.next() {
                *place = drawn;
            }
        });
    }

    /// As many places as `kinds` holds: adds to `counts` how often a place of each kind was drawn.
    ///
    /// # Panics
    /// If there is no count for some kind.
    pub fn count(&mut self, kinds: &[u32], counts: &mut [u32]) {
        self.each(kinds.len(), |drawn| counts[kinds[drawn] as usize] += 1);
    }

    /// Draws `n` places below `n`.
    fn each(&mut self, n: usize, mut take: impl FnMut(usize)) {
        let Ok(range) = u32::try_from(n) else {
            return (0..n).for_each(|_| take(self.below(n)));
        };
        let mut next = || u64::from(self.0.next_u32()) * u64::from(range);
        // As `random_range`, which is a call with checks of its own: the high half of a product, which a
        // second product carries into where the low half leaves that open.
        for _ in 0..n {
            let product = next();
            let (high, low) = (product >> 32, product as u32);
            let has_carry =
                low > range.wrapping_neg() && low.checked_add((next() >> 32) as u32).is_none();
            take(high as usize + usize::from(has_carry));
        }
    }

    /// `n` places below `n`.
    pub fn resample(&mut self, n: usize) -> Vec<usize> {
        let mut places = vec![0; n];
        self.fill(&mut places);
        places
    }
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

    #[test]
    fn choices_are_pinned() {
        // A change of these numbers changes every seeded choice ever published.
        assert_eq!(rank_of(1, &["a", "b"]), 5_950_893_037_404_278_551);
        assert_ne!(rank_of(1, &["a", "b"]), rank_of(1, &["ab", ""]));
        assert_ne!(rank_of(1, &["a"]), rank_of(2, &["a"]));
        assert_eq!(rng_of(7, "x").next_u64(), 2_017_919_591_509_300_076);
        assert_eq!(Draws::new(7).resample(8), [1, 1, 1, 1, 2, 5, 0, 5]);
    }

    #[test]
    fn draws_are_those_of_the_generator() {
        for n in [1, 2, 7, 64, 1319, 100_000] {
            let (mut draws, mut rng) = (Draws::new(3), ChaCha8Rng::seed_from_u64(3));
            assert!(
                draws.resample(n).into_iter().all(|place| place == rng.random_range(0..n)),
                "{n}"
            );
            assert_eq!(draws.below(n), rng.random_range(0..n));
            let kinds: Vec<u32> = (0..n as u32).map(|place| place % 5).collect();
            let (mut counts, mut expected) = ([0; 5], [0; 5]);
            draws.count(&kinds, &mut counts);
            (0..n).for_each(|_| expected[rng.random_range(0..n) % 5] += 1);
            assert_eq!(counts, expected, "{n}");
        }
        let huge = usize::MAX / 3;
        assert_eq!(Draws::new(1).below(huge), ChaCha8Rng::seed_from_u64(1).random_range(0..huge));
    }
}
