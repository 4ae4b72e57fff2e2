//! The native engine: a decoder on the CPU, in f32, with an explicit backward pass.
//!
//! A batch is cut into one part a thread; each thread computes its part alone, with its own buffers
//! and its own gradient, and the gradients are added in the order of the parts. So the same seed,
//! data and number of threads give the same bits.

use std::path::Path;

use rayon::prelude::*;

use crate::batch::{PackedBatch, TokenValues};
use crate::checkpoint::{self, WeightType};
use crate::config::ModelConfig;
use crate::engine::{
    Engine, EngineDescription, OptimizerStep, Sample, SampleRequest, SamplingSettings, StepReport,
};
use crate::error::{Error, Result};
use crate::kernels::simd::add;
use crate::layout::Layout;
use crate::model::{Decoder, Initialisation, Keep, Workspace, initialise};
use crate::optimizer::AdamW;
use crate::sampling;
use crate::shard::{Shard, shards};
use crate::value::{ACTION_WEIGHT, ValueEngine, ValueHead};

/// Tokens that one thread scores at a time: few enough that the activations of a layer stay in the
/// processor's caches.
const SCORING_TOKENS: usize = 2048;

/// What the backward pass computes a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recompute {
    /// Nothing: every layer's activations are kept.
    #[default]
    Nothing,
    /// Each layer's forward pass: only the layers' inputs are kept, for about a third more time.
    Layers,
}

/// How the native engine uses the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeOptions {
    /// Threads that compute, at least one. Results depend on it in the last bits.
    pub n_threads: usize,
    /// Trades time for memory in training.
    pub recompute: Recompute,
}

impl Default for NativeOptions {
    /// One thread, nothing recomputed.
    fn default() -> Self {
        Self { n_threads: 1, recompute: Recompute::Nothing }
    }
}

/// What a pass gives for each response token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    LogProbs,
    Values(ValueHead),
}

impl Output {
    fn n_channels(self) -> usize {
        match self {
            Self::LogProbs => 1,
            Self::Values(head) => head.n_channels(),
        }
    }
}

/// A causal language model on the CPU, with a scalar head if it was given one.
#[derive(Debug)]
pub struct NativeEngine {
    decoder: Decoder,
    parameters: Vec<f32>,
    /// Accumulated since the last step; empty before the first backward pass.
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
    #[must_use]
    pub fn with_value_head(mut self, head: ValueHead) -> Self {
        self.parameters.truncate(self.layout().n_trunk_parameters());
        let decoder = Decoder::new(self.decoder.config).with_value_head(head);
        self.parameters.resize(decoder.layout.n_parameters(), 0.0);
        if let Some(places) = &decoder.layout.value_head
            && let Some(projection) = &places.projection
        {
            let d = places.weight.len();
            self.parameters[projection.clone()].iter_mut().step_by(d + 1).for_each(|p| *p = 1.0);
            self.parameters[places.weight.clone()].fill(ACTION_WEIGHT);
        }
        for worker in &mut self.workers {
            worker.gradient.clear();
        }
        Self { decoder, gradient: Vec::new(), optimizer: AdamW::default(), ..self }
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
        let parameters = checkpoint::read_weights(folder, &config, &Layout::new(&config))?;
        Self::from_weights(config, parameters, options)
    }

    /// Writes the weights as a Hugging Face folder, stored as `weights`; [`Engine::save_weights`]
    /// stores them in full.
    ///
    /// # Errors
    /// As [`checkpoint::write`].
    pub fn save_weights_as(&self, folder: &Path, weights: WeightType) -> Result<()> {
        checkpoint::write(folder, self.config(), self.layout(), &self.parameters, weights)
    }

