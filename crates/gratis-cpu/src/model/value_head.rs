//! Scalar heads on the last norm's output, forward and backward; what they compute is said at
//! [`ValueHead`](gratis_model::head::ValueHead).
//!
//! The backward pass recomputes what the forward pass had: a few products of `[n_slots, d]`.

use std::ops::Range;

use super::head::{HeadWeights, norm_rows, norm_rows_backward};
use crate::kernels::matmul::{Mat, MatMut, Onto, linear, linear_backward_weight, matmul};
use crate::kernels::simd::{add, dot, vectorised};
use gratis_engine::PackedBatch;
use gratis_model::layout::{Layout, ValueHeadLayout};

/// The response tokens of a batch, one slot each, as parallel lists.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// Row of the token itself.
    rows: Vec<usize>,
    /// Row that predicts it.
    predicting_rows: Vec<usize>,
    tokens: Vec<usize>,
    /// Place of its first number in the output.
    places: Vec<usize>,
    /// Place of its second number, if it has one.
    state_places: Vec<usize>,
}

impl Slots {
    pub(crate) fn new(batch: &PackedBatch, n_channels: usize) -> Self {
        let mut slots = Self::default();
        let mut start = 0;
        for &idx in batch.responses() {
            let segment = batch.segment(idx);
            let predicting = batch.predicting_row(idx).into_iter().chain(segment.rows());
            for (nth, (row, predicting_row)) in segment.rows().zip(predicting).enumerate() {
                slots.rows.push(row);
                slots.predicting_rows.push(predicting_row);
                slots.tokens.push(batch.tokens()[row] as usize);
                slots.places.push(start + nth);
                slots.state_places.push(start + segment.n_tokens + nth);
            }
            start += n_channels * segment.n_tokens;
        }
        slots
    }
}

/// What the forward pass read.
#[derive(Clone, Copy)]
pub(crate) struct Read<'a> {
    /// The stream after the last layer: `[n, d]`.
    pub(crate) hidden: &'a [f32],
    /// All parameters.
    pub(crate) parameters: &'a [f32],
    /// Last norm, and `E`.
    pub(crate) weights: &'a HeadWeights<'a>,
    /// The head.
    pub(crate) head: &'a ValueHeadLayout,
}

impl Read<'_> {
    fn normed(&self, rows: &[usize]) -> Vec<f32> {
        let mut normed = vec![0.0; rows.len() * self.weights.norm.len()];
        norm_rows(&mut normed, self.hidden, self.weights.norm, rows);
        normed
    }

    /// Backward pass of [`Self::normed`]: adds to `dhidden` and `dnorm`.
    fn normed_backward(
        &self,
        dhidden: &mut [f32],
        dnorm: &mut [f32],
        dnormed: &[f32],
        rows: &[usize],
    ) {
        norm_rows_backward(dhidden, dnorm, self.hidden, dnormed, self.weights.norm, rows);
    }

    /// Rows of the language model's head: `[vocab, d]`.
    fn embedding(&self) -> &[f32] {
        &self.parameters[self.weights.head.clone()]
    }
}

/// The numbers of all slots at their places in `out`.
pub(crate) fn values(out: &mut [f32], read: Read<'_>, slots: &Slots) {
    let Read { parameters, weights, head, .. } = read;
    let d = weights.norm.len();
    let bias = parameters[head.bias.start];
    let weight = &parameters[head.weight.clone()];
    let Some(projection) = &head.projection else {
        dots(out, &slots.places, &read.normed(&slots.rows), weight, bias);
        return;
    };
    let normed = read.normed(&slots.predicting_rows);
    let mut projected = vec![0.0; normed.len()];
    linear(&mut projected, Onto::Fresh, &normed, &parameters[projection.clone()], d);
    times_token(&mut projected, read.embedding(), &slots.tokens, d);
    dots(out, &slots.places, &projected, weight, bias);
    if let Some(state) = &head.state {
        let normed = read.normed(&slots.rows);
        dots(out, &slots.state_places, &normed, &parameters[state.clone()], 0.0);
    }
}

