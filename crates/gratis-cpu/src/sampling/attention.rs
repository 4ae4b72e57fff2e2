//! Attention of the rows of a tile over cached keys and values.
//!
//! Rows that share a prompt attend to it together: scores and sums of values are one matrix product
//! each. To its own tokens every sequence attends alone. The tokens of a prompt that is being read are
//! such a group, too, in which each row sees one token more than the one before.

use std::ops::Range;
use std::sync::Arc;

use super::cache::{HeadCache, Sequence};
use crate::kernels::attention::{AttentionShape, soft_cap};
use crate::kernels::panel::{Begin, GROUP, Rows};
use crate::kernels::simd::{clear, exp_shifted, max, registers_of, replace_beside, vectorised};

/// The rows of a forward pass.
pub(super) enum Readers<'a> {
    /// Row `i` is the next token of sequence `i`.
    Sequences(&'a mut [Sequence]),
    /// All rows are the next tokens of one sequence without a prefix.
    Prompt(&'a mut Sequence),
}

/// Attention of a layer.
#[derive(Clone, Copy)]
pub(super) struct Layer {
    pub(super) idx: usize,
    pub(super) shape: AttentionShape,
    /// Tokens that a row sees, itself included.
    pub(super) window: usize,
}

/// Buffers of [`Attention::attend`].
#[derive(Debug, Default)]
pub(super) struct Attention {
    /// Rows by the prompt that they share, and where each prompt's rows begin.
    order: Vec<usize>,
    groups: Vec<Range<usize>>,
    heads: Heads,
}

/// Of the query heads of a group's rows that share a key head: `n` of them.
#[derive(Debug, Default)]
struct Heads {
    /// `[n, head_dim]`, scaled.
    queries: Vec<f32>,
    /// `[n, stride]`.
    scores: Vec<f32>,
    /// `[n]`.
    inverses: Vec<f32>,
    /// `[n, head_dim]`.
    out: Vec<f32>,
}

impl Readers<'_> {
    /// Each row adds its key and value to a head of its sequence.
    fn push(&mut self, rows: &[usize], layer: Layer, head: usize, qkv: &[f32]) {
        let AttentionShape { n_heads, n_kv_heads, head_dim: d, .. } = layer.shape;
        let width = layer.shape.qkv_size();
        for (nth, &row) in rows.iter().enumerate() {
            let keys = row * width + (n_heads + head) * d;
            let (key, value) = (&qkv[keys..][..d], &qkv[keys + n_kv_heads * d..][..d]);
            let sequence = match self {
                Self::Sequences(sequences) => {
                    if let Some(&next) = rows.get(nth + 1) {
                        sequences[next].own.head(layer.idx, head).prefetch(d);
                    }
                    &mut sequences[row]
                }
                Self::Prompt(sequence) => &mut **sequence,
            };
            sequence.own.head_mut(layer.idx, head).push(key, value);
        }
    }

    /// The tokens that row `row` of a group shares with the others and the tokens of its own.
    fn caches(&self, layer: usize, row: usize, head: usize) -> [Option<&HeadCache>; 2] {
        match self {
            Self::Sequences(sequences) => {
                let Sequence { prefix, own } = &sequences[row];
                [
                    prefix.as_ref().map(|prefix| prefix.head(layer, head)),
                    Some(own.head(layer, head)),
                ]
            }
            Self::Prompt(sequence) => [Some(sequence.own.head(layer, head)), None],
        }
    }
}

impl Attention {
    /// Prepares for the rows of a forward pass: groups those that share a prompt.
    pub(super) fn prepare(&mut self, readers: &Readers<'_>, n_rows: usize) {
        let Self { order, groups, .. } = self;
        order.clear();
        order.extend(0..n_rows);
        groups.clear();
        let Readers::Sequences(sequences) = readers else {
            groups.push(0..n_rows);
            return;
        };
        let prompt = |row: usize| sequences[row].prefix.as_ref().map(Arc::as_ptr);
        order.sort_by_key(|&row| prompt(row));
        for (idx, &row) in order.iter().enumerate() {
            match groups.last_mut() {
                Some(group) if prompt(order[group.start]) == prompt(row) => group.end = idx + 1,
                _ => groups.push(idx..idx + 1),
            }
        }
    }

    /// Each row adds its key and value to the layer of its sequence, and attends: `qkv` is `[n_rows,
    /// qkv_size]`, `out` `[n_rows, query_size]`.
    pub(super) fn attend(
        &mut self,
        readers: &mut Readers<'_>,
        layer: Layer,
        qkv: &[f32],
        out: &mut [f32],
    ) {
        for group in &self.groups {
            let rows = &self.order[group.clone()];
            for head in 0..layer.shape.n_kv_heads {
                readers.push(rows, layer, head, qkv);
                self.heads.attend(readers, rows, layer, head, qkv, out);
            }
        }
    }
}

