//! The native engine: a decoder on the CPU, in f32, with an explicit backward pass.
//!
//! A batch is cut into one part a thread; each thread computes its part alone, with its own buffers
//! and its own gradient, and the gradients are added in the order of the parts. So the same seed,
//! data and number of threads give the same bits. Where a batch has fewer parts than there are
//! threads, as with a single response, those left over share the products with the weights, which
//! changes no bit.

mod making;
mod pass;

use std::path::Path;

use crate::batch::{PackedBatch, TokenValues};
use crate::checkpoint::{self, WeightType};
use crate::config::ModelConfig;
use crate::engine::{
    Engine, EngineDescription, OptimizerStep, Sample, SampleRequest, SamplingSettings, StepReport,
};
use crate::error::{Error, Result};
use crate::layout::{Layout, TensorSpec};
use crate::lora::{Adapter, LoraSettings, peft};
use crate::model::{Decoder, Workspace};
use crate::optimizer::AdamW;
use crate::sampling;
use crate::value::{ValueEngine, ValueHead};
use crate::weights::{Parameters, Weights};
use pass::Output;
pub(crate) use pass::SCORING_TOKENS;

const CANNOT_CHANGE_MAPPED: Error =
    Error::Unsupported { engine: "native", what: "change weights that are mapped: load them" };

const ADAPTER_UNDER_HEAD: Error =
    Error::Unsupported { engine: "native", what: "use an adapter under a scalar head: merge it" };

/// What the backward pass computes a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recompute {
    /// Nothing: every layer's activations are kept.
    #[default]
    Nothing,
    /// Each layer's forward pass: only the layers' inputs are kept, for about a third more time.
    Layers,
}

/// Where the weights are while they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightStorage {
    /// In memory, four bytes a parameter.
    #[default]
    Loaded,
    /// In the mapped files of the checkpoint, from which they are widened tile by tile for all rows
    /// of a batch: the same log-probabilities to the bit, with the files' size at most, of which
    /// the system keeps in memory what there is room for. The base can then not be trained; an
    /// adapter to it can.
    Mapped,
}

/// How the native engine uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeOptions {
    /// Threads that compute, at least one. Results depend on it in the last bits.
    pub n_threads: usize,
    /// Trades time for memory in training.
    pub recompute: Recompute,
    /// Where the weights of a checkpoint stay; for [`NativeEngine::load`].
    pub weights: WeightStorage,
}

impl Default for NativeOptions {
    /// One thread, nothing recomputed, weights in memory.
    fn default() -> Self {
        Self { n_threads: 1, recompute: Recompute::Nothing, weights: WeightStorage::Loaded }
    }
}

/// A causal language model on the CPU, with a scalar head if it was given one.
#[derive(Debug)]
pub struct NativeEngine {
    decoder: Decoder,
    parameters: Parameters,
    /// What is trained in the place of the parameters, if it is there.
    adapter: Option<Adapter>,
    /// Of what is trained. Accumulated since the last step; empty before the first backward pass.
    gradient: Vec<f32>,
    optimizer: AdamW,
    recompute: Recompute,
    workers: Vec<Worker>,
    pool: rayon::ThreadPool,
}

/// What a thread has to itself.
#[derive(Debug, Default)]
struct Worker {
    workspace: Workspace,
    /// Gradient of the thread's part; unused by the first, which adds to the engine's directly.
    gradient: Vec<f32>,
}

impl NativeEngine {
    /// The head learns at this many times the learning rate of the other parameters; 1 at first.
    pub fn set_head_learning_rate_factor(&mut self, factor: f64) {
        if let Some(head) = &mut self.decoder.layout.value_head {
            head.learning_rate_factor = factor;
        }
    }

    /// Whether the weights stay in mapped files.
    pub fn is_mapped(&self) -> bool {
        self.parameters.loaded().is_none()
    }

    /// The shape of the adapter, if there is one.
    pub fn adapter(&self) -> Option<&LoraSettings> {
        self.adapter.as_ref().map(|adapter| &adapter.settings)
    }

    /// Writes the weights without an adapter as a Hugging Face folder, stored as `weights`;
    /// [`Engine::save_weights`] stores them in full.
    ///
    /// # Errors
    /// As [`checkpoint::write`]; [`Error::Unsupported`] if they are mapped.
    pub fn save_weights_as(&self, folder: &Path, weights: WeightType) -> Result<()> {
        let parameters = self.parameters.loaded().ok_or(CANNOT_CHANGE_MAPPED)?;
        checkpoint::write(folder, self.config(), self.layout(), parameters, weights)
    }

