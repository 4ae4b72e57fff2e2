//! Grouped-query attention over a forest.
//!
//! A segment's rows attend to the rows of its ancestors and to their own prefix. Queries are taken
//! in [tiles](super::query_tiles) and keys in chunks; a tile's scores of a chunk are the largest
//! scores that are ever stored. Each segment's keys and values are packed once per head, for all
//! queries that see them. The forward pass carries the largest score and the sum of exponentials of
//! each row from chunk to chunk and keeps their log-sum-exp, from which the backward pass recomputes
//! the probabilities.

use std::collections::BTreeMap;
use std::ops::Range;

use super::matmul::{Mat, MatMut, Onto};
use super::query_tiles::{Chunk, QueryTile};
use super::simd::{
    LANES, clear, dot, exp, exp_shifted, max, registers_of, replace_beside, vectorised,
};
use super::tiles::Panels;
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
            soft_cap: config.attention_cap(),
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

/// Tiles of scores and packed keys and values, reused from call to call.
#[derive(Debug, Default)]
pub(crate) struct AttentionScratch {
    scores: Vec<f32>,
    score_gradients: Vec<f32>,
    /// Largest score and sum of exponentials of each row of a tile.
    running: Vec<(f32, f32)>,
    /// What is packed of each segment.
    segments: Vec<PackedSegment>,
    /// A tile's queries and the gradients of its outputs.
    queries: Panels,
    output_gradients: Panels,
}

/// Keys and values of a segment for one head, as products read them.
#[derive(Debug, Default)]
struct PackedSegment {
    /// `[head_dim, n]`.
    keys_across: Panels,
    /// `[n, head_dim]`; the backward pass only.
    keys: Panels,
    /// `[n, head_dim]` in the forward pass, `[head_dim, n]` in the backward pass.
    values: Panels,
}

/// The segments that have keys of the tiles, by their first rows, each with its index.
fn segments_of(tiles: &[QueryTile]) -> BTreeMap<usize, (usize, Range<usize>)> {
    let mut segments = BTreeMap::new();
    for segment in tiles.iter().flat_map(QueryTile::segments) {
        let n_segments = segments.len();
        segments.entry(segment.start).or_insert((n_segments, segment.clone()));
    }
    segments
}

/// Distance of two rows of scores of a chunk: whole registers.
fn score_stride(chunk: &Chunk) -> usize {
    chunk.keys.len().next_multiple_of(LANES)
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
    let segments = segments_of(tiles);
    let AttentionScratch { scores, running, segments: packed, .. } = scratch;
    packed.resize_with(packed.len().max(segments.len()), PackedSegment::default);
    let mut last_columns = None;
    for head in 0..n_heads {
        let [q_column, k_column, v_column] = shape.columns(head);
        if last_columns.replace(k_column) != Some(k_column) {
            for (idx, rows) in segments.values() {
                packed[*idx].keys_across.pack(head_rows(rows, k_column).t());
                packed[*idx].values.pack(head_rows(rows, v_column));
            }
        }
        for tile in tiles {
            let n_rows = tile.rows.len();
            running.clear();
            running.resize(n_rows, (f32::NEG_INFINITY, 0.0));
            let out = &mut out[tile.rows.start * out_width + q_column..];
            let queries = head_rows(&tile.rows, q_column);
            for (nth, chunk) in tile.chunks().enumerate() {
                let segment = &packed[segments[&chunk.segment_start].0];
                let (n_keys, stride) = (chunk.keys.len(), score_stride(&chunk));
                let scores = sized(scores, n_rows * stride);
                segment.keys_across.product(
                    MatMut::strided(scores, n_rows, n_keys, stride),
                    Onto::Fresh,
                    queries,
                    [0..head_dim, chunk.keys.clone()],
                    shape.scale,
                );
                soften(scores, running, out, tile, &chunk, shape);
                segment.values.product(
                    MatMut::strided(out, n_rows, head_dim, out_width),
                    if nth == 0 { Onto::Fresh } else { Onto::Sum },
                    Mat::strided(scores, n_rows, n_keys, stride),
                    [chunk.keys.clone(), 0..head_dim],
                    1.0,
                );
            }
            let log_sum_exp = &mut log_sum_exp[tile.rows.start * n_heads..];
            normalise(out, log_sum_exp, running, shape, head);
        }
    }
}

