//! Constructors of a native engine: from new weights, a folder, a GGUF file, or another engine.

use std::path::Path;
use std::sync::{Arc, Mutex};

use gratis_model::checkpoint;
use gratis_model::gguf::GgufFile;
use gratis_model::head::{ACTION_WEIGHT, ValueHead};
use gratis_model::{BaseName, Layout, LoraSettings, ModelConfig, Readout};

use super::{NativeEngine, NativeOptions, WeightStorage, Worker, description};
use crate::error::{Error, Result};
use crate::lora::Adapter;
use crate::model::{Decoder, Initialisation, initialise};
use crate::optimizer::AdamW;
use crate::weights::Parameters;

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
        let parameters = initialise(
            &Layout::new(&config),
            config.architecture.norm_offset(),
            initialisation,
            seed,
        );
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
        if !options.precision.is_available() {
            return Err(Error::PrecisionUnavailable);
        }
        let n_threads = options.n_threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .map_err(|source| Error::Threads { n_threads, source })?;
        let mut workers = Vec::new();
        workers.resize_with(n_threads, Worker::default);
        Ok(Self {
            description: description(&decoder, None, n_threads),
            decoder,
            parameters,
            adapter: None,
            readout: Readout::default(),
            gradient: Vec::new(),
            optimizer: AdamW::default(),
            recompute: options.recompute,
            precision: options.precision,
            head_learning_rate_factor: 1.0,
            workers: Mutex::new(workers),
            n_threads,
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
        self.workers().iter_mut().for_each(|worker| worker.gradient.clear());
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
        Self {
            decoder,
            parameters: Parameters::Loaded(Arc::new(parameters)),
            gradient: Vec::new(),
            optimizer: AdamW::default(),
            head_learning_rate_factor: 1.0,
            ..self
        }
        .describe_anew()
    }

    /// The model with a scalar head of a folder that [`gratis_engine::Train::save_weights`] wrote.
    ///
    /// # Errors
    /// As [`Self::load`]; [`gratis_model::Error::MissingTensor`] names the head's first tensor if the folder holds
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

    /// The body of a folder whose class has another head than a language model's, of shape
    /// `config`. The files may also hold the tensors named in `beside`, which are not read here.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_body(
        folder: &Path,
        config: ModelConfig,
        beside: &[String],
        options: NativeOptions,
    ) -> Result<Self> {
        let layout = Layout::new(&config);
        let parameters = match options.weights {
            WeightStorage::Loaded => {
                let parameters = checkpoint::read_body(folder, &config, &layout, beside)?;
                Parameters::Loaded(Arc::new(parameters))
            }
            WeightStorage::Mapped => {
                let mapped = checkpoint::map_body(folder, &config, &layout, beside)?;
                Parameters::Mapped(Arc::new(mapped))
            }
        };
        Self::new(Decoder::new(config), parameters, options)
    }

    /// The same model with a read-out, whose channels [`gratis_engine::Values`] then gives. It is
    /// not trained.
    ///
    /// # Errors
    /// [`Error::ReadoutWidth`] if it does not fit the width of the model.
    pub fn with_readout(self, readout: Readout) -> Result<Self> {
        let hidden_size = self.config().hidden_size;
        if !readout.fits(hidden_size) {
            return Err(Error::ReadoutWidth { hidden_size });
        }
        Ok(Self { readout, ..self })
    }

    /// The rows of the language model's head for these tokens, one after the other:
    /// `[n_tokens, hidden]`.
    ///
    /// # Errors
    /// [`gratis_engine::Error::InvalidBatch`] for a token outside the vocabulary.
    pub fn head_rows(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let (d, vocab_size) = (self.config().hidden_size, self.config().vocab_size);
        let head = self.layout().head.start;
        let mut rows = vec![0.0; tokens.len() * d];
        for (&token, row) in tokens.iter().zip(rows.chunks_exact_mut(d)) {
            let token = token as usize;
            if token >= vocab_size {
                let reason = format!("token {token} is outside the vocabulary of {vocab_size}");
                return Err(gratis_engine::Error::InvalidBatch { reason }.into());
            }
            let start = head + token * d;
            self.parameters.view().copy(start..start + d, row);
        }
        Ok(rows)
    }

    /// The model of a GGUF file. If it is quantised, it stays so: mapped, whatever
    /// `options.weights` says, and dequantised tile by tile.
    ///
    /// # Errors
    /// As [`GgufFile::config`], [`GgufFile::weights`] and [`Self::from_weights`].
    pub fn load_gguf(file: &GgufFile, options: NativeOptions) -> Result<Self> {
        let config = file.config()?;
        let layout = Layout::new(&config);
        let is_mapped = file.is_quantised() || options.weights == WeightStorage::Mapped;
        let parameters = if is_mapped {
            Parameters::Mapped(Arc::new(file.map_weights(&config, &layout)?))
        } else {
            Parameters::Loaded(Arc::new(file.weights(&config, &layout)?))
        };
        Self::new(Decoder::new(config), parameters, options)
    }

    /// Adds a fresh adapter, which changes nothing yet and is what will be trained. `base` is
    /// what its files will say that it is an adapter to.
    ///
    /// # Errors
    /// [`gratis_model::Error::InvalidLora`].
    pub fn with_adapter(self, settings: LoraSettings, base: BaseName, seed: u64) -> Result<Self> {
        let adapter = Adapter::initialise(self.layout(), settings, base, seed)?;
        Ok(self.adapted(adapter))
    }

    /// Adds the adapter of a folder in the layout of peft; see [`gratis_model::lora::peft`].
    ///
    /// # Errors
    /// A fault of the adapter's files.
    pub fn with_adapter_of(self, folder: &Path) -> Result<Self> {
        let adapter = Adapter::read(folder, self.layout())?;
        Ok(self.adapted(adapter))
    }

    fn adapted(self, adapter: Adapter) -> Self {
        Self { adapter: Some(adapter), gradient: Vec::new(), optimizer: AdamW::default(), ..self }
            .describe_anew()
    }

    /// Another engine on the base without the adapter: the reference of an implicit reward. The
    /// weights are there once, however many engines share them; one that trains them takes a copy
    /// of its own with its first step.
    ///
    /// # Errors
    /// [`Error::Threads`] if the threads cannot be started.
    pub fn base(&self) -> Result<Self> {
        let options = NativeOptions {
            n_threads: self.n_threads,
            recompute: self.recompute,
            precision: self.precision,
            ..NativeOptions::default()
        };
        let mut base = Decoder::new(self.config().clone());
        base.layout = self.layout().clone();
        Self::new(base, self.parameters.clone(), options)
    }

    /// The merged model, with `W + s B A` for `W` and without an adapter, in memory: weights that
    /// are mapped are read.
    ///
    /// # Errors
    /// [`Error::Threads`].
    pub fn merged(&self) -> Result<Self> {
        let mut merged = self.base()?;
        let n_parameters = merged.layout().n_parameters();
        let mut parameters = merged.parameters.into_vec(n_parameters);
        if let Some(adapter) = &self.adapter {
            adapter.merge_into(&mut parameters);
        }
        merged.parameters = Parameters::Loaded(Arc::new(parameters));
        Ok(merged)
    }
}
