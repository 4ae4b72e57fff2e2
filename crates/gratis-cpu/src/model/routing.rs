//! Which rows go to which experts, and with what weight: a softmax over the router's logits, and of
//! that the largest probabilities of each row.
//!
//! The choice has no gradient; the weights have that of the softmax and, where they are divided by
//! their sum, of that.

use std::ops::Range;

use crate::kernels::simd::{exp_shifted, max, vectorised};
use gratis_model::config::{ExpertWeights, Experts};

/// The experts of each row, kept for the backward pass.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    /// Softmax of the router's logits: `[n, n_experts]`.
    probabilities: Vec<f32>,
    /// Where each expert's rows begin in the lists below: `[n_experts + 1]`.
    starts: Vec<usize>,
    /// Rows by expert, ascending for each: `[n * n_active]`.
    rows: Vec<usize>,
    /// What the expert's output is multiplied with for each: `[n * n_active]`.
    weights: Vec<f32>,
    /// Weights of the shared expert, where there is one: `[n]`.
    shared: Vec<f32>,
    /// The experts of one row.
    chosen: Vec<usize>,
}

impl Routing {
    /// Room for the logits of `n` rows, which [`Self::choose`] reads.
    pub(super) fn logits(&mut self, n: usize, experts: &Experts) -> &mut [f32] {
        self.probabilities.resize(n * experts.n_experts, 0.0);
        &mut self.probabilities
    }

    /// Room for the logits of the shared expert's weights, which [`Self::weigh_shared`] reads.
    pub(super) fn shared_logits(&mut self, n: usize) -> &mut [f32] {
        self.shared.resize(n, 0.0);
        &mut self.shared
    }

    /// From the logits to the experts of each row.
    pub(super) fn choose(&mut self, experts: &Experts) {
        let Experts { n_experts, n_active, .. } = *experts;
        softmax_rows(&mut self.probabilities, n_experts);
        let n = self.probabilities.len() / n_experts;
        // First the number of rows of each expert, then their places.
        let mut all_chosen = Vec::with_capacity(n * n_active);
        self.starts.clear();
        self.starts.resize(n_experts + 1, 0);
        for probabilities in self.probabilities.chunks_exact(n_experts) {
            largest(&mut self.chosen, probabilities, n_active);
            for &expert in &self.chosen {
                self.starts[expert + 1] += 1;
            }
            all_chosen.extend_from_slice(&self.chosen);
        }
        for expert in 0..n_experts {
            self.starts[expert + 1] += self.starts[expert];
        }
        let mut next = self.starts.clone();
        self.rows.resize(n * n_active, 0);
        self.weights.resize(n * n_active, 0.0);
        for (row, chosen) in all_chosen.chunks_exact(n_active).enumerate() {
            let probability = |expert: usize| self.probabilities[row * n_experts + expert];
            let divisor = match experts.weights {
                ExpertWeights::Probabilities => 1.0,
                ExpertWeights::Normalised => chosen.iter().map(|&e| probability(e)).sum(),
            };
            for &expert in chosen {
                let place = next[expert];
                next[expert] += 1;
                self.rows[place] = row;
                self.weights[place] = probability(expert) / divisor;
            }
        }
    }

    /// From the logits to the weights of the shared expert.
    pub(super) fn weigh_shared(&mut self) {
        for weight in &mut self.shared {
            *weight = 1.0 / (1.0 + (-*weight).exp());
        }
    }

    /// Place of an expert's rows in [`Self::rows`] and [`Self::weights`].
    pub(super) fn of_expert(&self, expert: usize) -> Range<usize> {
        self.starts[expert]..self.starts[expert + 1]
    }

    pub(super) fn rows(&self) -> &[usize] {
        &self.rows
    }

    pub(super) fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Weights of the shared expert: `[n]`.
    pub(super) fn shared(&self) -> &[f32] {
        &self.shared
    }

    /// Gradient of the router's logits, `[n, n_experts]`, from that of [`Self::weights`].
    pub(super) fn backward(&self, dlogits: &mut Vec<f32>, dweights: &[f32], experts: &Experts) {
        let n_experts = experts.n_experts;
        dlogits.clear();
        dlogits.resize(self.probabilities.len(), 0.0);
        let chosen = || {
            (0..n_experts)
                .flat_map(|expert| self.of_expert(expert).map(move |place| (expert, place)))
        };
        // Gradient of the chosen probabilities, in the place of that of the logits.
        match experts.weights {
            ExpertWeights::Probabilities => {
                for (expert, place) in chosen() {
                    dlogits[self.rows[place] * n_experts + expert] = dweights[place];
                }
            }
            // With `w_i = p_i / S`: `dp_i = (dw_i - sum_j dw_j w_j) / S`.
            ExpertWeights::Normalised => {
                let n = self.probabilities.len() / n_experts;
                let (mut sums, mut means) = (vec![0.0; n], vec![0.0; n]);
                for (expert, place) in chosen() {
                    let row = self.rows[place];
                    sums[row] += self.probabilities[row * n_experts + expert];
                    means[row] += dweights[place] * self.weights[place];
                }
                for (expert, place) in chosen() {
                    let row = self.rows[place];
                    dlogits[row * n_experts + expert] = (dweights[place] - means[row]) / sums[row];
                }
            }
        }
        let rows = dlogits.chunks_exact_mut(n_experts);
        for (slopes, probabilities) in rows.zip(self.probabilities.chunks_exact(n_experts)) {
            let mean: f32 = slopes.iter().zip(probabilities).map(|(slope, p)| slope * p).sum();
            for (slope, p) in slopes.iter_mut().zip(probabilities) {
                *slope = p * (*slope - mean);
            }
        }
    }
}

