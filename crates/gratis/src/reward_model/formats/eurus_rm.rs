//! Eurus-RM-7b: a Mistral body with a regression head.
//!
//! The text `[INST] problem [\INST] solution`, with a backslash as the model's card writes it; the
//! head at the last token.

use super::head::{Dense, HeadTensors, Loaded};
use super::recipe::{Begin, Reading, Recipe, Reward, Scope, Template};
use super::{Classes, Definition, Served};
use crate::data::{ModelFormat, StepSplit};
use crate::error::Result;
use crate::selection::Aggregation;

const WEIGHT: &str = "regression_head.weight";

pub(super) static DEFINITION: Definition = Definition {
    format: ModelFormat::EurusRm,
    classes: Classes::Named(&["EurusRewardModel"]),
    repositories: &[],
    config_fields: &[],
    tensors: &[WEIGHT],
    head: super::Head::Tensors(load),
    served: Served::Nowhere("neither vLLM nor SGLang has the class `EurusRewardModel`"),
    recipe: Recipe {
        template: Template::Text { before: "[INST] ", between: " [\\INST] " },
        begin: Begin::Tokenizer,
        tag: "",
        step_join: "",
        reading: Reading::Last,
        scope: Scope::Solution,
        step_split: StepSplit::Whole,
        aggregation: Aggregation::Outcome,
    },
};

fn load(head: &mut HeadTensors<'_>) -> Result<Loaded> {
    let layer = Dense { weight: WEIGHT, bias: None, n_out: &[1] };
    let network = head.network(&[layer])?;
    Ok(Loaded::new(vec![network], Reward::Value))
}
