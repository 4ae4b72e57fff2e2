//! The forward pass: from packed tokens to the log-probabilities of the response tokens.

use super::Decoder;
use super::activations::{Geometry, Keep, LayerActivations, Workspace, rows_of_feed_forward};
use super::branch::{OutScratch, add_to_rows};
use super::experts::ExpertScratch;
use super::feed_forward::Inside;
use crate::kernels::attention::{AttentionScratch, attention};
use crate::kernels::matmul::Onto;
use crate::kernels::norm::rms_norm_heads;
use crate::kernels::rope::Turn;
use crate::model::head;
use crate::weights::{Base, ProductScratch, Weights};
use gratis_engine::PackedBatch;

/// Buffers that no layer keeps.
pub(super) struct LayerScratch<'a> {
    pub(super) geometry: &'a Geometry,
    /// `[n, d]`.
    pub(super) normed: &'a mut [f32],
    /// `[n, d]`, where the model needs it.
    pub(super) branch: &'a mut [f32],
    /// `[n, inter]`.
    pub(super) inner: &'a mut [f32],
    pub(super) experts: &'a mut ExpertScratch,
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
        let head = self.head_weights(weights.base);
        let Workspace { geometry, log_sum_exp, head_means, head_scratch, .. } = workspace;
        let (hidden, predictions) = (&workspace.streams[last], &geometry.predictions);
        head_means.clear();
        let is_frozen = weights.adapter.is_some() && head.soft_cap.is_none();
        let means = (keep != Keep::Nothing && is_frozen).then(|| {
            head_means.resize(predictions.n_rows() * self.config.hidden_size, 0.0);
            &mut head_means[..]
        });
        let outputs = head::Outputs { log_probs: &mut log_probs, log_sum_exp, means };
        head::log_probs(outputs, hidden, &head, predictions, head_scratch);
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
            branch,
            inner,
            experts,
            attention_scratch,
            product_scratch,
            ..
        } = workspace;

        for (row, &token) in streams[0].chunks_exact_mut(d).zip(&geometry.tokens) {
            self.embed(weights.base, token, row);
        }
        let mut scratch = LayerScratch {
            geometry,
            normed,
            branch,
            inner,
            experts,
            attention: attention_scratch,
            product: product_scratch,
        };
        // When nothing is kept, two streams take turns and one layer's buffers serve all.
        let n_streams = if keep == Keep::Nothing { 2 } else { self.config.n_layers + 1 };
        for (idx, layer) in self.layout.layers.iter().enumerate() {
            let (from, to) = (idx % n_streams, (idx + 1) % n_streams);
            let mut stream = std::mem::take(&mut streams[to]);
            let activations = &mut layers[if keep == Keep::Everything { idx } else { 0 }];
            self.layer_up_to_middle(weights, idx, &streams[from], activations, &mut scratch);
            stream.copy_from_slice(&activations.middle);
            let n_rows = rows_of_feed_forward(&self.config, keep).unwrap_or(stream.len() / d);
            let rows = stream.chunks_mut(n_rows * d).zip(activations.middle.chunks(n_rows * d));
            for (stream, middle) in rows {
                let normed = &mut scratch.normed[..stream.len()];
                self.norm_input(weights.base, normed, middle, layer.feed_forward_norm.as_ref());
                let mut inside = Inside {
                    gate_up: &mut activations.gate_up,
                    routing: &mut activations.routing,
                    inner: scratch.inner,
                    experts: scratch.experts,
                    product: &mut *scratch.product,
                };
                self.feed_forward_up(weights, layer, normed, &mut inside);
                let n_branch = scratch.branch.len().min(stream.len());
                let buffers = OutScratch { raw: &mut scratch.branch[..n_branch], normed };
                let out = Self::feed_forward_out(layer);
                self.add_out(weights.base, stream, &out, buffers, |y, onto| {
                    self.feed_forward_down(weights, layer, y, onto, &mut inside);
                });
            }
            streams[to] = stream;
        }
        self.config.n_layers % n_streams
    }

    /// A token's row of the stream before the first layer.
    pub(crate) fn embed(&self, base: Base<'_>, token: usize, row: &mut [f32]) {
        base.copy(self.embedding_of(token), row);
        let factor = self.config.embedding_multiplier();
        if factor != 1.0 {
            for x in row {
                *x *= factor;
            }
        }
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
        idx: usize,
        input: &[f32],
        activations: &mut LayerActivations,
        scratch: &mut LayerScratch<'_>,
    ) {
        self.layer_up_to_middle(weights, idx, input, activations, scratch);
        let layer = &self.layout.layers[idx];
        let LayerActivations { middle, gate_up, routing, .. } = activations;
        let LayerScratch { normed, inner, experts, product, .. } = scratch;
        self.norm_input(weights.base, normed, middle, layer.feed_forward_norm.as_ref());
        let mut inside = Inside { gate_up, routing, inner, experts, product: &mut **product };
        self.feed_forward_up(weights, layer, normed, &mut inside);
    }

    /// A layer from its input `[n, d]` up to the stream after attention.
    fn layer_up_to_middle(
        &self,
        weights: Weights<'_>,
        idx: usize,
        input: &[f32],
        activations: &mut LayerActivations,
        scratch: &mut LayerScratch<'_>,
    ) {
        let layer = &self.layout.layers[idx];
        let base = weights.base;
        let LayerScratch {
            geometry, normed, branch, attention: attention_scratch, product, ..
        } = scratch;
        let LayerActivations {
            raw_qkv,
            qkv,
            attention: heads,
            log_sum_exp,
            attention_out,
            middle,
            ..
        } = activations;

        self.norm_input(base, normed, input, layer.input_norm.as_ref());
        weights.linear(qkv, Onto::Fresh, normed, &self.qkv(layer), product);
        self.finish_qkv(base, idx, qkv, raw_qkv, &geometry.positions);
        let shape = self.attention_shape();
        let tiles = geometry.tiles(self.config.window_of(idx));
        attention(heads, log_sum_exp, qkv, shape, tiles, attention_scratch);
        middle.copy_from_slice(input);
        let out = Self::attention_out(layer);
        let raw = if out.norm.is_some() { &mut attention_out[..] } else { &mut branch[..] };
        let buffers = OutScratch { raw, normed };
        self.add_out(base, middle, &out, buffers, |y, onto| {
            weights.linear(y, onto, heads, &self.output(layer), product);
        });
    }

    /// Bias, norm of queries and keys, and rotation by `positions` (`[n]`), where the model has
    /// them. `raw_qkv` is given what `qkv` was before the norm, if there is one.
    pub(crate) fn finish_qkv(
        &self,
        base: Base<'_>,
        idx: usize,
        qkv: &mut [f32],
        raw_qkv: &mut [f32],
        positions: &[usize],
    ) {
        let (config, layer) = (&self.config, &self.layout.layers[idx]);
        let shape = self.attention_shape();
        let width = shape.qkv_size();
        let n_turned = config.n_heads + config.n_kv_heads;
        if let Some([query, _, value]) = &layer.qkv_bias {
            add_to_rows(qkv, base.vector(&(query.start..value.end)));
        }
        if let Some(norms) = &layer.qk_norm {
            raw_qkv.copy_from_slice(qkv);
            let norms = norms.each_ref().map(|place| self.norm(base, place));
            rms_norm_heads(qkv, raw_qkv, norms, shape);
        }
        if let Some(rope) = self.rope().of(config.rope_of(idx)) {
            rope.turn(qkv, width, n_turned, positions, Turn::Forward);
        }
    }
}
