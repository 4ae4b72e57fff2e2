//! Buffers of a pass over a packed batch, reused from call to call.

use crate::kernels::attention::{AttentionScratch, AttentionShape};
use crate::kernels::matmul::Execution;
use crate::kernels::query_tiles::{QueryTile, query_tiles};
use crate::model::experts::ExpertScratch;
use crate::model::head::{HeadScratch, Predictions};
use crate::model::routing::Routing;
use crate::weights::ProductScratch;
use gratis_engine::PackedBatch;
use gratis_model::config::ModelConfig;

/// How much of the forward pass is kept for a backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing: scoring.
    Nothing,
    /// Each layer's input; the rest of a layer is recomputed in the backward pass.
    Inputs,
    /// All that the backward pass needs.
    Everything,
}

/// A batch with what follows from its shape.
#[derive(Debug, Default)]
pub(crate) struct Geometry {
    /// All tokens: `[n]`.
    pub(super) tokens: Vec<usize>,
    /// Position of each row: `[n]`.
    pub(super) positions: Vec<usize>,
    /// Of the layers with the window.
    tiles: Vec<QueryTile>,
    /// Of the layers without it, where a model has both.
    full_tiles: Option<Vec<QueryTile>>,
    pub(super) predictions: Predictions,
}

impl Geometry {
    fn new(batch: &PackedBatch, config: &ModelConfig) -> Self {
        Self {
            tokens: batch.tokens().iter().map(|&token| token as usize).collect(),
            positions: batch
                .segments()
                .iter()
                .flat_map(|segment| segment.position..segment.position + segment.n_tokens)
                .collect(),
            tiles: query_tiles(batch, config.sliding_window),
            full_tiles: config.has_mixed_windows().then(|| query_tiles(batch, None)),
            predictions: Predictions::new(batch),
        }
    }

    /// Queries and their keys in a layer with this sliding window.
    pub(super) fn tiles(&self, window: Option<usize>) -> &[QueryTile] {
        match (window, &self.full_tiles) {
            (None, Some(tiles)) => tiles,
            _ => &self.tiles,
        }
    }
}

/// The activations that one layer's forward pass keeps for its backward pass.
#[derive(Debug, Default)]
pub(super) struct LayerActivations {
    /// Queries and keys before their norm, where the model has one; the values beside them are not
    /// read: `[n, qkv]`.
    pub(super) raw_qkv: Vec<f32>,
    /// Queries, keys and values, turned: `[n, qkv]`.
    pub(super) qkv: Vec<f32>,
    /// Output of the heads: `[n, query]`.
    pub(super) attention: Vec<f32>,
    /// `[n, n_heads]`.
    pub(super) log_sum_exp: Vec<f32>,
    /// What attention adds, before its norm, where it has one: `[n, d]`.
    pub(super) attention_out: Vec<f32>,
    /// The residual stream after attention: `[n, d]`.
    pub(super) middle: Vec<f32>,
    /// Gate and up: `[n, 2 * inter]`, or those of experts, together no wider than in any layer.
    pub(super) gate_up: Vec<f32>,
    /// The experts of each row, in a layer that has them.
    pub(super) routing: Routing,
}

/// Everything a thread needs for a pass, apart from parameters and gradients.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(super) geometry: Geometry,
    /// The residual stream before each layer and after the last; two of them, in turns, when
    /// nothing is kept: `[n, d]` each.
    pub(super) streams: Vec<Vec<f32>>,
    /// One per layer, or one for all.
    pub(super) layers: Vec<LayerActivations>,
    /// A normed stream: `[n, d]`.
    pub(super) normed: Vec<f32>,
    /// Inside of the SwiGLU: `[n, inter]`.
    pub(super) inner: Vec<f32>,
    pub(super) experts: ExpertScratch,
    /// What a layer's part adds to the stream, where it is changed before it is added: `[n, d]`.
    pub(super) branch: Vec<f32>,
    /// Gradient of the residual stream: `[n, d]`.
    pub(super) dstream: Vec<f32>,
    /// Gradient of a normed stream: `[n, d]`.
    pub(super) dnormed: Vec<f32>,
    /// Gradient of the heads' output: `[n, query]`.
    pub(super) dattention: Vec<f32>,
    /// `[n, qkv]`.
    pub(super) dqkv: Vec<f32>,
    /// Log-sum-exp of the logits: `[n_predicting_rows]`.
    pub(super) log_sum_exp: Vec<f32>,
    /// Means of the head's rows, where it is not trained: `[n_predicting_rows, d]`, or empty.
    pub(super) head_means: Vec<f32>,
    pub(super) attention_scratch: AttentionScratch,
    pub(super) head_scratch: HeadScratch,
    pub(super) product_scratch: ProductScratch,
}

