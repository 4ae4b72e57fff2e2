//! `Qwen2ForTokenClassification` and the same of other bodies, with one or two labels: what TRL's
//! `PRMTrainer` trains.
//!
//! Problem and steps are encoded one by one and their tokens put together: the beginning of
//! sequence, the problem, and each step with the tokens of the separator. The reward of a step is
//! the probability of the label 1 at its last separator token.

use super::head::{Dense, HeadTensors, Loaded};
use super::recipe::{Begin, Reading, Recipe, Reward, Scope, Template, Unit};
use super::{Classes, Definition, Served};
use crate::data::{ModelFormat, StepSplit};
use crate::error::Result;
use crate::selection::Aggregation;

const WEIGHT: &str = "score.weight";
const BIAS: &str = "score.bias";

pub(super) static DEFINITION: Definition = Definition {
    format: ModelFormat::TokenClassification,
    classes: Classes::Ending("ForTokenClassification"),
    repositories: &[],
    config_fields: &[],
    tensors: &[WEIGHT, BIAS],
    head: super::Head::Tensors(load),
    served: Served::Pooled(|n_channels| match n_channels {
        1 => Some(Reward::Sigmoid),
        2 => Some(Reward::Softmax { good: 1 }),
        _ => None,
    }),
    recipe: Recipe {
        template: Template::Pieces { after_problem: "", unit: Unit::Step },
        begin: Begin::Always,
        tag: "\n",
        step_join: "",
        reading: Reading::Tag,
        scope: Scope::Steps,
        step_split: StepSplit::Lines,
        // TRL names none; the paper's.
        aggregation: Aggregation::Min,
    },
};

fn load(head: &mut HeadTensors<'_>) -> Result<Loaded> {
    let layer = Dense { weight: WEIGHT, bias: Some(BIAS), n_out: &[1, 2] };
    let network = head.network(&[layer])?;
    let n_labels = network.last().map_or(0, gratis_model::Dense::n_out);
    let reward = if n_labels == 2 { Reward::Softmax { good: 1 } } else { Reward::Sigmoid };
    Ok(Loaded::new(vec![network], reward))
}