vectorised! {
    /// Replaces a chunk's scores by exponentials relative to each row's largest score so far, zero
    /// where a query sees no key, and brings sums and outputs of earlier chunks to the same scale.
    fn soften(
        scores: &mut [f32],
        running: &mut [(f32, f32)],
        out: &mut [f32],
        tile: &QueryTile,
        chunk: &Chunk,
        shape: AttentionShape,
    ) {
        let out_width = shape.n_heads * shape.head_dim;
        let rows = scores.chunks_exact_mut(score_stride(chunk)).zip(running);
        for (i, (row, (largest, sum))) in rows.enumerate() {
            let seen = chunk.seen(&tile.visible(i));
            let registers = registers_of(&seen);
            clear(&mut row[..registers.start]);
            clear(&mut row[registers.end..]);
            if seen.is_empty() {
                continue;
            }
            replace_beside(row, &seen, f32::NEG_INFINITY);
            if let Some(cap) = shape.soft_cap {
                soft_cap(&mut row[seen.clone()], cap);
            }
            let new_largest = max(&row[registers.clone()]).max(*largest);
            if *sum != 0.0 && new_largest != *largest {
                let factor = exp(*largest - new_largest);
                *sum *= factor;
                for x in &mut out[i * out_width..][..shape.head_dim] {
                    *x *= factor;
                }
            }
            *sum += exp_shifted(&mut row[registers], new_largest);
            *largest = new_largest;
            replace_beside(row, &seen, 0.0);
        }
    }
}

