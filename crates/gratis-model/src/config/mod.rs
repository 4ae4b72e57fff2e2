//! The shape of a decoder: one description for the whole Llama family.
//!
//! The families share one decoder: RMSNorm, rotary positions, grouped-query attention, a gated
//! feed-forward. Their differences are data here, so there is one forward and one backward pass.
//! [`json`] reads and writes them as `config.json`.

mod differences;
pub mod generation;
pub mod json;

pub use differences::{Activation, Differences, ExpertWeights, Experts, LayerRope};
pub(crate) use differences::{
    AttentionSpan, FeedForwardBias, LayerKind, Multipliers, NormPlacement, SoftCaps,
};

/// The architectures that can be run, by their Hugging Face name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `LlamaForCausalLM`.
    Llama,
    /// `MistralForCausalLM`.
    Mistral,
    /// `Qwen2ForCausalLM`.
    Qwen2,
    /// `Qwen3ForCausalLM`.
    Qwen3,
    /// `Qwen2MoeForCausalLM`.
    Qwen2Moe,
    /// `Qwen3MoeForCausalLM`.
    Qwen3Moe,
    /// `Phi3ForCausalLM`: Phi-3, Phi-3.5, Phi-4 and Phi-4-mini.
    Phi3,
    /// `SmolLM3ForCausalLM`.
    SmolLm3,
    /// `GraniteForCausalLM`.
    Granite,
    /// `Olmo2ForCausalLM`.
    Olmo2,
    /// `Olmo3ForCausalLM`.
    Olmo3,
    /// `Gemma2ForCausalLM`.
    Gemma2,
    /// `Gemma3ForCausalLM`, the models of text alone.
    Gemma3,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 13] = [
        Self::Llama,
        Self::Mistral,
        Self::Qwen2,
        Self::Qwen3,
        Self::Qwen2Moe,
        Self::Qwen3Moe,
        Self::Phi3,
        Self::SmolLm3,
        Self::Granite,
        Self::Olmo2,
        Self::Olmo3,
        Self::Gemma2,
        Self::Gemma3,
    ];

    /// The name in the `architectures` entry of `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Mistral => "MistralForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::Qwen2Moe => "Qwen2MoeForCausalLM",
            Self::Qwen3Moe => "Qwen3MoeForCausalLM",
            Self::Phi3 => "Phi3ForCausalLM",
            Self::SmolLm3 => "SmolLM3ForCausalLM",
            Self::Granite => "GraniteForCausalLM",
            Self::Olmo2 => "Olmo2ForCausalLM",
            Self::Olmo3 => "Olmo3ForCausalLM",
            Self::Gemma2 => "Gemma2ForCausalLM",
            Self::Gemma3 => "Gemma3ForCausalLM",
        }
    }

    /// The name of the class without a language-model head.
    pub fn trunk_name(self) -> &'static str {
        match self {
            Self::Llama => "LlamaModel",
            Self::Mistral => "MistralModel",
            Self::Qwen2 => "Qwen2Model",
            Self::Qwen3 => "Qwen3Model",
            Self::Qwen2Moe => "Qwen2MoeModel",
            Self::Qwen3Moe => "Qwen3MoeModel",
            Self::Phi3 => "Phi3Model",
            Self::SmolLm3 => "SmolLM3Model",
            Self::Granite => "GraniteModel",
            Self::Olmo2 => "Olmo2Model",
            Self::Olmo3 => "Olmo3Model",
            Self::Gemma2 => "Gemma2Model",
            Self::Gemma3 => "Gemma3TextModel",
        }
    }

    /// The `model_type` entry of `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Qwen2Moe => "qwen2_moe",
            Self::Qwen3Moe => "qwen3_moe",
            Self::Phi3 => "phi3",
            Self::SmolLm3 => "smollm3",
            Self::Granite => "granite",
            Self::Olmo2 => "olmo2",
            Self::Olmo3 => "olmo3",
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3_text",
        }
    }

    /// The extra parameters that this architecture's attention projections have by default.
    pub fn projection_extras(self) -> ProjectionExtras {
        match self {
            Self::Qwen2 | Self::Qwen2Moe => ProjectionExtras::QkvBias,
            Self::Qwen3 | Self::Qwen3Moe | Self::Gemma3 => ProjectionExtras::QkNorm,
            Self::Olmo2 | Self::Olmo3 => ProjectionExtras::WholeQkNorm,
            _ => ProjectionExtras::None,
        }
    }

    /// Whether `attention_bias` and `mlp_bias` of its configuration are followed.
    pub fn has_optional_biases(self) -> bool {
        matches!(self, Self::Llama | Self::SmolLm3 | Self::Granite)
    }

    /// Whether feed-forwards of its layers are mixtures of experts.
    pub fn has_experts(self) -> bool {
        matches!(self, Self::Qwen2Moe | Self::Qwen3Moe)
    }

    /// Where its norms stand.
    pub(crate) fn norm_placement(self) -> NormPlacement {
        match self {
            Self::Olmo2 | Self::Olmo3 => NormPlacement::After,
            Self::Gemma2 | Self::Gemma3 => NormPlacement::Around,
            _ => NormPlacement::Before,
        }
    }

    /// Whether the output of attention and feed-forward is normed before it is added to the residual
    /// stream.
    pub fn norms_outputs(self) -> bool {
        self.norm_placement().is_after()
    }

    /// What is added to the weights of its norms: `y = (offset + w) x / rms(x)`.
    pub fn norm_offset(self) -> f32 {
        match self {
            Self::Gemma2 | Self::Gemma3 => 1.0,
            _ => 0.0,
        }
    }

    /// The activation of its feed-forward.
    pub fn activation(self) -> Activation {
        match self {
            Self::Gemma2 | Self::Gemma3 => Activation::GeluTanh,
            _ => Activation::Silu,
        }
    }
}

