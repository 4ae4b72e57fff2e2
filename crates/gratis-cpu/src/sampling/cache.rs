//! Keys and values of the tokens read so far.

use std::sync::Arc;

use crate::kernels::panel::{Begin, GROUP, Panel, Rows, panel_products};
use crate::kernels::vector::prefetch;
use gratis_model::config::ModelConfig;

/// Numbers of a head's cache from which on the sequences' caches are too large to stay near.
const MANY: usize = 1 << 10;

/// The key-value cache of consecutive tokens.
#[derive(Debug)]
pub(super) struct KeyValues {
    head_dim: usize,
    n_kv_heads: usize,
    /// `[n_layers * n_kv_heads]`.
    heads: Vec<HeadCache>,
}

/// Keys and values of one head of a layer.
#[derive(Debug, Clone, Default)]
pub(super) struct HeadCache {
    /// `[n_groups, head_dim, GROUP]`: the keys of a group of tokens side by side.
    keys: Vec<f32>,
    /// `[n_tokens, head_dim]`.
    values: Vec<f32>,
    n_tokens: usize,
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
            head.n_tokens = 0;
        }
    }

    /// A head of a layer.
    pub(super) fn head(&self, layer: usize, head: usize) -> &HeadCache {
        &self.heads[layer * self.n_kv_heads + head]
    }

    /// Appends a token to a layer: `key` and `value` are `[key_value_size]`.
    pub(super) fn push(&mut self, layer: usize, key: &[f32], value: &[f32]) {
        let d = self.head_dim;
        let heads = &mut self.heads[layer * self.n_kv_heads..][..self.n_kv_heads];
        for ((head, key), value) in
            heads.iter_mut().zip(key.chunks_exact(d)).zip(value.chunks_exact(d))
        {
            let slot = head.n_tokens % GROUP;
            if slot == 0 {
                head.keys.resize(head.keys.len() + d * GROUP, 0.0);
            }
            let group = head.keys.len() - d * GROUP;
            for (column, &key) in head.keys[group..].chunks_exact_mut(GROUP).zip(key) {
                column[slot] = key;
            }
            head.values.extend_from_slice(value);
            head.n_tokens += 1;
        }
    }
}

impl HeadCache {
    pub(super) fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// Asks for what [`Self::scores`] will read.
    pub(super) fn prefetch_keys(&self, [d, first]: [usize; 2]) {
        ask_for(&self.keys[first * d..]);
    }

    /// Asks for what [`Self::sum_values`] will read.
    pub(super) fn prefetch_values(&self, [d, first]: [usize; 2]) {
        ask_for(&self.values[first * d..]);
    }

    /// `queries . keys` of all tokens from `first` on, a multiple of [`GROUP`], and of the empty places
    /// of the last group: `scores` begins with that of token `first`, its rows are `stride` apart.
    pub(super) fn scores(
        &self,
        scores: &mut [f32],
        stride: usize,
        queries: Rows<'_>,
        [d, first]: [usize; 2],
    ) {
        let keys = Panel {
            data: &self.keys[first * d..],
            n_k: d,
            n_columns: self.n_tokens.next_multiple_of(GROUP) - first,
            row_stride: GROUP,
            group_stride: d * GROUP,
        };
        panel_products(scores, stride, Begin::Anew, queries, keys);
    }

    /// `weights . values` of all tokens from `first` on: `out` is `[n, d]`, the rows of the weights begin
    /// with that of token `first`.
    pub(super) fn sum_values(
        &self,
        out: &mut [f32],
        begin: Begin,
        weights: Rows<'_>,
        [d, first]: [usize; 2],
    ) {
        let values = Panel {
            data: &self.values[first * d..],
            n_k: self.n_tokens - first,
            n_columns: d,
            row_stride: d,
            group_stride: GROUP,
        };
        panel_products(out, d, begin, weights, values);
    }
}

/// Asks for numbers that will be read soon, unless they are so few that the nearest caches hold them.
fn ask_for(numbers: &[f32]) {
    if numbers.len() >= MANY {
        prefetch(numbers);
    }
}
