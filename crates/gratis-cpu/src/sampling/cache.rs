//! Keys and values of the tokens read so far, and attention of one row over them.

#![expect(clippy::inline_always, reason = "compiled within the vectorised loop over rows")]

use std::array;
use std::sync::Arc;

use crate::kernels::attention::{AttentionShape, soft_cap};
use crate::kernels::simd::{exp_shifted, max};
use gratis_model::config::ModelConfig;

/// Tokens whose keys are stored side by side: one AVX-512 register.
const BLOCK: usize = 16;

/// The key-value cache of consecutive tokens.
#[derive(Debug)]
pub(super) struct KeyValues {
    head_dim: usize,
    n_kv_heads: usize,
    /// `[n_layers * n_kv_heads]`.
    heads: Vec<HeadCache>,
}

#[derive(Debug, Clone, Default)]
struct HeadCache {
    /// `[n_blocks, head_dim, BLOCK]`: scores of a block's tokens are one vector.
    keys: Vec<f32>,
    /// `[n_tokens, head_dim]`.
    values: Vec<f32>,
}

/// A sequence's tokens: those of its prompt, which others share, then its own.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) prefix: Option<Arc<KeyValues>>,
    pub(super) own: KeyValues,
}

impl KeyValues {
    pub(super) fn new(config: &ModelConfig) -> Self {
        Self {
            head_dim: config.head_dim,
            n_kv_heads: config.n_kv_heads,
            heads: vec![HeadCache::default(); config.n_layers * config.n_kv_heads],
        }
    }

    /// Memory that a token takes.
    pub(super) fn bytes_per_token(config: &ModelConfig) -> usize {
        2 * config.n_layers * config.key_value_size() * size_of::<f32>()
    }

    /// Forgets all tokens and keeps the memory.
    pub(super) fn clear(&mut self) {
        for head in &mut self.heads {
            head.keys.clear();
            head.values.clear();
        }
    }

    /// Appends a token to a layer: `key` and `value` are `[key_value_size]`.
    pub(super) fn push(&mut self, layer: usize, key: &[f32], value: &[f32]) {
        let d = self.head_dim;
        let heads = &mut self.heads[layer * self.n_kv_heads..][..self.n_kv_heads];
        for ((head, key), value) in
            heads.iter_mut().zip(key.chunks_exact(d)).zip(value.chunks_exact(d))
        {
            let slot = head.values.len() / d % BLOCK;
            if slot == 0 {
                head.keys.resize(head.keys.len() + d * BLOCK, 0.0);
            }
            let block = head.keys.len() - d * BLOCK;
            for (column, &key) in head.keys[block..].chunks_exact_mut(BLOCK).zip(key) {
                column[slot] = key;
            }
            head.values.extend_from_slice(value);
        }
    }
}

impl HeadCache {
    /// Appends `query . key` of every token.
    #[inline(always)]
    fn scores(&self, scores: &mut Vec<f32>, query: &[f32]) {
        let n_scores = scores.len() + self.values.len() / query.len();
        for block in self.keys.chunks_exact(query.len() * BLOCK) {
            let (columns, _) = block.as_chunks::<BLOCK>();
            let mut lanes = [0.0f32; BLOCK];
            for (&q, column) in query.iter().zip(columns) {
                lanes = array::from_fn(|i| q.mul_add(column[i], lanes[i]));
            }
            scores.extend_from_slice(&lanes);
        }
        scores.truncate(n_scores);
    }

    /// Adds the values of tokens `from..`, each times its weight: `BLOCK` columns of the `d` from
    /// `column` on.
    #[inline(always)]
    fn add_values(&self, sums: &mut [f32; BLOCK], weights: &[f32], [d, from, column]: [usize; 3]) {
        for (&weight, row) in weights.iter().zip(self.values[from * d..].chunks_exact(d)) {
            let row = &row[column..];
            // A whole block is one instruction.
            if let Some(row) = row.first_chunk::<BLOCK>() {
                *sums = array::from_fn(|i| weight.mul_add(row[i], sums[i]));
            } else {
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum = weight.mul_add(value, *sum);
                }
            }
        }
    }
}

impl Sequence {
    /// `softmax(scale * q k^T) v` of one row over the last `window` tokens, the scores capped where
    /// the model does: `query` and `out` are `[query_size]`.
    #[inline(always)]
    pub(super) fn attend(
        &self,
        layer: usize,
        query: &[f32],
        (shape, window): (AttentionShape, usize),
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let KeyValues { head_dim: d, n_kv_heads, .. } = self.own;
        let group = query.len() / (d * n_kv_heads);
        let scale = shape.scale;
        let Scratch { query: scaled, scores } = scratch;
        for (idx, (query, out)) in query.chunks_exact(d).zip(out.chunks_exact_mut(d)).enumerate() {
            let head = layer * n_kv_heads + idx / group;
            let prefix = self.prefix.as_ref().map(|prefix| &prefix.heads[head]);
            let own = &self.own.heads[head];
            scaled.clear();
            scaled.extend(query.iter().map(|q| q * scale));
            scores.clear();
            if let Some(prefix) = prefix {
                prefix.scores(scores, scaled);
            }
            own.scores(scores, scaled);

            let n_hidden = scores.len().saturating_sub(window);
            let visible = &mut scores[n_hidden..];
            if let Some(cap) = shape.soft_cap {
                soft_cap(visible, cap);
            }
            let largest = max(visible);
            let inverse = 1.0 / exp_shifted(visible, largest);
            let n_prefix = prefix.map_or(0, |prefix| prefix.values.len() / d);
            let (of_prefix, of_own) = visible.split_at(n_prefix.saturating_sub(n_hidden));
            for (chunk, out) in out.chunks_mut(BLOCK).enumerate() {
                let column = chunk * BLOCK;
                let mut sums = [0.0f32; BLOCK];
                if let Some(prefix) = prefix {
                    prefix.add_values(&mut sums, of_prefix, [d, n_hidden.min(n_prefix), column]);
                }
                let n_hidden_own = n_hidden.saturating_sub(n_prefix);
                own.add_values(&mut sums, of_own, [d, n_hidden_own, column]);
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = sum * inverse;
                }
            }
        }
    }
}

/// Buffers of [`Sequence::attend`].
#[derive(Debug, Default)]
pub(super) struct Scratch {
    query: Vec<f32>,
    scores: Vec<f32>,
}
