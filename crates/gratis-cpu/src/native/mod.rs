//! The native engine: a decoder on the CPU, in f32, with an explicit backward pass.
//!
//! A batch is split into one part per thread; each thread computes its part with its own buffers
//! and its own gradient, and the gradients are added in the order of the parts. So the same seed,
//! data and number of threads give the same bits. If a batch has fewer parts than there are
//! threads, as with a single response, the remaining threads share the products with the weights,
//! with the same bits.

mod making;
mod pass;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gratis_engine::{
    Generate, ModelDescription, OptimizerStep, PackedBatch, Sample, SampleRequest,
    SamplingSettings, Score, StateName, StateRef, StepReport, TokenValues, Train, TrainValues,
    Values, Weigh,
};
use gratis_model::checkpoint;
use gratis_model::layout::{Layout, TensorSpec};
use gratis_model::lora::{AdapterConfig, LoraSettings, peft};
use gratis_model::{ModelConfig, Readout, ValueHead, WeightType};

use crate::error::{Error, Result};
use crate::kernels::matmul::Precision;
use crate::lora::Adapter;
use crate::model::{Decoder, Workspace};
use crate::optimizer::AdamW;
use crate::sampling;
use crate::state;
use crate::weights::{Parameters, Weights};
use pass::Output;
pub(crate) use pass::SCORING_TOKENS;

const ENGINE: &str = "native";

const CANNOT_CHANGE_MAPPED: gratis_engine::Error = gratis_engine::Error::Unsupported {
    engine: ENGINE,
    what: "change weights that are mapped: load them",
};

const ADAPTER_UNDER_HEAD: gratis_engine::Error = gratis_engine::Error::Unsupported {
    engine: ENGINE,
    what: "use an adapter under a scalar head: merge it",
};

/// What the backward pass recomputes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recompute {
    /// Nothing: every layer's activations are kept.
    #[default]
    Nothing,
    /// Each layer's forward pass: only the layers' inputs are kept, for about a third more time.
    Layers,
}

/// How weights are held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightStorage {
    /// In memory, four bytes per parameter.
    #[default]
    Loaded,
    /// In the mapped files of the checkpoint, from which they are widened (or dequantised) tile by
    /// tile for all rows of a batch: the same log-probabilities to the bit, with the files' size at
    /// most, of which the system keeps in memory what there is room for. The base can then not be
    /// trained; an adapter to it can.
    Mapped,
}

/// How the native engine uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeOptions {
    /// Number of compute threads, at least one. It can change the last bits of results.
    pub n_threads: usize,
    /// Trades time for memory in training.
    pub recompute: Recompute,
    /// Where the weights of a checkpoint stay; for [`NativeEngine::load`]. Quantised weights of a
    /// GGUF file always stay mapped.
    pub weights: WeightStorage,
    /// How factors are rounded in scoring.
    pub precision: Precision,
}

impl Default for NativeOptions {
    /// One thread, nothing recomputed, weights in memory, nothing rounded.
    fn default() -> Self {
        Self {
            n_threads: 1,
            recompute: Recompute::Nothing,
            weights: WeightStorage::Loaded,
            precision: Precision::F32,
        }
    }
}

/// A causal language model on the CPU, with a scalar head if it was given one.
#[derive(Debug)]
pub struct NativeEngine {
    description: ModelDescription,
    decoder: Decoder,
    parameters: Parameters,
    /// What is trained in the place of the parameters, if it is there.
    adapter: Option<Adapter>,
    /// Read in the place of a scalar head; without networks where there is none.
    readout: Readout,
    /// Of what is trained. Accumulated since the last step; empty before the first backward pass.
    gradient: Vec<f32>,
    optimizer: AdamW,
    recompute: Recompute,
    precision: Precision,
    /// Learning rate of a scalar head, relative to that of the other parameters.
    head_learning_rate_factor: f64,
    /// One per thread. A pass has all of them, so that calls from several threads take turns.
    workers: Mutex<Vec<Worker>>,
    n_threads: usize,
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
    /// Sets the learning rate of a scalar head, relative to that of the other parameters; initially
    /// 1.
    pub fn set_head_learning_rate_factor(&mut self, factor: f64) {
        self.head_learning_rate_factor = factor;
    }

