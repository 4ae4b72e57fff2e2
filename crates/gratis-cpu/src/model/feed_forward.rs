//! The feed-forward of a layer, forward and backward: one for all tokens, or experts (`experts`).

use super::Decoder;
use super::branch::{add_bias_gradient, add_to_rows};
use super::experts::ExpertScratch;
use super::routing::Routing;
use crate::kernels::matmul::Onto;
use crate::weights::{Gradient, ProductScratch, Products, Weights};
use gratis_model::layout::{FeedForwardLayout, GatedLayout, LayerLayout};

/// What a feed-forward reads and writes between its input and its output.
pub(crate) struct Inside<'a, P> {
    /// Gate and up: `[n, 2 * inter]`; of experts as [`Decoder::experts_up`] writes them.
    pub(crate) gate_up: &'a mut [f32],
    /// The experts of each row.
    pub(crate) routing: &'a mut Routing,
    /// `[n, inter]`, of which no more is read than was written in the same call.
    pub(crate) inner: &'a mut [f32],
    pub(crate) experts: &'a mut ExpertScratch,
    pub(crate) product: &'a mut P,
}

impl Decoder {
    /// Gate and up for rows of the normed stream, `[n, d]`.
    pub(crate) fn feed_forward_up(
        &self,
        weights: Weights<'_>,
        layer: &LayerLayout,
        normed: &[f32],
        inside: &mut Inside<'_, impl Products>,
    ) {
        let gated = match &layer.feed_forward {
            FeedForwardLayout::Dense(gated) => gated,
            FeedForwardLayout::Experts(experts) => {
                return self.experts_up(weights, experts, normed, inside);
            }
        };
        let gate_up = self.dense_part(gated, normed, inside.gate_up);
        inside.product.linear(weights, gate_up, Onto::Fresh, normed, &self.gate_up(gated));
        if let Some(place) = Self::gate_up_bias(gated) {
            add_to_rows(gate_up, weights.base.vector(&place));
        }
    }

    /// The output without what follows it (`branch`), in place of `y` or added to it: `[n, d]`.
    pub(crate) fn feed_forward_down(
        &self,
        weights: Weights<'_>,
        layer: &LayerLayout,
        y: &mut [f32],
        onto: Onto,
        inside: &mut Inside<'_, impl Products>,
    ) {
        let gated = match &layer.feed_forward {
            FeedForwardLayout::Dense(gated) => gated,
            FeedForwardLayout::Experts(experts) => {
                return self.experts_down(weights, experts, y, onto, inside);
            }
        };
        let inter = gated.intermediate_size;
        let inner = &mut inside.inner[..y.len() / self.config.hidden_size * inter];
        let gate_up = self.dense_part(gated, y, inside.gate_up);
        self.activate(inner, gate_up, inter);
        inside.product.linear(weights, y, onto, inner, &self.down(gated));
    }

    /// From the gradient of the output, `dout`, to that of the input, in place of `dnormed`; adds
    /// those of the parameters and consumes gate and up. `normed` computes the input again.
    pub(super) fn feed_forward_backward(
        &self,
        weights: Weights<'_>,
        gradient: &mut Gradient<'_>,
        layer: &LayerLayout,
        (dout, normed, dnormed): (&[f32], &[f32], &mut [f32]),
        inside: &mut Inside<'_, ProductScratch>,
    ) {
        let gated = match &layer.feed_forward {
            FeedForwardLayout::Dense(gated) => gated,
            FeedForwardLayout::Experts(experts) => {
                let rows = (dout, normed, dnormed);
                return self.experts_backward(weights, gradient, experts, rows, inside);
            }
        };
        let inter = gated.intermediate_size;
        let (gate_up, down) = (self.gate_up(gated), self.down(gated));
        let inner = &mut inside.inner[..dout.len() / self.config.hidden_size * inter];
        let dgate_up = self.dense_part(gated, dout, inside.gate_up);
        let scratch = &mut *inside.product;
        weights.linear_backward_input(inner, Onto::Fresh, dout, &down, scratch);
        self.activate_backward(dgate_up, inner, inter);
        gradient.add_product(&down, dout, inner, scratch);
        gradient.add_product(&gate_up, dgate_up, normed, scratch);
        add_bias_gradient(gradient, Self::gate_up_bias(gated).as_ref(), dgate_up);
        weights.linear_backward_input(dnormed, Onto::Fresh, dgate_up, &gate_up, scratch);
    }

    /// Gate and up of a plain feed-forward for as many rows as `rows` has.
    fn dense_part<'b>(
        &self,
        gated: &GatedLayout,
        rows: &[f32],
        gate_up: &'b mut [f32],
    ) -> &'b mut [f32] {
        &mut gate_up[..rows.len() / self.config.hidden_size * 2 * gated.intermediate_size]
    }
}
