//! Both propositions on real models, by Monte Carlo over continuations drawn from the reference.
//!
//! Let `S` be the log-ratio `log pi/pi_ref` of a continuation of the prefix `y_{<=t}`, summed over
//! its tokens, the one that ends it included. The outcome reward of the whole response is then
//! `r = q + beta S` with the prefix's own `q = beta sum_{i<=t} log_ratio_i`, and
//!
//! - `beta log E exp(r/beta) = q + beta log E exp(S)`: equal to `q`, as `E exp(S) = 1` (3.1),
//! - `E r = q + beta E S`, the soft estimate: never above `q` (3.2),
//! - `max r = q + beta max S`, the hard estimate: never below `q` (3.2).
//!
//! Truncated continuations do not change this: the truncated sequence is then the response.
//! Standard errors are those of the delta method, `sd(exp S) / (sqrt(n) mean(exp S))` for the
//! logarithm of the mean and `sd(S) / sqrt(n)` for the soft estimate. They are unreliable if few
//! continuations dominate the mean; see [`PrefixEstimate::n_effective`].

use gratis_engine::{FinishReason, Generate, SampleRequest, SamplingSettings, Score};
use serde::{Deserialize, Serialize};

use super::exact::check_finite;
use crate::encoding::{Corpus, log_probs};
use crate::error::{Error, Result};
use crate::numeric::{check_positive, log_sum_exp};
use crate::observer::{Figure, Observer, Silent};
use crate::reward;

/// The beginning of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// Tokens of the prompt, not empty.
    pub prompt: Vec<u32>,
    /// First tokens of the response; none for the empty prefix, whose Q value is 0.
    pub response: Vec<u32>,
}

impl Prefix {
    /// `n` prefixes of a response (without the token that ends it) at equal distances, the empty
    /// one first; fewer where the response is shorter.
    pub fn of(prompt: &[u32], response: &[u32], n: usize) -> Vec<Self> {
        // More would be the same ones again.
        let n = n.min(response.len().max(1));
        let mut ends: Vec<usize> = (0..n).map(|k| k * response.len() / n).collect();
        ends.dedup();
        let prefix =
            |end: usize| Self { prompt: prompt.to_vec(), response: response[..end].to_vec() };
        ends.into_iter().map(prefix).collect()
    }
}

/// Settings of the estimates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MonteCarloSettings {
    /// Factor of the log-ratio.
    pub beta: f64,
    /// Continuations of each prefix, at least 2.
    pub n_continuations: usize,
    /// Longest continuation in tokens; the context is a further bound.
    pub max_tokens: usize,
    /// The token that ends a response.
    pub end_token: u32,
    /// Seed of the continuations.
    pub seed: u64,
    /// Tokens in a batch.
    pub batch_tokens: usize,
}

impl MonteCarloSettings {
    /// How continuations are drawn: from the model's own distribution.
    pub fn sampling(&self) -> SamplingSettings {
        SamplingSettings {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            max_new_tokens: self.max_tokens,
            stop_tokens: vec![self.end_token],
            seed: self.seed,
        }
    }
}

/// The values of a prefix, in units of the reward.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PrefixEstimate {
    /// Tokens of the prefix.
    pub n_tokens: usize,
    /// Sum of the prefix's token rewards: exact.
    pub q_value: f64,
    /// Exponential average of the outcome reward over continuations by the reference.
    pub exponential_average: f64,
    /// Its standard error.
    pub exponential_average_error: f64,
    /// Mean of the outcome reward over continuations by the reference.
    pub soft: f64,
    /// Its standard error.
    pub soft_error: f64,
    /// Greatest outcome reward of a continuation that was drawn: at most that of all there are.
    pub hard: f64,
    /// `(sum w)^2 / sum w^2` with `w = exp S`: the effective number of continuations.
    pub n_effective: f64,
    /// Continuations that were cut short.
    pub n_cut: usize,
}

impl PrefixEstimate {
    /// The values from the log-ratio of the prefix and those of continuations drawn from the
    /// reference, `[n_continuations]`, at least two.
    pub fn new(n_tokens: usize, log_ratio: f64, continuations: &[f64], beta: f64) -> Self {
        let n = continuations.len() as f64;
        let max = continuations.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Weights relative to the greatest, so that none overflows; the scale cancels.
        let weights: Vec<f64> = continuations.iter().map(|s| (s - max).exp()).collect();
        let (mean_weight, weight_error) = mean_and_error(&weights);
        let (mean, error) = mean_and_error(continuations);
        let sum_of_squares: f64 = weights.iter().map(|w| w * w).sum();
        let q_value = beta * log_ratio;
        Self {
            n_tokens,
            q_value,
            exponential_average: q_value + beta * (log_sum_exp(continuations) - n.ln()),
            exponential_average_error: beta * weight_error / mean_weight,
            soft: q_value + beta * mean,
            soft_error: beta * error,
            hard: q_value + beta * max,
            n_effective: (n * mean_weight).powi(2) / sum_of_squares,
            n_cut: 0,
        }
    }

    /// How many standard errors the exponential average lies above the Q value; 0 where both are
    /// the same to the bit.
    pub fn z(&self) -> f64 {
        let difference = self.exponential_average - self.q_value;
        if difference == 0.0 { 0.0 } else { difference / self.exponential_average_error }
    }

    /// Whether `soft <= q <= hard` holds of the estimates as they are.
    pub fn is_within_bounds(&self) -> bool {
        self.soft <= self.q_value && self.q_value <= self.hard
    }
}

/// The mean and its standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

