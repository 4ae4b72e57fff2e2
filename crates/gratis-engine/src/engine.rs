//! The seam between the paper and a transformer: the [`Engine`] trait.
//!
//! Whatever the objective, its gradient is a weighted log-likelihood gradient,
//! `dL/dtheta = sum_t w_t * d lp_t / dtheta` with `w_t = dL/dlp_t`. So an engine gives
//! log-probabilities, takes weights, and never learns what they mean. Nothing here could not be
//! offered by a remote training service: no shared memory, no tensors, and within a pass no
//! callback beyond log-probabilities out and weights in.

use std::path::Path;

use crate::batch::{PackedBatch, TokenValues};
use crate::error::Result;

/// What an engine says of the model it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineDescription {
    /// Architecture as named by Hugging Face, for example `LlamaForCausalLM`.
    pub architecture: String,
    /// Number of parameters, those of an adapter included.
    pub n_parameters: usize,
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Longest sequence the model accepts, in tokens.
    pub context_length: usize,
}

/// One AdamW update; the hyper-parameters travel with the step, as a schedule changes them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerStep {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay, applied to matrices only.
    pub weight_decay: f64,
    /// The gradient is scaled down to this global norm; `None` for no clipping.
    pub max_gradient_norm: Option<f64>,
}

/// What an optimizer step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Global norm of the accumulated gradient before clipping.
    pub gradient_norm: f64,
    /// Optimizer steps taken since the model was loaded or its state restored, this one included.
    pub n_steps: u64,
}

/// How tokens are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingSettings {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f32,
    /// Keeps the smallest set of most probable tokens whose mass reaches this; 1 keeps all.
    pub top_p: f32,
    /// Keeps this many most probable tokens; 0 keeps all.
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

/// A drawn continuation.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The tokens, the stop token included.
    pub tokens: Vec<u32>,
    /// Log-probability of each token under the model at temperature 1 without truncation.
    pub log_probs: Vec<f32>,
    /// Why it ended.
    pub finish: FinishReason,
}

/// A language model that can be scored, trained and sampled.
pub trait Engine {
    /// What model this is.
    fn describe(&self) -> EngineDescription;

    /// `log pi(y_t | y_<t)` of every response token of `batch`.
    fn log_probs(&mut self, batch: &PackedBatch) -> Result<TokenValues>;

    /// Forward, then `weigh` is given the log-probabilities and answers with `w_t = dL/dlp_t`,
    /// then backward: `sum_t w_t * d lp_t / dtheta` is *added* to the accumulated gradient.
    /// `None` abandons the backward pass and leaves the gradient as it was.
    fn forward_backward(
        &mut self,
        batch: &PackedBatch,
        weigh: &mut dyn FnMut(&TokenValues) -> Option<TokenValues>,
    ) -> Result<TokenValues>;

    /// One AdamW step on the accumulated gradient, which is then zero again.
    ///
    /// # Errors
    /// [`crate::Error::NonFiniteGradient`] if the norm is NaN or infinite: the parameters stay as
    /// they were and the gradient is discarded.
    fn optimizer_step(&mut self, step: &OptimizerStep) -> Result<StepReport>;

    /// Forgets the accumulated gradient.
    fn discard_gradient(&mut self);

    /// Draws samples; the result is in the order of `requests`, one list a request.
    fn sample(
        &mut self,
        requests: &[SampleRequest],
        settings: &SamplingSettings,
    ) -> Result<Vec<Vec<Sample>>>;

    /// Writes the weights as a Hugging Face folder (`config.json`, `model.safetensors`), never
    /// half-written.
    fn save_weights(&self, folder: &Path) -> Result<()>;

    /// Writes everything needed to go on training with the same bits: weights, both moments and the
    /// step count.
    fn save_state(&self, folder: &Path) -> Result<()>;

    /// Restores what [`Engine::save_state`] wrote.
    fn load_state(&mut self, folder: &Path) -> Result<()>;
}
