//! The position of each parameter in one flat array.
//!
//! Weights, gradients and both AdamW moments are flat `Vec<f32>` of the same layout, so the
//! optimizer, the global norm and a saved state each take one loop. Names and shapes are those of a
//! Hugging Face checkpoint.

use std::ops::Range;

use crate::config::{
    Architecture, FeedForwardBias, Head, ModelConfig, NormPlacement, ProjectionExtras,
};
use crate::head::ValueHead;

/// A parameter's name, shape and place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Hugging Face name, for example `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Shape, row-major; linear weights are `[n_out, n_in]`.
    pub shape: Vec<usize>,
    /// Place in the flat array.
    pub range: Range<usize>,
}

/// Places of one layer's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerLayout {
    /// RMSNorm before attention: `[hidden]`.
    pub input_norm: Option<Range<usize>>,
    /// Query projection: `[query_size, hidden]`.
    pub query: Range<usize>,
    /// Key projection: `[key_value_size, hidden]`.
    pub key: Range<usize>,
    /// Value projection: `[key_value_size, hidden]`.
    pub value: Range<usize>,
    /// Biases of query, key and value, for [`ProjectionExtras::QkvBias`] and
    /// [`ProjectionExtras::AttentionBias`].
    pub qkv_bias: Option<[Range<usize>; 3]>,
    /// Norms of query and key: `[head_dim]` each, for [`ProjectionExtras::QkNorm`];
    /// `[query_size]` and `[key_value_size]` for [`ProjectionExtras::WholeQkNorm`].
    pub qk_norm: Option<[Range<usize>; 2]>,
    /// Output projection: `[hidden, query_size]`.
    pub output: Range<usize>,
    /// Its bias, for [`ProjectionExtras::AttentionBias`]: `[hidden]`.
    pub output_bias: Option<Range<usize>>,
    /// RMSNorm of what attention adds: `[hidden]`.
    pub attention_out_norm: Option<Range<usize>>,
    /// RMSNorm before the feed-forward: `[hidden]`.
    pub feed_forward_norm: Option<Range<usize>>,
    /// RMSNorm of what the feed-forward adds: `[hidden]`.
    pub feed_forward_out_norm: Option<Range<usize>>,
    /// The feed-forward, or the experts in its place.
    pub feed_forward: FeedForwardLayout,
}

/// Places of what a layer has as its feed-forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedForwardLayout {
    /// One for all tokens.
    Dense(GatedLayout),
    /// Several, of which each token passes through a few.
    Experts(ExpertsLayout),
}

/// Places of one gated feed-forward: `down(activation(gate(x)) * up(x))`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatedLayout {
    /// Inner width, `intermediate`.
    pub intermediate_size: usize,
    /// Gate projection: `[intermediate, hidden]`.
    pub gate: Range<usize>,
    /// Up projection: `[intermediate, hidden]`; follows the gate directly.
    pub up: Range<usize>,
    /// Biases of gate and up, `[intermediate]` each, one after the other.
    pub gate_up_bias: Option<[Range<usize>; 2]>,
    /// Down projection: `[hidden, intermediate]`.
    pub down: Range<usize>,
    /// Its bias: `[hidden]`.
    pub down_bias: Option<Range<usize>>,
}

/// Places of a mixture of experts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpertsLayout {
    /// Logits of the experts: `[n_experts, hidden]`.
    pub router: Range<usize>,
    /// The experts.
    pub experts: Vec<GatedLayout>,
    /// The expert for all tokens, where there is one.
    pub shared: Option<SharedExpertLayout>,
}

/// Places of an expert that every token passes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedExpertLayout {
    /// The expert.
    pub expert: GatedLayout,
    /// Logit of its weight: `[1, hidden]`.
    pub gate: Range<usize>,
}

/// Places of the parameters of a [`ValueHead`]: the last ones of the flat array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueHeadLayout {
    /// What is computed with them.
    pub head: ValueHead,
    /// `P` of [`ValueHead::ActionValue`]: `[hidden, hidden]`.
    pub projection: Option<Range<usize>>,
    /// `w`: `[1, hidden]`.
    pub weight: Range<usize>,
    /// `b`: `[1]`.
    pub bias: Range<usize>,
    /// Weights of the state value: `[1, hidden]`.
    pub state: Option<Range<usize>>,
}