/// Estimates the values of each prefix, in their order.
///
/// # Errors
/// [`InvalidSetting`](crate::data::Error::InvalidSetting) if beta is not above 0, there are fewer than two continuations, or a value
/// is not finite; those of the engines.
pub fn estimate(
    policy: &dyn Score,
    reference: &(impl Score + Generate),
    prefixes: &[Prefix],
    settings: &MonteCarloSettings,
    observer: &mut dyn Observer,
) -> Result<Vec<PrefixEstimate>> {
    check_positive("beta", settings.beta)?;
    if settings.n_continuations < 2 {
        return Err(Error::setting("n_continuations", "at least 2", settings.n_continuations));
    }
    let sampling = settings.sampling();
    let mut estimates = Vec::with_capacity(prefixes.len());
    for (prefix, key) in prefixes.iter().zip(0..) {
        let context = [prefix.prompt.as_slice(), &prefix.response].concat();
        let request = SampleRequest {
            prompt: context.clone(),
            key,
            first_sample: 0,
            n_samples: settings.n_continuations,
        };
        let samples = reference.sample_all(&[request], &sampling)?.into_iter().flatten();
        let mut corpus = Corpus::default();
        let (prompt_idx, context_idx) = (corpus.prompt(&prefix.prompt), corpus.prompt(&context));
        let own =
            (!prefix.response.is_empty()).then(|| corpus.response(prompt_idx, &prefix.response));
        let (mut drawn, mut n_cut, mut n_tokens) = (Vec::new(), 0, 0);
        for sample in samples {
            n_cut += usize::from(sample.finish == FinishReason::Length);
            n_tokens += sample.tokens.len() as u64;
            drawn.push(corpus.response(context_idx, &sample.tokens));
        }
        let log_ratios = log_ratios(policy, reference, &corpus, settings.batch_tokens)?;
        let continuations: Vec<f64> = drawn.iter().map(|&idx| log_ratios[idx]).collect();
        let own = own.map_or(0.0, |idx| log_ratios[idx]);
        if let Some(value) = log_ratios.iter().find(|log_ratio| !log_ratio.is_finite()) {
            return Err(Error::setting("log_ratio", "a finite number", value));
        }
        let estimate =
            PrefixEstimate::new(prefix.response.len(), own, &continuations, settings.beta);
        let PrefixEstimate { q_value, exponential_average, soft, hard, .. } = estimate;
        check_finite([q_value, exponential_average, soft, hard], settings.beta)?;
        estimates.push(PrefixEstimate { n_cut, ..estimate });
        observer.advance(1, &[Figure::Amount("tokens", n_tokens)]);
    }
    Ok(estimates)
}

/// The summed log-ratio of each response of a corpus: `[n_responses]`.
fn log_ratios(
    policy: &dyn Score,
    reference: &dyn Score,
    corpus: &Corpus,
    batch_tokens: usize,
) -> Result<Vec<f64>> {
    let policy = log_probs(policy, corpus, batch_tokens, &mut Silent)?;
    let reference = log_probs(reference, corpus, batch_tokens, &mut Silent)?;
    let sum = |(policy, reference): (&Vec<f32>, &Vec<f32>)| {
        reward::log_ratios(policy, Some(reference)).iter().sum()
    };
    Ok(policy.iter().zip(&reference).map(sum).collect())
}

/// Both propositions over all prefixes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct MonteCarloSummary {
    /// Prefixes looked at.
    pub n_prefixes: usize,
    /// Mean of `|q - exponential average|` (3.1).
    pub mean_difference: f64,
    /// The greatest difference in standard errors (3.1).
    pub max_z: f64,
    /// Prefixes whose difference is at most two standard errors; 95 % are expected.
    pub n_within_two_errors: usize,
    /// Prefixes whose Q value is at least the soft estimate (3.2).
    pub n_above_soft: usize,
    /// Prefixes whose Q value is at most the hard estimate (3.2).
    pub n_below_hard: usize,
    /// Prefixes within both bounds (3.2).
    pub n_within_bounds: usize,
}

impl MonteCarloSummary {
    /// Counts the estimates.
    pub fn of(estimates: &[PrefixEstimate]) -> Self {
        let count =
            |holds: fn(&PrefixEstimate) -> bool| estimates.iter().filter(|e| holds(e)).count();
        let differences = estimates.iter().map(|e| (e.q_value - e.exponential_average).abs());
        Self {
            n_prefixes: estimates.len(),
            mean_difference: differences.sum::<f64>() / estimates.len().max(1) as f64,
            max_z: estimates.iter().map(|e| e.z().abs()).fold(0.0, f64::max),
            n_within_two_errors: count(|e| e.z().abs() <= 2.0),
            n_above_soft: count(|e| e.q_value >= e.soft),
            n_below_hard: count(|e| e.q_value <= e.hard),
            n_within_bounds: count(PrefixEstimate::is_within_bounds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_prefixes_as_one_likes_are_those_that_there_are() {
        let ends = |response: &[u32], n| -> Vec<usize> {
            Prefix::of(&[1], response, n).iter().map(|prefix| prefix.response.len()).collect()
        };
        assert_eq!(ends(&[1, 2, 3, 4], 2), [0, 2]);
        for n in [4, 5, 1_000_000_000, usize::MAX] {
            assert_eq!(ends(&[1, 2, 3, 4], n), [0, 1, 2, 3]);
            assert_eq!(ends(&[], n), [0]);
        }
        assert_eq!(ends(&[1, 2], 0), [0; 0]);
    }
}
