//! The forward pass of a few rows, each a token of a sequence of its own or of one prompt.

use super::cache::{KeyValues, Scratch, Sequence};
use crate::kernels::attention::{AttentionShape, soft_cap};
use crate::kernels::matmul::Onto;
use crate::kernels::norm::rms_norm;
use crate::kernels::simd::vectorised;
use crate::matrix::Matrix;
use crate::model::{Decoder, ExpertScratch, Inside, OutScratch, Routing};
use crate::weights::{ProductScratch, Products, Weights};
use gratis_model::config::ModelConfig;

/// Rows of every product. In a product the rows are the lanes of vectors and the weights are
/// broadcast: a row's sums are then the same whatever the others hold, and no weight is transposed.
pub(super) const LANES: usize = 32;

/// Activations of up to [`LANES`] rows.
#[derive(Debug)]
pub(super) struct Tile {
    n_rows: usize,
    /// The residual stream: `[n_rows, hidden]`, as all that follow are `[n_rows, width]`.
    stream: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    raw_qkv: Vec<f32>,
    attention: Vec<f32>,
    gate_up: Vec<f32>,
    inner: Vec<f32>,
    routing: Routing,
    experts: ExpertScratch,
    /// What attention or feed-forward add, where it is changed before: `[n_rows, hidden]`.
    branch: Vec<f32>,
    scratch: Scratch,
    product: Product,
}

impl Tile {
    /// `n_threads` may share a product with quantised weights.
    pub(super) fn new(config: &ModelConfig, n_threads: usize) -> Self {
        let rows = |width: usize| vec![0.0; LANES * width];
        let qkv_size = config.query_size() + 2 * config.key_value_size();
        let inter = config.widest_feed_forward();
        Self {
            n_rows: 0,
            stream: rows(config.hidden_size),
            normed: rows(config.hidden_size),
            qkv: rows(qkv_size),
            raw_qkv: rows(qkv_size),
            attention: rows(config.query_size()),
            gate_up: rows(2 * inter),
            inner: rows(inter),
            routing: Routing::default(),
            experts: ExpertScratch::default(),
            branch: rows(config.hidden_size),
            scratch: Scratch::default(),
            product: Product { scratch: ProductScratch::of(n_threads), ..Product::default() },
        }
    }

    /// Keys and values of a prompt, and the logits after its last token: `[vocab]`.
    pub(super) fn read_prompt(
        &mut self,
        decoder: &Decoder,
        weights: Weights<'_>,
        prompt: &[u32],
    ) -> (KeyValues, Vec<f32>) {
        let mut sequence = Sequence { prefix: None, own: KeyValues::new(&decoder.config) };
        for (idx, tokens) in prompt.chunks(LANES).enumerate() {
            let start = idx * LANES;
            let positions: Vec<usize> = (start..start + tokens.len()).collect();
            let sequences = std::slice::from_mut(&mut sequence);
            self.forward(decoder, weights, tokens, &positions, sequences);
        }
        let mut logits = Vec::new();
        self.logits(decoder, weights, &mut logits);
        (sequence.own, logits.split_off(logits.len() - decoder.config.vocab_size))
    }

