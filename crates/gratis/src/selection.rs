//! Selecting one of N responses: best-of-N, votes, and the oracle (paper sections 4.1 and 5.1).
//!
//! Pure f64 arithmetic with one rule for ties: *the first response wins*. Among equal scores that
//! is the lowest index; among answers with equal votes the one that occurs first. A NaN score ranks
//! below every number.
//!
//! Answers are compared by a class given by the caller: responses with the same final answer share
//! a class, a response without one has a class of its own.

pub(crate) mod accuracy;

use serde::{Deserialize, Serialize};

pub(crate) use self::accuracy::Candidates;
use crate::numeric::sigmoid;

pub use crate::data::Aggregation;

/// The weight of a response in a vote, as a function of its score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum VoteWeight {
    /// `sigmoid(score)`, as the authors do. It depends on the scale of the scores: with large beta
    /// it saturates and the vote approaches the majority.
    Sigmoid,
    /// `exp(score / temperature)`: small temperatures approach best-of-N, large ones the majority.
    /// A constant added to all scores changes nothing.
    Exponential {
        /// Above 0, in units of the score.
        temperature: f64,
    },
}

impl VoteWeight {
    /// The weight of each response: `[n_responses]`, none negative; a NaN score weighs nothing.
    pub fn weights(self, scores: &[f64]) -> Vec<f64> {
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weigh = |&score: &f64| match self {
            _ if score.is_nan() => 0.0,
            Self::Sigmoid => sigmoid(score),
            Self::Exponential { .. } if score == max => 1.0,
            Self::Exponential { temperature } => ((score - max) / temperature).exp(),
        };
        scores.iter().map(weigh).collect()
    }
}

/// Index of the highest score; `None` for no score. The first wins among equals.
pub fn best_of_n(scores: &[f64]) -> Option<usize> {
    (0..scores.len()).reduce(|best, idx| if ranks_above(scores, idx, best) { idx } else { best })
}

/// Whether response `a` scores strictly above response `b`.
fn ranks_above(scores: &[f64], a: usize, b: usize) -> bool {
    scores[a] > scores[b] || (scores[b].is_nan() && !scores[a].is_nan())
}

/// Index of the first response whose answer has the greatest sum of weights; `None` for no answer.
/// Among answers with equal sums the one that occurs first wins.
pub fn weighted_vote(answers: &[usize], weights: &[f64]) -> Option<usize> {
    vote(answers, weights.iter().copied())
}

fn vote(answers: &[usize], weights: impl Iterator<Item = f64>) -> Option<usize> {
    // First index of an answer, the answer, and the sum of its weights.
    let mut tallies: Vec<(usize, usize, f64)> = Vec::with_capacity(answers.len().min(16));
    for ((idx, &answer), weight) in answers.iter().enumerate().zip(weights) {
        match tallies.iter_mut().find(|tally| tally.1 == answer) {
            Some((_, _, sum)) => *sum += weight,
            None => tallies.push((idx, answer, weight)),
        }
    }
    tallies.into_iter().reduce(|best, next| if next.2 > best.2 { next } else { best }).map(|t| t.0)
}

/// Index of the first response with the most frequent answer; `None` for no answer. Among equally
/// frequent answers the one that occurs first wins.
pub fn majority(answers: &[usize]) -> Option<usize> {
    vote(answers, std::iter::repeat(1.0))
}

/// How one response of N is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Method {
    /// The response with the highest score.
    BestOfN,
    /// A response with the most frequent answer; no score needed.
    Majority,
    /// A response with the answer of the greatest sum of weights.
    WeightedVote {
        /// What a score weighs.
        weight: VoteWeight,
    },
    /// A correct response if there is one: pass@N, the upper bound of every method.
    Oracle,
    /// A random response, in expectation: the mean pass@1.
    Random,
}

impl Method {
    /// Whether it depends on scores.
    pub fn needs_scores(self) -> bool {
        matches!(self, Self::BestOfN | Self::WeightedVote { .. })
    }
}

/// Which `n` of more than `n` responses are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Subsets {
    /// The first `n`, as the authors do.
    #[default]
    First,
    /// The expectation over all subsets of size `n` (less noise for the same responses): exact for
    /// best-of-n, the oracle and a random choice, a seeded mean over sampled subsets for votes.
    Unbiased {
        /// Subsets sampled for a vote.
        n_samples: usize,
        /// Seed of the sample.
        seed: u64,
    },
}

/// Share of correct responses; 0 for none.
pub fn mean_pass_at_1(correct: &[bool]) -> f64 {
    let n_correct = correct.iter().filter(|&&correct| correct).count();
    n_correct as f64 / correct.len().max(1) as f64
}

#[cfg(test)]
mod tests;
