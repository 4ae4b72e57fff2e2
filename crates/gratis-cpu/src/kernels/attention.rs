//! Grouped-query attention over a forest.
//!
//! A segment's rows attend to the rows of its ancestors and to their own prefix. Queries are taken
//! in [tiles](super::query_tiles); a tile's scores `[n_rows, n_keys]` are the largest thing that is ever
//! stored. The forward pass keeps the log-sum-exp of each row's scores, from which the backward
//! pass recomputes the probabilities.

use std::ops::Range;

use super::matmul::{Mat, MatMut, Onto, matmul};
use super::query_tiles::QueryTile;
use super::simd::{dot, exp, exp_shifted, max, vectorised};
use gratis_model::config::ModelConfig;

/// The sizes of an attention layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionShape {
    /// Number of query heads.
    pub(crate) n_heads: usize,
    /// Number of key-value heads.
    pub(crate) n_kv_heads: usize,
    /// Width of a head.
    pub(crate) head_dim: usize,
    /// Factor of the scores.
    pub(crate) scale: f32,
    /// Scores `s` become `cap * tanh(s / cap)`.
    pub(crate) soft_cap: Option<f32>,
}

impl AttentionShape {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        Self {
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
            scale: config.attention_scale(),
            soft_cap: config.soft_caps.attention,
        }
    }

    /// Columns of the queries and of the keys of a row.
    pub(crate) fn query_and_key(&self) -> [Range<usize>; 2] {
        let (query, key) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        [0..query, query..query + key]
    }

    /// Width of a row that holds queries, keys and values.
    pub(crate) fn qkv_size(&self) -> usize {
        (self.n_heads + 2 * self.n_kv_heads) * self.head_dim
    }

    /// Columns where a query head, its key head and its value head begin.
    fn columns(&self, head: usize) -> [usize; 3] {
        let kv_head = head / (self.n_heads / self.n_kv_heads);
        [head, self.n_heads + kv_head, self.n_heads + self.n_kv_heads + kv_head]
            .map(|head| head * self.head_dim)
    }
}

/// Tiles of scores, reused from call to call.
#[derive(Debug, Default)]
pub(crate) struct AttentionScratch {
    scores: Vec<f32>,
    score_gradients: Vec<f32>,
}

/// `out = softmax(scale * q k^T) v` for every head, the scores capped where the model does.
///
/// `qkv` is `[n, qkv_size]`, `out` `[n, n_heads * head_dim]`, `log_sum_exp` `[n, n_heads]`.
pub(crate) fn attention(
    out: &mut [f32],
    log_sum_exp: &mut [f32],
    qkv: &[f32],
    shape: AttentionShape,
    tiles: &[QueryTile],
    scratch: &mut AttentionScratch,
) {
    let AttentionShape { n_heads, head_dim, .. } = shape;
    let (width, out_width) = (shape.qkv_size(), n_heads * head_dim);
    let head_rows = |rows: &Range<usize>, column: usize| {
        Mat::strided(&qkv[rows.start * width + column..], rows.len(), head_dim, width)
    };
    for tile in tiles {
        let (n_rows, stride) = (tile.rows.len(), tile.stride());
        let scores = sized(&mut scratch.scores, n_rows * stride);
        for head in 0..n_heads {
            let [q_column, k_column, v_column] = shape.columns(head);
            score_tile(scores, tile, head_rows(&tile.rows, q_column), shape.scale, |run| {
                head_rows(run, k_column)
            });
            softmax(scores, &mut log_sum_exp[tile.rows.start * n_heads..], tile, shape, head);
            let out = &mut out[tile.rows.start * out_width + q_column..];
            for (column, run) in tile.placed_runs() {
                matmul(
                    MatMut::strided(out, n_rows, head_dim, out_width),
                    if column == 0 { Onto::Fresh } else { Onto::Sum },
                    Mat::strided(&scores[column..], n_rows, run.len(), stride),
                    head_rows(run, v_column),
                    1.0,
                );
            }
        }
    }
}

vectorised! {
    /// Replaces a tile's scores by probabilities, zero where a query sees no key; `log_sum_exp` is
    /// `[n_rows, n_heads]`.
    fn softmax(
        scores: &mut [f32],
        log_sum_exp: &mut [f32],
        tile: &QueryTile,
        shape: AttentionShape,
        head: usize,
    ) {
        for (i, row) in scores.chunks_exact_mut(tile.stride()).enumerate() {
            let visible = tile.visible(i);
            let seen = &mut row[visible.clone()];
            if let Some(cap) = shape.soft_cap {
                soft_cap(seen, cap);
            }
            let largest = max(seen);
            let sum = exp_shifted(seen, largest);
            let scale = 1.0 / sum;
            for p in seen {
                *p *= scale;
            }
            row[..visible.start].fill(0.0);
            row[visible.end..].fill(0.0);
            log_sum_exp[i * shape.n_heads + head] = largest + sum.ln();
        }
    }
}

