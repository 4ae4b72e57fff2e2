//! The native engine: a decoder on the CPU, in f32, with an explicit backward pass.
//!
//! A batch is cut into one part a thread; each thread computes its part alone, with its own buffers
//! and its own gradient, and the gradients are added in the order of the parts. So the same seed,
//! data and number of threads give the same bits.

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use crate::batch::{PackedBatch, TokenValues};
use crate::checkpoint::{self, WeightType};
use crate::config::ModelConfig;
use crate::engine::{
    Engine, EngineDescription, OptimizerStep, Sample, SampleRequest, SamplingSettings, StepReport,
};
use crate::error::{Error, Result};
use crate::gguf::GgufFile;
use crate::kernels::simd::add;
use crate::layout::{Layout, TensorSpec};
use crate::lora::{Adapter, BaseName, LoraSettings, peft};
use crate::model::{Decoder, Initialisation, Keep, Workspace, initialise};
use crate::optimizer::AdamW;
use crate::sampling;
use crate::shard::{Shard, shards};
use crate::value::{ACTION_WEIGHT, ValueEngine, ValueHead};
use crate::weights::{Gradient, Parameters, Weights};

/// Tokens that one thread scores at a time: few enough that the activations of a layer stay in the
/// processor's caches.
pub(crate) const SCORING_TOKENS: usize = 2048;

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

/// What a pass gives for each response token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    LogProbs,
    MeanLogProbs,
    Values(ValueHead),
}

