//! The work of a transformer, counted independently of its shape.

use std::ops::AddAssign;

use gratis_engine::PackedBatch;
use serde::{Deserialize, Serialize};

/// Counts of a forward pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Tokens that go through the layers.
    pub n_tokens: u64,
    /// For each of them the tokens it attends to, itself included, summed up.
    pub n_attended: u64,
    /// Tokens predicted by the head.
    pub n_predicted: u64,
}

/// The forward passes of a job, counted twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobWork {
    /// As run: with shared prompts, duplicates and caches.
    pub as_run: Work,
    /// As the paper counts: every sequence on its own.
    pub as_counted: Work,
}

impl Work {
    /// `n_new` tokens after `n_before` that are in the cache.
    fn tokens(n_before: usize, n_new: usize) -> Self {
        let (before, new) = (n_before as u64, n_new as u64);
        Self { n_tokens: new, n_attended: new * before + new * (new + 1) / 2, n_predicted: 0 }
    }

    /// A response under its prompt, on its own.
    pub fn of_response(n_prompt: usize, n_response: usize) -> Self {
        Self { n_predicted: n_response as u64, ..Self::tokens(0, n_prompt + n_response) }
    }

    /// A packed batch: each of its tokens once.
    pub fn of_batch(batch: &PackedBatch) -> Self {
        let mut work = Self { n_predicted: batch.n_response_tokens() as u64, ..Self::default() };
        for segment in batch.segments() {
            work += Self::tokens(segment.position, segment.n_tokens);
        }
        work
    }

    /// Samples of `lengths` tokens after a prompt that is read once. A sample's last token is
    /// sampled but not read.
    pub fn of_samples(n_prompt: usize, lengths: &[usize]) -> Self {
        let mut work = Self::tokens(0, n_prompt);
        for &length in lengths {
            work += Self::tokens(n_prompt, length.saturating_sub(1));
            work.n_predicted += length as u64;
        }
        work
    }

    /// The same `n` times.
    #[must_use]
    pub fn times(self, n: u64) -> Self {
        Self {
            n_tokens: n * self.n_tokens,
            n_attended: n * self.n_attended,
            n_predicted: n * self.n_predicted,
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.n_tokens += other.n_tokens;
        self.n_attended += other.n_attended;
        self.n_predicted += other.n_predicted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Tokens of the prompt see 1, 2; those of the response 3, 4, 5.
        let alone = Work::of_response(2, 3);
        assert_eq!(alone, Work { n_tokens: 5, n_attended: 15, n_predicted: 3 });
        let response = &[7u32, 8, 9][..];
        let batch = PackedBatch::from_groups([(&[1u32, 2][..], [response, response])]);
        let packed = Work::of_batch(&batch.expect("valid"));
        assert_eq!(packed, Work { n_tokens: 8, n_attended: 27, n_predicted: 6 });
        // Two samples of three tokens: of each the first two are read.
        let sampled = Work::of_samples(2, &[3, 3]);
        assert_eq!(sampled, Work { n_tokens: 6, n_attended: 3 + 2 * 7, n_predicted: 6 });
        assert_eq!(alone.times(2).n_attended, 30);
    }
}