    /// The shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.decoder.config
    }

    /// Where each parameter stands in [`Self::parameters`].
    pub fn layout(&self) -> &Layout {
        &self.decoder.layout
    }

    /// All parameters, in the order of [`Self::layout`].
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The accumulated gradient, in the order of [`Self::layout`]; empty before the first backward
    /// pass.
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

    /// Forward pass of all parts, the `i`-th by worker `i % n_threads`.
    fn forward(&mut self, parts: &[Shard], keep: Keep, output: Output) -> Vec<Vec<f32>> {
        let Self { decoder, parameters, workers, pool, .. } = self;
        let n_workers = workers.len();
        let mut by_worker = pool.install(|| {
            let run = |(first, worker): (usize, &mut Worker)| {
                let own = parts.iter().skip(first).step_by(n_workers);
                let outputs = own.map(|part| {
                    let Worker { workspace, .. } = &mut *worker;
                    match output {
                        Output::LogProbs => {
                            decoder.forward(parameters, &part.batch, keep, workspace)
                        }
                        Output::Values(_) => {
                            decoder.values(parameters, &part.batch, keep, workspace)
                        }
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

    /// Outputs of all response tokens, nothing kept.
    fn score(&mut self, batch: &PackedBatch, output: Output) -> Result<TokenValues> {
        self.admit(batch)?;
        let n_threads = self.workers.len();
        let n_rounds = batch.n_tokens().div_ceil(n_threads * SCORING_TOKENS);
        let parts = shards(batch, n_threads * n_rounds)?;
        let outputs = self.forward(&parts, Keep::Nothing, output);
        Ok(gather(batch, &parts, &outputs, output))
    }

    /// Forward pass, weights, backward pass.
    fn pass(
        &mut self,
        batch: &PackedBatch,
        output: Output,
        weigh: &mut dyn FnMut(&TokenValues) -> Option<TokenValues>,
    ) -> Result<TokenValues> {
        self.admit(batch)?;
        let keep = match self.recompute {
            Recompute::Nothing => Keep::Everything,
            Recompute::Layers => Keep::Inputs,
        };
        let parts = shards(batch, self.workers.len())?;
        let outputs = self.forward(&parts, keep, output);
        let outputs = gather(batch, &parts, &outputs, output);
        let Some(weights) = weigh(&outputs) else { return Ok(outputs) };
        if !weights.rows().map(<[f32]>::len).eq(outputs.rows().map(<[f32]>::len)) {
            let reason = "the weights have not the shape of what they are weights of".to_owned();
            return Err(Error::InvalidBatch { reason });
        }

        let Self { decoder, parameters, gradient, workers, pool, .. } = self;
        gradient.resize(parameters.len(), 0.0);
        for worker in workers.iter_mut().take(parts.len()).skip(1) {
            worker.gradient.resize(parameters.len(), 0.0);
        }
        let mut engine_gradient = Some(&mut gradient[..]);
        let mut jobs: Vec<_> = workers
            .iter_mut()
            .zip(&parts)
            .map(|(Worker { workspace, gradient }, part)| {
                let gradient = engine_gradient.take().unwrap_or(gradient);
                (workspace, gradient, scatter(part, &weights), &part.batch)
            })
            .collect();
        pool.install(|| {
            jobs.par_iter_mut().for_each(|(workspace, gradient, weights, batch)| match output {
                Output::LogProbs => {
                    decoder.backward(parameters, gradient, weights, keep, workspace);
                }
                Output::Values(_) => {
                    decoder.values_backward(parameters, gradient, weights, batch, keep, workspace);
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
            n_parameters: self.parameters.len(),
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
        let Self { decoder, parameters, gradient, optimizer, pool, .. } = self;
        gradient.resize(parameters.len(), 0.0);
        let report = pool.install(|| optimizer.step(parameters, gradient, &decoder.layout, step));
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
        let Self { decoder, parameters, workers, pool, .. } = self;
        let n_rows = sampling::rows_within_memory(longest, workers.len(), &decoder.config);
        let crew = sampling::Crew { n_workers: workers.len(), n_rows };
        pool.install(|| sampling::sample(decoder, parameters, requests, settings, crew))
    }

    fn save_weights(&self, folder: &Path) -> Result<()> {
        self.save_weights_as(folder, WeightType::F32)
    }

    fn save_state(&self, folder: &Path) -> Result<()> {
        checkpoint::write_state(folder, self.layout(), &self.parameters, &self.optimizer)
    }

    /// Forgets the accumulated gradient as well.
    fn load_state(&mut self, folder: &Path) -> Result<()> {
        (self.parameters, self.optimizer) = checkpoint::read_state(folder, self.layout())?;
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
        self.score(batch, Output::Values(head))
    }

    fn values_backward(
        &mut self,
        batch: &PackedBatch,
        weigh: &mut dyn FnMut(&TokenValues) -> Option<TokenValues>,
    ) -> Result<TokenValues> {
        let head = self.value_head()?;
        self.pass(batch, Output::Values(head), weigh)
    }
}
