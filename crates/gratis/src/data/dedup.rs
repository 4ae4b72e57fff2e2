//! Deduplication of responses by the overlap of their word n-grams (appendix C.2: 8-grams).
//!
//! The overlap of a response is the share of its distinct n-grams of words that occur in responses
//! kept before it; a response of fewer words counts as one n-gram. A response is dropped if the
//! overlap reaches the threshold. The paper names the n-grams but neither threshold nor scope; here
//! both are settings, and so is whether all n-grams are used or a sample. Responses are compared
//! only with those of the same label: a wrong solution that departs late from a right one is not a
//! duplicate but the most useful training example.

use std::collections::HashSet;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::balance::keep_some;
use super::operation::{Operation, Outcome, Start};
use super::rollout::Rollout;
use super::scratch::Scratch;
use crate::error::{Error, Result};

/// Which responses a response is compared with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DedupScope {
    /// Responses of the same record.
    #[default]
    Problem,
    /// All earlier responses of the data set. Stores a number per distinct n-gram of the data set.
    Dataset,
}

/// Drops responses that repeat earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deduplicate {
    /// Words in an n-gram, at least 1.
    pub n: usize,
    /// The overlap at or above which a response is dropped, above 0 and at most 1.
    pub threshold: f64,
    /// Which responses are compared.
    pub scope: DedupScope,
    /// Use one n-gram in this many, at least 1: the overlap is then an estimate and needs less
    /// memory.
    pub sample: u64,
}

impl Default for Deduplicate {
    fn default() -> Self {
        Self { n: 8, threshold: 0.5, scope: DedupScope::Problem, sample: 1 }
    }
}

impl Start for Deduplicate {
    fn start(&self, _scratch: Option<&Scratch>) -> Result<Box<dyn Operation>> {
        if self.n == 0 {
            return Err(Error::setting("n", "at least 1", self.n));
        }
        if self.sample == 0 {
            return Err(Error::setting("sample", "at least 1", self.sample));
        }
        if !(self.threshold > 0.0 && self.threshold <= 1.0) {
            return Err(Error::setting("threshold", "above 0 and at most 1", self.threshold));
        }
        Ok(Box::new(Deduplication { settings: *self, seen: [(); 3].map(|()| HashSet::new()) }))
    }
}

struct Deduplication {
    settings: Deduplicate,
    /// N-grams of the kept responses: incorrect, correct, unlabelled.
    seen: [HashSet<u64>; 3],
}

impl Operation for Deduplication {
    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        if self.settings.scope == DedupScope::Problem {
            self.seen.iter_mut().for_each(HashSet::clear);
        }
        let mut kept = Vec::new();
        for (idx, completion) in rollout.completions.iter().enumerate() {
            let label = completion.label.or(completion.soft_label.map(|label| label > 0.5));
            let class = label.map_or(2, usize::from);
            let seen = &mut self.seen[class];
            let grams = sampled(n_grams(&completion.text, self.settings.n), self.settings.sample);
            let n_seen = grams.intersection(seen).count();
            if (n_seen as f64) < self.settings.threshold * grams.len() as f64 {
                seen.extend(grams);
                kept.push(idx);
            }
        }
        keep_some(&rollout, &kept, out)
    }
}

/// The distinct n-grams of words of a text, as numbers; the whole text if it has fewer words.
fn n_grams(text: &str, n: usize) -> HashSet<u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(n.clamp(1, words.len().max(1))).map(number_of).collect()
}

/// SipHash-1-3 with the keys 0 over the number of words and each word with a byte that ends it: the
/// same words give the same number on every platform and with every compiler.
fn number_of(gram: &[&str]) -> u64 {
    const END: u8 = 0xff; // not part of any UTF-8 text
    let mut hasher = SipHasher13::new();
    hasher.write(&(gram.len() as u64).to_le_bytes());
    for word in gram {
        hasher.write(word.as_bytes());
        hasher.write(&[END]);
    }
    hasher.finish()
}

/// One n-gram in `sample`, by their numbers and so the same ones in every text; at least one.
fn sampled(mut grams: HashSet<u64>, sample: u64) -> HashSet<u64> {
    let least = grams.iter().copied().min();
    grams.retain(|gram| gram.is_multiple_of(sample));
    if grams.is_empty() {
        grams.extend(least);
    }
    grams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_n_grams_are_pinned() {
        // A change of these numbers changes which responses a sample of n-grams drops.
        assert_eq!(number_of(&["so", "naïve"]), 137_831_874_725_406_613);
        assert_eq!(number_of(&["42"]), 3_420_011_754_255_202_463);
    }
}