/// Whether the language-model head reuses the token embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// The head is the embedding matrix.
    Tied,
    /// The head is a matrix of its own, `lm_head.weight`.
    Untied,
}

/// Extra parameters of the attention projections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectionExtras {
    /// Nothing (Llama, Mistral).
    None,
    /// A bias on queries, keys and values (Qwen2).
    QkvBias,
    /// A bias on queries, keys, values and the output (Llama with `attention_bias`).
    AttentionBias,
    /// An RMSNorm over each head's query and key (Qwen3, Gemma 3).
    QkNorm,
    /// An RMSNorm over all queries and one over all keys of a token (OLMo 2 and 3).
    WholeQkNorm,
}

impl ProjectionExtras {
    /// Whether queries and keys are normed.
    pub fn has_qk_norm(self) -> bool {
        matches!(self, Self::QkNorm | Self::WholeQkNorm)
    }
}

/// How rotary frequencies are scaled beyond the pretraining length.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies divided by the factor.
    Linear {
        /// Divides the frequencies.
        factor: f64,
    },
    /// The base grows with sequences longer than the context, which are refused here: within the
    /// context, not at all.
    Dynamic {
        /// Recorded only.
        factor: f64,
    },
    /// Low frequencies divided, high ones kept, a ramp between, and attention sharpened (YaRN,
    /// arXiv:2309.00071).
    Yarn {
        /// Divides the low frequencies.
        factor: f64,
        /// Pairs that turn more often within the pretraining length are kept.
        beta_fast: f64,
        /// Pairs that turn less often are divided.
        beta_slow: f64,
        /// Positions of the pretraining.
        original_context_length: usize,
        /// Multiplies cosines and sines.
        attention_factor: f64,
        /// Whether the ends of the ramp are whole numbers.
        truncate: bool,
    },
    /// A divisor for each frequency (LongRoPE, arXiv:2402.13753). Sequences beyond the pretraining
    /// length have other divisors, for all of their positions: the context ends there.
    LongRope {
        /// Divisors within the pretraining length: `[rotary_dim / 2]`.
        short_factors: Vec<f64>,
        /// Divisors beyond it, recorded only: `[rotary_dim / 2]`.
        long_factors: Vec<f64>,
        /// `max_position_embeddings` of the configuration.
        extended_context_length: usize,
        /// Multiplies cosines and sines.
        attention_factor: f64,
    },
    /// By frequency, as in Llama 3.1.
    Llama3 {
        /// Divides the low frequencies.
        factor: f64,
        /// Wavelengths above `original_context_length / low_frequency_factor` are low.
        low_frequency_factor: f64,
        /// Wavelengths below `original_context_length / high_frequency_factor` stay.
        high_frequency_factor: f64,
        /// Positions of the pretraining.
        original_context_length: usize,
    },
}

/// The shape of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Family, which names the `architectures` entry of `config.json`.
    pub architecture: Architecture,
    /// Number of tokens in the vocabulary (rows of the embedding).
    pub vocab_size: usize,
    /// Width of the residual stream, `d_model`.
    pub hidden_size: usize,
    /// Width of the SwiGLU; not of experts, which have their own.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub n_layers: usize,
    /// Number of query heads.
    pub n_heads: usize,
    /// Number of key-value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of a head; even.
    pub head_dim: usize,
    /// Longest sequence, in tokens.
    pub context_length: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_epsilon: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Base of the frequencies of layers with [`LayerRope::Local`].
    pub local_rope_theta: f64,
    /// Share of a head that is turned by its position, from its beginning.
    pub rotary_fraction: f64,
    /// Stretch of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Head tied to the embedding or not.
    pub head: Head,
    /// Bias or norm on the attention projections.
    pub projection_extras: ProjectionExtras,
    /// Experts instead of the feed-forward, in all layers or some.
    pub experts: Option<Experts>,
    /// Sliding window: a token attends to this many last tokens, itself included; `None` for all.
    pub sliding_window: Option<usize>,
    /// What the family has of its own: biases, kinds of layers, constant factors.
    pub differences: Differences,
    /// Token that begins a sequence.
    pub bos_token: Option<u32>,
    /// Tokens that end a sequence.
    pub eos_tokens: Vec<u32>,
}