    /// The scalar head, if the model has one.
    pub fn value_head(&self) -> Option<ValueHead> {
        self.layout().value_head.as_ref().map(|head| head.head)
    }

    /// How factors are rounded in scoring.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    fn workers(&self) -> MutexGuard<'_, Vec<Worker>> {
        // Buffers are written before they are read: a pass that panicked leaves nothing behind.
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe_anew(mut self) -> Self {
        self.description = description(&self.decoder, self.adapter.as_ref(), self.n_threads);
        self
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
    /// [`Train::save_weights`] stores them in full.
    ///
    /// # Errors
    /// As [`checkpoint::write`]; [`gratis_engine::Error::Unsupported`] if they are mapped.
    pub fn save_weights_as(&self, folder: &Path, weights: WeightType) -> Result<()> {
        let parameters = self.parameters.loaded().ok_or(CANNOT_CHANGE_MAPPED)?;
        Ok(checkpoint::write(folder, self.config(), self.layout(), parameters, weights)?)
    }

    /// The shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.decoder.config
    }

    /// The position of each parameter in [`Self::parameters`].
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
            Some(adapter) => &adapter.layout.tensors,
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
    /// [`Error::ParameterCount`]; [`gratis_engine::Error::Unsupported`] if it is mapped.
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

fn description(decoder: &Decoder, adapter: Option<&Adapter>, n_threads: usize) -> ModelDescription {
    let config = &decoder.config;
    let n_of_adapter = adapter.map_or(0, |adapter| adapter.parameters.len());
    let n_parameters = decoder.layout.n_parameters() + n_of_adapter;
    ModelDescription {
        architecture: config.architecture.name().to_owned(),
        n_parameters,
        vocab_size: config.vocab_size,
        context_length: config.context_length,
        preferred_batch_tokens: n_threads * SCORING_TOKENS,
        n_concurrent_batches: pass::batches_at_once(n_threads, n_parameters),
    }
}

impl Score for NativeEngine {
    fn describe(&self) -> &ModelDescription {
        &self.description
    }

    fn log_probs(&self, batches: &[PackedBatch]) -> gratis_engine::Result<Vec<TokenValues>> {
        self.score(batches, Output::LogProbs)
    }

    fn mean_log_probs(&self, batches: &[PackedBatch]) -> gratis_engine::Result<Vec<TokenValues>> {
        self.score(batches, Output::MeanLogProbs)
    }
}

impl Generate for NativeEngine {
    fn sample(
        &self,
        requests: &[SampleRequest],
        settings: &SamplingSettings,
        done: &mut dyn FnMut(usize, Vec<Sample>),
    ) -> gratis_engine::Result<()> {
        let longest = sampling::longest(requests, settings, &self.decoder.config)?;
        self.decoder.know_positions(longest);
        let weights = Weights { base: self.parameters.view(), adapter: self.adapter.as_ref() };
        let n_rows = sampling::rows_within_memory(longest, self.n_threads, &self.decoder.config);
        let crew = sampling::Crew::new(self.n_threads, n_rows);
        let sampled = self
            .pool
            .install(|| sampling::sample(&self.decoder, weights, requests, settings, crew));
        if let Err(gratis_engine::Error::NonFiniteLogits { .. }) = sampled {
            self.check_mapped()?;
        }
        let samples = sampled?;
        samples.into_iter().enumerate().for_each(|(request, samples)| done(request, samples));
        Ok(())
    }
}

impl Train for NativeEngine {
    fn forward_backward(
        &mut self,
        batches: &[PackedBatch],
        weigh: &mut Weigh<'_>,
    ) -> gratis_engine::Result<()> {
        self.pass(batches, Output::LogProbs, weigh)
    }

