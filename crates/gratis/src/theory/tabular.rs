//! Language models small enough to be tables: every conditional probability of every prefix.

use rand::{Rng, RngExt};

use crate::error::{Error, Result};
use crate::numeric::log_sum_exp;

/// A distribution over all sequences of `length` tokens from a vocabulary of `vocab_size`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TabularModel {
    vocab_size: usize,
    length: usize,
    /// `log pi(y_t | y_<t)`: `[length][vocab_size^t][vocab_size]`; a prefix's index reads its
    /// tokens as digits, the first the highest.
    log_probs: Vec<Vec<Vec<f64>>>,
}

/// More sequences than this are not enumerated.
const MAX_SEQUENCES: usize = 1 << 20;

impl TabularModel {
    /// Random conditional distributions: the softmax of logits uniform in `-spread..spread`.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) if vocabulary or length are 0, or there are too many sequences to
    /// enumerate.
    pub(crate) fn random(
        vocab_size: usize,
        length: usize,
        spread: f64,
        rng: &mut impl Rng,
    ) -> Result<Self> {
        let mut distribution = || {
            let logits: Vec<f64> =
                (0..vocab_size).map(|_| spread * rng.random_range(-1.0..1.0)).collect();
            normalised(&logits)
        };
        Self::build(vocab_size, length, |_, _| distribution())
    }

    /// The reference tilted by rewards of whole sequences, `pi(y) = pi_ref(y) exp(r(y)/beta) / Z`,
    /// with `log Z`: the model whose implicit reward `beta log pi(y)/pi_ref(y)` is
    /// `r(y) - beta log Z`. `rewards`: `[vocab_size^length]`.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) if there is not one reward for each sequence.
    pub(crate) fn tilted(reference: &Self, rewards: &[f64], beta: f64) -> Result<(Self, f64)> {
        let Self { vocab_size, length, .. } = *reference;
        if rewards.len() != reference.n_sequences() {
            let expected = format!("one for each of {} sequences", reference.n_sequences());
            return Err(Error::setting("rewards", expected, rewards.len()));
        }
        // log E[exp(r/beta) | prefix], from the whole sequences back to the empty prefix.
        let mut values: Vec<f64> = rewards.iter().map(|reward| reward / beta).collect();
        let mut log_probs = vec![Vec::new(); length];
        for t in (0..length).rev() {
            let joint: Vec<Vec<f64>> = reference.log_probs[t]
                .iter()
                .zip(values.chunks(vocab_size))
                .map(|(row, next)| row.iter().zip(next).map(|(p, v)| p + v).collect())
                .collect();
            values = joint.iter().map(|row| log_sum_exp(row)).collect();
            log_probs[t] = joint.iter().map(|row| normalised(row)).collect();
        }
        Ok((Self { vocab_size, length, log_probs }, values[0]))
    }

    fn build(
        vocab_size: usize,
        length: usize,
        mut distribution: impl FnMut(usize, usize) -> Vec<f64>,
    ) -> Result<Self> {
        let n_sequences = u32::try_from(length).ok().and_then(|n| vocab_size.checked_pow(n));
        if vocab_size == 0 || length == 0 || n_sequences.is_none_or(|n| n > MAX_SEQUENCES) {
            let expected = format!("a vocabulary and a length of 1 to {MAX_SEQUENCES} sequences");
            return Err(Error::setting("length", expected, format!("{vocab_size}^{length}")));
        }
        let mut n_prefixes = 1;
        let mut log_probs = Vec::with_capacity(length);
        for t in 0..length {
            log_probs.push((0..n_prefixes).map(|idx| distribution(t, idx)).collect());
            n_prefixes *= vocab_size;
        }
        Ok(Self { vocab_size, length, log_probs })
    }

    /// Tokens of a sequence.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Size of the vocabulary.
    pub(crate) fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Number of whole sequences, `vocab_size^length`.
    pub(crate) fn n_sequences(&self) -> usize {
        self.n_completions(0)
    }

    /// Number of whole sequences that begin with a given prefix of `t` tokens.
    pub(crate) fn n_completions(&self, t: usize) -> usize {
        self.vocab_size.pow((self.length - t) as u32)
    }

    /// `log pi(y_{from+1..=to} | y_{1..=from})` along the sequence whose first `to` tokens have
    /// the index `prefix`.
    pub(crate) fn log_prob(&self, from: usize, to: usize, prefix: usize) -> f64 {
        let step = |t: usize| {
            let through = prefix / self.vocab_size.pow((to - t - 1) as u32);
            self.log_probs[t][through / self.vocab_size][through % self.vocab_size]
        };
        (from..to).map(step).sum()
    }
}

fn normalised(logits: &[f64]) -> Vec<f64> {
    let log_partition = log_sum_exp(logits);
    logits.iter().map(|logit| logit - log_partition).collect()
}
