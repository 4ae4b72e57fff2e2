//! A mixture of experts (Qwen2-MoE, Qwen3-MoE), forward and backward: `y = sum_e w_e f_e(x)` over the
//! experts that the router chose for a row, plus a shared expert where the model has one.
//!
//! The experts are computed one after the other, each on the rows that were given to it, gathered
//! from the batch: one product a matrix, and nothing for an expert without rows. No auxiliary loss
//! balances the experts.

use super::Decoder;
use super::feed_forward::Inside;
use crate::kernels::matmul::Onto;
use crate::kernels::simd::{dot, vectorised};
use crate::matrix::Matrix;
use crate::weights::{Gradient, ProductScratch, Products, Weights};
use gratis_model::layout::{ExpertsLayout, GatedLayout};

/// Buffers of the experts, reused from layer to layer.
#[derive(Debug, Default)]
pub(crate) struct ExpertScratch {
    /// Rows of one expert's input: `[n_rows, d]`.
    x: Vec<f32>,
    /// Rows of its output, or of that's gradient: `[n_rows, d]`.
    y: Vec<f32>,
    /// Gradient of the inside of its activation: `[n_rows, inter]`.
    dinner: Vec<f32>,
    /// Gradient of the weights, as [`Routing`](super::routing::Routing) lists them.
    dweights: Vec<f32>,
    /// Gradient of the logits: `[n, n_experts]`.
    dlogits: Vec<f32>,
    /// `0..n`: the rows of the shared expert.
    all_rows: Vec<usize>,
}

/// The rows of one expert and what its output is multiplied with for each.
#[derive(Clone, Copy)]
struct Share<'a> {
    gated: &'a GatedLayout,
    rows: &'a [usize],
    weights: &'a [f32],
}

impl Decoder {
    /// Chooses the experts of each row and computes their gates and ups: `[n * n_active, 2 * inter]`
    /// in the order of [`Routing`](super::routing::Routing), then those of the shared expert,
    /// `[n, 2 * inter]`.
    pub(super) fn experts_up(
        &self,
        weights: Weights<'_>,
        layout: &ExpertsLayout,
        normed: &[f32],
        inside: &mut Inside<'_, impl Products>,
    ) {
        let Some(experts) = &self.config.experts else { return };
        let Inside { gate_up, routing, experts: scratch, product, .. } = inside;
        let n = normed.len() / self.config.hidden_size;
        let logits = routing.logits(n, experts);
        product.linear(weights, logits, Onto::Fresh, normed, &self.router(layout));
        routing.choose(experts);
        let width = 2 * experts.intermediate_size;
        let (routed, of_shared) = gate_up.split_at_mut(n * experts.n_active * width);
        for (idx, gated) in layout.experts.iter().enumerate() {
            let places = routing.of_expert(idx);
            if places.is_empty() {
                continue;
            }
            self.gather(&mut scratch.x, normed, &routing.rows()[places.clone()]);
            let y = &mut routed[places.start * width..places.end * width];
            product.linear(weights, y, Onto::Fresh, &scratch.x, &self.gate_up(gated));
        }
        if let Some(shared) = &layout.shared {
            let y = &mut of_shared[..n * 2 * shared.expert.intermediate_size];
            product.linear(weights, y, Onto::Fresh, normed, &self.gate_up(&shared.expert));
            let logits = routing.shared_logits(n);
            let gate = self.shared_gate(&shared.gate);
            product.linear(weights, logits, Onto::Fresh, normed, &gate);
            routing.weigh_shared();
        }
    }

    /// The weighted sum of the experts' outputs, in place of `y` or added to it: `[n, d]`.
    pub(super) fn experts_down(
        &self,
        weights: Weights<'_>,
        layout: &ExpertsLayout,
        y: &mut [f32],
        onto: Onto,
        inside: &mut Inside<'_, impl Products>,
    ) {
        if onto == Onto::Fresh {
            y.fill(0.0);
        }
        let n = y.len() / self.config.hidden_size;
        self.for_each_share(layout, n, inside, |share, gate_up, inside| {
            let inter = share.gated.intermediate_size;
            let inner = &mut inside.inner[..share.rows.len() * inter];
            self.activate(inner, gate_up, inter);
            let own = &mut inside.scratch.y;
            own.resize(share.rows.len() * self.config.hidden_size, 0.0);
            inside.product.linear(weights, own, Onto::Fresh, inner, &self.down(share.gated));
            add_rows(y, own, share.rows, share.weights);
        });
    }

