//! Both propositions by enumeration: every prefix, every completion.
//!
//! For a prefix `y_{<=t}` and the implicit reward `r(y) = beta log pi(y)/pi_ref(y)`:
//! - `q_value`: the sum of the prefix's own token rewards, `beta sum_{i<=t} log_ratio_i`,
//! - `exponential_average`: `beta log E_{pi_ref(y|y_{<=t})} exp(r(y)/beta)`, equal to it (3.1),
//! - `soft`: `E_{pi_ref(y|y_{<=t})} r(y)`, what soft Monte-Carlo labels estimate, never above (3.2),
//! - `hard`: `max r(y)`, what hard labels estimate, never below (3.2).
//!
//! For fixed models all four are proportional to beta: the limits of 3.2 apply to a fixed reward
//! and the model that each beta induces from it, [`limits`].

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::tabular::TabularModel;
use crate::error::{Error, Result};
use crate::numeric::{check_positive, log_sum_exp};

/// The four values of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct PrefixValues {
    /// Tokens of the prefix.
    pub n_tokens: usize,
    /// Sum of the prefix's token rewards.
    pub q_value: f64,
    /// Exponential average of the outcome reward over completions by the reference.
    pub exponential_average: f64,
    /// Mean of the outcome reward over completions by the reference.
    pub soft: f64,
    /// Greatest outcome reward of a completion.
    pub hard: f64,
}

/// The values of every prefix from the empty one to the whole sequences, by enumeration of all
/// completions of each.
///
/// # Errors
/// [`InvalidSetting`](crate::data::Error::InvalidSetting) if the models differ in shape, beta is not above 0, or a value overflows.
pub(crate) fn prefix_values(
    policy: &TabularModel,
    reference: &TabularModel,
    beta: f64,
) -> Result<Vec<PrefixValues>> {
    let shape = |model: &TabularModel| (model.vocab_size(), model.length());
    if shape(policy) != shape(reference) {
        let expected = format!("of the reference's shape {:?}", shape(reference));
        return Err(Error::setting("policy", expected, format!("{:?}", shape(policy))));
    }
    check_positive("beta", beta)?;
    let length = reference.length();
    let log_ratio =
        |from, to, prefix| policy.log_prob(from, to, prefix) - reference.log_prob(from, to, prefix);
    let mut values = Vec::new();
    for n_tokens in 0..=length {
        let n_completions = reference.n_completions(n_tokens);
        for prefix in 0..reference.n_sequences() / n_completions {
            let completions = prefix * n_completions..(prefix + 1) * n_completions;
            let (mut terms, mut soft, mut hard) = (Vec::new(), 0.0, f64::NEG_INFINITY);
            for sequence in completions {
                let reward = beta * log_ratio(0, length, sequence);
                let log_weight = reference.log_prob(n_tokens, length, sequence);
                terms.push(log_weight + reward / beta);
                soft += log_weight.exp() * reward;
                hard = hard.max(reward);
            }
            let q_value = beta * log_ratio(0, n_tokens, prefix);
            let exponential_average = beta * log_sum_exp(&terms);
            check_finite([q_value, exponential_average, soft, hard], beta)?;
            values.push(PrefixValues { n_tokens, q_value, exponential_average, soft, hard });
        }
    }
    Ok(values)
}

/// Checks that beta does not make a value overflow.
pub(super) fn check_finite(values: [f64; 4], beta: f64) -> Result<()> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(Error::setting("beta", "so small that every reward is finite", format!("{beta:e}")))
}

/// The largest deviations from both propositions for one pair of random models.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ExactCheck {
    /// Prefixes looked at.
    pub n_prefixes: usize,
    /// Greatest `|q_value - exponential_average|`, in units of the reward (3.1).
    pub max_difference: f64,
    /// Greatest amount by which a Q value lies outside `soft..=hard`; 0 where none does (3.2).
    pub max_violation: f64,
    /// Mean of `(q_value - soft) / (hard - soft)` over prefixes whose bounds differ: where between
    /// the bounds Q values lie.
    pub mean_place: f64,
}

impl ExactCheck {
    /// The worse of two checks; prefixes add up.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let n_prefixes = self.n_prefixes + other.n_prefixes;
        let place = |check: &Self| check.n_prefixes as f64 * check.mean_place;
        Self {
            n_prefixes,
            max_difference: self.max_difference.max(other.max_difference),
            max_violation: self.max_violation.max(other.max_violation),
            mean_place: (place(&self) + place(&other)) / n_prefixes as f64,
        }
    }
}

/// Checks both propositions for a random policy and a random reference.
///
/// # Errors
/// [`InvalidSetting`](crate::data::Error::InvalidSetting) if a size or `beta` is out of range, or a value overflows.
pub fn check(vocab_size: usize, length: usize, beta: f64, seed: u64) -> Result<ExactCheck> {
    const SPREAD: f64 = 3.0;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let policy = TabularModel::random(vocab_size, length, SPREAD, &mut rng)?;
    let reference = TabularModel::random(vocab_size, length, SPREAD, &mut rng)?;
    let values = prefix_values(&policy, &reference, beta)?;
    let mut result = ExactCheck {
        n_prefixes: values.len(),
        max_difference: 0.0,
        max_violation: 0.0,
        mean_place: 0.0,
    };
    let mut n_apart = 0;
    for PrefixValues { q_value, exponential_average, soft, hard, .. } in values {
        result.max_difference = result.max_difference.max((q_value - exponential_average).abs());
        result.max_violation = result.max_violation.max(soft - q_value).max(q_value - hard);
        if hard > soft {
            result.mean_place += (q_value - soft) / (hard - soft);
            n_apart += 1;
        }
    }
    result.mean_place /= f64::from(n_apart.max(1));
    Ok(result)
}