    fn optimizer_step(&mut self, step: &OptimizerStep) -> gratis_engine::Result<StepReport> {
        let Self { decoder, parameters, adapter, gradient, optimizer, pool, .. } = self;
        let layout = &decoder.layout;
        let report = if let Some(Adapter { parameters, layout, .. }) = adapter {
            gradient.resize(parameters.len(), 0.0);
            pool.install(|| optimizer.step(parameters, gradient, &layout.tensors, |_| 1.0, step))
        } else {
            let parameters = parameters.loaded_mut().ok_or(CANNOT_CHANGE_MAPPED)?;
            gradient.resize(parameters.len(), 0.0);
            let (n_trunk, factor) = (layout.n_trunk_parameters(), self.head_learning_rate_factor);
            let factor_of =
                |tensor: &TensorSpec| if tensor.range.start >= n_trunk { factor } else { 1.0 };
            pool.install(|| optimizer.step(parameters, gradient, &layout.tensors, factor_of, step))
        };
        gradient.fill(0.0);
        report
    }

    fn discard_gradient(&mut self) -> gratis_engine::Result<()> {
        self.gradient.fill(0.0);
        Ok(())
    }

    /// What is trained, without a base that is not.
    fn save_state(&self, to: &StateName) -> gratis_engine::Result<StateRef> {
        let (tensors, parameters) = (self.trained_tensors(), self.trained_parameters());
        state::write(&to.folder, tensors, parameters, &self.optimizer).map_err(Error::from)?;
        Ok(StateRef::Folder(to.folder.clone()))
    }

    fn load_state(&mut self, from: &StateRef) -> gratis_engine::Result<()> {
        let StateRef::Folder(folder) = from else {
            let what = "load a state that is not in a folder";
            return Err(gratis_engine::Error::Unsupported { engine: ENGINE, what });
        };
        let state = state::read(folder, self.trained_tensors()).map_err(Error::from)?;
        self.set_trained_parameters(&state.parameters)?;
        self.optimizer = state.optimizer;
        self.discard_gradient()
    }

    /// The adapter alone, in the layout of peft, if there is one.
    fn save_weights(&self, folder: &Path) -> gratis_engine::Result<()> {
        match &self.adapter {
            Some(Adapter { settings, base, layout, parameters }) => {
                let config = AdapterConfig { settings: settings.clone(), base: base.clone() };
                peft::write(folder, &config, layout, parameters).map_err(Error::from)?;
            }
            None => self.save_weights_as(folder, WeightType::F32)?,
        }
        Ok(())
    }
}

impl NativeEngine {
    /// The head, where its values can be computed.
    fn usable_head(&self) -> gratis_engine::Result<Output> {
        let head = self.value_head().ok_or(gratis_engine::Error::NoValueHead)?;
        match self.adapter {
            Some(_) => Err(ADAPTER_UNDER_HEAD),
            None => Ok(Output::Values(head)),
        }
    }
}

impl Values for NativeEngine {
    fn n_channels(&self) -> usize {
        match self.readout.n_channels() {
            0 => self.value_head().map_or(0, ValueHead::n_channels),
            n_channels => n_channels,
        }
    }

    fn values(&self, batches: &[PackedBatch]) -> gratis_engine::Result<Vec<TokenValues>> {
        let output = match self.readout.n_channels() {
            0 => self.usable_head()?,
            n_channels => Output::Readout { n_channels },
        };
        self.score(batches, output)
    }
}

impl TrainValues for NativeEngine {
    fn values_backward(
        &mut self,
        batches: &[PackedBatch],
        weigh: &mut Weigh<'_>,
    ) -> gratis_engine::Result<()> {
        let output = self.usable_head()?;
        self.pass(batches, output, weigh)
    }
}
