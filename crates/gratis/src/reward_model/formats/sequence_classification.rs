//! `LlamaForSequenceClassification` and the same of other bodies, with one label: Skywork-Reward
//! (v0.1, v0.2, V2) and most outcome reward models of preference data.
//!
//! The chat of problem and solution, without a doubled beginning of sequence; `score.weight` at the
//! last token that is no padding.

use super::head::{Dense, HeadTensors, Loaded};
use super::recipe::{Begin, Reading, Recipe, Reward, Scope, Template};
use super::{Classes, Definition, Served};
use crate::data::{ModelFormat, StepSplit};
use crate::error::Result;
use crate::selection::Aggregation;

const WEIGHT: &str = "score.weight";

pub(super) static DEFINITION: Definition = Definition {
    format: ModelFormat::SequenceClassification,
    classes: Classes::Ending("ForSequenceClassification"),
    repositories: &[],
    config_fields: &[],
    tensors: &[WEIGHT],
    head: super::Head::Tensors(load),
    served: Served::Pooled(|n_channels| (n_channels == 1).then_some(Reward::Value)),
    recipe: Recipe {
        template: Template::Chat { system: None },
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
