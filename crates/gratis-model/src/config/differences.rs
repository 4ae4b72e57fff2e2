//! The differences between the families of the decoder, beyond its sizes.

/// What a family has of its own in its `config.json`, beyond what its name implies. [`ModelConfig`]
/// gives the values layer by layer.
///
/// [`ModelConfig`]: super::ModelConfig
#[derive(Debug, Clone, PartialEq)]
pub struct Differences {
    /// Biases of the feed-forward.
    pub(crate) feed_forward_bias: FeedForwardBias,
    /// The kind of each layer; empty if all have the window and [`LayerRope::Global`].
    pub(crate) layer_kinds: Vec<LayerKind>,
    /// Constant factors.
    pub(crate) multipliers: Multipliers,
    /// Limits of scores and logits.
    pub(crate) soft_caps: SoftCaps,
}

impl Differences {
    /// None: a plain Llama.
    pub const NONE: Self = Self {
        feed_forward_bias: FeedForwardBias::None,
        layer_kinds: Vec::new(),
        multipliers: Multipliers::NONE,
        soft_caps: SoftCaps::NONE,
    };
}

/// Where the norms of a layer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NormPlacement {
    /// Before attention and before the feed-forward: `x += f(norm(x))`.
    Before,
    /// After them: `x += norm(f(x))` (OLMo 2 and 3).
    After,
    /// Before and after: `x += norm(f(norm(x)))` (Gemma 2 and 3).
    Around,
}

impl NormPlacement {
    /// Whether the input of attention and feed-forward is normed.
    pub(crate) fn is_before(self) -> bool {
        self != Self::After
    }

    /// Whether their output is normed.
    pub(crate) fn is_after(self) -> bool {
        self != Self::Before
    }
}

/// The activation of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `g / (1 + e^-g)`.
    Silu,
    /// GELU by its tanh approximation (Gemma).
    GeluTanh,
}

/// Biases of the feed-forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FeedForwardBias {
    /// None.
    None,
    /// On gate, up and down (Llama with `mlp_bias`).
    All,
}

/// What a layer attends to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum AttentionSpan {
    /// The sliding window, if the model has one.
    #[default]
    Window,
    /// Everything before.
    Full,
}

/// How a layer turns queries and keys by their positions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LayerRope {
    /// By the frequencies of the model, scaled.
    #[default]
    Global,
    /// By those of a base of its own, without scaling (Gemma 3, OLMo 3).
    Local,
    /// Not at all (SmolLM3).
    None,
}

/// The kind of a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LayerKind {
    /// What it attends to.
    pub(crate) span: AttentionSpan,
    /// How it knows positions.
    pub(crate) rope: LayerRope,
}

/// Constant factors (Granite, Gemma).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Multipliers {
    /// Of the embeddings.
    pub(crate) embedding: f32,
    /// Of what attention and feed-forward add to the residual stream.
    pub(crate) residual: f32,
    /// Of the attention scores; `None` for `1 / sqrt(head_dim)`.
    pub(crate) attention: Option<f32>,
    /// The logits are divided by this.
    pub(crate) logits_divisor: f32,
}

impl Multipliers {
    /// None.
    pub(crate) const NONE: Self =
        Self { embedding: 1.0, residual: 1.0, attention: None, logits_divisor: 1.0 };
}

/// `cap * tanh(x / cap)` of attention scores and of logits (Gemma 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SoftCaps {
    /// Of the scores.
    pub(crate) attention: Option<f32>,
    /// Of the logits.
    pub(crate) logits: Option<f32>,
}

impl SoftCaps {
    /// None.
    pub(crate) const NONE: Self = Self { attention: None, logits: None };
}

/// What the weights of the chosen experts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpertWeights {
    /// Their probabilities among all experts.
    Probabilities,
    /// These divided by their sum (`norm_topk_prob`).
    Normalised,
}

/// A mixture of experts as feed-forward (Qwen2-MoE, Qwen3-MoE): each token is given to the experts
/// to which the router gives the largest probabilities, and their outputs are added, each times its
/// weight. Of experts with equal probabilities the first are chosen; `transformers` leaves open
/// which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experts {
    /// Number of experts in a layer.
    pub n_experts: usize,
    /// Number of experts that a token is given to.
    pub n_active: usize,
    /// Inner width of an expert.
    pub intermediate_size: usize,
    /// Inner width of an expert for all tokens, whose weight is the sigmoid of a gate of its own
    /// (Qwen2-MoE).
    pub shared_intermediate_size: Option<usize>,
    /// What the experts' outputs are multiplied with.
    pub weights: ExpertWeights,
    /// Layers with a plain feed-forward of the model's own width, ascending.
    pub dense_layers: Vec<usize>,
}

impl Experts {
    /// Inner width of all that a token passes through in a layer.
    pub fn active_size(&self) -> usize {
        self.n_active * self.intermediate_size + self.shared_intermediate_size.unwrap_or(0)
    }
}
