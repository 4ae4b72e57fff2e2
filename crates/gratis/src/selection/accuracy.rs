//! The accuracy of a method that selects one of N responses, where there are N or more: of the first N, or
//! expected over all subsets.

use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::{
    Method, Subsets, VoteWeight, best_of_n, majority, mean_pass_at_1, ranks_above, weighted_vote,
};
use crate::error::{Error, Result};
use crate::numeric::check_positive;

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
    /// The probability in `0..=1` that `method` selects a correct one of `n` of the responses.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) if `n` is 0 or more than there are responses, if scores, answers and
    /// labels are not as many, or if the temperature of a vote is not a finite number above 0.
    pub fn accuracy(&self, method: Method, n: usize, subsets: Subsets) -> Result<f64> {
        self.validate()?;
        if let Method::WeightedVote { weight: VoteWeight::Exponential { temperature } } = method {
            check_positive("temperature", temperature)?;
        }
        let n_all = self.correct.len();
        if n == 0 || n > n_all {
            return Err(Error::setting("n", format!("in 1..={n_all}, the number of responses"), n));
        }
        let Subsets::Unbiased { n_samples, seed } = subsets else {
            let first = Candidates {
                scores: &self.scores[..n],
                answers: &self.answers[..n],
                correct: &self.correct[..n],
            };
            return Ok(first.accuracy_of_all(method));
        };
        match method {
            Method::BestOfN => Ok(unbiased_best_of_n(self, n)),
            Method::Oracle => Ok(pass_at_n(self.correct, n)),
            Method::Random => Ok(mean_pass_at_1(self.correct)),
            Method::Majority | Method::WeightedVote { .. } if n == n_all => {
                Ok(self.accuracy_of_all(method))
            }
            Method::Majority | Method::WeightedVote { .. } => {
                if n_samples == 0 {
                    return Err(Error::setting("n_samples", "at least 1", n_samples));
                }
                Ok(sampled_vote(method, self, n, n_samples, seed))
            }
        }
    }

    /// Index of the response that a method selects; `None` where it selects by expectation
    /// ([`Method::Random`]) or there is no response.
    pub(super) fn select(&self, method: Method) -> Option<usize> {
        match method {
            Method::BestOfN => best_of_n(self.scores),
            Method::Majority => majority(self.answers),
            Method::WeightedVote { weight } => {
                weighted_vote(self.answers, &weight.weights(self.scores))
            }
            Method::Oracle => self.correct.iter().position(|&correct| correct).or_else(|| {
                (!self.correct.is_empty()).then_some(0) // none is correct: any
            }),
            Method::Random => None,
        }
    }

    /// Share of correct selections among all responses, 0 or 1 except for [`Method::Random`].
    fn accuracy_of_all(&self, method: Method) -> f64 {
        match self.select(method) {
            Some(idx) => f64::from(self.correct[idx]),
            None => mean_pass_at_1(self.correct),
        }
    }

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

/// Unbiased pass@n: the probability that `n` of the responses, drawn without replacement, include a
/// correct one, `1 - C(N-c, n) / C(N, n)`.
fn pass_at_n(correct: &[bool], n: usize) -> f64 {
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
        let subset = Candidates { scores: &scores, answers: &answers, correct: &correct };
        n_correct += subset.accuracy_of_all(method);
    }
    n_correct / n_samples as f64
}
