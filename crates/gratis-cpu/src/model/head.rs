//! The language-model head fused with log-softmax and gather: `logits = cap(scale * W norm(x))`.
//!
//! Only rows that predict a response token are computed, in tiles of [`ROWS`] rows and
//! [`VOCABULARY`] tokens; a tile of logits is the largest thing that is ever stored. The forward
//! pass keeps one log-sum-exp per row; the backward pass recomputes the logits tile by tile, unless the head
//! is not trained ([`super::frozen_head`]).

use std::ops::Range;

use super::frozen_head::add_rows;
use crate::kernels::attention::soft_cap;
use crate::kernels::matmul::{Execution, Mat, MatMut, Onto, linear, matmul_shared};
use crate::kernels::norm::{Norm, rms_norm_row, rms_norm_row_backward};
use crate::kernels::simd::{add, exp, max, sum_exp, vectorised};
use crate::weights::{Base, Gradient};
use gratis_engine::PackedBatch;

/// Predicting rows of a tile: those of a scored part of a batch, so that it reads the head once.
const ROWS: usize = 2048;
/// Tokens of a tile.
const VOCABULARY: usize = 256;

/// A token to predict and the place of its log-probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) token: usize,
    /// Index among the batch's response tokens.
    pub(super) slot: usize,
}

/// Which rows predict which response tokens. A prompt's last row predicts the first token of each
/// of its responses: one row, several targets.
#[derive(Debug, Default)]
pub(crate) struct Predictions {
    /// Predicting rows, ascending.
    pub(super) rows: Vec<usize>,
    /// Targets of all rows, row after row.
    targets: Vec<Target>,
    /// Where each row's targets end.
    ends: Vec<usize>,
}

impl Predictions {
    pub(crate) fn new(batch: &PackedBatch) -> Self {
        let mut found = Vec::with_capacity(batch.n_response_tokens());
        for &idx in batch.responses() {
            let segment = batch.segment(idx);
            let predicting = batch.predicting_row(idx).into_iter().chain(segment.rows());
            for (row, token_row) in predicting.zip(segment.rows()) {
                let token = batch.tokens()[token_row] as usize;
                found.push((row, Target { token, slot: found.len() }));
            }
        }
        found.sort_by_key(|&(row, target)| (row, target.slot));
        let mut predictions = Self::default();
        for (row, target) in found {
            if predictions.rows.last() == Some(&row) {
                predictions.ends.pop();
            } else {
                predictions.rows.push(row);
            }
            predictions.targets.push(target);
            predictions.ends.push(predictions.targets.len());
        }
        predictions
    }

    /// Number of predicting rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// The targets of the `i`-th predicting row.
    pub(super) fn targets(&self, i: usize) -> &[Target] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.targets[start..self.ends[i]]
    }

    /// Tiles of predicting rows.
    pub(super) fn tiles(&self) -> impl Iterator<Item = Range<usize>> {
        (0..self.n_rows()).step_by(ROWS).map(|start| start..self.n_rows().min(start + ROWS))
    }
}

/// The weights between the last layer and the logits.
pub(crate) struct HeadWeights<'a> {
    /// Last RMSNorm: `[d]`.
    pub(crate) norm: Norm<'a>,
    /// Where the head is.
    pub(crate) base: Base<'a>,
    /// Its place there: `[vocab, d]`.
    pub(crate) head: Range<usize>,
    /// Factor of the logits.
    pub(crate) scale: f32,
    /// Logits `z` become `cap * tanh(z / cap)`.
    pub(crate) soft_cap: Option<f32>,
}

impl HeadWeights<'_> {
    /// Tiles of tokens and the places of their rows of the head.
    pub(super) fn tiles(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let d = self.norm.len();
        self.head.clone().step_by(VOCABULARY * d).map(move |start| {
            let place = start..self.head.end.min(start + VOCABULARY * d);
            let first = (start - self.head.start) / d;
            (first..first + place.len() / d, place)
        })
    }
}

/// Tiles, reused from call to call.
#[derive(Debug, Default)]
pub(crate) struct HeadScratch {
    pub(crate) execution: Execution,
    pub(super) normed: Vec<f32>,
    pub(super) gradient: Vec<f32>,
    pub(super) logits: Vec<f32>,
    /// Rows of the head, where they have to be widened.
    pub(super) rows: Vec<f32>,
}

