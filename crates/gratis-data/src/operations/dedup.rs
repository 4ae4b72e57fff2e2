//! Deduplication of responses by the overlap of their word n-grams (appendix C.2: 8-grams).
//!
//! The overlap of a response is the share of its distinct n-grams of words that occur in responses
//! kept before it; a response of fewer words counts as one n-gram. A response is dropped if the
//! overlap reaches the threshold. The paper names the n-grams but neither threshold nor scope; here
//! both are settings, and so is whether all n-grams are used or a sample. Responses are compared
//! only with those of the same label: a wrong solution that departs late from a right one is not a
//! duplicate but the most useful training example.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::balance::keep_some;
use super::operation::{Operation, Outcome};
use crate::error::{Error, Result};
use crate::records::rollout::Rollout;

/// Which responses a response is compared with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum DedupScope {
    /// Responses of the same record.
    #[default]
    Problem,
    /// All responses of the file.
    ///
    /// Stores one number per distinct n-gram of the file.
    Dataset,
}

/// Words in an n-gram where nothing else is asked for.
pub(crate) fn default_n() -> usize {
    8
}

/// The overlap at which responses are dropped where nothing else is asked for.
pub(crate) fn default_threshold() -> f64 {
    0.5
}

/// Every n-gram is used where nothing else is asked for.
pub(crate) fn default_sample() -> u64 {
    1
}

/// [`DataOperation::Deduplicate`](crate::DataOperation) at work.
pub(crate) struct Deduplication {
    n: usize,
    threshold: f64,
    scope: DedupScope,
    sample: u64,
    /// N-grams of the kept responses: incorrect, correct, unlabelled.
    seen: [Grams; 3],
    /// Those of the last response; their memory is used again.
    words: Words,
    grams: Vec<u64>,
}

impl Deduplication {
    pub(crate) fn new(n: usize, threshold: f64, scope: DedupScope, sample: u64) -> Result<Self> {
        if n == 0 {
            return Err(Error::setting("n", "at least 1", n));
        }
        if sample == 0 {
            return Err(Error::setting("sample", "at least 1", sample));
        }
        if !(threshold > 0.0 && threshold <= 1.0) {
            return Err(Error::setting("threshold", "above 0 and at most 1", threshold));
        }
        let (words, grams) = (Words::default(), Vec::new());
        Ok(Self { n, threshold, scope, sample, seen: Default::default(), words, grams })
    }
}

impl Operation for Deduplication {
    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        let Self { n, threshold, scope, sample, seen, words, grams } = self;
        if *scope == DedupScope::Problem {
            seen.iter_mut().for_each(HashSet::clear);
        }
        let mut kept = Vec::new();
        for (idx, completion) in rollout.completions.iter().enumerate() {
            let label = completion.label.or(completion.soft_label.map(|label| label > 0.5));
            let seen = &mut seen[label.map_or(2, usize::from)];
            words.read(&completion.text);
            grams.clear();
            grams.extend(words.n_grams(*n));
            thin_out(grams, *sample);
            grams.sort_unstable();
            grams.dedup();
            let n_distinct = grams.len();
            // The new ones are added at once, and taken back if the response is dropped.
            grams.retain(|&gram| seen.insert(gram));
            let n_seen = n_distinct - grams.len();
            if (n_seen as f64) < *threshold * n_distinct as f64 {
                kept.push(idx);
            } else {
                for gram in &*grams {
                    seen.remove(gram);
                }
            }
        }
        keep_some(rollout, &kept, out)
    }
}

/// Distinct n-grams, as numbers.
type Grams = HashSet<u64, BuildHasherDefault<NumberItself>>;

/// The hash of a number that is a hash already.
#[derive(Default)]
struct NumberItself(u64);

impl Hasher for NumberItself {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0 << 8 | u64::from(byte);
        }
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

/// The words of a text in a row, each with a byte that ends it: an n-gram is a part of it.
#[derive(Default)]
struct Words {
    bytes: Vec<u8>,
    /// Where each word begins; after the last, the end.
    starts: Vec<usize>,
}

impl Words {
    /// Ends a word; not part of any UTF-8 text.
    const END: u8 = 0xff;

    /// The words of `text`, in place of those before.
    fn read(&mut self, text: &str) {
        self.bytes.clear();
        self.starts.clear();
        for word in text.split_whitespace() {
            self.starts.push(self.bytes.len());
            self.bytes.extend_from_slice(word.as_bytes());
            self.bytes.push(Self::END);
        }
        self.starts.push(self.bytes.len());
    }

    /// The n-grams as numbers; the whole text if it has fewer words.
    fn n_grams(&self, n: usize) -> impl Iterator<Item = u64> {
        let n_words = self.starts.len().saturating_sub(1);
        let n = n.clamp(1, n_words.max(1));
        let ends = self.starts.iter().skip(n);
        self.starts
            .iter()
            .zip(ends)
            .map(move |(&start, &end)| number_of(n, &self.bytes[start..end]))
    }
}

/// SipHash-1-3 with the keys 0 over the number of words and each word with a byte that ends it: the
/// same words give the same number on every platform and with every compiler.
#[inline]
fn number_of(n_words: usize, words: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(&(n_words as u64).to_le_bytes());
    hasher.write(words);
    hasher.finish()
}

/// Keeps one n-gram in `sample`, by their numbers and so the same ones in every text; at least one.
fn thin_out(grams: &mut Vec<u64>, sample: u64) {
    if sample == 1 {
        return;
    }
    let least = grams.iter().copied().min();
    grams.retain(|gram| gram.is_multiple_of(sample));
    if grams.is_empty() {
        grams.extend(least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grams(text: &str, n: usize) -> Vec<u64> {
        let mut words = Words::default();
        words.read("what was read before");
        words.read(text);
        words.n_grams(n).collect()
    }

    #[test]
    fn numbers_of_n_grams_are_pinned() {
        // A change of these numbers changes which responses a sample of n-grams drops.
        assert_eq!(grams("so naïve", 2), [137_831_874_725_406_613]);
        assert_eq!(grams(" so\u{a0}naïve\n", 8), [137_831_874_725_406_613]);
        assert_eq!(grams("42", 1), [3_420_011_754_255_202_463]);
    }

    #[test]
    fn n_grams_are_those_of_the_words() {
        let numbers = grams("a b a b c", 2);
        assert_eq!(numbers.len(), 4);
        assert_eq!(numbers[0], numbers[2]);
        assert_eq!(numbers[1..], grams("b a b c", 2)[..]);
        assert_eq!(grams("a b c", 3), grams("a  b\tc", 9));
        assert_ne!(grams("a bc", 2), grams("ab c", 2));
        assert!(grams(" \n", 2).is_empty());
        assert!(grams("", 1).is_empty());
    }
}
