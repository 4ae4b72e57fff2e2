//! Propositions 3.1 and 3.2 by Monte Carlo, on an engine whose probabilities are exact.

use gratis::MonteCarloSummary;
use gratis::data::Error as DataError;
use gratis::encoding::{Corpus, log_probs};
use gratis::theory::{MonteCarloSettings, Prefix, PrefixEstimate, estimate};
use gratis::{Error, Silent};
use gratis_engine::{Generate as _, SampleRequest};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::tabular::TabularEngine;

const N_VOCAB: usize = 5;
const END: u32 = 0;

/// Two models that disagree by about a nat a token.
fn models() -> (TabularEngine, TabularEngine) {
    let model = |seed| {
        let mut engine = TabularEngine::uniform(N_VOCAB);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        engine.theta.iter_mut().for_each(|logit| *logit = rng.random_range(-0.7..0.7));
        engine
    };
    (model(1), model(2))
}

fn settings(n_continuations: usize) -> MonteCarloSettings {
    MonteCarloSettings {
        beta: 0.5,
        n_continuations,
        max_tokens: 12,
        end_token: END,
        seed: 7,
        batch_tokens: 4096,
    }
}

#[test]
fn q_values_are_exponential_averages_within_their_standard_errors() {
    let (policy, reference) = models();
    let prefixes = Prefix::of(&[1, 3], &[2, 4, 1, 1, 3, 2], 6);
    assert_eq!(prefixes.len(), 6);
    let estimates =
        estimate(&policy, &reference, &prefixes, &settings(4000), &mut Silent).expect("estimates");
    for estimate in &estimates {
        // Six independent normal numbers are this small with a probability of 0.9996.
        assert!(estimate.z().abs() < 4.0, "{estimate:?}");
        assert!(estimate.is_within_bounds(), "{estimate:?}");
        assert!(estimate.exponential_average_error < 0.05, "the test can fail: {estimate:?}");
        assert!(estimate.hard - estimate.soft > 0.5, "the models differ: {estimate:?}");
    }
    assert_eq!((estimates[0].n_tokens, estimates[0].q_value), (0, 0.0));
    assert!(estimates[5].q_value.abs() > 0.05, "{estimates:?}");
    let summary = MonteCarloSummary::of(&estimates);
    assert_eq!((summary.n_prefixes, summary.n_within_bounds), (6, 6));
    assert!(summary.mean_difference < 0.02 && summary.max_z < 4.0, "{summary:?}");
}

#[test]
fn continuations_of_the_policy_instead_of_the_reference_break_the_equality() {
    let (policy, reference) = models();
    let request = SampleRequest { prompt: vec![1, 3], key: 0, first_sample: 0, n_samples: 4000 };
    let sampling = settings(4000).sampling();
    let z = |is_policy: bool| {
        let sampler = if is_policy { &policy } else { &reference };
        let samples =
            sampler.sample_all(std::slice::from_ref(&request), &sampling).expect("samples");
        let mut corpus = Corpus::default();
        let prompt = corpus.prompt(&request.prompt);
        let drawn: Vec<usize> =
            samples[0].iter().map(|sample| corpus.response(prompt, &sample.tokens)).collect();
        let sums = |engine: &TabularEngine| {
            let rows = log_probs(engine, &corpus, 4096, &mut Silent).expect("log-probabilities");
            rows.iter().map(|row| row.iter().copied().map(f64::from).sum()).collect::<Vec<f64>>()
        };
        let (ours, theirs) = (sums(&policy), sums(&reference));
        let log_ratios: Vec<f64> = drawn.iter().map(|&idx| ours[idx] - theirs[idx]).collect();
        PrefixEstimate::new(0, 0.0, &log_ratios, 0.5).z()
    };
    let (right, wrong) = (z(false), z(true));
    assert!(right.abs() < 4.0 && wrong > 10.0, "{right} and {wrong}");
}

#[test]
fn estimates_by_hand() {
    let ln = f64::ln;
    let estimate = PrefixEstimate::new(3, 0.4, &[ln(0.5), ln(1.0), ln(1.5)], 2.0);
    assert_eq!(estimate.n_tokens, 3);
    assert!((estimate.q_value - 0.8).abs() < 1e-15);
    // The mean of 0.5, 1, 1.5 is 1; its standard error is 0.5 / sqrt(3).
    assert!((estimate.exponential_average - 0.8).abs() < 1e-15);
    assert!((estimate.exponential_average_error - 1.0 / 3_f64.sqrt()).abs() < 1e-15);
    assert!((estimate.soft - (0.8 + 2.0 * ln(0.75) / 3.0)).abs() < 1e-15);
    assert!((estimate.hard - (0.8 + 2.0 * ln(1.5))).abs() < 1e-15);
    assert!((estimate.n_effective - 9.0 / 3.5).abs() < 1e-14);
    assert!(estimate.is_within_bounds());
    let far = PrefixEstimate::new(1, 0.0, &[-1e4, -2e4], 1.0);
    assert!(far.soft_error.is_finite() && far.exponential_average.is_finite());
    assert!(!far.is_within_bounds(), "the best continuation was not drawn");
    let same = PrefixEstimate::new(1, 0.3, &[0.0, 0.0], 1.0);
    assert_eq!((same.z(), same.n_effective), (0.0, 2.0));
}

#[test]
fn settings_outside_their_domain_are_named() {
    let (policy, reference) = models();
    let error = |settings: MonteCarloSettings| {
        let found = estimate(&policy, &reference, &[], &settings, &mut Silent);
        found.expect_err("invalid")
    };
    let beta = error(MonteCarloSettings { beta: -1.0, ..settings(8) });
    assert!(matches!(beta, Error::Data(DataError::InvalidSetting { field: "beta", .. })), "{beta}");
    let few = error(settings(1));
    assert!(few.to_string().contains("`n_continuations` should be at least 2"), "{few}");
}
