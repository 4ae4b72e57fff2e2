//! The forward pass: from packed tokens to the log-probabilities of the response tokens.

use super::Decoder;
use super::activations::{Geometry, Keep, LayerActivations, Workspace};
use crate::kernels::attention::{AttentionScratch, attention};
use crate::kernels::matmul::Onto;
use crate::kernels::norm::{rms_norm, rms_norm_heads};
use crate::kernels::rope::Turn;
use crate::kernels::simd::add;
use crate::kernels::swiglu::swiglu;
use crate::model::head;
use crate::weights::{Base, ProductScratch, Weights};
use gratis_engine::batch::PackedBatch;
use gratis_model::layout::LayerLayout;

/// Buffers that no layer keeps.
pub(super) struct LayerScratch<'a> {
    pub(super) geometry: &'a Geometry,
    /// `[n, d]`.
    pub(super) normed: &'a mut [f32],
    pub(super) attention: &'a mut AttentionScratch,
    pub(super) product: &'a mut ProductScratch,
}

impl Decoder {
    /// Log-probabilities of the response tokens of `batch`, response after response:
    /// `[n_response_tokens]`. `workspace` then holds what `keep` says.
    pub(crate) fn forward(
        &self,
        weights: Weights<'_>,
        batch: &PackedBatch,
        keep: Keep,
        workspace: &mut Workspace,
    ) -> Vec<f32> {
        let last = self.trunk(weights, batch, keep, workspace);
        let mut log_probs = vec![0.0; batch.n_response_tokens()];
        head::log_probs(
            &mut log_probs,
            &mut workspace.log_sum_exp,
            &workspace.streams[last],
            &self.head_weights(weights.base),
            &workspace.geometry.predictions,
            &mut workspace.head_scratch,
        );
        log_probs
    }

    /// All layers: the index of the stream after the last one.
    pub(super) fn trunk(
        &self,
        weights: Weights<'_>,
        batch: &PackedBatch,
        keep: Keep,
        workspace: &mut Workspace,
    ) -> usize {
        let d = self.config.hidden_size;
        workspace.prepare(batch, &self.config, keep);
        let Workspace {
            geometry,
            streams,
            layers,
            normed,
            inner,
            attention_scratch,
            product_scratch,
            ..
        } = workspace;

        for (row, &token) in streams[0].chunks_exact_mut(d).zip(&geometry.tokens) {
            weights.base.copy(self.embedding_of(token), row);
        }
        let mut scratch = LayerScratch {
            geometry,
            normed,
            attention: attention_scratch,
            product: product_scratch,
        };
        // When nothing is kept, two streams take turns and one layer's buffers serve all.
        let n_streams = if keep == Keep::Nothing { 2 } else { self.config.n_layers + 1 };
        for (idx, layer) in self.layout.layers.iter().enumerate() {
            let (from, to) = (idx % n_streams, (idx + 1) % n_streams);
            let mut stream = std::mem::take(&mut streams[to]);
            let activations = &mut layers[if keep == Keep::Everything { idx } else { 0 }];
            self.layer_up_to_gate(weights, layer, &streams[from], activations, &mut scratch);
            swiglu(inner, &activations.gate_up, self.config.intermediate_size);
            stream.copy_from_slice(&activations.middle);
            weights.linear(&mut stream, Onto::Sum, inner, &self.down(layer), scratch.product);
            streams[to] = stream;
        }
        self.config.n_layers % n_streams
    }

    /// Place of a token's row of the embedding.
    pub(crate) fn embedding_of(&self, token: usize) -> std::ops::Range<usize> {
        let start = self.layout.embedding.start + token * self.config.hidden_size;
        start..start + self.config.hidden_size
    }

    /// A layer from its input `[n, d]` up to gate and up: all that its backward pass needs.
    pub(super) fn layer_up_to_gate(
        &self,
        weights: Weights<'_>,
        layer: &LayerLayout,
        input: &[f32],
        activations: &mut LayerActivations,
        scratch: &mut LayerScratch<'_>,
    ) {
        let (base, epsilon) = (weights.base, self.config.rms_norm_epsilon);
        let LayerActivations { raw_qkv, qkv, attention: heads, log_sum_exp, middle, gate_up } =
            activations;

        rms_norm(scratch.normed, input, base.vector(&layer.input_norm), epsilon);
        weights.linear(qkv, Onto::Fresh, scratch.normed, &self.qkv(layer), scratch.product);
        self.finish_qkv(base, layer, qkv, raw_qkv, &scratch.geometry.positions);
        let shape = self.attention_shape();
        attention(heads, log_sum_exp, qkv, shape, &scratch.geometry.tiles, scratch.attention);
        middle.copy_from_slice(input);
        weights.linear(middle, Onto::Sum, heads, &self.output(layer), scratch.product);

        rms_norm(scratch.normed, middle, base.vector(&layer.post_attention_norm), epsilon);
        weights.linear(gate_up, Onto::Fresh, scratch.normed, &self.gate_up(layer), scratch.product);
    }

    /// Bias, norm of queries and keys, and rotation by `positions` (`[n]`), where the model has
    /// them. `raw_qkv` is given what `qkv` was before the norm, if there is one.
    pub(crate) fn finish_qkv(
        &self,
        base: Base<'_>,
        layer: &LayerLayout,
        qkv: &mut [f32],
        raw_qkv: &mut [f32],
        positions: &[usize],
    ) {
        let config = &self.config;
        let shape = self.attention_shape();
        let width = shape.qkv_size();
        let n_turned = config.n_heads + config.n_kv_heads;
        if let Some([query, _, value]) = &layer.qkv_bias {
            let bias = base.vector(&(query.start..value.end));
            for row in qkv.chunks_exact_mut(width) {
                add(row, bias);
            }
        }
        if let Some(norms) = &layer.qk_norm {
            raw_qkv.copy_from_slice(qkv);
            let weights = norms.clone().map(|place| base.vector(&place));
            rms_norm_heads(qkv, raw_qkv, weights, shape, config.rms_norm_epsilon);
        }
        self.rope().turn(qkv, width, n_turned, positions, Turn::Forward);
    }
}