    /// The shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.decoder.config
    }

    /// Where each parameter stands in [`Self::parameters`].
    pub fn layout(&self) -> &Layout {
        &self.decoder.layout
    }

    /// All parameters of the model without its adapter, in the order of [`Self::layout`]; empty if
    /// they are mapped.
    pub fn parameters(&self) -> &[f32] {
        self.parameters.loaded().unwrap_or_default()
    }

    /// The tensors that are trained: those of the adapter by peft's names if there is one, all of
    /// [`Self::layout`] otherwise.
    pub fn trained_tensors(&self) -> &[TensorSpec] {
        match &self.adapter {
            Some(adapter) => &adapter.tensors,
            None => &self.layout().tensors,
        }
    }

    /// What is trained, in the order of [`Self::trained_tensors`].
    pub fn trained_parameters(&self) -> &[f32] {
        match &self.adapter {
            Some(adapter) => &adapter.parameters,
            None => self.parameters(),
        }
    }

    /// Sets what is trained, in the order of [`Self::trained_tensors`].
    ///
    /// # Errors
    /// [`Error::ParameterCount`]; [`Error::Unsupported`] if it is mapped.
    pub fn set_trained_parameters(&mut self, parameters: &[f32]) -> Result<()> {
        let own = match &mut self.adapter {
            Some(adapter) => &mut adapter.parameters[..],
            None => self.parameters.loaded_mut().ok_or(CANNOT_CHANGE_MAPPED)?,
        };
        if own.len() != parameters.len() {
            return Err(Error::ParameterCount { expected: own.len(), got: parameters.len() });
        }
        own.copy_from_slice(parameters);
        Ok(())
    }

    /// The accumulated gradient, in the order of [`Self::trained_tensors`]; empty before the first
    /// backward pass.
    pub fn gradient(&self) -> &[f32] {
        &self.gradient
    }
}

impl Engine for NativeEngine {
    fn describe(&self) -> EngineDescription {
        let config = self.config();
        EngineDescription {
            architecture: config.architecture.name().to_owned(),
            n_parameters: self.layout().n_parameters()
                + self.adapter.as_ref().map_or(0, |adapter| adapter.parameters.len()),
            vocab_size: config.vocab_size,
            context_length: config.context_length,
        }
    }

    fn log_probs(&mut self, batch: &PackedBatch) -> Result<TokenValues> {
        self.score(batch, Output::LogProbs)
    }

    fn forward_backward(
        &mut self,
        batch: &PackedBatch,
        weigh: &mut dyn FnMut(&TokenValues) -> Option<TokenValues>,
    ) -> Result<TokenValues> {
        self.pass(batch, Output::LogProbs, weigh)
    }

    fn optimizer_step(&mut self, step: &OptimizerStep) -> Result<StepReport> {
        let Self { decoder, parameters, adapter, gradient, optimizer, pool, .. } = self;
        let layout = &decoder.layout;
        let report = if let Some(Adapter { parameters, tensors, .. }) = adapter {
            gradient.resize(parameters.len(), 0.0);
            pool.install(|| optimizer.step(parameters, gradient, tensors, |_| 1.0, step))
        } else {
            let parameters = parameters.loaded_mut().ok_or(CANNOT_CHANGE_MAPPED)?;
            gradient.resize(parameters.len(), 0.0);
            let factor_of = |tensor: &TensorSpec| layout.learning_rate_factor(tensor);
            pool.install(|| optimizer.step(parameters, gradient, &layout.tensors, factor_of, step))
        };
        gradient.fill(0.0);
        report
    }

    fn discard_gradient(&mut self) {
        self.gradient.fill(0.0);
    }

    fn sample(
        &mut self,
        requests: &[SampleRequest],
        settings: &SamplingSettings,
    ) -> Result<Vec<Vec<Sample>>> {
        let longest = sampling::longest(requests, settings, &self.decoder.config)?;
        self.decoder.rope.extend_to(longest);
        let Self { decoder, parameters, adapter, workers, pool, .. } = self;
        let weights = Weights { base: parameters.view(), adapter: adapter.as_ref() };
        let n_rows = sampling::rows_within_memory(longest, workers.len(), &decoder.config);
        let crew = sampling::Crew { n_workers: workers.len(), n_rows };
        pool.install(|| sampling::sample(decoder, weights, requests, settings, crew))
    }

    /// The adapter alone, in the layout of peft, if there is one.
    fn save_weights(&self, folder: &Path) -> Result<()> {
        match &self.adapter {
            Some(adapter) => peft::write(folder, adapter),
            None => self.save_weights_as(folder, WeightType::F32),
        }
    }

    /// What is trained, without a base that is not.
    fn save_state(&self, folder: &Path) -> Result<()> {
        let (tensors, parameters) = (self.trained_tensors(), self.trained_parameters());
        checkpoint::write_state(folder, tensors, parameters, &self.optimizer)
    }

    /// Forgets the accumulated gradient as well.
    fn load_state(&mut self, folder: &Path) -> Result<()> {
        let (parameters, optimizer) = checkpoint::read_state(folder, self.trained_tensors())?;
        self.set_trained_parameters(&parameters)?;
        self.optimizer = optimizer;
        self.discard_gradient();
        Ok(())
    }
}

impl ValueEngine for NativeEngine {
    fn value_head(&self) -> Result<ValueHead> {
        let head = self.layout().value_head.as_ref().ok_or(Error::NoValueHead)?;
        Ok(head.head)
    }

    fn values(&mut self, batch: &PackedBatch) -> Result<TokenValues> {
        let head = self.value_head()?;
        if self.adapter.is_some() {
            return Err(ADAPTER_UNDER_HEAD);
        }
        self.score(batch, Output::Values(head))
    }

    fn values_backward(
        &mut self,
        batch: &PackedBatch,
        weigh: &mut dyn FnMut(&TokenValues) -> Option<TokenValues>,
    ) -> Result<TokenValues> {
        let head = self.value_head()?;
        if self.adapter.is_some() {
            return Err(ADAPTER_UNDER_HEAD);
        }
        self.pass(batch, Output::Values(head), weigh)
    }
}
