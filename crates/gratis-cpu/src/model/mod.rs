//! One decoder for the Llama family: `x += attention(norm(x)); x += swiglu(norm(x))`, layer after
//! layer, with an explicit backward pass. Norms may also stand behind attention and feed-forward, and
//! constants multiply what they add (`branch`).
//!
//! All arrays are packed rows: `[n_tokens, width]` without padding.

mod activations;
mod backward;
mod branch;
mod experts;
mod feed_forward;
mod forward;
mod frozen_head;
mod head;
mod initialise;
mod readout;
mod routing;
mod value;
mod value_head;

pub(crate) use activations::{FEED_FORWARD_ROWS, Keep, Workspace};
use branch::Out;
pub(crate) use branch::OutScratch;
pub(crate) use experts::ExpertScratch;
pub(crate) use feed_forward::Inside;
pub use initialise::Initialisation;
pub(crate) use initialise::initialise;
pub(crate) use routing::Routing;

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use crate::kernels::attention::AttentionShape;
use crate::kernels::norm::Norm;
use crate::kernels::rope::Ropes;
use crate::matrix::Matrix;
use crate::model::head::HeadWeights;
use crate::weights::Base;
use gratis_model::config::ModelConfig;
use gratis_model::head::ValueHead;
use gratis_model::layout::{FeedForwardLayout, GatedLayout, LayerLayout, Layout};

/// The shape of a model and values derived from it; the parameters are stored separately.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) config: ModelConfig,
    pub(crate) layout: Layout,
    rope: RwLock<Arc<Ropes>>,
}

impl Decoder {
    pub(crate) fn new(config: ModelConfig) -> Self {
        Self {
            layout: Layout::new(&config),
            rope: RwLock::new(Arc::new(Ropes::new(&config))),
            config,
        }
    }

    /// The same decoder with room for a scalar head.
    pub(crate) fn with_value_head(self, head: ValueHead) -> Self {
        Self { layout: self.layout.with_value_head(head), ..self }
    }

    /// Makes sure that the rotary angles of positions `0..n_positions` are known.
    pub(crate) fn know_positions(&self, n_positions: usize) {
        if !self.rope().knows(n_positions) {
            let mut rope = self.rope.write().unwrap_or_else(PoisonError::into_inner);
            Arc::make_mut(&mut rope).extend_to(n_positions);
        }
    }

    /// The rotary angles known so far.
    fn rope(&self) -> Arc<Ropes> {
        Arc::clone(&self.rope.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn attention_shape(&self) -> AttentionShape {
        AttentionShape::new(&self.config)
    }

    /// Query, key and value projections as one matrix `[qkv_size, hidden]`.
    pub(crate) fn qkv(&self, layer: &LayerLayout) -> Matrix {
        Matrix { place: layer.query.start..layer.value.end, n_in: self.config.hidden_size }
    }

    /// Output projection of attention: `[hidden, query_size]`.
    pub(crate) fn output(&self, layer: &LayerLayout) -> Matrix {
        Matrix { place: layer.output.clone(), n_in: self.config.query_size() }
    }

    /// Gate and up projections as one matrix `[2 * intermediate, hidden]`.
    fn gate_up(&self, gated: &GatedLayout) -> Matrix {
        Matrix { place: gated.gate.start..gated.up.end, n_in: self.config.hidden_size }
    }

    /// Down projection: `[hidden, intermediate]`.
    #[expect(clippy::unused_self, reason = "beside the other matrices")]
    fn down(&self, gated: &GatedLayout) -> Matrix {
        Matrix { place: gated.down.clone(), n_in: gated.intermediate_size }
    }

    /// What follows the last map of attention.
    pub(crate) fn attention_out(layer: &LayerLayout) -> Out<'_> {
        let (bias, norm) = (layer.output_bias.as_ref(), layer.attention_out_norm.as_ref());
        Out { bias, norm }
    }

    /// What follows the feed-forward.
    pub(crate) fn feed_forward_out(layer: &LayerLayout) -> Out<'_> {
        let bias = match &layer.feed_forward {
            FeedForwardLayout::Dense(gated) => gated.down_bias.as_ref(),
            FeedForwardLayout::Experts(_) => None,
        };
        Out { bias, norm: layer.feed_forward_out_norm.as_ref() }
    }

    /// Biases of gate and up, one after the other: `[2 * intermediate]`.
    fn gate_up_bias(gated: &GatedLayout) -> Option<Range<usize>> {
        gated.gate_up_bias.as_ref().map(|[gate, up]| gate.start..up.end)
    }

    /// A norm of the model.
    pub(crate) fn norm<'a>(&self, base: Base<'a>, place: &Range<usize>) -> Norm<'a> {
        Norm {
            weight: base.vector(place),
            offset: self.config.architecture.norm_offset(),
            epsilon: self.config.rms_norm_epsilon,
        }
    }

    fn head_weights<'a>(&self, base: Base<'a>) -> HeadWeights<'a> {
        HeadWeights {
            norm: self.norm(base, &self.layout.final_norm),
            base,
            head: self.layout.head.clone(),
            scale: self.config.logits_scale(),
            soft_cap: self.config.logits_cap(),
        }
    }
}

/// A small Llama for unit tests.
#[cfg(test)]
pub(crate) fn test_config() -> ModelConfig {
    ModelConfig {
        vocab_size: 31,
        hidden_size: 16,
        intermediate_size: 24,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 4,
        context_length: 256,
        ..ModelConfig::LLAMA
    }
}