impl ModelConfig {
    /// A plain Llama with an untied head and no special tokens, whose sizes are 0 and must be set:
    /// `ModelConfig { vocab_size, hidden_size, .., ..ModelConfig::LLAMA }`.
    pub const LLAMA: Self = Self {
        architecture: Architecture::Llama,
        vocab_size: 0,
        hidden_size: 0,
        intermediate_size: 0,
        n_layers: 0,
        n_heads: 0,
        n_kv_heads: 0,
        head_dim: 0,
        context_length: 0,
        rms_norm_epsilon: 1e-5,
        rope_theta: 10_000.0,
        local_rope_theta: 10_000.0,
        rotary_fraction: 1.0,
        rope_scaling: RopeScaling::None,
        head: Head::Untied,
        projection_extras: ProjectionExtras::None,
        experts: None,
        sliding_window: None,
        differences: Differences::NONE,
        bos_token: None,
        eos_tokens: Vec::new(),
    };

    /// Values of a head that are turned; even.
    pub fn rotary_dim(&self) -> usize {
        (self.head_dim as f64 * self.rotary_fraction) as usize
    }

    /// Factor of the attention scores: `1 / sqrt(head_dim)` unless the model has its own.
    pub fn attention_scale(&self) -> f32 {
        self.differences.multipliers.attention.unwrap_or(1.0 / (self.head_dim as f32).sqrt())
    }

    /// Factor of the embeddings.
    pub fn embedding_multiplier(&self) -> f32 {
        self.differences.multipliers.embedding
    }

    /// Factor of what attention and feed-forward add to the residual stream.
    pub fn residual_multiplier(&self) -> f32 {
        self.differences.multipliers.residual
    }

    /// Factor of the logits.
    pub fn logits_scale(&self) -> f32 {
        1.0 / self.differences.multipliers.logits_divisor
    }

    /// Limit of the attention scores `x`, which become `cap * tanh(x / cap)`.
    pub fn attention_cap(&self) -> Option<f32> {
        self.differences.soft_caps.attention
    }

    /// Limit of the logits, likewise.
    pub fn logits_cap(&self) -> Option<f32> {
        self.differences.soft_caps.logits
    }

    fn layer_kind(&self, layer_idx: usize) -> LayerKind {
        self.differences.layer_kinds.get(layer_idx).copied().unwrap_or_default()
    }

    /// How a layer turns queries and keys by their positions.
    pub fn rope_of(&self, layer_idx: usize) -> LayerRope {
        self.layer_kind(layer_idx).rope
    }

    /// Whether some layers have the sliding window and others may attend to everything before.
    pub fn has_mixed_windows(&self) -> bool {
        self.sliding_window.is_some() && !self.differences.layer_kinds.is_empty()
    }

    /// How many last tokens a layer attends to; `None` for all.
    pub fn window_of(&self, layer_idx: usize) -> Option<usize> {
        match self.layer_kind(layer_idx).span {
            AttentionSpan::Window => self.sliding_window,
            AttentionSpan::Full => None,
        }
    }

    /// The experts of a layer; `None` if its feed-forward is a plain one.
    pub fn experts_of(&self, layer_idx: usize) -> Option<&Experts> {
        self.experts.as_ref().filter(|experts| !experts.dense_layers.contains(&layer_idx))
    }

    /// Inner width of all that a token passes through in the feed-forward of a layer.
    pub fn active_intermediate_size(&self, layer_idx: usize) -> usize {
        self.experts_of(layer_idx).map_or(self.intermediate_size, Experts::active_size)
    }

    /// The largest [`Self::active_intermediate_size`] of the layers.
    pub fn widest_feed_forward(&self) -> usize {
        let layers = 0..self.n_layers;
        layers.map(|layer| self.active_intermediate_size(layer)).max().unwrap_or(0)
    }

    /// Whether any layer turns by [`LayerRope::Local`].
    pub fn has_local_rope(&self) -> bool {
        self.differences.layer_kinds.iter().any(|kind| kind.rope == LayerRope::Local)
    }

    /// Width of all query heads together.
    pub fn query_size(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn key_value_size(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }
}