    /// Reads `tokens[i]` at `positions[i]` as the next token of `sequences[i]`, or all tokens one
    /// after the other as the next of the only sequence.
    pub(super) fn forward(
        &mut self,
        decoder: &Decoder,
        weights: Weights<'_>,
        tokens: &[u32],
        positions: &[usize],
        sequences: &mut [Sequence],
    ) {
        let config = &decoder.config;
        let d = config.hidden_size;
        let (query_size, kv_size) = (config.query_size(), config.key_value_size());
        let qkv_size = query_size + 2 * kv_size;
        let shape = decoder.attention_shape();
        let n = tokens.len();
        self.n_rows = n;
        let Self { scratch, product, gate_up, inner, routing, experts, .. } = self;
        let stream = &mut self.stream[..n * d];
        let normed = &mut self.normed[..n * d];
        let qkv = &mut self.qkv[..n * qkv_size];
        let raw_qkv = &mut self.raw_qkv[..n * qkv_size];
        let attention = &mut self.attention[..n * query_size];
        let branch = &mut self.branch[..n * d];

        let base = weights.base;
        for (row, &token) in stream.chunks_exact_mut(d).zip(tokens) {
            decoder.embed(base, token as usize, row);
        }
        for (idx, layer) in decoder.layout.layers.iter().enumerate() {
            decoder.norm_input(base, normed, stream, layer.input_norm.as_ref());
            product.linear(weights, qkv, Onto::Fresh, normed, &decoder.qkv(layer));
            decoder.finish_qkv(base, idx, qkv, raw_qkv, positions);
            let window = config.window_of(idx).unwrap_or(usize::MAX);
            attend_rows(sequences, idx, n, qkv, (shape, window), attention, scratch);
            let out = Decoder::attention_out(layer);
            let buffers = OutScratch { raw: branch, normed };
            decoder.add_out(base, stream, &out, buffers, |y, onto| {
                product.linear(weights, y, onto, attention, &decoder.output(layer));
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

    /// Logits of the rows of the last [`Tile::forward`], into `logits`: `[n_rows, vocab]`.
    pub(super) fn logits(
        &mut self,
        decoder: &Decoder,
        weights: Weights<'_>,
        logits: &mut Vec<f32>,
    ) {
        let config = &decoder.config;
        let (n, d) = (self.n_rows, config.hidden_size);
        let normed = &mut self.normed[..n * d];
        let norm = decoder.norm(weights.base, &decoder.layout.final_norm);
        rms_norm(normed, &self.stream[..n * d], norm);
        logits.resize(n * config.vocab_size, 0.0);
        let head = Matrix { place: decoder.layout.head.clone(), n_in: d };
        self.product.linear(weights, logits, Onto::Fresh, normed, &head);
        let scale = decoder.logit_scale();
        if scale != 1.0 {
            for logit in logits.iter_mut() {
                *logit *= scale;
            }
        }
        if let Some(cap) = config.soft_caps.logits {
            soft_cap(logits, cap);
        }
    }
}

vectorised! {
    /// Each row adds its key and value to layer `layer` of its sequence, or of the only one, and
    /// attends over the window: `qkv` is `[n_rows, query_size + 2 * key_value_size]`, `out`
    /// `[n_rows, query_size]`.
    fn attend_rows(
        sequences: &mut [Sequence],
        layer: usize,
        n_rows: usize,
        qkv: &[f32],
        attention: (AttentionShape, usize),
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let query_size = out.len() / n_rows;
        let rows = qkv.chunks_exact(qkv.len() / n_rows).zip(out.chunks_exact_mut(query_size));
        for (row, (qkv, out)) in rows.enumerate() {
            let last = sequences.len() - 1;
            let sequence = &mut sequences[row.min(last)];
            let (query, key_value) = qkv.split_at(query_size);
            let (key, value) = key_value.split_at(key_value.len() / 2);
            sequence.own.push(layer, key, value);
            sequence.attend(layer, query, attention, out, scratch);
        }
    }
}

/// `y = x W^T` for the rows of a tile, taken as `y^T = W x^T` over [`LANES`] columns; with quantised
/// weights over the rows there are, in sums whose bits do not depend on their number.
#[derive(Debug, Default)]
struct Product {
    /// `[n_in, LANES]`.
    x: Vec<f32>,
    /// `[n_out, LANES]`.
    y: Vec<f32>,
    scratch: ProductScratch,
}

impl Products for Product {
    /// `x` has at most [`LANES`] rows.
    fn linear(
        &mut self,
        weights: Weights<'_>,
        y: &mut [f32],
        onto: Onto,
        x: &[f32],
        matrix: &Matrix,
    ) {
        let (n_in, n_out) = (matrix.n_in, matrix.n_out());
        if weights.base.is_quantised() {
            let n = x.len() / n_in;
            self.y.resize(self.y.len().max(n_out * n), 0.0);
            let product = &mut self.y[..n_out * n];
            weights.linear_of_rows(product, x, matrix, &mut self.scratch);
            return from_columns(y, onto, product, n);
        }
        self.x.clear();
        self.x.resize(n_in * LANES, 0.0);
        for (lane, row) in x.chunks_exact(n_in).enumerate() {
            for (column, &x) in self.x.chunks_exact_mut(LANES).zip(row) {
                column[lane] = x;
            }
        }
        self.y.resize(n_out * LANES, 0.0);
        let product = &mut self.y[..n_out * LANES];
        weights.linear_of_columns(product, &self.x, matrix, LANES, &mut self.scratch);
        from_columns(y, onto, product, LANES);
    }
}

/// Writes the first columns of `columns` (`[n_out, n]`) as the rows of `y`.
fn from_columns(y: &mut [f32], onto: Onto, columns: &[f32], n: usize) {
    let n_out = columns.len() / n;
    for (lane, row) in y.chunks_exact_mut(n_out).enumerate() {
        let columns = columns.chunks_exact(n);
        match onto {
            Onto::Fresh => row.iter_mut().zip(columns).for_each(|(y, c)| *y = c[lane]),
            Onto::Sum => row.iter_mut().zip(columns).for_each(|(y, c)| *y += c[lane]),
        }
    }
}