impl Workspace {
    /// How the products with the decoder's matrices are computed from now on.
    pub(crate) fn compute_products(&mut self, execution: Execution) {
        self.product_scratch.execution = execution;
        self.head_scratch.execution = execution;
    }

    /// Makes room for a forward pass over `batch`.
    pub(super) fn prepare(&mut self, batch: &PackedBatch, config: &ModelConfig, keep: Keep) {
        self.geometry = Geometry::new(batch, config);
        let n = batch.n_tokens();
        let d = config.hidden_size;
        let (n_streams, n_layers) = match keep {
            Keep::Nothing => (2, 1),
            Keep::Inputs => (config.n_layers + 1, 1),
            Keep::Everything => (config.n_layers + 1, config.n_layers),
        };
        grow(&mut self.streams, n_streams);
        grow(&mut self.layers, n_layers);
        for stream in &mut self.streams[..n_streams] {
            stream.resize(n * d, 0.0);
        }
        let qkv = AttentionShape::new(config).qkv_size();
        let inter = config.widest_feed_forward();
        let n_inside = rows_of_feed_forward(config, keep).unwrap_or(n).min(n);
        for layer in &mut self.layers[..n_layers] {
            layer.qkv.resize(n * qkv, 0.0);
            if config.architecture.norms_outputs() {
                layer.attention_out.resize(n * d, 0.0);
            }
            if config.projection_extras.has_qk_norm() {
                layer.raw_qkv.resize(n * qkv, 0.0);
            }
            layer.attention.resize(n * config.query_size(), 0.0);
            layer.log_sum_exp.resize(n * config.n_heads, 0.0);
            layer.middle.resize(n * d, 0.0);
            layer.gate_up.resize(n_inside * 2 * inter, 0.0);
        }
        self.normed.resize(n * d, 0.0);
        if changes_branch(config) {
            self.branch.resize(n * d, 0.0);
        }
        self.inner.resize(n_inside * inter, 0.0);
        self.log_sum_exp.resize(self.geometry.predictions.n_rows(), 0.0);
    }

    /// Makes room for a backward pass over the batch of the last forward pass.
    pub(super) fn prepare_backward(&mut self, config: &ModelConfig) {
        let n = self.geometry.tokens.len();
        self.dstream.clear();
        self.dstream.resize(n * config.hidden_size, 0.0);
        self.dnormed.resize(n * config.hidden_size, 0.0);
        self.dattention.resize(n * config.query_size(), 0.0);
        self.dqkv.resize(n * AttentionShape::new(config).qkv_size(), 0.0);
    }
}

/// Rows that go through a feed-forward at a time when nothing of it is kept: few enough that they stay
/// in the processor's caches on the way, many enough that packing the weights takes little.
pub(crate) const FEED_FORWARD_ROWS: usize = 1024;

/// How many rows go through a feed-forward at a time, if not all. Experts have their own groups.
pub(super) fn rows_of_feed_forward(config: &ModelConfig, keep: Keep) -> Option<usize> {
    (keep == Keep::Nothing && config.experts.is_none()).then_some(FEED_FORWARD_ROWS)
}

/// Whether what attention and feed-forward compute is changed before it is added to the stream.
pub(super) fn changes_branch(config: &ModelConfig) -> bool {
    config.architecture.norms_outputs() || config.residual_multiplier() != 1.0
}

fn grow<T: Default>(list: &mut Vec<T>, len: usize) {
    if list.len() < len {
        list.resize_with(len, T::default);
    }
}