/// Adds the gradients of [`values`] for `dout = dL/dvalue` to `dhidden` (`[n, d]`) and to
/// `gradient`, which is of all parameters.
pub(crate) fn values_backward(
    gradient: &mut [f32],
    dhidden: &mut [f32],
    dout: &[f32],
    read: Read<'_>,
    layout: &Layout,
    slots: &Slots,
) {
    let Read { parameters, weights, head, .. } = read;
    gradient[head.bias.start] += slots.places.iter().map(|&place| dout[place]).sum::<f32>();
    // `dots` over the tokens' own rows.
    let mut own_rows = |gradient: &mut [f32], places: &[usize], weight: &Range<usize>| {
        let normed = read.normed(&slots.rows);
        let mut dnormed = vec![0.0; normed.len()];
        let dweight = &mut gradient[weight.clone()];
        dots_backward(&mut dnormed, dweight, dout, places, &normed, &parameters[weight.clone()]);
        let dnorm = &mut gradient[layout.final_norm.clone()];
        read.normed_backward(dhidden, dnorm, &dnormed, &slots.rows);
    };
    if let Some(state) = &head.state {
        own_rows(gradient, &slots.state_places, state);
    }
    let Some(projection) = &head.projection else {
        own_rows(gradient, &slots.places, &head.weight);
        return;
    };
    let d = weights.norm.len();
    let normed = read.normed(&slots.predicting_rows);
    let matrix = &parameters[projection.clone()];
    let mut rows = vec![0.0; normed.len()];
    linear(&mut rows, Onto::Fresh, &normed, matrix, d);
    let mut dweight = vec![0.0; d];
    let weight = &parameters[head.weight.clone()];
    let dembedding = &mut gradient[layout.head.clone()];
    action_backward(&mut rows, &mut dweight, dembedding, dout, slots, (weight, read.embedding()));
    add(&mut gradient[head.weight.clone()], &dweight);
    linear_backward_weight(&mut gradient[projection.clone()], &rows, &normed, d);
    let mut dnormed = vec![0.0; normed.len()];
    let (rows, matrix) = (Mat::new(&rows, d), Mat::new(matrix, d));
    matmul(MatMut::new(&mut dnormed, d), Onto::Fresh, rows, matrix, 1.0);
    let dnorm = &mut gradient[layout.final_norm.clone()];
    read.normed_backward(dhidden, dnorm, &dnormed, &slots.predicting_rows);
}

vectorised! {
    /// `out[place] = row . weight + bias` for each row.
    fn dots(out: &mut [f32], places: &[usize], rows: &[f32], weight: &[f32], bias: f32) {
        for (&place, row) in places.iter().zip(rows.chunks_exact(weight.len())) {
            out[place] = dot(row, weight) + bias;
        }
    }
}

vectorised! {
    /// Backward pass of [`dots`]: replaces `drows` and adds to `dweight`.
    fn dots_backward(
        drows: &mut [f32],
        dweight: &mut [f32],
        dout: &[f32],
        places: &[usize],
        rows: &[f32],
        weight: &[f32],
    ) {
        let d = weight.len();
        let rows = rows.chunks_exact(d).zip(drows.chunks_exact_mut(d));
        for (&place, (row, drow)) in places.iter().zip(rows) {
            let slope = dout[place];
            for (((dx, dw), &x), &w) in drow.iter_mut().zip(&mut *dweight).zip(row).zip(weight) {
                *dx = slope * w;
                *dw += slope * x;
            }
        }
    }
}

vectorised! {
    /// `row *= E[token]`, element by element, for each row of `d`.
    fn times_token(rows: &mut [f32], embedding: &[f32], tokens: &[usize], d: usize) {
        for (&token, row) in tokens.iter().zip(rows.chunks_exact_mut(d)) {
            for (x, &e) in row.iter_mut().zip(&embedding[token * d..]) {
                *x *= e;
            }
        }
    }
}

vectorised! {
    /// Backward pass of [`times_token`] and [`dots`] together: replaces the rows by their gradients
    /// and adds to `dweight` and `dembedding`. `parameters` are `w` and `E`.
    fn action_backward(
        rows: &mut [f32],
        dweight: &mut [f32],
        dembedding: &mut [f32],
        dout: &[f32],
        slots: &Slots,
        parameters: (&[f32], &[f32]),
    ) {
        let (weight, embedding) = parameters;
        let d = weight.len();
        let slots = slots.places.iter().zip(&slots.tokens);
        for ((&place, &token), row) in slots.zip(rows.chunks_exact_mut(d)) {
            let slope = dout[place];
            let token = token * d..(token + 1) * d;
            let of_token = embedding[token.clone()].iter().zip(&mut dembedding[token]);
            let of_weight = weight.iter().zip(&mut *dweight);
            for (((&e, de), (&w, dw)), x) in of_token.zip(of_weight).zip(row) {
                *dw += slope * *x * e;
                *de += slope * *x * w;
                *x = slope * w * e;
            }
        }
    }
}