impl HeadScratch {
    /// Makes room for the largest of so many rows' tiles.
    pub(super) fn prepare(&mut self, d: usize, n_rows: usize) {
        let n_rows = n_rows.min(ROWS);
        self.normed.resize(n_rows * d, 0.0);
        self.logits.resize(n_rows * VOCABULARY, 0.0);
    }
}

/// What [`log_probs`] computes.
pub(crate) struct Outputs<'a> {
    /// `[n_response_tokens]`.
    pub(crate) log_probs: &'a mut [f32],
    /// `[n_predicting_rows]`.
    pub(crate) log_sum_exp: &'a mut [f32],
    /// The means of the head's rows ([`super::frozen_head`]), for logits without a cap: `[n_predicting_rows, d]`.
    pub(crate) means: Option<&'a mut [f32]>,
}

/// Log-probabilities of all targets: `log_probs[slot] = logit[token] - log_sum_exp[row]`. `hidden` is `[n, d]`.
pub(crate) fn log_probs(
    Outputs { log_probs, log_sum_exp, mut means }: Outputs<'_>,
    hidden: &[f32],
    weights: &HeadWeights<'_>,
    predictions: &Predictions,
    scratch: &mut HeadScratch,
) {
    let d = weights.norm.len();
    scratch.prepare(d, predictions.n_rows());
    for tile in predictions.tiles() {
        let normed = normed_tile(&mut scratch.normed, hidden, weights, predictions, tile.clone());
        let mut means = means.as_deref_mut().map(|means| &mut means[tile.start * d..tile.end * d]);
        let mut running = [(f32::NEG_INFINITY, 0.0f32); ROWS];
        for (vocabulary, place) in weights.tiles() {
            let head = weights.base.rows(place, &mut scratch.rows);
            let logits = &mut scratch.logits[..tile.len() * vocabulary.len()];
            logits_of(logits, normed, head, weights, scratch.execution);
            let onto = if vocabulary.start == 0 { Onto::Fresh } else { Onto::Sum };
            let before = means.is_some().then_some(running);
            take_in(&mut running, log_probs, logits, tile.clone(), vocabulary, predictions);
            if let (Some(means), Some(before)) = (&mut means, before) {
                let how = (onto, scratch.execution);
                add_rows(means, logits, Mat::new(head, d), [&before, &running], how);
            }
        }
        if let Some(means) = means {
            for (mean, (_, sum)) in means.chunks_exact_mut(d).zip(running) {
                for mean in mean {
                    *mean /= sum;
                }
            }
        }
        for (i, (largest, sum)) in tile.zip(running) {
            log_sum_exp[i] = largest + sum.ln();
            for target in predictions.targets(i) {
                log_probs[target.slot] -= log_sum_exp[i];
            }
        }
    }
}

/// The normed rows of a tile.
fn normed_tile<'a>(
    normed: &'a mut [f32],
    hidden: &[f32],
    weights: &HeadWeights<'_>,
    predictions: &Predictions,
    tile: Range<usize>,
) -> &'a [f32] {
    let normed = &mut normed[..tile.len() * weights.norm.len()];
    norm_rows(normed, hidden, weights.norm, &predictions.rows[tile]);
    normed
}

/// A tile of logits (`[tile, vocabulary]`) from normed rows (`[tile, d]`) and rows of the head.
fn logits_of(
    logits: &mut [f32],
    normed: &[f32],
    head: &[f32],
    weights: &HeadWeights<'_>,
    execution: Execution,
) {
    let d = weights.norm.len();
    let (normed, head) = (Mat::new(normed, d), Mat::new(head, d));
    let out = MatMut::new(&mut *logits, head.n_rows());
    matmul_shared(execution, out, Onto::Fresh, normed, head.t(), weights.scale);
    if let Some(cap) = weights.soft_cap {
        soft_cap(logits, cap);
    }
}

