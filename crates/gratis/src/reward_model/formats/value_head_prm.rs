//! Skywork-o1-Open-PRM-Qwen-2.5-1.5B and -7B, and what else has a `v_head` as TRL writes it.
//!
//! The beginning of sequence, the problem and a line end; then each line of the solution with the
//! token of a line end, encoded one by one. The reward of a step is the logistic function of the
//! value at the line end of its last line. The authors' own code also reads one at every blank line.

use super::head::{Dense, HeadTensors, Loaded};
use super::recipe::{Begin, Reading, Recipe, Reward, Scope, Template, Unit};
use super::{Classes, Definition, Served};
use crate::data::{ModelFormat, StepSplit};
use crate::error::Result;
use crate::selection::Aggregation;

const WEIGHT: &str = "v_head.summary.weight";
const BIAS: &str = "v_head.summary.bias";

pub(super) static DEFINITION: Definition = Definition {
    format: ModelFormat::ValueHeadPrm,
    classes: Classes::Named(&["Qwen2ForPrmModel"]),
    repositories: &[],
    config_fields: &["summary_dropout_prob"],
    tensors: &[WEIGHT, BIAS],
    head: super::Head::Tensors(load),
    served: Served::Nowhere("neither vLLM nor SGLang has the class `Qwen2ForPrmModel`"),
    recipe: Recipe {
        template: Template::Pieces { after_problem: "\n", unit: Unit::Line },
        begin: Begin::Always,
        tag: "\n",
        step_join: "",
        reading: Reading::Tag,
        scope: Scope::Steps,
        step_split: StepSplit::Lines,
        // The authors name none; the paper's.
        aggregation: Aggregation::Min,
    },
};

fn load(head: &mut HeadTensors<'_>) -> Result<Loaded> {
    let layer = Dense { weight: WEIGHT, bias: Some(BIAS), n_out: &[1] };
    let network = head.network(&[layer])?;
    Ok(Loaded::new(vec![network], Reward::Sigmoid))
}
