//! The forward pass of a few rows, each a token of a sequence of its own or of one prompt.

use super::attention::{Attention, Layer, Readers};
use super::cache::{KeyValues, Sequence};
use super::products::Product;
use super::team::Team;
use crate::kernels::attention::soft_cap;
use crate::kernels::decode::MAX_ROWS;
use crate::kernels::matmul::Onto;
use crate::kernels::norm::rms_norm;
use crate::matrix::Matrix;
use crate::model::{Decoder, ExpertScratch, Inside, OutScratch, Routing};
use crate::weights::{Products as _, Weights};
use gratis_model::config::ModelConfig;

/// Activations of up to [`MAX_ROWS`] rows.
#[derive(Debug)]
pub(super) struct Tile<'a> {
    n_rows: usize,
    /// The residual stream: `[n_rows, hidden]`, as all that follow are `[n_rows, width]`.
    stream: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    raw_qkv: Vec<f32>,
    heads: Vec<f32>,
    gate_up: Vec<f32>,
    inner: Vec<f32>,
    routing: Routing,
    experts: ExpertScratch,
    /// What attention or feed-forward add, where it is changed before: `[n_rows, hidden]`.
    branch: Vec<f32>,
    attention: Attention,
    product: Product<'a>,
}

impl<'a> Tile<'a> {
    /// A team may share products.
    pub(super) fn new(config: &ModelConfig, team: Option<&'a Team>) -> Self {
        let rows = |width: usize| vec![0.0; MAX_ROWS * width];
        let qkv_size = config.query_size() + 2 * config.key_value_size();
        let inter = config.widest_feed_forward();
        Self {
            n_rows: 0,
            stream: rows(config.hidden_size),
            normed: rows(config.hidden_size),
            qkv: rows(qkv_size),
            raw_qkv: rows(qkv_size),
            heads: rows(config.query_size()),
            gate_up: rows(2 * inter),
            inner: rows(inter),
            routing: Routing::default(),
            experts: ExpertScratch::default(),
            branch: rows(config.hidden_size),
            attention: Attention::default(),
            product: Product::of(team),
        }
    }

    /// Keys and values of a prompt, and the logits after its last token: `[vocab]`.
    pub(super) fn read_prompt(
        &mut self,
        decoder: &Decoder,
        weights: Weights<'_>,
        prompt: &[u32],
    ) -> (KeyValues, Vec<f32>) {
        let own = KeyValues::for_tokens(prompt.len(), &decoder.config);
        let mut sequence = Sequence { prefix: None, own };
        for (idx, tokens) in prompt.chunks(MAX_ROWS).enumerate() {
            let start = idx * MAX_ROWS;
            let positions: Vec<usize> = (start..start + tokens.len()).collect();
            let readers = Readers::Prompt(&mut sequence);
            self.forward(decoder, weights, tokens, &positions, readers);
        }
        let mut logits = Vec::new();
        self.logits(decoder, weights, self.n_rows - 1, &mut logits);
        (sequence.own, logits)
    }

    /// Reads `tokens[i]` at `positions[i]`; whose next token it is say the readers.
    pub(super) fn forward(
        &mut self,
        decoder: &Decoder,
        weights: Weights<'_>,
        tokens: &[u32],
        positions: &[usize],
        mut readers: Readers<'_>,
    ) {
        let config = &decoder.config;
        let d = config.hidden_size;
        let (query_size, kv_size) = (config.query_size(), config.key_value_size());
        let qkv_size = query_size + 2 * kv_size;
        let shape = decoder.attention_shape();
        let n = tokens.len();
        self.n_rows = n;
        let Self { attention, product, gate_up, inner, routing, experts, .. } = self;
        let stream = &mut self.stream[..n * d];
        let normed = &mut self.normed[..n * d];
        let qkv = &mut self.qkv[..n * qkv_size];
        let raw_qkv = &mut self.raw_qkv[..n * qkv_size];
        let heads = &mut self.heads[..n * query_size];
        let branch = &mut self.branch[..n * d];

        attention.prepare(&readers, n);
        let base = weights.base;
        for (row, &token) in stream.chunks_exact_mut(d).zip(tokens) {
            decoder.embed(base, token as usize, row);
        }
        for (idx, layer) in decoder.layout.layers.iter().enumerate() {
            decoder.norm_input(base, normed, stream, layer.input_norm.as_ref());
            product.linear(weights, qkv, Onto::Fresh, normed, &decoder.qkv(layer));
            decoder.finish_qkv(base, idx, qkv, raw_qkv, positions);
            let window = config.window_of(idx).unwrap_or(usize::MAX);
            attention.attend(&mut readers, Layer { idx, shape, window }, qkv, heads);
            let out = Decoder::attention_out(layer);
            let buffers = OutScratch { raw: branch, normed };
            decoder.add_out(base, stream, &out, buffers, |y, onto| {
                product.linear(weights, y, onto, heads, &decoder.output(layer));
            });

            decoder.norm_input(base, normed, stream, layer.feed_forward_norm.as_ref());
            let mut inside = Inside {
                gate_up: gate_up.as_mut_slice(),
                routing: &mut *routing,
                inner: inner.as_mut_slice(),
                experts: &mut *experts,
                product: &mut *product,
            };
            decoder.feed_forward_up(weights, layer, normed, &mut inside);
            let out = Decoder::feed_forward_out(layer);
            let buffers = OutScratch { raw: branch, normed };
            decoder.add_out(base, stream, &out, buffers, |y, onto| {
                decoder.feed_forward_down(weights, layer, y, onto, &mut inside);
            });
        }
    }

    /// Logits of the rows of the last [`Tile::forward`] from `first_row` on, into `logits`: `[n, vocab]`.
    pub(super) fn logits(
        &mut self,
        decoder: &Decoder,
        weights: Weights<'_>,
        first_row: usize,
        logits: &mut Vec<f32>,
    ) {
        let config = &decoder.config;
        let (n, d) = (self.n_rows - first_row, config.hidden_size);
        let normed = &mut self.normed[..n * d];
        let norm = decoder.norm(weights.base, &decoder.layout.final_norm);
        rms_norm(normed, &self.stream[first_row * d..][..n * d], norm);
        logits.resize(n * config.vocab_size, 0.0);
        let head = Matrix { place: decoder.layout.head.clone(), n_in: d };
        self.product.linear(weights, logits, Onto::Fresh, normed, &head);
        let scale = decoder.config.logits_scale();
        if scale != 1.0 {
            for logit in logits.iter_mut() {
                *logit *= scale;
            }
        }
        if let Some(cap) = config.logits_cap() {
            soft_cap(logits, cap);
        }
    }
}
