//! Selecting one of N responses: best-of-N, votes, and the oracle (paper sections 4.1 and 5.1).
//!
//! Pure f64 arithmetic with one rule for ties: *the first response wins*. Among equal scores that
//! is the lowest index; among answers with equal votes the one that occurs first. A NaN score ranks
//! below every number.
//!
//! Answers are compared by a class given by the caller: responses with the same final answer share
//! a class, a response without one has a class of its own.

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::numeric::{check_positive, sigmoid};

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
    /// Index of the response it selects; `None` where it selects by expectation
    /// ([`Method::Random`]) or there is no response.
    pub fn select(self, candidates: &Candidates) -> Option<usize> {
        match self {
            Self::BestOfN => best_of_n(candidates.scores),
            Self::Majority => majority(candidates.answers),
            Self::WeightedVote { weight } => {
                weighted_vote(candidates.answers, &weight.weights(candidates.scores))
            }
            Self::Oracle => candidates.correct.iter().position(|&correct| correct).or_else(|| {
                (!candidates.correct.is_empty()).then_some(0) // none is correct: any
            }),
            Self::Random => None,
        }
    }

    /// Whether it depends on scores.
    pub fn needs_scores(self) -> bool {
        matches!(self, Self::BestOfN | Self::WeightedVote { .. })
    }

    /// Share of correct selections among the first `n` responses, 0 or 1 except for
    /// [`Method::Random`].
    fn accuracy_of_all(self, candidates: &Candidates) -> f64 {
        match self.select(candidates) {
            Some(idx) => f64::from(candidates.correct[idx]),
            None => mean_pass_at_1(candidates.correct),
        }
    }
}

/// The responses of one problem.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    /// Score of each response: `[n_responses]`; ignored by methods that need none.
    pub scores: &'a [f64],
    /// Class of each response's final answer: `[n_responses]`.
    pub answers: &'a [usize],
    /// Whether each response is correct: `[n_responses]`.
    pub correct: &'a [bool],
}

impl Candidates<'_> {
    fn validate(&self) -> Result<()> {
        let n = self.correct.len();
        for (field, len) in [("scores", self.scores.len()), ("answers", self.answers.len())] {
            if len != n {
                return Err(Error::setting(field, format!("one for each of {n} responses"), len));
            }
        }
        Ok(())
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

/// The probability in `0..=1` that `method` selects a correct one of `n` responses.
///
/// # Errors
/// [`InvalidSetting`](crate::data::Error::InvalidSetting) if `n` is 0 or more than there are responses, if scores, answers and
/// labels are not as many, or if the temperature of a vote is not a finite number above 0.
pub fn accuracy(
    method: Method,
    candidates: &Candidates,
    n: usize,
    subsets: Subsets,
) -> Result<f64> {
    candidates.validate()?;
    if let Method::WeightedVote { weight: VoteWeight::Exponential { temperature } } = method {
        check_positive("temperature", temperature)?;
    }
    let n_all = candidates.correct.len();
    if n == 0 || n > n_all {
        return Err(Error::setting("n", format!("in 1..={n_all}, the number of responses"), n));
    }
    let Subsets::Unbiased { n_samples, seed } = subsets else {
        let first = Candidates {
            scores: &candidates.scores[..n],
            answers: &candidates.answers[..n],
            correct: &candidates.correct[..n],
        };
        return Ok(method.accuracy_of_all(&first));
    };
    match method {
        Method::BestOfN => Ok(unbiased_best_of_n(candidates, n)),
        Method::Oracle => Ok(pass_at_n(candidates.correct, n)),
        Method::Random => Ok(mean_pass_at_1(candidates.correct)),
        Method::Majority | Method::WeightedVote { .. } if n == n_all => {
            Ok(method.accuracy_of_all(candidates))
        }
        Method::Majority | Method::WeightedVote { .. } => {
            if n_samples == 0 {
                return Err(Error::setting("n_samples", "at least 1", n_samples));
            }
            Ok(sampled_vote(method, candidates, n, n_samples, seed))
        }
    }
}

/// Share of correct responses; 0 for none.
pub fn mean_pass_at_1(correct: &[bool]) -> f64 {
    let n_correct = correct.iter().filter(|&&correct| correct).count();
    n_correct as f64 / correct.len().max(1) as f64
}

/// Unbiased pass@n: the probability that `n` of the responses, drawn without replacement, include a
/// correct one, `1 - C(N-c, n) / C(N, n)`.
pub fn pass_at_n(correct: &[bool], n: usize) -> f64 {
    let n_all = correct.len();
    let n_wrong = correct.iter().filter(|&&correct| !correct).count();
    // The i-th draw is wrong with probability (n_wrong - i) / (N - i).
    1.0 - (0..n).map(|i| n_wrong.saturating_sub(i) as f64 / (n_all - i) as f64).product::<f64>()
}

/// Expected accuracy of best-of-n over all subsets: the response of rank `k` (from 0) is the best
/// of a subset with probability `C(N-1-k, n-1) / C(N, n)`.
fn unbiased_best_of_n(candidates: &Candidates, n: usize) -> f64 {
    let scores = candidates.scores;
    let n_all = scores.len();
    let mut ranked: Vec<usize> = (0..n_all).collect();
    ranked.sort_by(|&a, &b| ranks_above(scores, b, a).cmp(&ranks_above(scores, a, b)));
    let mut probability = n as f64 / n_all as f64;
    let mut expected = 0.0;
    for (k, idx) in ranked.into_iter().take(n_all + 1 - n).enumerate() {
        expected += probability * f64::from(candidates.correct[idx]);
        probability *= (n_all - k - n) as f64 / (n_all - k - 1).max(1) as f64;
    }
    expected
}

/// Mean accuracy of a vote over sampled subsets, each in the responses' order.
fn sampled_vote(
    method: Method,
    candidates: &Candidates,
    n: usize,
    n_samples: usize,
    seed: u64,
) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut n_correct = 0.0;
    for _ in 0..n_samples {
        let mut subset = index::sample(&mut rng, candidates.correct.len(), n).into_vec();
        subset.sort_unstable();
        let scores: Vec<f64> = subset.iter().map(|&idx| candidates.scores[idx]).collect();
        let answers: Vec<usize> = subset.iter().map(|&idx| candidates.answers[idx]).collect();
        let correct: Vec<bool> = subset.iter().map(|&idx| candidates.correct[idx]).collect();
        n_correct += method.accuracy_of_all(&Candidates {
            scores: &scores,
            answers: &answers,
            correct: &correct,
        });
    }
    n_correct / n_samples as f64
}

#[cfg(test)]
mod tests;