/// Scores of a tile of queries with all their keys, scaled, nothing masked.
fn score_tile<'a>(
    scores: &mut [f32],
    tile: &QueryTile,
    queries: Mat<'a>,
    scale: f32,
    keys: impl Fn(&Range<usize>) -> Mat<'a>,
) {
    for (column, run) in tile.placed_runs() {
        let scores =
            MatMut::strided(&mut scores[column..], tile.rows.len(), run.len(), tile.stride());
        matmul(scores, Onto::Fresh, queries, keys(run).t(), scale);
    }
}

/// Inputs and outputs of the forward pass of [`attention`].
pub(crate) struct Forward<'a> {
    /// `[n, qkv_size]`.
    pub(crate) qkv: &'a [f32],
    /// `[n, n_heads * head_dim]`.
    pub(crate) out: &'a [f32],
    /// `[n, n_heads]`.
    pub(crate) log_sum_exp: &'a [f32],
}

/// Backward pass: adds to `dqkv` (`[n, qkv_size]`) the gradient from `dout`
/// (`[n, n_heads * head_dim]`).
///
/// With `P` the probabilities and `D_i = sum_j P_ij dP_ij = dout_i . out_i`:
/// `dv = P^T dout`, `dP = dout v^T`, `dS = P * (dP - D)`, `dq = scale dS k`, `dk = scale dS^T q`; a cap
/// multiplies `dS` with its slope `1 - tanh^2`.
pub(crate) fn attention_backward(
    dqkv: &mut [f32],
    dout: &[f32],
    forward: &Forward<'_>,
    shape: AttentionShape,
    tiles: &[QueryTile],
    scratch: &mut AttentionScratch,
) {
    let AttentionShape { n_heads, head_dim, .. } = shape;
    let (width, out_width) = (shape.qkv_size(), n_heads * head_dim);
    let scale = shape.scale;
    let head_rows = |rows: &Range<usize>, column: usize| {
        Mat::strided(&forward.qkv[rows.start * width + column..], rows.len(), head_dim, width)
    };
    for tile in tiles {
        let (n_rows, stride) = (tile.rows.len(), tile.stride());
        let scores = sized(&mut scratch.scores, n_rows * stride);
        let dscores = sized(&mut scratch.score_gradients, n_rows * stride);
        for head in 0..n_heads {
            let [q_column, k_column, v_column] = shape.columns(head);
            let out_start = tile.rows.start * out_width + q_column;
            let dout_rows = Mat::strided(&dout[out_start..], n_rows, head_dim, out_width);
            let queries = head_rows(&tile.rows, q_column);
            score_tile(scores, tile, queries, scale, |run| head_rows(run, k_column));
            for (column, run) in tile.placed_runs() {
                matmul(
                    MatMut::strided(&mut dscores[column..], n_rows, run.len(), stride),
                    Onto::Fresh,
                    dout_rows,
                    head_rows(run, v_column).t(),
                    1.0,
                );
            }
            score_gradients(scores, dscores, tile, dout, forward, shape, head);
            for (column, run) in tile.placed_runs() {
                let p = Mat::strided(&scores[column..], n_rows, run.len(), stride);
                let ds = Mat::strided(&dscores[column..], n_rows, run.len(), stride);
                let products = [
                    (run, v_column, p.t(), dout_rows, 1.0),
                    (&tile.rows, q_column, ds, head_rows(run, k_column), scale),
                    (run, k_column, ds.t(), queries, scale),
                ];
                for (rows, column, a, b, scale) in products {
                    let destination = MatMut::strided(
                        &mut dqkv[rows.start * width + column..],
                        rows.len(),
                        head_dim,
                        width,
                    );
                    matmul(destination, Onto::Sum, a, b, scale);
                }
            }
        }
    }
}

vectorised! {
    /// From a tile's scores and `dP` to `P` and `dS`, zero where a query sees no key.
    fn score_gradients(
        scores: &mut [f32],
        dscores: &mut [f32],
        tile: &QueryTile,
        dout: &[f32],
        forward: &Forward<'_>,
        shape: AttentionShape,
        head: usize,
    ) {
        let stride = tile.stride();
        let rows = scores.chunks_exact_mut(stride).zip(dscores.chunks_exact_mut(stride));
        for ((i, row), (p_row, ds_row)) in tile.rows.clone().enumerate().zip(rows) {
            let log_sum_exp = forward.log_sum_exp[row * shape.n_heads + head];
            let out_start = (row * shape.n_heads + head) * shape.head_dim;
            let out_range = out_start..out_start + shape.head_dim;
            let shared = dot(&dout[out_range.clone()], &forward.out[out_range]);
            let visible = tile.visible(i);
            let seen = p_row[visible.clone()].iter_mut().zip(&mut ds_row[visible.clone()]);
            match shape.soft_cap {
                None => {
                    for (p, ds) in seen {
                        *p = exp(*p - log_sum_exp);
                        *ds = *p * (*ds - shared);
                    }
                }
                Some(cap) => {
                    for (p, ds) in seen {
                        let tanh = (*p / cap).tanh();
                        *p = exp(cap * tanh - log_sum_exp);
                        *ds = *p * (*ds - shared) * (1.0 - tanh * tanh);
                    }
                }
            }
            for row in [p_row, ds_row] {
                row[..visible.start].fill(0.0);
                row[visible.end..].fill(0.0);
            }
        }
    }
}

