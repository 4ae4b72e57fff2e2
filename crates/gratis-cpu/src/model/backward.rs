//! The backward pass: from weights of the log-probabilities to the gradient of all parameters, or
//! only of an adapter.

use super::Decoder;
use super::activations::{Geometry, Keep, LayerActivations, Workspace};
use super::forward::LayerScratch;
use crate::kernels::attention::{Forward, attention_backward};
use crate::kernels::matmul::Onto;
use crate::kernels::norm::{rms_norm, rms_norm_backward, rms_norm_heads_backward};
use crate::kernels::rope::Turn;
use crate::kernels::simd::add;
use crate::kernels::swiglu::swiglu_backward;
use crate::model::head::{HeadGradients, log_probs_backward};
use crate::weights::{Base, Gradient, Weights};
use gratis_model::layout::LayerLayout;

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
        log_probs_backward(
            HeadGradients {
                hidden: &mut workspace.dstream,
                parameters: gradient,
                norm: &self.layout.final_norm,
            },
            slot_weights,
            &workspace.log_sum_exp,
            &workspace.streams[self.config.n_layers],
            &self.head_weights(weights.base),
            &workspace.geometry.predictions,
            &mut workspace.head_scratch,
        );
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
                    attention: &mut workspace.attention_scratch,
                    product: &mut workspace.product_scratch,
                };
                let layer = &self.layout.layers[idx];
                let activations = &mut workspace.layers[0];
                let input = &workspace.streams[idx];
                self.layer_up_to_gate(weights, layer, input, activations, &mut scratch);
            }
            self.layer_backward(weights, gradient, idx, kept, workspace);
        }
        let Some(gradient) = gradient.full() else { return };
        let dembedding = &mut gradient[self.layout.embedding.clone()];
        let Workspace { geometry, dstream, .. } = workspace;
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
        let (base, inter) = (weights.base, self.config.intermediate_size);
        let epsilon = self.config.rms_norm_epsilon;
        let layer = &self.layout.layers[idx];
        let Workspace {
            geometry,
            streams,
            layers,
            normed,
            inner,
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

        // stream = middle + down(swiglu(gate_up(norm(middle))))
        let (gate_up, down) = (self.gate_up(layer), self.down(layer));
        let dgate_up = &mut activations.gate_up;
        weights.linear_backward_input(inner, Onto::Fresh, dstream, &down, scratch);
        swiglu_backward(dgate_up, inner, inter);
        gradient.add_product(&down, dstream, inner, scratch);
        let norm = base.vector(&layer.post_attention_norm);
        rms_norm(normed, &activations.middle, norm, epsilon);
        gradient.add_product(&gate_up, dgate_up, normed, scratch);
        weights.linear_backward_input(dnormed, Onto::Fresh, dgate_up, &gate_up, scratch);
        let dnorm = gradient.vector(&layer.post_attention_norm);
        rms_norm_backward(dstream, dnorm, &activations.middle, norm, dnormed, epsilon);

        // middle = input + output(attention(qkv(norm(input))))
        let (qkv, output) = (self.qkv(layer), self.output(layer));
        gradient.add_product(&output, dstream, &activations.attention, scratch);
        weights.linear_backward_input(dattention, Onto::Fresh, dstream, &output, scratch);
        dqkv.fill(0.0);
        let forward = Forward {
            qkv: &activations.qkv,
            out: &activations.attention,
            log_sum_exp: &activations.log_sum_exp,
        };
        let shape = self.attention_shape();
        attention_backward(dqkv, dattention, &forward, shape, &geometry.tiles, attention_scratch);
        self.finish_qkv_backward(base, gradient, layer, dqkv, activations, geometry);
        let norm = base.vector(&layer.input_norm);
        rms_norm(normed, input, norm, epsilon);
        gradient.add_product(&qkv, dqkv, normed, scratch);
        weights.linear_backward_input(dnormed, Onto::Fresh, dqkv, &qkv, scratch);
        let dnorm = gradient.vector(&layer.input_norm);
        rms_norm_backward(dstream, dnorm, input, norm, dnormed, epsilon);
    }

    /// Backward pass of rotation, norm of queries and keys, and bias, in place on `dqkv`.
    fn finish_qkv_backward(
        &self,
        base: Base<'_>,
        gradient: &mut Gradient<'_>,
        layer: &LayerLayout,
        dqkv: &mut [f32],
        activations: &LayerActivations,
        geometry: &Geometry,
    ) {
        let config = &self.config;
        let shape = self.attention_shape();
        let width = shape.qkv_size();
        let n_turned = config.n_heads + config.n_kv_heads;
        self.rope().turn(dqkv, width, n_turned, &geometry.positions, Turn::Back);
        if let Some([query_norm, key_norm]) = &layer.qk_norm {
            let weights = [query_norm, key_norm].map(|place| base.vector(place));
            let dweights = gradient.vector(&(query_norm.start..key_norm.end));
            let dweights = dweights.split_at_mut(query_norm.len()).into();
            let (raw, epsilon) = (&activations.raw_qkv, config.rms_norm_epsilon);
            rms_norm_heads_backward(dqkv, dweights, raw, weights, shape, epsilon);
        }
        if let Some([query, _, value]) = &layer.qkv_bias
            && let Some(gradient) = gradient.full()
        {
            let dbias = &mut gradient[query.start..value.end];
            for row in dqkv.chunks_exact(width) {
                add(dbias, row);
            }
        }
    }
}