impl Output {
    fn n_channels(self) -> usize {
        match self {
            Self::LogProbs | Self::MeanLogProbs => 1,
            Self::Values(head) => head.n_channels(),
        }
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
    /// A model with fresh parameters, which are a function of `seed` alone.
    ///
    /// # Errors
    /// [`Error::Threads`] if the threads cannot be started.
    pub fn initialise(
        config: ModelConfig,
        initialisation: Initialisation,
        seed: u64,
        options: NativeOptions,
    ) -> Result<Self> {
        let parameters = initialise(&Layout::new(&config), initialisation, seed);
        Self::from_weights(config, parameters, options)
    }

    /// A model with the given parameters, in the order of [`Layout`].
    ///
    /// # Errors
    /// [`Error::ParameterCount`] if their number is not the layout's; [`Error::Threads`] if the
    /// threads cannot be started.
    pub fn from_weights(
        config: ModelConfig,
        parameters: Vec<f32>,
        options: NativeOptions,
    ) -> Result<Self> {
        Self::from_parts(Decoder::new(config), parameters, options)
    }

    fn from_parts(decoder: Decoder, parameters: Vec<f32>, options: NativeOptions) -> Result<Self> {
        let expected = decoder.layout.n_parameters();
        if parameters.len() != expected {
            return Err(Error::ParameterCount { expected, got: parameters.len() });
        }
        Self::new(decoder, Parameters::Loaded(Arc::new(parameters)), options)
    }

    fn new(decoder: Decoder, parameters: Parameters, options: NativeOptions) -> Result<Self> {
        let n_threads = options.n_threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .map_err(|source| Error::Threads { n_threads, source })?;
        let mut workers = Vec::new();
        workers.resize_with(n_threads, Worker::default);
        Ok(Self {
            decoder,
            parameters,
            adapter: None,
            gradient: Vec::new(),
            optimizer: AdamW::default(),
            recompute: options.recompute,
            workers,
            pool,
        })
    }

    /// The same model with a fresh scalar head: all numbers 0 but for
    /// [`ValueHead::ActionValue`]'s identity and [`ACTION_WEIGHT`]. What was accumulated and the
    /// optimizer's state are forgotten, a head that was there before is replaced.
    ///
    /// Weights that are mapped are read; an adapter becomes a part of them.
    #[must_use]
    pub fn with_value_head(mut self, head: ValueHead) -> Self {
        let mut parameters = self.parameters.into_vec(self.decoder.layout.n_parameters());
        if let Some(adapter) = self.adapter.take() {
            adapter.merge_into(&mut parameters);
        }
        parameters.truncate(self.decoder.layout.n_trunk_parameters());
        let decoder = Decoder::new(self.decoder.config).with_value_head(head);
        parameters.resize(decoder.layout.n_parameters(), 0.0);
        if let Some(places) = &decoder.layout.value_head
            && let Some(projection) = &places.projection
        {
            let d = places.weight.len();
            parameters[projection.clone()].iter_mut().step_by(d + 1).for_each(|p| *p = 1.0);
            parameters[places.weight.clone()].fill(ACTION_WEIGHT);
        }
        for worker in &mut self.workers {
            worker.gradient.clear();
        }
        Self {
            decoder,
            parameters: Parameters::Loaded(Arc::new(parameters)),
            gradient: Vec::new(),
            optimizer: AdamW::default(),
            ..self
        }
    }

    /// The head learns at this many times the learning rate of the other parameters; 1 at first.
    pub fn set_head_learning_rate_factor(&mut self, factor: f64) {
        if let Some(head) = &mut self.decoder.layout.value_head {
            head.learning_rate_factor = factor;
        }
    }

    /// The model with a scalar head of a folder that [`Engine::save_weights`] wrote.
    ///
    /// # Errors
    /// As [`Self::load`]; [`Error::MissingTensor`] names the head's first tensor if the folder holds
    /// a mere language model.
    pub fn load_with_value_head(
        folder: &Path,
        head: ValueHead,
        options: NativeOptions,
    ) -> Result<Self> {
        let config = ModelConfig::read(&folder.join("config.json"))?;
        let decoder = Decoder::new(config).with_value_head(head);
        let parameters = checkpoint::read_weights(folder, &decoder.config, &decoder.layout)?;
        Self::from_parts(decoder, parameters, options)
    }

    /// The model of a Hugging Face folder: `config.json` and safetensors.
    ///
    /// # Errors
    /// As [`ModelConfig::read`], [`checkpoint::read_weights`] and [`Self::from_weights`].
    pub fn load(folder: &Path, options: NativeOptions) -> Result<Self> {
        let config = ModelConfig::read(&folder.join("config.json"))?;
        let layout = Layout::new(&config);
        let parameters = match options.weights {
            WeightStorage::Loaded => {
                Parameters::Loaded(Arc::new(checkpoint::read_weights(folder, &config, &layout)?))
            }
            WeightStorage::Mapped => {
                Parameters::Mapped(Arc::new(checkpoint::map_weights(folder, &config, &layout)?))
            }
        };
        Self::new(Decoder::new(config), parameters, options)
    }

    /// The model of a GGUF file, in memory.
    ///
    /// # Errors
    /// As [`GgufFile::config`], [`GgufFile::weights`] and [`Self::from_weights`].
    pub fn load_gguf(file: &GgufFile, options: NativeOptions) -> Result<Self> {
        let config = file.config()?;
        let parameters = file.weights(&config, &Layout::new(&config))?;
        Self::from_weights(config, parameters, options)
    }

    /// Adds a fresh adapter, which changes nothing yet and is what will be trained. `base` is
    /// what its files will say that it is an adapter to.
    ///
    /// # Errors
    /// [`Error::InvalidLora`].
    pub fn with_adapter(self, settings: LoraSettings, base: BaseName, seed: u64) -> Result<Self> {
        let adapter = Adapter::initialise(self.layout(), settings, base, seed)?;
        Ok(self.adapted(adapter))
    }

    /// Adds the adapter of a folder in the layout of peft; see [`crate::lora::peft`].
    ///
    /// # Errors
    /// A fault of the adapter's files.
    pub fn with_adapter_of(self, folder: &Path) -> Result<Self> {
        let adapter = peft::read(folder, self.layout())?;
        Ok(self.adapted(adapter))
    }

    fn adapted(self, adapter: Adapter) -> Self {
        Self { adapter: Some(adapter), gradient: Vec::new(), optimizer: AdamW::default(), ..self }
    }

    /// Another engine on the base without the adapter: the reference of an implicit reward. The
    /// weights are there once, however many engines share them; one that trains them takes a copy
    /// of its own with its first step.
    ///
    /// # Errors
    /// [`Error::Threads`] if the threads cannot be started.
    pub fn base(&self) -> Result<Self> {
        let options = NativeOptions {
            n_threads: self.workers.len(),
            recompute: self.recompute,
            ..NativeOptions::default()
        };
        let mut base = Decoder::new(self.config().clone());
        base.layout = self.layout().clone();
        Self::new(base, self.parameters.clone(), options)
    }

    /// The model that the base and the adapter make together, `W + s B A` for `W`, with nothing
    /// beside it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the base is mapped; [`Error::Threads`].
    pub fn merged(&self) -> Result<Self> {
        let mut merged = self.base()?;
        let parameters = merged.parameters.loaded_mut().ok_or(CANNOT_CHANGE_MAPPED)?;
        if let Some(adapter) = &self.adapter {
            adapter.merge_into(parameters);
        }
        Ok(merged)
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

    /// Refuses what cannot be computed and makes the rotary angles known.
    fn admit(&mut self, batch: &PackedBatch) -> Result<()> {
        let config = &self.decoder.config;
        let n_tokens = batch.longest_path();
        if n_tokens > config.context_length {
            return Err(Error::ContextOverflow { n_tokens, context_length: config.context_length });
        }
        let vocab_size = config.vocab_size;
        if let Some(token) = batch.tokens().iter().find(|&&token| token as usize >= vocab_size) {
            let reason = format!("token {token} is outside the vocabulary of {vocab_size}");
            return Err(Error::InvalidBatch { reason });
        }
        self.decoder.rope.extend_to(n_tokens);
        Ok(())
    }

    /// Matrices that are mapped are not looked at before they are used; where a result is not
    /// finite, this finds the one to blame.
    fn check_mapped(&self, log_probs: &TokenValues) -> Result<()> {
        match &self.parameters {
            Parameters::Mapped(mapped) if log_probs.values().iter().any(|lp| !lp.is_finite()) => {
                mapped.check_finite()
            }
            _ => Ok(()),
        }
    }

    /// Forward pass of all parts, the `i`-th by worker `i % n_threads`.
    fn forward(&mut self, parts: &[Shard], keep: Keep, output: Output) -> Vec<Vec<f32>> {
        let Self { decoder, parameters, adapter, workers, pool, .. } = self;
        let weights = Weights { base: parameters.view(), adapter: adapter.as_ref() };
        let loaded = parameters.loaded().unwrap_or_default();
        let n_workers = workers.len();
        let mut by_worker = pool.install(|| {
            let run = |(first, worker): (usize, &mut Worker)| {
                let own = parts.iter().skip(first).step_by(n_workers);
                let outputs = own.map(|part| {
                    let Worker { workspace, .. } = &mut *worker;
                    match output {
                        Output::LogProbs => decoder.forward(weights, &part.batch, keep, workspace),
                        Output::MeanLogProbs => {
                            decoder.mean_log_probs(weights, &part.batch, workspace)
                        }
                        Output::Values(_) => decoder.values(loaded, &part.batch, keep, workspace),
                    }
                });
                outputs.collect::<Vec<_>>()
            };
            workers.par_iter_mut().enumerate().map(run).collect::<Vec<_>>()
        });
        (0..parts.len())
            .map(|i| std::mem::take(&mut by_worker[i % n_workers][i / n_workers]))
            .collect()
    }

    /// `(1/vocab) sum_v log pi(v | y_<t)` at every response token of `batch`: the more certain the
    /// model, the lower; `-log vocab` where it is uniform.
    ///
    /// # Errors
    /// As [`Engine::log_probs`].
    pub fn mean_log_probs(&mut self, batch: &PackedBatch) -> Result<TokenValues> {
        self.score(batch, Output::MeanLogProbs)
    }

    /// Outputs of all response tokens, nothing kept.
    fn score(&mut self, batch: &PackedBatch, output: Output) -> Result<TokenValues> {
        self.admit(batch)?;
        let n_threads = self.workers.len();
        let n_rounds = batch.n_tokens().div_ceil(n_threads * SCORING_TOKENS);
        let parts = shards(batch, n_threads * n_rounds)?;
        let outputs = self.forward(&parts, Keep::Nothing, output);
        let outputs = gather(batch, &parts, &outputs, output);
        self.check_mapped(&outputs)?;
        Ok(outputs)
    }

    /// Forward pass, weights, backward pass.
    fn pass(
        &mut self,
        batch: &PackedBatch,
        output: Output,
        weigh: &mut dyn FnMut(&TokenValues) -> Option<TokenValues>,
    ) -> Result<TokenValues> {
        self.admit(batch)?;
        if self.adapter.is_none() && self.parameters.loaded().is_none() {
            return Err(CANNOT_CHANGE_MAPPED);
        }
        let keep = match self.recompute {
            Recompute::Nothing => Keep::Everything,
            Recompute::Layers => Keep::Inputs,
        };
        let parts = shards(batch, self.workers.len())?;
        let outputs = self.forward(&parts, keep, output);
        let outputs = gather(batch, &parts, &outputs, output);
        self.check_mapped(&outputs)?;
        let Some(slopes) = weigh(&outputs) else { return Ok(outputs) };
        if !slopes.rows().map(<[f32]>::len).eq(outputs.rows().map(<[f32]>::len)) {
            let reason = "the weights have not the shape of what they are weights of".to_owned();
            return Err(Error::InvalidBatch { reason });
        }

        let n_trained = self.trained_parameters().len();
        let Self { decoder, parameters, adapter, gradient, workers, pool, .. } = self;
        let weights = Weights { base: parameters.view(), adapter: adapter.as_ref() };
        let loaded = parameters.loaded().unwrap_or_default();
        gradient.resize(n_trained, 0.0);
        for worker in workers.iter_mut().take(parts.len()).skip(1) {
            worker.gradient.resize(n_trained, 0.0);
        }
        let mut engine_gradient = Some(&mut gradient[..]);
        let mut jobs: Vec<_> = workers
            .iter_mut()
            .zip(&parts)
            .map(|(Worker { workspace, gradient }, part)| {
                let gradient = engine_gradient.take().unwrap_or(gradient);
                (workspace, gradient, scatter(part, &slopes), &part.batch)
            })
            .collect();
        pool.install(|| {
            jobs.par_iter_mut().for_each(|(workspace, gradient, slopes, batch)| match output {
                Output::LogProbs => {
                    let mut gradient = match weights.adapter {
                        Some(adapter) => Gradient::of_adapter(gradient, adapter),
                        None => Gradient::Full(gradient),
                    };
                    decoder.backward(weights, &mut gradient, slopes, keep, workspace);
                }
                // A mean over the vocabulary is only read.
                Output::MeanLogProbs => {}
                Output::Values(_) => {
                    decoder.values_backward(loaded, gradient, slopes, batch, keep, workspace);
                }
            });
        });
        for worker in workers.iter_mut().take(parts.len()).skip(1) {
            add(gradient, &worker.gradient);
            worker.gradient.fill(0.0);
        }
        Ok(outputs)
    }
}

/// Puts the parts' outputs, `[n_response_tokens of the part]`, in the whole's order.
fn gather(
    batch: &PackedBatch,
    parts: &[Shard],
    outputs: &[Vec<f32>],
    output: Output,
) -> TokenValues {
    let mut whole = TokenValues::zeros_of_channels(batch, output.n_channels());
    for (part, mut values) in parts.iter().zip(outputs.iter().map(Vec::as_slice)) {
        for &response in &part.responses {
            let row = whole.row_mut(response);
            let (own, rest) = values.split_at(row.len());
            row.copy_from_slice(own);
            values = rest;
        }
    }
    whole
}

/// The part's rows of `whole`, response after response.
fn scatter(part: &Shard, whole: &TokenValues) -> Vec<f32> {
    part.responses.iter().flat_map(|&response| whole.row(response)).copied().collect()
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
