//! The check at the start: one sequence scored alone and in a batch beside others, on every server.
//!
//! Servers with adapters have faults that answer with success and wrong numbers: a batch of several
//! sequences reads the wrong adapter, or requests for the base and the adapter change each other's.
//! Different log-probabilities of the same sequence show them, and also servers that do not serve
//! the same model.

use crate::answer::Sequence;
use crate::pool::mixed;

/// Tokens of the sequence.
const N_TOKENS: usize = 24;
/// Sequences in the batch.
const N_IN_BATCH: usize = 4;
/// Place of the sequence in the batch.
const PLACE: usize = 1;

/// A sequence of `n` tokens that depends on `key` and the size of the vocabulary only.
fn sequence(key: u64, n: usize, vocab_size: usize) -> Sequence {
    let token = |at: usize| (mixed(key << 32 | at as u64) % vocab_size.max(1) as u64) as u32;
    Sequence { tokens: (0..n).map(token).collect(), n_context: 1 }
}

/// The sequence alone.
pub(crate) fn alone(vocab_size: usize, context_length: usize) -> Sequence {
    sequence(1, N_TOKENS.min(context_length), vocab_size)
}

/// The sequence beside others of other lengths.
pub(crate) fn in_batch(vocab_size: usize, context_length: usize) -> Vec<Sequence> {
    let of = |place: usize| {
        if place == PLACE {
            return alone(vocab_size, context_length);
        }
        let n = (N_TOKENS - 5 + 4 * place).min(context_length);
        sequence(2 + place as u64, n, vocab_size)
    };
    (0..N_IN_BATCH).map(of).collect()
}

/// `n_ends` sequences of `n` tokens that differ in their last token alone, and as many that have nothing
/// in common.
pub(crate) fn ends(n: usize, n_ends: u32, vocab_size: usize) -> (Vec<Sequence>, Vec<Sequence>) {
    let of = |key: u64| Sequence { n_context: 0, ..sequence(key, n, vocab_size) };
    let others: Vec<Sequence> = (0..u64::from(n_ends)).map(|nth| of(100 + nth)).collect();
    let own = others.iter().map(|other| {
        let mut sequence = of(99);
        if let (Some(last), Some(token)) = (sequence.tokens.last_mut(), other.tokens.last()) {
            *last = *token;
        }
        sequence
    });
    (own.collect(), others)
}

/// The values of the sequence in the results of a batch.
pub(crate) fn of_batch(results: &[Vec<f32>]) -> &[f32] {
    &results[PLACE]
}

/// The largest difference of two results.
pub(crate) fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
