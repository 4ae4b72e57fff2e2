//! Rows of the tables as plain data: how each reward model is trained, and how it computes rewards.
//!
//! Nothing here computes. [`Recipe`] describes an implicit process reward model, [`Baseline`] any
//! other; each carries the configuration that was chosen for it on validation problems, and the
//! paper's number where the paper has this row.

mod baseline;
mod recipe;

use gratis::objective::Magnitude;
use serde::{Deserialize, Serialize};

pub(crate) use baseline::Configuration;
pub(crate) use baseline::{
    Baseline, Form, Labels, Learns, Start, TrainedForm, baselines, bounds, classic_on,
    math_shepherd,
};
pub(crate) use recipe::{
    Factor, InferenceReference, Recipe, TrainingReference, Tuned, implicit_configurations,
    objectives, tuned,
};

/// Headings of the rows of table 1.
pub(crate) const BASELINES: &str = "Baselines";
/// Those of the paper's objectives.
pub(crate) const IMPLICIT: &str = "Implicit PRM";
/// Those of further objectives.
pub(crate) const BEYOND: &str = "Implicit PRM, beyond the paper";

/// The size of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trunk {
    /// Layers.
    pub(crate) n_layers: usize,
    /// Width of the residual stream; the widths of the `SwiGLU` and the heads are derived from it.
    pub(crate) hidden_size: usize,
}

impl Default for Trunk {
    /// The size of the generators, and of every reward model that starts from one.
    fn default() -> Self {
        Self { n_layers: 2, hidden_size: 64 }
    }
}

/// A reward model to be evaluated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RewardModel {
    /// The medium generator's own log-probability (table 4, first row).
    Generator,
    /// An implicit process reward model.
    Implicit(Recipe, InferenceReference),
    /// The same, trained further on Math-Shepherd's hard labels (appendix C.2).
    SecondStage(Recipe, Magnitude),
    /// A model of another kind.
    Baseline(Baseline),
    /// A row of the cast's file, by its name.
    Named(String),
}

impl From<Recipe> for RewardModel {
    fn from(recipe: Recipe) -> Self {
        Self::Implicit(recipe, InferenceReference::Start)
    }
}

impl From<Baseline> for RewardModel {
    fn from(baseline: Baseline) -> Self {
        Self::Baseline(baseline)
    }
}