    /// See [`Decoder::feed_forward_backward`].
    pub(super) fn experts_backward(
        &self,
        weights: Weights<'_>,
        gradient: &mut Gradient<'_>,
        layout: &ExpertsLayout,
        (dout, normed, dnormed): (&[f32], &[f32], &mut [f32]),
        inside: &mut Inside<'_, ProductScratch>,
    ) {
        let Some(experts) = &self.config.experts else { return };
        let d = self.config.hidden_size;
        let n = dout.len() / d;
        dnormed.fill(0.0);
        let mut dweights = std::mem::take(&mut inside.experts.dweights);
        dweights.clear();
        self.for_each_share(layout, n, inside, |share, dgate_up, inside| {
            let Share { gated, rows, weights: row_weights } = share;
            let (inter, n_rows) = (gated.intermediate_size, rows.len());
            let (gate_up, down) = (self.gate_up(gated), self.down(gated));
            let SharePart { inner, scratch, product } = inside;
            let inner = &mut inner[..n_rows * inter];
            self.activate(inner, dgate_up, inter);
            self.gather(&mut scratch.y, dout, rows);
            let dinner = &mut scratch.dinner;
            dinner.resize(n_rows * inter, 0.0);
            weights.linear_backward_input(dinner, Onto::Fresh, &scratch.y, &down, product);
            // An output is `W inner`, so the gradient of its weight is `dout . W inner`, and that is
            // `(dout W) . inner`.
            dots(&mut dweights, dinner, inner, inter);
            scale_rows(dinner, row_weights);
            scale_rows(&mut scratch.y, row_weights);
            self.activate_backward(dgate_up, dinner, inter);
            gradient.add_product(&down, &scratch.y, dinner, product);
            self.gather(&mut scratch.x, normed, rows);
            gradient.add_product(&gate_up, dgate_up, &scratch.x, product);
            let dx = &mut scratch.y;
            weights.linear_backward_input(dx, Onto::Fresh, dgate_up, &gate_up, product);
            add_rows(dnormed, dx, rows, &[]);
        });
        let Inside { routing, experts: scratch, product, .. } = inside;
        let (of_routed, of_shared) = dweights.split_at_mut(n * experts.n_active);
        let dlogits = &mut scratch.dlogits;
        routing.backward(dlogits, of_routed, experts);
        let router = self.router(layout);
        gradient.add_product(&router, dlogits, normed, product);
        weights.linear_backward_input(dnormed, Onto::Sum, dlogits, &router, product);
        if let Some(shared) = &layout.shared {
            for (slope, weight) in of_shared.iter_mut().zip(routing.shared()) {
                *slope *= weight * (1.0 - weight);
            }
            let gate = self.shared_gate(&shared.gate);
            gradient.add_product(&gate, of_shared, normed, product);
            weights.linear_backward_input(dnormed, Onto::Sum, of_shared, &gate, product);
        }
        scratch.dweights = dweights;
    }

    /// The experts that have rows, one after the other, each with its part of gate and up; the
    /// shared one last.
    fn for_each_share<P>(
        &self,
        layout: &ExpertsLayout,
        n: usize,
        inside: &mut Inside<'_, P>,
        mut with: impl FnMut(Share<'_>, &mut [f32], &mut SharePart<'_, P>),
    ) {
        let Some(experts) = &self.config.experts else { return };
        let Inside { gate_up, routing, inner, experts: scratch, product } = inside;
        let width = 2 * experts.intermediate_size;
        let (routed, of_shared) = gate_up.split_at_mut(n * experts.n_active * width);
        let mut all_rows = std::mem::take(&mut scratch.all_rows);
        let mut part = SharePart { inner, scratch, product: &mut **product };
        for (idx, gated) in layout.experts.iter().enumerate() {
            let places = routing.of_expert(idx);
            if places.is_empty() {
                continue;
            }
            let (rows, weights) =
                (&routing.rows()[places.clone()], &routing.weights()[places.clone()]);
            let gate_up = &mut routed[places.start * width..places.end * width];
            with(Share { gated, rows, weights }, gate_up, &mut part);
        }
        if let Some(shared) = &layout.shared {
            all_rows.clear();
            all_rows.extend(0..n);
            let gated = &shared.expert;
            let gate_up = &mut of_shared[..n * 2 * gated.intermediate_size];
            let share = Share { gated, rows: &all_rows, weights: routing.shared() };
            with(share, gate_up, &mut part);
        }
        scratch.all_rows = all_rows;
    }

    /// Logits of the experts: `[n_experts, hidden]`.
    fn router(&self, layout: &ExpertsLayout) -> Matrix {
        Matrix { place: layout.router.clone(), n_in: self.config.hidden_size }
    }

    /// Logit of the shared expert's weight: `[1, hidden]`.
    fn shared_gate(&self, place: &std::ops::Range<usize>) -> Matrix {
        Matrix { place: place.clone(), n_in: self.config.hidden_size }
    }

    /// Copies these rows of `from`, `[n, d]`.
    fn gather(&self, into: &mut Vec<f32>, from: &[f32], rows: &[usize]) {
        let d = self.config.hidden_size;
        into.clear();
        for &row in rows {
            into.extend_from_slice(&from[row * d..][..d]);
        }
    }
}

/// The buffers that one expert works with.
struct SharePart<'a, P> {
    inner: &'a mut [f32],
    scratch: &'a mut ExpertScratch,
    product: &'a mut P,
}

vectorised! {
    /// Adds each row of `x`, times its weight, to its row of `y`; without weights, as it is.
    fn add_rows(y: &mut [f32], x: &[f32], rows: &[usize], weights: &[f32]) {
        let d = x.len() / rows.len();
        for (nth, (&row, x)) in rows.iter().zip(x.chunks_exact(d)).enumerate() {
            let weight = weights.get(nth).copied().unwrap_or(1.0);
            for (y, &x) in y[row * d..][..d].iter_mut().zip(x) {
                *y = weight.mul_add(x, *y);
            }
        }
    }
}

vectorised! {
    /// Appends `a . b` for each row of `width`.
    fn dots(out: &mut Vec<f32>, a: &[f32], b: &[f32], width: usize) {
        let rows = a.chunks_exact(width).zip(b.chunks_exact(width));
        out.extend(rows.map(|(a, b)| dot(a, b)));
    }
}

/// Multiplies each row with its weight.
fn scale_rows(rows: &mut [f32], weights: &[f32]) {
    let width = rows.len() / weights.len();
    for (row, weight) in rows.chunks_exact_mut(width).zip(weights) {
        for x in row {
            *x *= weight;
        }
    }
}
