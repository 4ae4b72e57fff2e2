//! `EurusPRM` and `ImplicitPRM`: log-ratios of a language model to a reference, the paper's own models.
//!
//! The chat of problem and solution, whose steps read `Step 1: ...` and are separated by blank
//! lines; coefficient 0.001; the score of a solution is its lowest step reward.

use super::recipe::{Begin, Reading, Recipe, Scope, Template};
use super::{Classes, Definition, Served};
use crate::data::{ModelFormat, StepSplit};
use crate::selection::Aggregation;

/// The coefficient of the log-ratio that the model cards give.
pub(crate) const COEFFICIENT: f64 = 0.001;

pub(super) static DEFINITION: Definition = Definition {
    format: ModelFormat::ImplicitPrm,
    classes: Classes::Unnamed,
    repositories: &["EurusPRM-Stage1", "EurusPRM-Stage2"],
    config_fields: &[],
    tensors: &[],
    head: super::Head::LanguageModel,
    served: Served::LogProbs,
    recipe: Recipe {
        template: Template::Chat { system: None },
        begin: Begin::AsWritten,
        tag: "",
        step_join: "\n\n",
        reading: Reading::Last,
        scope: Scope::Steps,
        step_split: StepSplit::Numbered,
        aggregation: Aggregation::Min,
    },
};