/// The greatest distance over all prefixes of the Q value from the soft and from the hard estimate,
/// for a fixed random reward of whole sequences (uniform in `0..1`) and each beta.
///
/// Beta makes the model `pi ~ pi_ref exp(r/beta)`; its Q values are read from its log-ratios. As
/// beta grows they approach the soft estimate, as it falls the hard one.
///
/// # Errors
/// [`InvalidSetting`](crate::data::Error::InvalidSetting) if a size or `beta` is out of range, or a value overflows.
pub fn limits(
    vocab_size: usize,
    length: usize,
    betas: &[f64],
    seed: u64,
) -> Result<Vec<(f64, f64)>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let reference = TabularModel::random(vocab_size, length, 1.0, &mut rng)?;
    let rewards: Vec<f64> =
        (0..reference.n_sequences()).map(|_| rng.random_range(0.0..1.0)).collect();
    let mut distances = Vec::with_capacity(betas.len());
    for &beta in betas {
        let (policy, _) = TabularModel::tilted(&reference, &rewards, beta)?;
        let (mut from_soft, mut from_hard) = (0.0_f64, 0.0_f64);
        for values in prefix_values(&policy, &reference, beta)? {
            from_soft = from_soft.max((values.q_value - values.soft).abs());
            from_hard = from_hard.max((values.q_value - values.hard).abs());
        }
        distances.push((from_soft, from_hard));
    }
    Ok(distances)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_values_are_exponential_averages_at_every_prefix() {
        for (vocab_size, length) in [(2, 8), (3, 5), (5, 4), (7, 3)] {
            for beta in [0.05, 0.3, 1.0, 10.0] {
                for seed in 0..5 {
                    let check = check(vocab_size, length, beta, seed).expect("small");
                    let n_prefixes: usize = (0..=length as u32).map(|t| vocab_size.pow(t)).sum();
                    assert_eq!(check.n_prefixes, n_prefixes);
                    // Observed at most 4.5e-15 times beta, and no violation.
                    assert!(check.max_difference < 1e-13 * beta, "{check:?}");
                    assert!(check.max_violation < 1e-13 * beta, "{check:?}");
                    assert!(check.mean_place > 0.0 && check.mean_place < 1.0, "{check:?}");
                }
            }
        }
    }

    #[test]
    fn another_temperature_than_beta_breaks_the_equality() {
        // The check can fail: the average at twice the temperature is another number.
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let policy = TabularModel::random(3, 4, 3.0, &mut rng).expect("small");
        let reference = TabularModel::random(3, 4, 3.0, &mut rng).expect("small");
        let values = prefix_values(&policy, &reference, 0.5).expect("same shape");
        let swapped = prefix_values(&reference, &policy, 0.5).expect("same shape");
        let differs = |(a, b): (&PrefixValues, &PrefixValues)| {
            (a.exponential_average - b.q_value).abs() > 1e-3
        };
        assert!(values.iter().zip(&swapped).any(differs));
        assert!(values[0].q_value == 0.0 && values[0].soft < -0.1 && values[0].hard > 0.1);
    }

    #[test]
    fn beta_moves_q_values_from_the_hard_to_the_soft_estimate() {
        let betas = [1e-3, 1e-2, 0.1, 1.0, 10.0, 1e3];
        let distances = limits(3, 4, &betas, 11).expect("small");
        for pair in distances.windows(2) {
            assert!(pair[1].0 < pair[0].0, "farther from soft as beta grows: {distances:?}");
            assert!(pair[1].1 > pair[0].1, "nearer to hard as beta grows: {distances:?}");
        }
        assert!(distances[0].1 < 0.02, "at small beta the hard estimate: {distances:?}");
        assert!(distances[5].0 < 1e-3, "at large beta the soft estimate: {distances:?}");
    }

    #[test]
    fn tilting_gives_the_reward_up_to_the_partition_function() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let reference = TabularModel::random(3, 3, 1.0, &mut rng).expect("small");
        let rewards: Vec<f64> = (0..27).map(f64::from).collect();
        let (policy, log_partition) =
            TabularModel::tilted(&reference, &rewards, 4.0).expect("one reward each");
        for (sequence, reward) in rewards.iter().enumerate() {
            let log_ratio = policy.log_prob(0, 3, sequence) - reference.log_prob(0, 3, sequence);
            // Observed at most 3.6e-15.
            assert!((4.0 * log_ratio - (reward - 4.0 * log_partition)).abs() < 1e-13);
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        assert!(check(0, 3, 1.0, 0).is_err());
        assert!(check(10, 40, 1.0, 0).is_err());
        let error = check(2, 2, 1e308, 0).expect_err("overflow").to_string();
        assert_eq!(error, "`beta` should be so small that every reward is finite, got `1e308`");
        let error = check(2, 2, 0.0, 0).expect_err("beta").to_string();
        assert_eq!(error, "`beta` should be a finite number above 0, got `0`");
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let a = TabularModel::random(2, 3, 1.0, &mut rng).expect("small");
        let b = TabularModel::random(3, 2, 1.0, &mut rng).expect("small");
        assert!(prefix_values(&a, &b, 1.0).is_err());
        assert!(TabularModel::tilted(&a, &[0.0], 1.0).is_err());
    }
}