/// Places of all parameters of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Every tensor in flat order, as a checkpoint names it.
    pub tensors: Vec<TensorSpec>,
    /// Token embedding: `[vocab, hidden]`.
    pub embedding: Range<usize>,
    /// The decoder layers.
    pub layers: Vec<LayerLayout>,
    /// Last RMSNorm: `[hidden]`.
    pub final_norm: Range<usize>,
    /// Head: `[vocab, hidden]`; the embedding's place when tied.
    pub head: Range<usize>,
    /// Scalar head, where the model has one.
    pub value_head: Option<ValueHeadLayout>,
}

impl Layout {
    /// The layout of a model of this shape. Query, key and value projections are adjacent, and so
    /// are gate and up, so that each group is one matrix product.
    pub fn new(config: &ModelConfig) -> Self {
        let hidden = config.hidden_size;
        let mut flat = Flat::default();
        let embedding = flat.place("model.embed_tokens.weight", &[config.vocab_size, hidden]);
        let layers = (0..config.n_layers).map(|layer| LayerLayout::new(layer, config, &mut flat));
        let layers = layers.collect();
        let final_norm = flat.place("model.norm.weight", &[hidden]);
        let head = match config.head {
            Head::Tied => embedding.clone(),
            Head::Untied => flat.place("lm_head.weight", &[config.vocab_size, hidden]),
        };
        Self { tensors: flat.tensors, embedding, layers, final_norm, head, value_head: None }
    }

    /// The same layout with the parameters of a scalar head behind it. The names of a linear head
    /// are those of `transformers`' models for token classification.
    #[must_use]
    pub fn with_value_head(self, head: ValueHead) -> Self {
        let hidden = self.final_norm.len();
        let mut flat = Flat { tensors: self.tensors };
        let (projection, weight, bias, state) = match head {
            ValueHead::Linear => (
                None,
                flat.place("score.weight", &[1, hidden]),
                flat.place("score.bias", &[1]),
                None,
            ),
            ValueHead::ActionValue | ValueHead::ActionAndStateValue => (
                Some(flat.place("action_score.projection.weight", &[hidden, hidden])),
                flat.place("action_score.weight", &[1, hidden]),
                flat.place("action_score.bias", &[1]),
                (head == ValueHead::ActionAndStateValue)
                    .then(|| flat.place("state_score.weight", &[1, hidden])),
            ),
        };
        let value_head = ValueHeadLayout { head, projection, weight, bias, state };
        Self { tensors: flat.tensors, value_head: Some(value_head), ..self }
    }

    /// Number of parameters without those of a scalar head.
    pub fn n_trunk_parameters(&self) -> usize {
        self.value_head.as_ref().map_or(self.n_parameters(), |head| {
            head.projection.as_ref().unwrap_or(&head.weight).start
        })
    }

    /// Number of parameters without those of the experts that a token is not given to.
    pub fn n_active_parameters(&self, config: &ModelConfig) -> usize {
        let idle = |layer: &LayerLayout| match (&layer.feed_forward, &config.experts) {
            (FeedForwardLayout::Experts(layout), Some(experts)) => {
                let of_expert = 3 * experts.intermediate_size * config.hidden_size;
                (layout.experts.len() - experts.n_active) * of_expert
            }
            _ => 0,
        };
        self.n_parameters() - self.layers.iter().map(idle).sum::<usize>()
    }

    /// Number of parameters.
    pub fn n_parameters(&self) -> usize {
        self.tensors.last().map_or(0, |tensor| tensor.range.end)
    }
}