/// `(1/vocab) sum_v log p(v)` where each target is predicted, after [`log_probs`] on the same batch
/// gave `log_sum_exp`. The mean of the logits is the product with the mean row of the head.
pub(crate) fn mean_log_probs(
    out: &mut [f32],
    log_sum_exp: &[f32],
    hidden: &[f32],
    weights: &HeadWeights<'_>,
    predictions: &Predictions,
    scratch: &mut HeadScratch,
) {
    let d = weights.norm.len();
    scratch.prepare(d, predictions.n_rows());
    if weights.soft_cap.is_some() {
        return mean_of_capped(out, log_sum_exp, hidden, weights, predictions, scratch);
    }
    let (mut mean_row, mut n_vocab) = (vec![0.0; d], 0);
    for (vocabulary, place) in weights.tiles() {
        n_vocab += vocabulary.len();
        for row in weights.base.rows(place, &mut scratch.rows).chunks_exact(d) {
            add(&mut mean_row, row);
        }
    }
    for sum in &mut mean_row {
        *sum = *sum / n_vocab as f32 * weights.scale;
    }
    for tile in predictions.tiles() {
        let normed = normed_tile(&mut scratch.normed, hidden, weights, predictions, tile.clone());
        let means = &mut scratch.logits[..normed.len() / d];
        linear(means, Onto::Fresh, normed, &mean_row, d);
        for (i, mean) in tile.zip(means.iter()) {
            for target in predictions.targets(i) {
                out[target.slot] = *mean - log_sum_exp[i];
            }
        }
    }
}

/// As [`mean_log_probs`] where logits are capped: their mean is taken one by one.
fn mean_of_capped(
    out: &mut [f32],
    log_sum_exp: &[f32],
    hidden: &[f32],
    weights: &HeadWeights<'_>,
    predictions: &Predictions,
    scratch: &mut HeadScratch,
) {
    let d = weights.norm.len();
    let n_vocab = weights.head.len() / d;
    for tile in predictions.tiles() {
        let normed = normed_tile(&mut scratch.normed, hidden, weights, predictions, tile.clone());
        let mut sums = [0.0f64; ROWS];
        for (vocabulary, place) in weights.tiles() {
            let head = weights.base.rows(place, &mut scratch.rows);
            let logits = &mut scratch.logits[..normed.len() / d * vocabulary.len()];
            logits_of(logits, normed, head, weights, scratch.execution);
            for (sum, row) in sums.iter_mut().zip(logits.chunks_exact(vocabulary.len())) {
                *sum += row.iter().map(|&logit| f64::from(logit)).sum::<f64>();
            }
        }
        for (i, sum) in tile.zip(sums) {
            for target in predictions.targets(i) {
                out[target.slot] = (sum / n_vocab as f64) as f32 - log_sum_exp[i];
            }
        }
    }
}

vectorised! {
    /// Takes a tile of logits (`[tile, vocabulary]`) into each row's largest logit and sum of
    /// exponentials, and puts the logits of targets in their slots.
    fn take_in(
        running: &mut [(f32, f32)],
        slots: &mut [f32],
        logits: &[f32],
        tile: Range<usize>,
        vocabulary: Range<usize>,
        predictions: &Predictions,
    ) {
        let rows = logits.chunks_exact(vocabulary.len());
        for ((i, row), (largest, sum)) in tile.zip(rows).zip(running) {
            let new_largest = max(row).max(*largest);
            let rescaled = if *sum == 0.0 { 0.0 } else { *sum * exp(*largest - new_largest) };
            *sum = rescaled + sum_exp(row, new_largest);
            *largest = new_largest;
            for target in predictions.targets(i) {
                if vocabulary.contains(&target.token) {
                    slots[target.slot] = row[target.token - vocabulary.start];
                }
            }
        }
    }
}

/// Where [`log_probs_backward`] adds its gradients.
pub(crate) struct HeadGradients<'a, 'g> {
    /// `[n, d]`.
    pub(crate) hidden: &'a mut [f32],
    /// Of the parameters; the head may be the embedding.
    pub(crate) parameters: &'a mut Gradient<'g>,
    /// Place of the norm.
    pub(crate) norm: &'a Range<usize>,
}

