//! Requests to a sampler and their results.

/// Settings of sampling.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingSettings {
    /// Sampling temperature; 0 means greedy.
    pub temperature: f32,
    /// Nucleus (top-p) sampling threshold; 1 keeps all tokens.
    pub top_p: f32,
    /// Keeps this many of the most probable tokens (top-k); 0 keeps all.
    pub top_k: usize,
    /// Maximum sample length in tokens; the context length is another limit.
    pub max_new_tokens: usize,
    /// Stop tokens: a sample ends with the first of these.
    pub stop_tokens: Vec<u32>,
    /// Seed of the run. The random stream of a sample depends only on this, its request's key and
    /// its number, so neither order nor batch size changes it.
    pub seed: u64,
}

/// A prompt and the number of samples to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleRequest {
    /// The prompt, not empty. Its keys and values are computed once for all samples.
    pub prompt: Vec<u32>,
    /// Identifies the problem in the seed of each sample.
    pub key: u64,
    /// Number of the first sample: a resumed run draws samples `first_sample..`.
    pub first_sample: u64,
    /// Number of samples.
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
