//! The forward pass of a few rows, each a token of a sequence of its own or of one prompt.

use super::cache::{KeyValues, Scratch, Sequence};
use crate::kernels::matmul::Onto;
use crate::kernels::norm::rms_norm;
use crate::kernels::simd::vectorised;
use crate::kernels::swiglu::swiglu;
use crate::matrix::Matrix;
use crate::model::Decoder;
use crate::weights::{ProductScratch, Weights};
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
    scratch: Scratch,
    product: Product,
}

impl Tile {
    /// `n_threads` may share a product with quantised weights.
    pub(super) fn new(config: &ModelConfig, n_threads: usize) -> Self {
        let rows = |width: usize| vec![0.0; LANES * width];
        let qkv_size = config.query_size() + 2 * config.key_value_size();
        Self {
            n_rows: 0,
            stream: rows(config.hidden_size),
            normed: rows(config.hidden_size),
            qkv: rows(qkv_size),
            raw_qkv: rows(qkv_size),
            attention: rows(config.query_size()),
            gate_up: rows(2 * config.intermediate_size),
            inner: rows(config.intermediate_size),
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
        let (d, inter) = (config.hidden_size, config.intermediate_size);
        let (query_size, kv_size) = (config.query_size(), config.key_value_size());
        let qkv_size = query_size + 2 * kv_size;
        let window = config.sliding_window.unwrap_or(usize::MAX);
        let n = tokens.len();
        self.n_rows = n;
        let Self { scratch, product, .. } = self;
        let stream = &mut self.stream[..n * d];
        let normed = &mut self.normed[..n * d];
        let qkv = &mut self.qkv[..n * qkv_size];
        let raw_qkv = &mut self.raw_qkv[..n * qkv_size];
        let attention = &mut self.attention[..n * query_size];
        let gate_up = &mut self.gate_up[..n * 2 * inter];
        let inner = &mut self.inner[..n * inter];

        let base = weights.base;
        for (row, &token) in stream.chunks_exact_mut(d).zip(tokens) {
            base.copy(decoder.embedding_of(token as usize), row);
        }
        for (idx, layer) in decoder.layout.layers.iter().enumerate() {
            rms_norm(normed, stream, base.vector(&layer.input_norm), config.rms_norm_epsilon);
            product.linear(qkv, Onto::Fresh, normed, weights, &decoder.qkv(layer));
            decoder.finish_qkv(base, layer, qkv, raw_qkv, positions);
            attend_rows(sequences, idx, [n, query_size], qkv, window, attention, scratch);
            product.linear(stream, Onto::Sum, attention, weights, &decoder.output(layer));

            let norm = base.vector(&layer.post_attention_norm);
            rms_norm(normed, stream, norm, config.rms_norm_epsilon);
            product.linear(gate_up, Onto::Fresh, normed, weights, &decoder.gate_up(layer));
            swiglu(inner, gate_up, inter);
            product.linear(stream, Onto::Sum, inner, weights, &decoder.down(layer));
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
        let norm = weights.base.vector(&decoder.layout.final_norm);
        rms_norm(normed, &self.stream[..n * d], norm, config.rms_norm_epsilon);
        logits.resize(n * config.vocab_size, 0.0);
        let head = Matrix { place: decoder.layout.head.clone(), n_in: d };
        self.product.linear(logits, Onto::Fresh, normed, weights, &head);
    }
}

vectorised! {
    /// Each row adds its key and value to layer `layer` of its sequence, or of the only one, and
    /// attends: `qkv` is `[n_rows, query_size + 2 * key_value_size]`, `out` is `shape`,
    /// `[n_rows, query_size]`.
    fn attend_rows(
        sequences: &mut [Sequence],
        layer: usize,
        shape: [usize; 2],
        qkv: &[f32],
        window: usize,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let [n_rows, query_size] = shape;
        let rows = qkv.chunks_exact(qkv.len() / n_rows).zip(out.chunks_exact_mut(query_size));
        for (row, (qkv, out)) in rows.enumerate() {
            let last = sequences.len() - 1;
            let sequence = &mut sequences[row.min(last)];
            let (query, key_value) = qkv.split_at(query_size);
            let (key, value) = key_value.split_at(key_value.len() / 2);
            sequence.own.push(layer, key, value);
            sequence.attend(layer, query, window, out, scratch);
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

impl Product {
    /// `x` is `[n, n_in]`, the matrix `[n_out, n_in]`, `y` `[n, n_out]`, `n` at most [`LANES`].
    fn linear(
        &mut self,
        y: &mut [f32],
        onto: Onto,
        x: &[f32],
        weights: Weights<'_>,
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
