//! Sampling in a command: the problems, the model and the flags shared by all sampling commands.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use gratis::data::{Error as DataError, Fingerprint, Reading, RecordReader, Rollout};
use gratis::encoding::{Conversations, OnOverlong};
use gratis::reward_model::{Model, PromptSettings, Weights};
use gratis::rollout::Sampler;
use gratis_engine::SamplingSettings;
use serde_json::{Value, json};

use super::request::Request;
use super::resumable::is_stream;
use super::{InvalidArgs, read_some, warn_skipped};
use crate::Common;
use crate::model::{self, Remarks};

/// The problems, the model and the sampling settings.
#[derive(Debug, Args)]
pub(crate) struct SamplingArgs {
    /// Problem file; `-` is standard input.
    #[arg(value_name = "PROBLEMS", default_value = "-")]
    pub(super) input: PathBuf,
    /// Model: a folder, a run, a GGUF file, `org/name` on a hub, or an engine that runs elsewhere: its
    /// file, `ENGINE.toml`, or its address, `vllm://HOST:PORT/NAME` (see `docs/engines.md`).
    #[arg(short, long, visible_alias = "engine")]
    model: PathBuf,
    /// How weights are held in memory; `mapped` uses less memory and is slower per token.
    #[arg(long, value_enum, default_value_t)]
    weights: Weights,
    /// Nucleus (top-p) sampling threshold.
    #[arg(long, default_value_t = 1.0)]
    top_p: f32,
    /// Keep this many of the most probable tokens (top-k); 0 keeps all.
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Maximum solution length in tokens.
    #[arg(long, default_value_t = 512)]
    max_tokens: usize,
    /// Sampling seed.
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    #[command(flatten)]
    prompt: PromptSettings,
    #[command(flatten)]
    invalid: InvalidArgs,
}

/// Problems per chunk of an engine in this process.
const CHUNK: usize = 32;
/// Samples per chunk for each one that an engine draws concurrently: at the end of a chunk some wait.
const CHUNKS_AT_ONCE: usize = 16;

/// A model loaded for sampling.
pub(super) struct Generator {
    /// The model.
    pub(super) model: Model,
    /// The settings that its samples depend on.
    pub(super) provenance: Value,
    template: String,
    conversations: Option<Conversations>,
    settings: SamplingSettings,
}

/// The problems of an input, in turn: a file is read again and again, so that memory does not grow with
/// it; what can be read only once is held.
pub(super) enum Problems {
    /// All of them.
    Held(Vec<Rollout>),
    /// In a file, with their number.
    File { path: PathBuf, reading: Reading, n: usize },
}

impl Problems {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Held(problems) => problems.len(),
            Self::File { n, .. } => *n,
        }
    }

    /// The problems after the first `n_done`.
    ///
    /// # Errors
    /// A fault of the file.
    pub(super) fn after(
        self,
        n_done: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<Rollout, DataError>>>> {
        Ok(match self {
            Self::Held(problems) => Box::new(problems.into_iter().skip(n_done).map(Ok)),
            Self::File { path, reading, .. } => {
                // What is unusual about the file was said when its problems were counted.
                let reading = Reading { notice: None, ..reading };
                Box::new(RecordReader::problems(&path, reading)?.skip(n_done))
            }
        })
    }
}

impl SamplingArgs {
    /// The problems of `input`, counted and checked.
    ///
    /// # Errors
    /// As [`Self::problems`].
    pub(super) fn problems_in_turn(&self, input: &Path) -> Result<Problems> {
        if is_stream(input) {
            return self.problems(input).map(Problems::Held);
        }
        let reading = self.invalid.reading();
        let mut reader = RecordReader::problems(input, reading.clone())?;
        let mut n = 0;
        for problem in reader.by_ref() {
            problem?;
            n += 1;
        }
        let n_left_out = reader.n_skipped();
        if n == 0 {
            return Err(gratis::Error::NoExamples { purpose: "solve", n_left_out }.into());
        }
        warn_skipped(n_left_out, "malformed lines");
        Ok(Problems::File { path: input.to_owned(), reading, n })
    }

    /// The problems of `input`.
    ///
    /// # Errors
    /// [`gratis::Error::NoExamples`] if there are none.
    pub(super) fn problems(&self, input: &Path) -> Result<Vec<Rollout>> {
        read_some(RecordReader::problems(input, self.invalid.reading())?, "solve")
    }

    /// Loads the model to sample from at a temperature.
    pub(super) fn load(&self, temperature: f32, common: &Common) -> Result<Generator> {
        let model = model::load(&self.model, self.weights, common)?;
        let provenance = json!({
            "model": self.model,
            "temperature": as_written(temperature),
            "top_p": as_written(self.top_p),
            "top_k": self.top_k,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
        });
        Ok(Generator {
            settings: SamplingSettings {
                temperature,
                top_p: self.top_p,
                top_k: self.top_k,
                max_new_tokens: self.max_tokens,
                stop_tokens: model.stop_tokens()?,
                seed: self.seed,
            },
            template: self.prompt.template(&model, &mut Remarks)?,
            conversations: self.prompt.conversations(&model)?,
            provenance,
            model,
        })
    }
}

/// The number as given: 0.7, not all digits of the nearest f32.
fn as_written(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| value.into())
}

impl Generator {
    /// Problems sampled from together: `chunk`, or by default as many as keep the engine busy.
    pub(super) fn chunk_size(&self, chunk: Option<usize>, n_samples: usize) -> usize {
        let n_busy = CHUNKS_AT_ONCE * self.model.generate().n_concurrent_samples();
        chunk.unwrap_or_else(|| CHUNK.max(n_busy / n_samples.max(1))).max(1)
    }

    /// The request for sampling from `n_prompts` problems.
    pub(super) fn request(&self, n_prompts: usize, n_at_once: usize, n_samples: usize) -> Request {
        let max_tokens = self.settings.max_new_tokens.min(self.model.config().context_length);
        Request { of: "problems", n_prompts, n_at_once, n_samples, max_tokens, flag: "--samples" }
    }

    /// Adds to a fingerprint what the samples depend on.
    pub(super) fn add_to(&self, fingerprint: Fingerprint) -> Result<Fingerprint> {
        let fingerprint = self.model.add_to(fingerprint, "model")?;
        Ok(add_sampling(fingerprint, &self.settings).with("template", &self.template))
    }

    /// A sampler for `n_samples` per problem.
    pub(super) fn sampler(&self, n_samples: usize) -> Result<Sampler<'_>> {
        let encoder = self.model.encoder(&self.template, OnOverlong::Stop)?;
        let encoder = encoder.with_conversations(self.conversations.clone());
        Ok(Sampler {
            settings: self.settings.clone(),
            engine: self.model.generate(),
            encoder,
            n_samples,
            provenance: self.provenance.clone(),
        })
    }
}

/// Adds the settings of sampling to a fingerprint.
pub(super) fn add_sampling(fingerprint: Fingerprint, settings: &SamplingSettings) -> Fingerprint {
    fingerprint
        .with("`--seed`", settings.seed)
        .with("`--temperature`", as_written(settings.temperature))
        .with("`--top-p`", as_written(settings.top_p))
        .with("`--top-k`", settings.top_k)
        .with("`--max-tokens`", settings.max_new_tokens)
        .with("stop tokens", &settings.stop_tokens)
}
