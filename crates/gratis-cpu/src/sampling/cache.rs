//! Keys and values of the tokens read so far.

use std::sync::Arc;

use crate::kernels::panel::{Begin, GROUP, Panel, Rows, panel_products};
use crate::kernels::vector::prefetch;
use gratis_model::config::ModelConfig;

/// The key-value cache of consecutive tokens.
#[derive(Debug)]
pub(super) struct KeyValues {
    n_kv_heads: usize,
    /// `[n_layers * n_kv_heads]`.
    heads: Vec<HeadCache>,
}

/// Keys and values of one head of a layer.
#[derive(Debug)]
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
    /// Without tokens, but with memory for so many.
    pub(super) fn for_tokens(n_tokens: usize, config: &ModelConfig) -> Self {
        let d = config.head_dim;
        let head = || HeadCache {
            keys: Vec::with_capacity(n_tokens.next_multiple_of(GROUP) * d),
            values: Vec::with_capacity(n_tokens * d),
            n_tokens: 0,
        };
        let n_heads = config.n_layers * config.n_kv_heads;
        let heads = std::iter::repeat_with(head).take(n_heads).collect();
        Self { n_kv_heads: config.n_kv_heads, heads }
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

    /// The same, to be changed.
    pub(super) fn head_mut(&mut self, layer: usize, head: usize) -> &mut HeadCache {
        &mut self.heads[layer * self.n_kv_heads + head]
    }
}

impl HeadCache {
    pub(super) fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// Appends a token: `key` and `value` are `[head_dim]`.
    pub(super) fn push(&mut self, key: &[f32], value: &[f32]) {
        let n_in_group = key.len() * GROUP;
        let slot = self.n_tokens % GROUP;
        if slot == 0 {
            self.keys.resize(self.keys.len() + n_in_group, 0.0);
        }
        let group = self.keys.len() - n_in_group;
        for (column, &key) in self.keys[group..].chunks_exact_mut(GROUP).zip(key) {
            column[slot] = key;
        }
        self.values.extend_from_slice(value);
        self.n_tokens += 1;
    }

    /// Asks for what [`Self::push`] will change.
    pub(super) fn prefetch(&self, d: usize) {
        if !self.n_tokens.is_multiple_of(GROUP) {
            let group = &self.keys[self.keys.len() - d * GROUP..];
            group.chunks_exact(GROUP).for_each(|line| prefetch(line.as_ptr()));
        }
    }

    /// What [`Self::scores`] reads.
    pub(super) fn keys_from(&self, [d, first]: [usize; 2]) -> &[f32] {
        &self.keys[first * d..]
    }

    /// What [`Self::sum_values`] reads.
    pub(super) fn values_from(&self, [d, first]: [usize; 2]) -> &[f32] {
        &self.values[first * d..]
    }

    /// `queries . keys` of all tokens from `first` on, a multiple of [`GROUP`], and of the empty places
    /// of the last group: `scores` begins with that of token `first`, its rows are `stride` apart. The
    /// keys `next` are asked for meanwhile.
    pub(super) fn scores(
        &self,
        scores: &mut [f32],
        stride: usize,
        queries: Rows<'_>,
        [d, first]: [usize; 2],
        next: Option<&[f32]>,
    ) {
        let keys = Panel {
            data: self.keys_from([d, first]),
            n_k: d,
            n_columns: self.n_tokens.next_multiple_of(GROUP) - first,
            row_stride: GROUP,
            group_stride: d * GROUP,
            next,
        };
        panel_products(scores, stride, Begin::Anew, queries, keys);
    }

    /// `weights . values` of all tokens from `first` on: `out` is `[n, d]`, the rows of the weights begin
    /// with that of token `first`. The values `next` are asked for meanwhile.
    pub(super) fn sum_values(
        &self,
        out: &mut [f32],
        begin: Begin,
        weights: Rows<'_>,
        [d, first]: [usize; 2],
        next: Option<&[f32]>,
    ) {
        let values = Panel {
            data: self.values_from([d, first]),
            n_k: self.n_tokens - first,
            n_columns: d,
            row_stride: d,
            group_stride: GROUP,
            next,
        };
        panel_products(out, d, begin, weights, values);
    }
}
