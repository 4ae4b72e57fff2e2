//! The backward pass: from weights of the log-probabilities to the gradient of all parameters, or
//! only of an adapter.

use super::Decoder;
use super::activations::{Geometry, Keep, LayerActivations, Workspace};
use super::branch::{add_bias_gradient, add_to_rows};
use super::feed_forward::Inside;
use super::forward::LayerScratch;
use super::frozen_head::backward_of_means;
use crate::kernels::attention::{Forward, attention_backward};
use crate::kernels::matmul::Onto;
use crate::kernels::norm::rms_norm_heads_backward;
use crate::kernels::rope::Turn;
use crate::kernels::simd::add;
use crate::model::head::{HeadGradients, log_probs_backward};
use crate::weights::{Base, Gradient, Weights};

impl Decoder {
    /// Adds `sum_t slot_weights[t] * d lp_t / dtheta` to `gradient`, for the batch of the last
    /// [`Decoder::forward`] on this workspace, which kept `keep`. Consumes what was kept.
    pub(crate) fn backward(
        &self,
        weights: Weights<'_>,
        gradient: &mut Gradient<'_>,
        slot_weights: &[f32],
        keep: Keep,
        workspace: &mut Workspace,
    ) {
        workspace.prepare_backward(&self.config);
        let head = self.head_weights(weights.base);
        let Workspace { geometry, streams, dstream, log_sum_exp, head_means, head_scratch, .. } =
            &mut *workspace;
        let (hidden, predictions) = (&streams[self.config.n_layers], &geometry.predictions);
        let gradients =
            HeadGradients { hidden: dstream, parameters: gradient, norm: &self.layout.final_norm };
        if head_means.is_empty() {
            log_probs_backward(
                gradients,
                slot_weights,
                log_sum_exp,
                hidden,
                &head,
                predictions,
                head_scratch,
            );
        } else {
            backward_of_means(
                gradients,
                slot_weights,
                head_means,
                hidden,
                &head,
                predictions,
                head_scratch,
            );
        }
        self.trunk_backward(weights, gradient, keep, workspace);
    }

    /// From the gradient of the stream after the last layer to that of all parameters below it.
    pub(super) fn trunk_backward(
        &self,
        weights: Weights<'_>,
        gradient: &mut Gradient<'_>,
        keep: Keep,
        workspace: &mut Workspace,
    ) {
        let d = self.config.hidden_size;
        for idx in (0..self.config.n_layers).rev() {
            let kept = if keep == Keep::Everything { idx } else { 0 };
            if keep == Keep::Inputs {
                let mut scratch = LayerScratch {
                    geometry: &workspace.geometry,
                    normed: &mut workspace.normed,
                    branch: &mut workspace.branch,
                    inner: &mut workspace.inner,
                    experts: &mut workspace.experts,
                    attention: &mut workspace.attention_scratch,
                    product: &mut workspace.product_scratch,
                };
                let activations = &mut workspace.layers[0];
                let input = &workspace.streams[idx];
                self.layer_up_to_gate(weights, idx, input, activations, &mut scratch);
            }
            self.layer_backward(weights, gradient, idx, kept, workspace);
        }
        let Some(gradient) = gradient.full() else { return };
        let dembedding = &mut gradient[self.layout.embedding.clone()];
        let Workspace { geometry, dstream, .. } = workspace;
        let factor = self.config.embedding_multiplier();
        if factor != 1.0 {
            for x in dstream.iter_mut() {
                *x *= factor;
            }
        }
        for (row, &token) in dstream.chunks_exact(d).zip(&geometry.tokens) {
            add(&mut dembedding[token * d..(token + 1) * d], row);
        }
    }

