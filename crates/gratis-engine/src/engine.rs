//! The traits of an engine.
//!
//! A remote service can implement all of them: there is no shared memory, there are no tensors, and
//! the only callback within a pass turns log-probabilities into weights. Each call takes many
//! batches, so an engine can loop over them, stream them or process them concurrently.

use std::path::PathBuf;

use crate::batch::{PackedBatch, TokenValues};
use crate::error::{Error, Result, Stop};
use crate::sampling::{Sample, SampleRequest, SamplingSettings};

/// The model that an engine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelDescription {
    /// Architecture as named by Hugging Face, for example `LlamaForCausalLM`.
    pub architecture: String,
    /// Number of parameters, those of an adapter included.
    pub n_parameters: usize,
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Longest sequence the model accepts, in tokens.
    pub context_length: usize,
    /// Tokens per batch at which the engine scores best.
    pub preferred_batch_tokens: usize,
    /// Batches that the engine processes concurrently; 1 if it processes them in sequence.
    pub n_concurrent_batches: usize,
}

/// One AdamW update; the hyper-parameters are part of the step, because a schedule changes them.
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
    /// Maximum global gradient norm; `None` for no clipping.
    pub max_gradient_norm: Option<f64>,
}

/// The result of an optimizer step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Global norm of the accumulated gradient before clipping.
    pub gradient_norm: f64,
    /// Optimizer steps taken since the model was loaded or its state restored, this one included.
    pub n_steps: u64,
}

/// Where to save a training state: a local engine uses the folder, a remote one the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateName {
    /// Folder to write into.
    pub folder: PathBuf,
    /// Name of the state among those of its run, for example `step-000200`.
    pub name: String,
}

/// Where a saved training state is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateRef {
    /// In a folder on this machine.
    Folder(PathBuf),
    /// With a remote engine, under this URI.
    Uri(String),
}

/// The requests of an engine that runs elsewhere, so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// Requests without an answer yet.
    pub n_in_flight: u64,
    /// Requests that were repeated after a failure.
    pub n_repeated: u64,
}

/// Scores responses; sufficient for ranking.
pub trait Score: Send + Sync {
    /// The model.
    fn describe(&self) -> &ModelDescription;

    /// `log pi(y_t | y_<t)` of every response token: one [`TokenValues`] per batch, in order.
    fn log_probs(&self, batches: &[PackedBatch]) -> Result<Vec<TokenValues>>;

    /// `(1/vocab) sum_v log pi(v | y_<t)` at every response token: the more certain the model, the
    /// lower; `-log vocab` where it is uniform.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless the engine offers it.
    fn mean_log_probs(&self, batches: &[PackedBatch]) -> Result<Vec<TokenValues>> {
        let _ = batches;
        Err(Error::Unsupported { engine: "chosen", what: "average over the vocabulary" })
    }
}

/// Samples continuations of prompts.
pub trait Generate: Send + Sync {
    /// Draws samples. `done` is called once per request, with its index and its samples in the
    /// order of their numbers; requests may finish in any order. After an error, the samples
    /// already passed to `done` are valid.
    fn sample(
        &self,
        requests: &[SampleRequest],
        settings: &SamplingSettings,
        done: &mut dyn FnMut(usize, Vec<Sample>),
    ) -> Result<()>;

    /// Samples that the engine draws concurrently, if it needs many requests to be busy; 1 otherwise.
    fn n_concurrent_samples(&self) -> usize {
        1
    }

    /// The requests so far of an engine that runs elsewhere; `None` for one in this process.
    fn activity(&self) -> Option<Activity> {
        None
    }

    /// As [`Self::sample`], all samples at once: one list per request, in their order.
    ///
    /// # Errors
    /// As [`Self::sample`].
    fn sample_all(
        &self,
        requests: &[SampleRequest],
        settings: &SamplingSettings,
    ) -> Result<Vec<Vec<Sample>>> {
        let mut all = vec![Vec::new(); requests.len()];
        self.sample(requests, settings, &mut |request, samples| all[request] = samples)?;
        Ok(all)
    }
}

/// Computes the weights `w_t = dL/dlp_t` of a batch, given its number in the call, from its
/// log-probabilities.
pub type Weigh<'a> = dyn FnMut(usize, &TokenValues) -> Result<TokenValues, Stop> + 'a;

/// Trains a model by weighted log-likelihood gradients.
pub trait Train: Score {
    /// The batches of one optimizer step: for each, a forward pass, then `weigh`, then a backward
    /// pass that adds `sum_t w_t * d lp_t / dtheta` to the accumulated gradient.
    ///
    /// # Errors
    /// [`Error::Stopped`] if `weigh` stops: the gradient then holds what the batches before it
    /// added, which [`Self::discard_gradient`] forgets.
    fn forward_backward(&mut self, batches: &[PackedBatch], weigh: &mut Weigh<'_>) -> Result<()>;

    /// One AdamW step on the accumulated gradient, which is then zero again.
    ///
    /// # Errors
    /// [`Error::NonFiniteGradient`] if the norm is NaN or infinite: the parameters stay as they
    /// were and the gradient is discarded.
    fn optimizer_step(&mut self, step: &OptimizerStep) -> Result<StepReport>;

    /// Forgets the accumulated gradient.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an engine that cannot.
    fn discard_gradient(&mut self) -> Result<()>;

    /// Saves everything needed to continue training with the same bits: weights, both moments and
    /// the step count.
    fn save_state(&self, to: &StateName) -> Result<StateRef>;

    /// Restores what [`Self::save_state`] saved and forgets the accumulated gradient.
    fn load_state(&mut self, from: &StateRef) -> Result<()>;

    /// Writes the trained weights into a folder, whole or not at all: a Hugging Face folder
    /// (`config.json`, `model.safetensors`), or an adapter in the layout of peft.
    fn save_weights(&self, folder: &std::path::Path) -> Result<()>;
}

/// A model with a scalar head: values per response token instead of log-probabilities. The
/// interface has the same form: values out, `dL/dvalue` in.
pub trait Values: Score {
    /// Number of values of the head per token.
    fn n_channels(&self) -> usize;

    /// The head's values for every response token: a row of `[n_channels, n_tokens]` per response.
    ///
    /// # Errors
    /// [`Error::NoValueHead`] if the model has none.
    fn values(&self, batches: &[PackedBatch]) -> Result<Vec<TokenValues>>;

    /// As [`Self::values`], of some tokens only: `wanted[batch][response]` lists them. Other values may
    /// be anything, NaN included, so an engine may compute less.
    ///
    /// # Errors
    /// As [`Self::values`].
    fn values_at(
        &self,
        batches: &[PackedBatch],
        wanted: &[Vec<Vec<usize>>],
    ) -> Result<Vec<TokenValues>> {
        let _ = wanted;
        self.values(batches)
    }
}

/// Trains a model with a scalar head.
pub trait TrainValues: Values + Train {
    /// As [`Train::forward_backward`] with values: `weigh` returns `dL/dvalue` in the same shape.
    ///
    /// # Errors
    /// As [`Train::forward_backward`] and [`Values::values`].
    fn values_backward(&mut self, batches: &[PackedBatch], weigh: &mut Weigh<'_>) -> Result<()>;
}
