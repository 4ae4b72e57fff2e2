//! One token from a row of logits.

use rand::{Rng, RngExt};

use crate::kernels::simd::{exp_shifted, max, sum_exp, vectorised};
use gratis_engine::SamplingSettings;

/// Draws tokens; keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct Draw {
    /// Unnormalised probabilities: `[vocab]`.
    masses: Vec<f32>,
    /// Tokens that may be drawn, most probable first.
    kept: Vec<u32>,
}

impl Draw {
    /// A token and its log-probability at temperature 1 without truncation; `None` if the logits
    /// are not finite.
    ///
    /// Temperature 0 takes the most probable token, the first of several. Otherwise the `top_k`
    /// most probable are kept (0: all), of these the smallest set whose share reaches `top_p`, ties
    /// by token, and one number of `rng` chooses among them.
    pub(super) fn token(
        &mut self,
        logits: &[f32],
        settings: &SamplingSettings,
        rng: &mut impl Rng,
    ) -> Option<(u32, f32)> {
        let (largest, mass) = largest_and_mass(logits);
        if !largest.is_finite() || !mass.is_finite() {
            return None;
        }
        let token = if settings.temperature == 0.0 {
            logits.iter().position(|&logit| logit == largest)?
        } else {
            self.by_chance(logits, largest, settings, rng)
        };
        Some((token as u32, logits[token] - largest - mass.ln()))
    }

    fn by_chance(
        &mut self,
        logits: &[f32],
        largest: f32,
        settings: &SamplingSettings,
        rng: &mut impl Rng,
    ) -> usize {
        let inverse = 1.0 / settings.temperature;
        let masses = &mut self.masses;
        masses.clear();
        let total = fill_masses(masses, logits, largest, inverse);
        let share: f64 = rng.random();
        if settings.top_k == 0 && settings.top_p >= 1.0 {
            return pick(masses.iter().copied().enumerate(), share);
        }
        let kept = &mut self.kept;
        // What is below this has less than `1 - top_p` together and cannot be in the smallest set.
        let floor = if settings.top_k == 0 {
            (1.0 - settings.top_p) * total / masses.len() as f32 * 0.5
        } else {
            0.0
        };
        kept.clear();
        kept.extend((0..masses.len() as u32).filter(|&token| masses[token as usize] >= floor));
        let descending =
            |a: &u32, b: &u32| masses[*b as usize].total_cmp(&masses[*a as usize]).then(a.cmp(b));
        if settings.top_k > 0 && settings.top_k < kept.len() {
            kept.select_nth_unstable_by(settings.top_k - 1, descending);
            kept.truncate(settings.top_k);
        }
        kept.sort_unstable_by(descending);
        let mass = |token: &u32| f64::from(masses[*token as usize]);
        let of_kept: f64 =
            if settings.top_k == 0 { f64::from(total) } else { kept.iter().map(mass).sum() };
        let mut sum = 0.0;
        let enough = f64::from(settings.top_p) * of_kept;
        let n_nucleus = kept.iter().position(|token| {
            sum += mass(token);
            sum >= enough
        });
        kept.truncate(n_nucleus.map_or(kept.len(), |last| last + 1));
        pick(kept.iter().map(|&token| (token as usize, masses[token as usize])), share)
    }
}

/// The first token with which the running sum passes `share` of the whole.
fn pick(tokens: impl Iterator<Item = (usize, f32)> + Clone, share: f64) -> usize {
    let total: f64 = tokens.clone().map(|(_, mass)| f64::from(mass)).sum();
    let mut left = share * total;
    let mut last = 0;
    for (token, mass) in tokens {
        last = token;
        left -= f64::from(mass);
        if left < 0.0 {
            break;
        }
    }
    last
}

vectorised! {
    /// The largest logit, and `sum_i e^(logit_i - largest)`.
    fn largest_and_mass(logits: &[f32]) -> (f32, f32) {
        let largest = max(logits);
        (largest, sum_exp(logits, largest))
    }
}