/// `x` becomes `cap * tanh(x / cap)`.
pub(crate) fn soft_cap(values: &mut [f32], cap: f32) {
    for value in values {
        *value = cap * (*value / cap).tanh();
    }
}

/// The first `len` elements of a buffer that only ever grows.
fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

#[cfg(test)]
mod tests {
    use super::super::query_tiles::query_tiles;
    use super::*;
    use gratis_engine::batch::PackedBatchBuilder;

    /// Attention and its gradient by the definition, in f64, with the parent's rows written out.
    #[test]
    fn tiles_agree_with_the_definition() {
        let scale = 1.0 / 6f32.sqrt();
        let shape =
            AttentionShape { n_heads: 4, n_kv_heads: 2, head_dim: 6, scale, soft_cap: None };
        let (width, out_width) = (shape.qkv_size(), 24);
        let mut builder = PackedBatchBuilder::default();
        let root = builder.context(None, &[0; 67]).expect("valid");
        let child = builder.response(root, &[0; 5]).expect("valid");
        builder.response(root, &[0; 65]).expect("valid");
        builder.response(child, &[0; 9]).expect("valid");
        let batch = builder.finish();
        let n = batch.n_tokens();
        let numbers = |n: usize, seed: f32| -> Vec<f32> {
            (0..n).map(|i| ((i as f32 + 0.3) * seed).sin()).collect()
        };
        let (qkv, dout) = (numbers(n * width, 1.37), numbers(n * out_width, 0.73));

        for window in [None, Some(7)] {
            let tiles = query_tiles(&batch, window);
            let (mut out, mut lse) = (vec![0.0; n * out_width], vec![0.0; n * 4]);
            let mut dqkv = vec![0.0; n * width];
            let mut scratch = AttentionScratch::default();
            attention(&mut out, &mut lse, &qkv, shape, &tiles, &mut scratch);
            let forward = Forward { qkv: &qkv, out: &out, log_sum_exp: &lse };
            attention_backward(&mut dqkv, &dout, &forward, shape, &tiles, &mut scratch);

            let mut expected = vec![0.0f64; n * width];
            for segment in batch.segments() {
                let mut path: Vec<usize> = Vec::new();
                let mut parent = segment.parent;
                while let Some(idx) = parent {
                    path = batch.segment(idx).rows().chain(path).collect();
                    parent = batch.segment(idx).parent;
                }
                for row in segment.rows() {
                    path.push(row);
                    let seen = &path[path.len().saturating_sub(window.unwrap_or(usize::MAX))..];
                    for head in 0..4 {
                        let [q, k, v] = shape.columns(head);
                        let at = |row: usize, column: usize, c: usize| {
                            f64::from(qkv[row * width + column + c])
                        };
                        let scale = 1.0 / 6f64.sqrt();
                        let scores: Vec<f64> = seen
                            .iter()
                            .map(|&key| {
                                scale * (0..6).map(|c| at(row, q, c) * at(key, k, c)).sum::<f64>()
                            })
                            .collect();
                        let sum: f64 = scores.iter().map(|s| s.exp()).sum();
                        let p: Vec<f64> = scores.iter().map(|s| s.exp() / sum).collect();
                        let go = |c: usize| f64::from(dout[row * out_width + q + c]);
                        for c in 0..6 {
                            let o: f64 =
                                seen.iter().zip(&p).map(|(&key, p)| p * at(key, v, c)).sum();
                            // Observed largest error 1e-6.
                            let got = f64::from(out[row * out_width + q + c]);
                            assert!((got - o).abs() < 1e-5, "{got} against {o}");
                        }
                        let dp: Vec<f64> = seen
                            .iter()
                            .map(|&key| (0..6).map(|c| go(c) * at(key, v, c)).sum())
                            .collect();
                        let shared: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
                        for (j, &key) in seen.iter().enumerate() {
                            let ds = p[j] * (dp[j] - shared) * scale;
                            for c in 0..6 {
                                expected[key * width + v + c] += p[j] * go(c);
                                expected[key * width + k + c] += ds * at(row, q, c);
                                expected[row * width + q + c] += ds * at(key, k, c);
                            }
                        }
                    }
                }
            }
            for (&got, &expected) in dqkv.iter().zip(&expected) {
                // Observed largest error 5e-6.
                assert!((f64::from(got) - expected).abs() < 3e-5, "{got} against {expected}");
            }
        }
    }
}
