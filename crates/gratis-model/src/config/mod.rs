//! The shape of a decoder: one description for the whole Llama family.
//!
//! The families (Llama, Mistral, Qwen2, Qwen3) share one decoder: RMSNorm, rotary positions,
//! grouped-query attention, SwiGLU. Their differences are data here, so there is one forward and
//! one backward pass. [`json`] reads and writes them as `config.json`.

pub mod generation;
pub mod json;

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
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 4] = [Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3];

    /// The name in the `architectures` entry of `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Mistral => "MistralForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
        }
    }

    /// The name of the class without a language-model head.
    pub fn trunk_name(self) -> &'static str {
        match self {
            Self::Llama => "LlamaModel",
            Self::Mistral => "MistralModel",
            Self::Qwen2 => "Qwen2Model",
            Self::Qwen3 => "Qwen3Model",
        }
    }

    /// The `model_type` entry of `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// The extra parameters of this architecture's attention projections.
    pub fn projection_extras(self) -> ProjectionExtras {
        match self {
            Self::Llama | Self::Mistral => ProjectionExtras::None,
            Self::Qwen2 => ProjectionExtras::QkvBias,
            Self::Qwen3 => ProjectionExtras::QkNorm,
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
    /// An RMSNorm over each head's query and key (Qwen3).
    QkNorm,
}

/// How rotary frequencies are scaled beyond the pretraining length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
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
    /// Width of the SwiGLU.
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
    /// Stretch of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Head tied to the embedding or not.
    pub head: Head,
    /// Bias or norm on the attention projections.
    pub projection_extras: ProjectionExtras,
    /// Sliding window: a token attends to this many last tokens, itself included; `None` for all.
    pub sliding_window: Option<usize>,
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
        rope_scaling: RopeScaling::None,
        head: Head::Untied,
        projection_extras: ProjectionExtras::None,
        sliding_window: None,
        bos_token: None,
        eos_tokens: Vec::new(),
    };

    /// Width of all query heads together.
    pub fn query_size(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn key_value_size(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }
}
