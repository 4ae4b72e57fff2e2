//! What a training run changes: all parameters, or a low-rank adapter.

use gratis_model::{LoraScaling, LoraSettings, LoraTarget};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::reward_model::{ALPHA, Model, Weights};

/// What is trained: everything, or an adapter of this shape.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(deny_unknown_fields, default)]
pub struct AdapterSettings {
    /// Train a low-rank adapter of this rank and keep the model frozen: the reference and the
    /// trained model then share one copy of the weights.
    #[cfg_attr(feature = "clap", arg(long, value_name = "RANK", help_heading = "Adapter"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_rank: Option<usize>,
    /// LoRA alpha; the update is scaled by alpha / rank [default: twice the rank].
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "ALPHA", requires = "lora_rank", help_heading = "Adapter")
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_alpha: Option<f64>,
    /// Linear maps that it adapts, such as `q_proj,v_proj` [default: every one of a layer].
    #[cfg_attr(
        feature = "clap",
        arg(
            long,
            value_name = "MODULES",
            value_delimiter = ',',
            requires = "lora_rank",
            help_heading = "Adapter"
        )
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lora_targets: Vec<LoraTarget>,
    /// How the weights are held in memory while an adapter to them is trained.
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t, help_heading = "Adapter"))]
    pub weights: Weights,
}

impl AdapterSettings {
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
    pub(super) fn apply(
        &self,
        model: Model,
        seed: u64,
        observer: &mut dyn Observer,
    ) -> Result<Model> {
        if model.is_trained_elsewhere() {
            return self.apply_elsewhere(model, seed, observer);
        }
        let Some(settings) = self.settings() else { return Ok(model) };
        let model = model.with_adapter(settings, seed)?;
        let n_trained = model.n_trained_parameters();
        observer.note(&format!("training an adapter of {n_trained} parameters"));
        Ok(model)
    }

    /// The same on a training server, which chooses all but the rank and the seed.
    fn apply_elsewhere(
        &self,
        model: Model,
        seed: u64,
        observer: &mut dyn Observer,
    ) -> Result<Model> {
        let refused = |what: &str, hint| Err(Error::Mismatch { what: what.to_owned(), hint });
        let Some(rank) = self.lora_rank else {
            let hint = "give `--lora-rank`, for example 8";
            return refused("a training server trains adapters, not all parameters", hint);
        };
        if self.lora_alpha.is_some_and(|alpha| alpha != ALPHA) {
            let hint = "leave `--lora-alpha` out: it is 32";
            return refused("a training server has no setting for the LoRA alpha", hint);
        }
        if !self.lora_targets.is_empty() {
            let hint = "leave `--lora-targets` out: every linear map of a layer is adapted";
            return refused("a training server chooses what its adapter adapts", hint);
        }
        let model = model.with_adapter_elsewhere(rank, seed)?;
        let n_trained = model.n_trained_parameters();
        observer.note(&format!(
            "training an adapter of {n_trained} parameters on the server: rank {rank}, alpha {ALPHA}"
        ));
        Ok(model)
    }
}
