//! RLHFlow's Llama3.1-8B-PRM and -ORM models: a language model that answers `+` or `-`.
//!
//! Process: a conversation in which the user gives a step at a time, the problem before the first,
//! and the assistant answers `+`. The reward of a step is the share of `+` among `+` and `-` where
//! the answer is predicted. The authors run the model once per step, on the conversation up to
//! there; one pass over the whole conversation reads the same states. They average the rewards.
//!
//! Outcome: one turn with the problem and the whole solution.

use gratis_model::Tokenizer;

use super::recipe::{Begin, Reading, Recipe, Scope, Template};
use super::{Classes, Definition, Served};
use crate::data::{ModelFormat, StepSplit};
use crate::error::{Error, Result};
use crate::selection::Aggregation;

pub(super) static PROCESS: Definition = Definition {
    format: ModelFormat::RlhflowPrm,
    classes: Classes::Unnamed,
    repositories: &["Llama3.1-8B-PRM-Mistral-Data", "Llama3.1-8B-PRM-Deepseek-Data"],
    config_fields: &[],
    tensors: &[],
    head: super::Head::Labels(labels),
    served: Served::LogProbs,
    recipe: Recipe {
        scope: Scope::Steps,
        step_split: StepSplit::Paragraphs,
        aggregation: Aggregation::Mean,
        ..TURNS
    },
};

pub(super) static OUTCOME: Definition = Definition {
    format: ModelFormat::RlhflowOrm,
    classes: Classes::Unnamed,
    repositories: &["Llama3.1-8B-ORM-Mistral-Data", "Llama3.1-8B-ORM-Deepseek-Data"],
    config_fields: &[],
    tensors: &[],
    head: super::Head::Labels(labels),
    served: Served::LogProbs,
    recipe: TURNS,
};

/// One turn with everything.
const TURNS: Recipe = Recipe {
    template: Template::Turns { problem_join: " " },
    begin: Begin::AsWritten,
    tag: "+",
    step_join: "",
    reading: Reading::BeforeTag,
    scope: Scope::Solution,
    step_split: StepSplit::Whole,
    aggregation: Aggregation::Outcome,
};

/// The last tokens of `+` and `-`.
fn labels(tokenizer: &Tokenizer) -> Result<[u32; 2]> {
    let last = |label: &str| {
        let tokens = tokenizer.encode(label)?.ids;
        tokens.last().copied().ok_or_else(|| Error::Mismatch {
            what: format!("the tokenizer has no token for the label `{label}`"),
            hint: "is this the model's own tokenizer?",
        })
    };
    Ok([last("+")?, last("-")?])
}
