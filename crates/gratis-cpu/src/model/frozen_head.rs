//! The head where it is not trained: its gradient takes no product of its own.
//!
//! With an adapter, the backward pass needs of the head only `E = sum_v p(v) W_v`, the mean of its rows
//! under the predicted distribution: `d log p(token) / d norm(x) = scale * (W_token - E)`. The forward pass
//! computes `E` beside the log-probabilities, as attention computes its output: the rows of the head are
//! keys and values at once. Logits are then computed once, not twice ([`super::head`]).

use super::head::{HeadGradients, HeadScratch, HeadWeights, Predictions, norm_rows_backward};
use crate::kernels::matmul::{Execution, Mat, MatMut, Onto, matmul_shared};
use crate::kernels::simd::{exp, exp_shifted, vectorised};

/// Takes a tile of logits, which it overwrites, into the sums of the head's rows so far, `[tile, d]`: `before` and
/// `now` are each row's largest logit and sum of exponentials before and after this tile.
pub(super) fn add_rows(
    sums: &mut [f32],
    logits: &mut [f32],
    head: Mat<'_>,
    [before, now]: [&[(f32, f32)]; 2],
    (onto, execution): (Onto, Execution),
) {
    let width = head.n_rows();
    to_masses(logits, sums, before, now, width);
    let (sums, masses) = (MatMut::new(sums, head.n_cols()), Mat::new(logits, width));
    matmul_shared(execution, sums, onto, masses, head, 1.0);
}

vectorised! {
    /// Replaces a tile of logits by `e^(logit - largest)`, and scales the sums so far to the largest logit of
    /// now: `before` and `now` are each row's largest logit and sum of exponentials.
    fn to_masses(
        logits: &mut [f32],
        sums: &mut [f32],
        before: &[(f32, f32)],
        now: &[(f32, f32)],
        width: usize,
    ) {
        let rows = logits.chunks_exact_mut(width);
        let d = sums.len() / rows.len().max(1);
        let largest = before.iter().zip(now).map(|(before, now)| (before.0, now.0));
        for ((row, sums), (before, now)) in rows.zip(sums.chunks_exact_mut(d)).zip(largest) {
            exp_shifted(row, now);
            if before < now && before > f32::NEG_INFINITY {
                let factor = exp(before - now);
                for sum in sums {
                    *sum *= factor;
                }
            }
        }
    }
}

/// Backward pass from the means of the forward pass: with `w = slot_weights`,
/// `d norm(x) = scale * sum_slots w (W_token - E)`.
pub(super) fn backward_of_means(
    gradients: HeadGradients<'_, '_>,
    slot_weights: &[f32],
    means: &[f32],
    hidden: &[f32],
    weights: &HeadWeights<'_>,
    predictions: &Predictions,
    scratch: &mut HeadScratch,
) {
    let d = weights.norm.len();
    let mut of_token = vec![0.0; d];
    for tile in predictions.tiles() {
        scratch.gradient.resize(scratch.gradient.len().max(tile.len() * d), 0.0);
        let dnormed = &mut scratch.gradient[..tile.len() * d];
        let rows = dnormed.chunks_exact_mut(d).zip(means[tile.start * d..].chunks_exact(d));
        for (i, (dnormed, mean)) in tile.clone().zip(rows) {
            dnormed.fill(0.0);
            for target in predictions.targets(i) {
                let weight = weights.scale * slot_weights[target.slot];
                let start = weights.head.start + target.token * d;
                weights.base.copy(start..start + d, &mut of_token);
                for ((out, of_token), mean) in dnormed.iter_mut().zip(&of_token).zip(mean) {
                    *out += weight * (of_token - mean);
                }
            }
        }
        let dnorm = gradients.parameters.vector(gradients.norm);
        let rows = &predictions.rows[tile];
        norm_rows_backward(gradients.hidden, dnorm, hidden, dnormed, weights.norm, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::norm::Norm;
    use crate::model::head::{Outputs, log_probs, log_probs_backward};
    use crate::weights::{Base, Gradient};
    use gratis_engine::PackedBatch;

    fn numbers(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32 + 1.3) * (seed + 0.71)).sin()).collect()
    }

    /// A vocabulary of several tiles, a prompt whose last row predicts two tokens, weights of both signs.
    #[test]
    fn log_probs_and_gradients_are_those_of_the_head_that_computes_its_logits_twice() {
        let (d, n_vocab) = (24, 700);
        let groups: [(&[u32], [&[u32]; 2]); 2] =
            [(&[3, 4, 5], [&[6, 699], &[300, 1, 256]]), (&[8], [&[9, 255, 2], &[512]])];
        let batch = PackedBatch::from_groups(groups).expect("a batch");
        let predictions = Predictions::new(&batch);
        // Logits that grow, so that the largest moves from tile to tile.
        let mut parameters = numbers(d + n_vocab * d, 0.4);
        for (idx, row) in parameters[d..].chunks_exact_mut(d).enumerate() {
            for x in row {
                *x *= 1.0 + idx as f32 / 200.0;
            }
        }
        let norm = 0..d;
        let weights = HeadWeights {
            norm: Norm { weight: &parameters[norm.clone()], offset: 0.0, epsilon: 1e-5 },
            base: Base::Loaded(&parameters),
            head: d..d + n_vocab * d,
            scale: 0.7,
            soft_cap: None,
        };
        let hidden = numbers(batch.n_tokens() * d, 0.9);
        let n_slots = batch.n_response_tokens();
        let slot_weights = numbers(n_slots, 0.3);

        let mut scratch = HeadScratch::default();
        let n_rows = predictions.n_rows();
        let (mut twice, mut twice_sums) = (vec![0.0; n_slots], vec![0.0; n_rows]);
        let outputs = Outputs { log_probs: &mut twice, log_sum_exp: &mut twice_sums, means: None };
        log_probs(outputs, &hidden, &weights, &predictions, &mut scratch);
        let (mut once, mut once_sums) = (vec![0.0; n_slots], vec![0.0; n_rows]);
        let mut means = vec![f32::NAN; n_rows * d];
        let outputs =
            Outputs { log_probs: &mut once, log_sum_exp: &mut once_sums, means: Some(&mut means) };
        log_probs(outputs, &hidden, &weights, &predictions, &mut scratch);
        assert_eq!((&once, &once_sums), (&twice, &twice_sums));

        let mut of_parameters = vec![0.0; parameters.len()];
        let (mut expected, mut got) = (vec![0.0; hidden.len()], vec![0.0; hidden.len()]);
        let mut full = Gradient::Full(&mut of_parameters);
        let gradients = HeadGradients { hidden: &mut expected, parameters: &mut full, norm: &norm };
        log_probs_backward(
            gradients,
            &slot_weights,
            &twice_sums,
            &hidden,
            &weights,
            &predictions,
            &mut scratch,
        );
        let mut full = Gradient::Full(&mut of_parameters);
        let gradients = HeadGradients { hidden: &mut got, parameters: &mut full, norm: &norm };
        backward_of_means(
            gradients,
            &slot_weights,
            &means,
            &hidden,
            &weights,
            &predictions,
            &mut scratch,
        );
        let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        // Observed: 2.5e-7.
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-6 * largest, "{got} {expected}, of {largest}");
        }
    }
}