    /// Turns the stream's gradient after layer `idx` into that before it.
    fn layer_backward(
        &self,
        weights: Weights<'_>,
        gradient: &mut Gradient<'_>,
        idx: usize,
        kept: usize,
        workspace: &mut Workspace,
    ) {
        let base = weights.base;
        let layer = &self.layout.layers[idx];
        let Workspace {
            geometry,
            streams,
            layers,
            normed,
            branch,
            inner,
            experts,
            dstream,
            dnormed,
            dattention,
            dqkv,
            attention_scratch,
            product_scratch: scratch,
            ..
        } = workspace;
        let input = &streams[idx];
        let activations = &mut layers[kept];

        // stream = middle + out(feed_forward(norm(middle)))
        let out = Self::feed_forward_out(layer);
        let mut inside = Inside {
            gate_up: &mut activations.gate_up,
            routing: &mut activations.routing,
            inner,
            experts,
            product: &mut *scratch,
        };
        if out.norm.is_some() {
            // The output before its norm, computed again into `dnormed`.
            self.feed_forward_down(weights, layer, dnormed, Onto::Fresh, &mut inside);
            if let Some(place) = out.bias {
                add_to_rows(dnormed, base.vector(place));
            }
        }
        let dout = self.out_backward(base, gradient, dstream, dnormed, branch, &out);
        self.norm_input(base, normed, &activations.middle, layer.feed_forward_norm.as_ref());
        let rows = (dout, &normed[..], &mut dnormed[..]);
        self.feed_forward_backward(weights, gradient, layer, rows, &mut inside);
        let norm = layer.feed_forward_norm.as_ref();
        self.norm_input_backward(base, gradient, dstream, &activations.middle, dnormed, norm);

        // middle = input + out(attention(qkv(norm(input))))
        let (qkv, output, out) = (self.qkv(layer), self.output(layer), Self::attention_out(layer));
        let raw = &activations.attention_out;
        let dout = self.out_backward(base, gradient, dstream, raw, branch, &out);
        gradient.add_product(&output, dout, &activations.attention, scratch);
        weights.linear_backward_input(dattention, Onto::Fresh, dout, &output, scratch);
        dqkv.fill(0.0);
        let forward = Forward {
            qkv: &activations.qkv,
            out: &activations.attention,
            log_sum_exp: &activations.log_sum_exp,
        };
        let shape = self.attention_shape();
        let tiles = geometry.tiles(self.config.window_of(idx));
        attention_backward(dqkv, dattention, &forward, shape, tiles, attention_scratch);
        self.finish_qkv_backward(base, gradient, idx, dqkv, activations, geometry);
        self.norm_input(base, normed, input, layer.input_norm.as_ref());
        gradient.add_product(&qkv, dqkv, normed, scratch);
        weights.linear_backward_input(dnormed, Onto::Fresh, dqkv, &qkv, scratch);
        let norm = layer.input_norm.as_ref();
        self.norm_input_backward(base, gradient, dstream, input, dnormed, norm);
    }

    /// Backward pass of rotation, norm of queries and keys, and bias, in place on `dqkv`.
    fn finish_qkv_backward(
        &self,
        base: Base<'_>,
        gradient: &mut Gradient<'_>,
        idx: usize,
        dqkv: &mut [f32],
        activations: &LayerActivations,
        geometry: &Geometry,
    ) {
        let (config, layer) = (&self.config, &self.layout.layers[idx]);
        let shape = self.attention_shape();
        let width = shape.qkv_size();
        let n_turned = config.n_heads + config.n_kv_heads;
        if let Some(rope) = self.rope().of(config.rope_of(idx)) {
            rope.turn(dqkv, width, n_turned, &geometry.positions, Turn::Back);
        }
        if let Some([query_norm, key_norm]) = &layer.qk_norm {
            let norms = [query_norm, key_norm].map(|place| self.norm(base, place));
            let dweights = gradient.vector(&(query_norm.start..key_norm.end));
            let dweights = dweights.split_at_mut(query_norm.len()).into();
            rms_norm_heads_backward(dqkv, dweights, &activations.raw_qkv, norms, shape);
        }
        let bias = layer.qkv_bias.as_ref().map(|[query, _, value]| query.start..value.end);
        add_bias_gradient(gradient, bias.as_ref(), dqkv);
    }
}