/// Backward pass: with `w = slot_weights`, `dlogit[v] = sum_slots w (1[v = token] - p_v)`.
pub(crate) fn log_probs_backward(
    gradients: HeadGradients<'_, '_>,
    slot_weights: &[f32],
    log_sum_exp: &[f32],
    hidden: &[f32],
    weights: &HeadWeights<'_>,
    predictions: &Predictions,
    scratch: &mut HeadScratch,
) {
    let d = weights.norm.len();
    scratch.prepare(d, predictions.n_rows());
    scratch.gradient.resize(scratch.normed.len(), 0.0);
    for tile in predictions.tiles() {
        let normed = &mut scratch.normed[..tile.len() * d];
        norm_rows(normed, hidden, weights.norm, &predictions.rows[tile.clone()]);
        let dnormed = &mut scratch.gradient[..tile.len() * d];
        for (vocabulary, place) in weights.tiles() {
            let head = weights.base.rows(place.clone(), &mut scratch.rows);
            let width = vocabulary.len();
            let logits = &mut scratch.logits[..tile.len() * width];
            logits_of(logits, normed, head, weights, scratch.execution);
            let range = (tile.clone(), vocabulary.clone());
            logit_gradients(
                logits,
                range,
                predictions,
                slot_weights,
                log_sum_exp,
                weights.soft_cap,
            );
            if let Some(gradient) = gradients.parameters.full() {
                let dhead = MatMut::new(&mut gradient[place], d);
                let (dlogits, normed) = (Mat::new(logits, width).t(), Mat::new(normed, d));
                matmul_shared(scratch.execution, dhead, Onto::Sum, dlogits, normed, weights.scale);
            }
            let onto = if vocabulary.start == 0 { Onto::Fresh } else { Onto::Sum };
            let (dnormed, dlogits) = (MatMut::new(dnormed, d), Mat::new(logits, width));
            matmul_shared(
                scratch.execution,
                dnormed,
                onto,
                dlogits,
                Mat::new(head, d),
                weights.scale,
            );
        }
        let dnorm = gradients.parameters.vector(gradients.norm);
        let rows = &predictions.rows[tile];
        norm_rows_backward(gradients.hidden, dnorm, hidden, dnormed, weights.norm, rows);
    }
}

vectorised! {
    /// Replaces a tile of logits (`[tile, vocabulary]`) by their gradients.
    fn logit_gradients(
        logits: &mut [f32],
        range: (Range<usize>, Range<usize>),
        predictions: &Predictions,
        slot_weights: &[f32],
        log_sum_exp: &[f32],
        soft_cap: Option<f32>,
    ) {
        let (tile, vocabulary) = range;
        let mut slopes = Vec::new();
        for (i, row) in tile.zip(logits.chunks_exact_mut(vocabulary.len())) {
            let targets = predictions.targets(i);
            let total: f32 = targets.iter().map(|target| slot_weights[target.slot]).sum();
            if let Some(cap) = soft_cap {
                // The slope of the cap from its value: `1 - tanh^2`.
                slopes.clear();
                slopes.extend(row.iter().map(|logit| 1.0 - (logit / cap) * (logit / cap)));
            }
            for logit in row.iter_mut() {
                *logit = -total * exp(*logit - log_sum_exp[i]);
            }
            for target in targets {
                if vocabulary.contains(&target.token) {
                    row[target.token - vocabulary.start] += slot_weights[target.slot];
                }
            }
            for (gradient, slope) in row.iter_mut().zip(&slopes) {
                *gradient *= slope;
            }
        }
    }
}

vectorised! {
    /// The last norm of the given rows of `hidden`.
    pub(super) fn norm_rows(
        normed: &mut [f32],
        hidden: &[f32],
        norm: Norm<'_>,
        rows: &[usize],
    ) {
        let d = norm.len();
        for (y, &row) in normed.chunks_exact_mut(d).zip(rows) {
            rms_norm_row(y, &hidden[row * d..(row + 1) * d], norm);
        }
    }
}

vectorised! {
    /// Backward pass of [`norm_rows`]: adds to the rows of `dhidden` and to `dnorm`.
    pub(super) fn norm_rows_backward(
        dhidden: &mut [f32],
        dnorm: &mut [f32],
        hidden: &[f32],
        dnormed: &[f32],
        norm: Norm<'_>,
        rows: &[usize],
    ) {
        let d = norm.len();
        for (&row, dy) in rows.iter().zip(dnormed.chunks_exact(d)) {
            let place = row * d..(row + 1) * d;
            let x = &hidden[place.clone()];
            let dx = &mut dhidden[place];
            rms_norm_row_backward(dx, dnorm, x, norm, dy);
        }
    }
}
