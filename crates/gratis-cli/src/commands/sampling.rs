//! Sampling in a command: the problems, the model and the flags that all who sample share.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::Error;
use gratis::encoding::OnOverlong;
use gratis::reward_model::{Model, PromptSettings, Weights};
use gratis::rollout::{Problem, Sampler};
use gratis_engine::SamplingSettings;
use serde_json::{Value, json};

use super::{InvalidArgs, read_records};
use crate::Common;
use crate::model::{self, Remarks};

/// What is sampled from, and how.
#[derive(Debug, Args)]
pub(crate) struct SamplingArgs {
    /// Problem file; `-` is standard input.
    #[arg(value_name = "PROBLEMS", default_value = "-")]
    input: PathBuf,
    /// Model: a folder, a run, a GGUF file, or `org/name` on a hub.
    #[arg(short, long)]
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
    /// Longest solution in tokens.
    #[arg(long, default_value_t = 512)]
    max_tokens: usize,
    /// Seed of the samples.
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    #[command(flatten)]
    prompt: PromptSettings,
    #[command(flatten)]
    invalid: InvalidArgs,
}

/// A loaded model that samples are drawn from.
pub(super) struct Generator {
    /// The model.
    pub(super) model: Model,
    /// What its samples depend on.
    pub(super) provenance: Value,
    template: String,
    settings: SamplingSettings,
}

impl SamplingArgs {
    /// The problems.
    ///
    /// # Errors
    /// [`Error::NoExamples`] if there are none.
    pub(super) fn problems(&self) -> Result<Vec<Problem>> {
        let problems: Vec<Problem> = read_records(&self.input, self.invalid.on_invalid())?;
        if problems.is_empty() {
            return Err(Error::NoExamples { purpose: "solve" }.into());
        }
        Ok(problems)
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
            provenance,
            model,
        })
    }
}

/// The number as it was given: 0.7, not the next f32 with all its digits.
fn as_written(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| value.into())
}

impl Generator {
    /// What draws `n_samples` of each problem.
    pub(super) fn sampler(&self, n_samples: usize) -> Result<Sampler<'_>> {
        let encoder = self.model.encoder(&self.template, OnOverlong::Stop)?;
        Ok(Sampler {
            settings: self.settings.clone(),
            engine: self.model.generate(),
            encoder,
            n_samples,
            provenance: self.provenance.clone(),
        })
    }
}
