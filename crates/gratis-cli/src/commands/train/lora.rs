//! The flags of low-rank adapters.

use anyhow::Result;
use clap::Args;
use gratis_model::{LoraScaling, LoraSettings, LoraTarget};
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::failure::CliError;
use crate::model::{Model, Weights};

/// What is trained: everything, or an adapter of this shape.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LoraArgs {
    /// Train a low-rank adapter of this rank and leave the model as it is: the reference and the
    /// trained model are then one copy of the weights.
    #[arg(long, value_name = "RANK", help_heading = "Adapter")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_rank: Option<usize>,
    /// Size of the adapter: what it adds is scaled by this over the rank [default: twice the rank].
    #[arg(long, value_name = "ALPHA", requires = "lora_rank", help_heading = "Adapter")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_alpha: Option<f64>,
    /// What it adds to, such as `q_proj,v_proj` [default: every linear map of a layer].
    #[arg(
        long,
        value_name = "MODULES",
        value_delimiter = ',',
        requires = "lora_rank",
        help_heading = "Adapter"
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lora_targets: Vec<LoraTarget>,
    /// Where the weights are while an adapter to them is trained.
    #[arg(long, value_enum, default_value_t, help_heading = "Adapter")]
    pub(super) weights: Weights,
}

impl LoraArgs {
    fn settings(&self) -> Option<LoraSettings> {
        let rank = self.lora_rank?;
        let targets = match self.lora_targets.as_slice() {
            [] => LoraTarget::ALL.to_vec(),
            given => given.to_vec(),
        };
        let alpha = self.lora_alpha.unwrap_or(2.0 * rank as f64);
        Some(LoraSettings { rank, alpha, scaling: LoraScaling::Standard, targets })
    }

    /// Adds the adapter that was asked for to the model to train.
    pub(super) fn apply(&self, model: Model, seed: u64) -> Result<Model> {
        let Some(settings) = self.settings() else { return Ok(model) };
        if model.engine.adapter().is_some() {
            return Err(CliError::Mismatch {
                what: format!("`{}` is an adapter already", model.place.path.display()),
                hint: "leave out `--lora-rank` to train it on, or merge it first (`gratis merge`)",
            }
            .into());
        }
        let Model { place, engine, tokenizer, manifest } = model;
        let engine = engine.with_adapter(settings, place.name.clone(), seed)?;
        info!("an adapter of {} parameters is trained", engine.trained_parameters().len());
        Ok(Model { place, engine, tokenizer, manifest })
    }
}