vectorised! {
    /// The softmax of each row of `width`, in place.
    fn softmax_rows(rows: &mut [f32], width: usize) {
        for row in rows.chunks_exact_mut(width) {
            let largest = max(row);
            let inverse = 1.0 / exp_shifted(row, largest);
            for x in row {
                *x *= inverse;
            }
        }
    }
}

/// The places of the `n` largest numbers, largest first; of equal ones the first.
fn largest(chosen: &mut Vec<usize>, numbers: &[f32], n: usize) {
    chosen.clear();
    for (idx, &number) in numbers.iter().enumerate() {
        let n_before =
            chosen.iter().rposition(|&other| number <= numbers[other] || number.is_nan());
        let place = n_before.map_or(0, |before| before + 1);
        if place < n {
            chosen.truncate(n - 1);
            chosen.insert(place, idx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experts(weights: ExpertWeights) -> Experts {
        Experts {
            n_experts: 5,
            n_active: 2,
            intermediate_size: 3,
            shared_intermediate_size: None,
            weights,
            dense_layers: Vec::new(),
        }
    }

    fn routing(logits: &[f32], experts: &Experts) -> Routing {
        let mut routing = Routing::default();
        routing.logits(logits.len() / experts.n_experts, experts).copy_from_slice(logits);
        routing.choose(experts);
        routing
    }

    #[test]
    fn the_largest_are_chosen_and_of_equal_ones_the_first() {
        let mut chosen = Vec::new();
        let mut of = |numbers: &[f32], n| {
            largest(&mut chosen, numbers, n);
            chosen.clone()
        };
        assert_eq!(of(&[0.1, 0.4, 0.2, 0.3], 2), [1, 3]);
        assert_eq!(of(&[0.25; 4], 3), [0, 1, 2]);
        assert_eq!(of(&[0.1, 0.3, 0.3, 0.3], 2), [1, 2]);
        assert_eq!(of(&[0.1, 0.2, 0.3], 3), [2, 1, 0]);
        assert_eq!(of(&[f32::NAN; 3], 2), [0, 1]);
    }

    #[test]
    fn rows_are_grouped_by_expert() {
        let experts = experts(ExpertWeights::Normalised);
        let logits = [0.0, 2.0, 1.0, -1.0, 0.0, 3.0, 0.0, 0.0, 2.0, 1.0, 0.0, 4.0, 0.0, 3.0, 0.0];
        let routing = routing(&logits, &experts);
        let of = |expert| routing.rows()[routing.of_expert(expert)].to_vec();
        assert_eq!([0, 1, 2, 3, 4].map(of), [vec![1], vec![0, 2], vec![0], vec![1, 2], vec![]]);
        let mut sums = [0.0; 3];
        for (&row, &weight) in routing.rows().iter().zip(routing.weights()) {
            sums[row] += weight;
        }
        // Observed: exact.
        assert!(sums.iter().all(|sum: &f32| (sum - 1.0).abs() < 1e-6), "{sums:?}");
    }

    #[test]
    fn the_gradient_of_the_logits_is_that_of_the_weights() {
        let logits: Vec<f32> = (0..15).map(|i| (i as f32 * 1.7).sin()).collect();
        let slopes: Vec<f32> = (0..6).map(|i| (i as f32 * 0.9).cos()).collect();
        for weights in [ExpertWeights::Probabilities, ExpertWeights::Normalised] {
            let experts = experts(weights);
            let value = |logits: &[f32]| -> f64 {
                let routing = routing(logits, &experts);
                let pairs = routing.weights().iter().zip(&slopes);
                pairs.map(|(&w, &slope)| f64::from(w) * f64::from(slope)).sum()
            };
            let mut dlogits = Vec::new();
            routing(&logits, &experts).backward(&mut dlogits, &slopes, &experts);
            for idx in 0..logits.len() {
                let at = |shift: f32| {
                    let mut logits = logits.clone();
                    logits[idx] += shift;
                    value(&logits)
                };
                let expected = (at(1e-2) - at(-1e-2)) / 2e-2;
                let error = (f64::from(dlogits[idx]) - expected).abs();
                // Observed: at most 7e-6.
                assert!(error < 3e-5, "{weights:?} {idx}: {} for {expected}", dlogits[idx]);
            }
        }
    }
}