impl Heads {
    /// The query heads of key head `head`, of rows that share their prompt.
    fn attend(
        &mut self,
        readers: &Readers<'_>,
        rows: &[usize],
        Layer { idx: layer, shape, window }: Layer,
        head: usize,
        qkv: &[f32],
        out: &mut [f32],
    ) {
        let AttentionShape { n_heads, n_kv_heads, head_dim: d, .. } = shape;
        let n_queries = n_heads / n_kv_heads;
        let (width, query_size) = (shape.qkv_size(), n_heads * d);
        let n = rows.len() * n_queries;
        let columns = head * n_queries * d..(head + 1) * n_queries * d;
        self.queries.clear();
        for &row in rows {
            let queries = &qkv[row * width..][..query_size][columns.clone()];
            self.queries.extend(queries.iter().map(|query| query * shape.scale));
        }

        let [shared, _] = readers.caches(layer, rows[0], head);
        let n_shared = shared.map_or(0, HeadCache::n_tokens);
        // The tokens that each row sees.
        let visible = |nth: usize| {
            let end = match readers {
                Readers::Prompt(_) => n_shared - rows.len() + nth + 1,
                Readers::Sequences(_) => {
                    let [_, own] = readers.caches(layer, rows[nth], head);
                    n_shared + own.map_or(0, HeadCache::n_tokens)
                }
            };
            end.saturating_sub(window)..end
        };
        let n_tokens = (0..rows.len()).map(|nth| visible(nth).end).max().unwrap_or(0);
        let first_seen = (0..rows.len()).map(|nth| visible(nth).start).min().unwrap_or(0);
        let first = first_seen.min(n_shared) / GROUP * GROUP;
        // Scores begin with that of token `first`; there is room for the empty places of two groups.
        let stride = (n_tokens - first).next_multiple_of(GROUP) + 2 * GROUP;
        let len = self.scores.len().max(n * stride);
        self.scores.resize(len, 0.0);
        let scores = &mut self.scores[..n * stride];
        if let Some(shared) = shared.filter(|_| n_shared > first) {
            let queries = Rows { data: &self.queries, n, stride: d };
            shared.scores(scores, stride, queries, [d, first], None);
        }
        let of_row = |nth: usize| nth * n_queries * stride..(nth + 1) * n_queries * stride;
        // Own tokens follow the shared ones; those of a row that are hidden are left out in whole
        // groups.
        let first_own = |nth: usize| visible(nth).start.saturating_sub(n_shared) / GROUP * GROUP;
        // Each row's own tokens are elsewhere in memory: the next row's are asked for in time.
        let next_own = |nth: usize| {
            let [_, own] = readers.caches(layer, *rows.get(nth + 1)?, head);
            own
        };
        for (nth, &row) in rows.iter().enumerate() {
            let [_, Some(own)] = readers.caches(layer, row, head) else { continue };
            let data = &self.queries[nth * n_queries * d..][..n_queries * d];
            let queries = Rows { data, n: n_queries, stride: d };
            let from = first_own(nth);
            let next = next_own(nth).map(|next| next.keys_from([d, first_own(nth + 1)]));
            let scores = &mut scores[of_row(nth)][n_shared + from - first..];
            own.scores(scores, stride, queries, [d, from], next);
        }

        self.inverses.clear();
        for nth in 0..rows.len() {
            let Range { start, end } = visible(nth);
            for scores in scores[of_row(nth)].chunks_exact_mut(stride) {
                self.inverses.push(soften(scores, start - first, end - first, shape.soft_cap));
            }
        }

        let len = self.out.len().max(n * d);
        self.out.resize(len, 0.0);
        let sums = &mut self.out[..n * d];
        sums.fill(0.0);
        if let Some(shared) = shared.filter(|_| n_shared > first) {
            let weights = Rows { data: scores, n, stride };
            shared.sum_values(sums, Begin::Anew, weights, [d, first], None);
        }
        for (nth, &row) in rows.iter().enumerate() {
            let of_queries = nth * n_queries * d..(nth + 1) * n_queries * d;
            if let [_, Some(own)] = readers.caches(layer, row, head) {
                let from = first_own(nth);
                let next = next_own(nth).map(|next| next.values_from([d, first_own(nth + 1)]));
                let data = &scores[of_row(nth)][n_shared + from - first..];
                let weights = Rows { data, n: n_queries, stride };
                let sums = &mut sums[of_queries.clone()];
                own.sum_values(sums, Begin::Continue, weights, [d, from], next);
            }
            let out = &mut out[row * query_size..][..query_size][columns.clone()];
            let inverses = &self.inverses[nth * n_queries..];
            let heads = out.chunks_exact_mut(d).zip(sums[of_queries].chunks_exact(d));
            for ((out, sums), inverse) in heads.zip(inverses) {
                out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum * inverse);
            }
        }
    }
}

vectorised! {
    /// Replaces the scores of the visible tokens by unnormalised probabilities and those of all others
    /// by zero; returns the inverse of the sum.
    fn soften(scores: &mut [f32], start: usize, end: usize, cap: Option<f32>) -> f32 {
        let seen = start..end;
        let registers = registers_of(&seen);
        clear(&mut scores[..registers.start]);
        clear(&mut scores[registers.end..]);
        replace_beside(scores, &seen, f32::NEG_INFINITY);
        if let Some(cap) = cap {
            soft_cap(&mut scores[seen.clone()], cap);
        }
        let largest = max(&scores[registers.clone()]);
        let inverse = 1.0 / exp_shifted(&mut scores[registers], largest);
        replace_beside(scores, &seen, 0.0);
        inverse
    }
}
