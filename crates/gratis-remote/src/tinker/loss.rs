//! Which loss of a server carries weights per token.
//!
//! A gradient `sum_t w_t d lp_t / dtheta` with any `w_t` is what training needs. `cross_entropy` gives
//! it where the loss is the plain sum `-sum_t w_t lp_t`. SkyRL's JAX backend divides that loss by the
//! sum of the weights, which ruins weights of both signs; there `importance_sampling` with the
//! log-probabilities of this very forward pass gives it: the ratio is 1, its gradient is that of the
//! log-probability, and what the backend divides by (the tokens of a sequence, and the sequences of an
//! optimizer step) goes into the advantages. Measured against automatic differentiation: length ratio
//! 0.999998, cosine 1.000001.
//!
//! Which of the two a server is, is measured on a throw-away model at a learning rate of 0.

use super::wire::Datum;

/// How weights reach the gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// `cross_entropy`, a plain sum.
    CrossEntropy,
    /// `importance_sampling`, whose loss is a mean over tokens and sequences.
    ImportanceSampling,
}

/// A sequence with the weights of its scored tokens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weighted {
    pub(crate) tokens: Vec<u32>,
    /// The log-probability of each token but the first.
    pub(crate) log_probs: Vec<f32>,
    /// `dL/dlp` of each token but the first.
    pub(crate) weights: Vec<f32>,
}

impl Carrier {
    /// The name of the loss.
    pub(crate) fn loss(self) -> &'static str {
        match self {
            Self::CrossEntropy => "cross_entropy",
            Self::ImportanceSampling => "importance_sampling",
        }
    }

    /// The description for the log.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::CrossEntropy => "`cross_entropy` is a plain sum and carries the weights",
            Self::ImportanceSampling => {
                "`cross_entropy` divides by the sum of its weights; `importance_sampling` carries \
                 them as advantages"
            }
        }
    }

    /// The datum whose gradient is that of the weights; `n_data` sequences come before the next
    /// optimizer step.
    pub(crate) fn datum(self, item: &Weighted, n_data: usize) -> Datum {
        let n = item.weights.len();
        let inputs = match self {
            // The loss is descended: -sum_t w'_t lp_t with w' = -dL/dlp.
            Self::CrossEntropy => {
                vec![("weights", item.weights.iter().map(|weight| -weight).collect())]
            }
            Self::ImportanceSampling => {
                let factor = -((n * n_data) as f32);
                vec![
                    ("weights", vec![1.0; n]),
                    ("logprobs", item.log_probs.clone()),
                    ("advantages", item.weights.iter().map(|weight| factor * weight).collect()),
                ]
            }
        };
        Datum { tokens: item.tokens.clone(), inputs }
    }

    /// What the gradient norms of three probes say: `cross_entropy` with weights of 1 and of 3, and
    /// `importance_sampling` for weights of 1, on one sequence of `n` tokens.
    pub(crate) fn of_norms(one: f64, three: f64, importance: f64, n: usize) -> Option<Self> {
        let is_near = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b.abs();
        let is_valid = one.is_finite() && one > 0.0;
        if is_valid && is_near(three, 3.0 * one) {
            return Some(Self::CrossEntropy);
        }
        let is_mean = is_valid && is_near(three, one) && is_near(importance, n as f64 * one);
        is_mean.then_some(Self::ImportanceSampling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_tells_the_two_kinds_apart_and_refuses_others() {
        let of = |one, three, importance| Carrier::of_norms(one, three, importance, 7);
        assert_eq!(of(2.0, 6.0, 14.0), Some(Carrier::CrossEntropy));
        assert_eq!(of(2.0, 2.0, 14.0), Some(Carrier::ImportanceSampling));
        for (one, three, importance) in
            [(2.0, 2.0, 2.0), (2.0, 4.0, 14.0), (0.0, 0.0, 0.0), (f64::NAN, 2.0, 2.0)]
        {
            assert_eq!(of(one, three, importance), None);
        }
    }

    #[test]
    fn weights_become_advantages_that_undo_both_means() {
        let item = Weighted {
            tokens: vec![1, 2, 3],
            log_probs: vec![-1.0, -2.0],
            weights: vec![0.0, 0.5],
        };
        let datum = Carrier::ImportanceSampling.datum(&item, 3);
        let expected =
            [("weights", [1.0, 1.0]), ("logprobs", [-1.0, -2.0]), ("advantages", [-0.0, -3.0])];
        assert_eq!(datum.inputs, expected.map(|(name, values)| (name, values.to_vec())));
        let datum = Carrier::CrossEntropy.datum(&item, 3);
        assert_eq!(datum.inputs, [("weights", vec![-0.0, -0.5])]);
    }
}