vectorised! {
    /// Appends `e^((logit_i - largest) * inverse)` to the empty `masses` and returns their sum.
    fn fill_masses(masses: &mut Vec<f32>, logits: &[f32], largest: f32, inverse: f32) -> f32 {
        masses.extend(logits.iter().map(|logit| (logit - largest) * inverse));
        exp_shifted(masses, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn settings(temperature: f32, top_p: f32, top_k: usize) -> SamplingSettings {
        SamplingSettings {
            temperature,
            top_p,
            top_k,
            max_new_tokens: 1,
            stop_tokens: Vec::new(),
            seed: 0,
        }
    }

    /// Shares of each token in many draws.
    fn shares(logits: &[f32], settings: &SamplingSettings) -> Vec<f64> {
        let (mut draw, mut rng) = (Draw::default(), ChaCha8Rng::seed_from_u64(5));
        let n_draws = 40_000;
        let mut counts = vec![0; logits.len()];
        for _ in 0..n_draws {
            counts[draw.token(logits, settings, &mut rng).expect("finite").0 as usize] += 1;
        }
        counts.into_iter().map(|count| f64::from(count) / f64::from(n_draws)).collect()
    }

    /// Four standard deviations of a share of 40,000 draws are 0.01 at most.
    fn assert_shares(logits: &[f32], settings: &SamplingSettings, expected: &[f64]) {
        let shares = shares(logits, settings);
        for (share, expected) in shares.iter().zip(expected) {
            assert!((share - expected).abs() < 0.01, "{shares:?}, expected {expected:?}");
            assert!((*share == 0.0) == (*expected == 0.0), "{shares:?}, expected {expected:?}");
        }
    }

    #[test]
    fn shares_follow_temperature_and_truncation() {
        let logits = [0.1f32, 0.4, 0.2, 0.3].map(f32::ln);
        assert_shares(&logits, &settings(1.0, 1.0, 0), &[0.1, 0.4, 0.2, 0.3]);
        let sum = 0.01 + 0.16 + 0.04 + 0.09;
        let squares = [0.01, 0.16, 0.04, 0.09].map(|square| square / sum);
        assert_shares(&logits, &settings(0.5, 1.0, 0), &squares);
        assert_shares(&logits, &settings(1.0, 1.0, 2), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        assert_shares(&logits, &settings(1.0, 0.69, 0), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        assert_shares(&logits, &settings(1.0, 0.71, 0), &[0.0, 4.0 / 9.0, 2.0 / 9.0, 3.0 / 9.0]);
        // Of the three kept by `top_k`, 7/9 of the mass are in two.
        assert_shares(&logits, &settings(1.0, 0.75, 3), &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        assert_shares(&logits, &settings(1.0, 1e-6, 0), &[0.0, 1.0, 0.0, 0.0]);
        assert_shares(&logits, &settings(0.0, 1.0, 0), &[0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn log_probs_are_those_of_the_model() {
        let logits = [0.1f32, 0.4, 0.2, 0.3].map(|p| p.ln() + 50.0);
        let (mut draw, mut rng) = (Draw::default(), ChaCha8Rng::seed_from_u64(5));
        for settings in [settings(0.0, 1.0, 0), settings(0.3, 0.5, 1)] {
            let (token, log_prob) = draw.token(&logits, &settings, &mut rng).expect("finite");
            assert_eq!(token, 1);
            assert!((log_prob - 0.4f32.ln()).abs() < 1e-5, "{log_prob}");
        }
    }

    #[test]
    fn ties_go_to_the_first_and_nan_to_nobody() {
        let (mut draw, mut rng) = (Draw::default(), ChaCha8Rng::seed_from_u64(5));
        let mut token = |logits: &[f32], settings| {
            draw.token(logits, &settings, &mut rng).map(|(token, _)| token)
        };
        assert_eq!(token(&[1.0, 2.0, 2.0], settings(0.0, 1.0, 0)), Some(1));
        assert_eq!(token(&[1.0, 2.0, 2.0], settings(1.0, 1.0, 1)), Some(1));
        assert_eq!(token(&[1.0, f32::NAN], settings(1.0, 1.0, 0)), None);
        assert_eq!(token(&[f32::NAN, f32::NAN], settings(0.0, 1.0, 0)), None);
        assert_eq!(token(&[1.0, f32::INFINITY], settings(1.0, 1.0, 0)), None);
    }
}