impl LayerLayout {
    /// The parameters of a layer, in the order of the flat array.
    fn new(layer: usize, config: &ModelConfig, flat: &mut Flat) -> Self {
        let hidden = config.hidden_size;
        let (q, kv) = (config.query_size(), config.key_value_size());
        let (extras, norms) = (config.projection_extras, config.architecture.norm_placement());
        let is_fused = config.architecture == Architecture::Phi3;
        let mut place = |suffix: &str, shape: &[usize]| {
            flat.place(&format!("model.layers.{layer}.{suffix}"), shape)
        };
        let input_norm = norms.is_before().then(|| place("input_layernorm.weight", &[hidden]));
        let [query, key, value] = if is_fused {
            let all = place("self_attn.qkv_proj.weight", &[q + 2 * kv, hidden]);
            let (key, value) = (all.start + q * hidden, all.end - kv * hidden);
            [all.start..key, key..value, value..all.end]
        } else {
            [("q", q), ("k", kv), ("v", kv)]
                .map(|(which, n)| place(&format!("self_attn.{which}_proj.weight"), &[n, hidden]))
        };
        let has_bias =
            matches!(extras, ProjectionExtras::QkvBias | ProjectionExtras::AttentionBias);
        let qkv_bias = has_bias.then(|| {
            [("q", q), ("k", kv), ("v", kv)]
                .map(|(which, n)| place(&format!("self_attn.{which}_proj.bias"), &[n]))
        });
        let of_norm = match extras {
            ProjectionExtras::WholeQkNorm => [("q", q), ("k", kv)],
            _ => [("q", config.head_dim), ("k", config.head_dim)],
        };
        let qk_norm = extras.has_qk_norm().then(|| {
            of_norm.map(|(which, n)| place(&format!("self_attn.{which}_norm.weight"), &[n]))
        });
        let output = place("self_attn.o_proj.weight", &[hidden, q]);
        let output_bias = (extras == ProjectionExtras::AttentionBias)
            .then(|| place("self_attn.o_proj.bias", &[hidden]));
        let attention_out_norm =
            norms.is_after().then(|| place("post_attention_layernorm.weight", &[hidden]));
        let feed_forward_norm = norms.is_before().then(|| match norms {
            NormPlacement::Around => place("pre_feedforward_layernorm.weight", &[hidden]),
            _ => place("post_attention_layernorm.weight", &[hidden]),
        });
        let feed_forward_out_norm =
            norms.is_after().then(|| place("post_feedforward_layernorm.weight", &[hidden]));
        let feed_forward = FeedForwardLayout::new(layer, config, &mut place);
        Self {
            input_norm,
            query,
            key,
            value,
            qkv_bias,
            qk_norm,
            output,
            output_bias,
            attention_out_norm,
            feed_forward_norm,
            feed_forward_out_norm,
            feed_forward,
        }
    }
}

impl FeedForwardLayout {
    /// The parameters of a layer's feed-forward; `place` takes a name within the layer.
    fn new(
        layer: usize,
        config: &ModelConfig,
        place: &mut impl FnMut(&str, &[usize]) -> Range<usize>,
    ) -> Self {
        let hidden = config.hidden_size;
        let Some(experts) = config.experts_of(layer) else {
            let width = config.intermediate_size;
            let bias = config.differences.feed_forward_bias;
            return Self::Dense(GatedLayout::new("mlp", width, bias, config, place));
        };
        let router = place("mlp.gate.weight", &[experts.n_experts, hidden]);
        let width = experts.intermediate_size;
        let none = FeedForwardBias::None;
        let expert =
            |idx| GatedLayout::new(&format!("mlp.experts.{idx}"), width, none, config, &mut *place);
        let own = (0..experts.n_experts).map(expert).collect();
        let shared = experts.shared_intermediate_size.map(|width| SharedExpertLayout {
            expert: GatedLayout::new("mlp.shared_expert", width, none, config, &mut *place),
            gate: place("mlp.shared_expert_gate.weight", &[1, hidden]),
        });
        Self::Experts(ExpertsLayout { router, experts: own, shared })
    }
}

impl GatedLayout {
    /// The parameters of the feed-forward whose names begin with `prefix`.
    fn new(
        prefix: &str,
        inter: usize,
        bias: FeedForwardBias,
        config: &ModelConfig,
        place: &mut impl FnMut(&str, &[usize]) -> Range<usize>,
    ) -> Self {
        let hidden = config.hidden_size;
        let mut place = |suffix: &str, shape: &[usize]| place(&format!("{prefix}.{suffix}"), shape);
        let [gate, up] = if config.architecture == Architecture::Phi3 {
            let both = place("gate_up_proj.weight", &[2 * inter, hidden]);
            let up = both.start + inter * hidden;
            [both.start..up, up..both.end]
        } else {
            ["gate", "up"].map(|which| place(&format!("{which}_proj.weight"), &[inter, hidden]))
        };
        let has_bias = bias == FeedForwardBias::All;
        let gate_up_bias = has_bias
            .then(|| ["gate", "up"].map(|which| place(&format!("{which}_proj.bias"), &[inter])));
        let down = place("down_proj.weight", &[hidden, inter]);
        let down_bias = has_bias.then(|| place("down_proj.bias", &[hidden]));
        Self { intermediate_size: inter, gate, up, gate_up_bias, down, down_bias }
    }
}

#[derive(Default)]
struct Flat {
    tensors: Vec<TensorSpec>,
}

impl Flat {
    fn place(&mut self, name: &str, shape: &[usize]) -> Range<usize> {
        let start = self.tensors.last().map_or(0, |tensor| tensor.range.end);
        let range = start..start + shape.iter().product::<usize>();
        self.tensors.push(TensorSpec {
            name: name.to_owned(),
            shape: shape.to_vec(),
            range: range.clone(),
        });
        range
    }
}