vectorised! {
    /// Divides the outputs of a tile by the sums of exponentials; `log_sum_exp` is
    /// `[n_rows, n_heads]`.
    fn normalise(
        out: &mut [f32],
        log_sum_exp: &mut [f32],
        running: &[(f32, f32)],
        shape: AttentionShape,
        head: usize,
    ) {
        let out_width = shape.n_heads * shape.head_dim;
        for (i, &(largest, sum)) in running.iter().enumerate() {
            let scale = 1.0 / sum;
            for x in &mut out[i * out_width..][..shape.head_dim] {
                *x *= scale;
            }
            log_sum_exp[i * shape.n_heads + head] = largest + sum.ln();
        }
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
    let AttentionShape { n_heads, head_dim, scale, .. } = shape;
    let (width, out_width) = (shape.qkv_size(), n_heads * head_dim);
    let head_rows = |rows: &Range<usize>, column: usize| {
        Mat::strided(&forward.qkv[rows.start * width + column..], rows.len(), head_dim, width)
    };
    let segments = segments_of(tiles);
    let AttentionScratch {
        scores,
        score_gradients: dscores,
        segments: packed,
        queries: packed_queries,
        output_gradients,
        ..
    } = scratch;
    packed.resize_with(packed.len().max(segments.len()), PackedSegment::default);
    let mut last_columns = None;
    for head in 0..n_heads {
        let [q_column, k_column, v_column] = shape.columns(head);
        if last_columns.replace(k_column) != Some(k_column) {
            for (idx, rows) in segments.values() {
                let segment = &mut packed[*idx];
                segment.keys_across.pack(head_rows(rows, k_column).t());
                segment.keys.pack(head_rows(rows, k_column));
                segment.values.pack(head_rows(rows, v_column).t());
            }
        }
        for tile in tiles {
            let n_rows = tile.rows.len();
            let out_start = tile.rows.start * out_width + q_column;
            let dout_rows = Mat::strided(&dout[out_start..], n_rows, head_dim, out_width);
            let queries = head_rows(&tile.rows, q_column);
            packed_queries.pack(queries);
            output_gradients.pack(dout_rows);
            for chunk in tile.chunks() {
                let segment = &packed[segments[&chunk.segment_start].0];
                let (n_keys, stride) = (chunk.keys.len(), score_stride(&chunk));
                let scores = sized(scores, n_rows * stride);
                let dscores = sized(dscores, n_rows * stride);
                let across = [0..head_dim, chunk.keys.clone()];
                let along = [chunk.keys.clone(), 0..head_dim];
                let of_tile = [0..n_rows, 0..head_dim];
                let to = MatMut::strided(scores, n_rows, n_keys, stride);
                segment.keys_across.product(to, Onto::Fresh, queries, across.clone(), scale);
                let to = MatMut::strided(dscores, n_rows, n_keys, stride);
                segment.values.product(to, Onto::Fresh, dout_rows, across, 1.0);
                score_gradients(scores, dscores, (tile, &chunk), dout, forward, shape, head);
                let p = Mat::strided(scores, n_rows, n_keys, stride);
                let ds = Mat::strided(dscores, n_rows, n_keys, stride);
                let mut onto_rows = |rows: Range<usize>,
                                     column: usize,
                                     b: &Panels,
                                     a: Mat<'_>,
                                     part: [Range<usize>; 2],
                                     scale: f32| {
                    let to = &mut dqkv[rows.start * width + column..];
                    let to = MatMut::strided(to, rows.len(), head_dim, width);
                    b.product(to, Onto::Sum, a, part, scale);
                };
                let of_values = of_tile.clone();
                onto_rows(chunk.rows(), v_column, output_gradients, p.t(), of_values, 1.0);
                onto_rows(tile.rows.clone(), q_column, &segment.keys, ds, along, scale);
                onto_rows(chunk.rows(), k_column, packed_queries, ds.t(), of_tile, scale);
            }
        }
    }
}

vectorised! {
    /// From a chunk's scores and `dP` to `P` and `dS`, zero where a query sees no key.
    fn score_gradients(
        scores: &mut [f32],
        dscores: &mut [f32],
        place: (&QueryTile, &Chunk),
        dout: &[f32],
        forward: &Forward<'_>,
        shape: AttentionShape,
        head: usize,
    ) {
        let (tile, chunk) = place;
        let stride = score_stride(chunk);
        let rows = scores.chunks_exact_mut(stride).zip(dscores.chunks_exact_mut(stride));
        for ((i, row), (p_row, ds_row)) in tile.rows.clone().enumerate().zip(rows) {
            let log_sum_exp = forward.log_sum_exp[row * shape.n_heads + head];
            let out_start = (row * shape.n_heads + head) * shape.head_dim;
            let out_range = out_start..out_start + shape.head_dim;
            let shared = dot(&dout[out_range.clone()], &forward.out[out_range]);
            let seen = chunk.seen(&tile.visible(i));
            let registers = registers_of(&seen);
            let both = p_row[registers.clone()].iter_mut().zip(&mut ds_row[registers.clone()]);
            match shape.soft_cap {
                None => {
                    for (p, ds) in both {
                        *p = exp(*p - log_sum_exp);
                        *ds = *p * (*ds - shared);
                    }
                }
                Some(cap) => {
                    for (p, ds) in both {
                        let tanh = (*p / cap).tanh();
                        *p = exp(cap * tanh - log_sum_exp);
                        *ds = *p * (*ds - shared) * (1.0 - tanh * tanh);
                    }
                }
            }
            for row in [p_row, ds_row] {
                clear(&mut row[..registers.start]);
                clear(&mut row[registers.end..]);
                if !seen.is_empty() {
                    replace_beside(row, &seen, 0.0);
                }
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
    use gratis_engine::PackedBatchBuilder;

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
