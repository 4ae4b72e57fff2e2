//! What is asked of a sampler, and what it gives.

/// How tokens are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingSettings {
    /// Sampling temperature; 0 means greedy.
    pub temperature: f32,
    /// Nucleus (top-p) sampling threshold; 1 keeps all tokens.
    pub top_p: f32,
    /// Keeps this many of the most probable tokens (top-k); 0 keeps all.
    pub top_k: usize,
    /// Longest sample, in tokens; the context length is a further bound.
    pub max_new_tokens: usize,
    /// A sample ends with the first of these.
    pub stop_tokens: Vec<u32>,
    /// Seed of the run. A sample's own stream depends on this, its request's key and its number
    /// only, so that neither order nor batch size changes it.
    pub seed: u64,
}

/// A prompt and how many samples to draw for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleRequest {
    /// The prompt, not empty. Its keys and values are computed once for all samples.
    pub prompt: Vec<u32>,
    /// Names the problem in the seed of each sample.
    pub key: u64,
    /// Number of the first sample: a resumed run draws samples `first_sample..`.
    pub first_sample: u64,
    /// How many samples.
    pub n_samples: usize,
}

/// Why a sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop token was drawn; it is the sample's last token.
    Stop,
    /// The token budget or the context was exhausted.
    Length,
}

/// A sampled continuation.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The tokens, the stop token included.
    pub tokens: Vec<u32>,
    /// Log-probability of each token under the model at temperature 1 without truncation.
    pub log_probs: Vec<f32>,
    /// Why it ended.
    pub finish: FinishReason,
}
