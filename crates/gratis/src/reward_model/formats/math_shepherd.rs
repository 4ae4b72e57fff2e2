//! math-shepherd-mistral-7b-prm: a language model that says `+` or `-` at a tag (Wang et al. 2023).
//!
//! The text `problem Step 1: ... ки`, the steps on lines of their own, after the beginning of
//! sequence and without a chat template. The reward of a step is the share of `+` among `+` and `-`
//! in the model's prediction at the tag; a solution's is its lowest.

use gratis_model::Tokenizer;

use super::recipe::{Begin, Reading, Recipe, Scope, Template};
use super::{Classes, Definition, Served};
use crate::data::{ModelFormat, StepSplit};
use crate::error::{Error, Result};
use crate::selection::Aggregation;

pub(super) static DEFINITION: Definition = Definition {
    format: ModelFormat::MathShepherd,
    classes: Classes::Unnamed,
    repositories: &["math-shepherd-mistral-7b-prm"],
    config_fields: &[],
    tensors: &[],
    head: super::Head::Labels(labels),
    served: Served::LogProbs,
    recipe: Recipe {
        template: Template::Text { before: "", between: " " },
        begin: Begin::Tokenizer,
        tag: " ки",
        step_join: "\n",
        reading: Reading::Tag,
        scope: Scope::Steps,
        step_split: StepSplit::Lines,
        aggregation: Aggregation::Min,
    },
};

/// The tokens of `+` and `-` after white space.
fn labels(tokenizer: &Tokenizer) -> Result<[u32; 2]> {
    match tokenizer.encode("+ -")?.ids[..] {
        [good, bad] => Ok([good, bad]),
        ref other => Err(Error::Mismatch {
            what: format!(
                "the tokenizer makes {} tokens of `+ -`, and `{}` needs one for each label",
                other.len(),
                ModelFormat::MathShepherd
            ),
            hint: "is this the model's own tokenizer?",
        }),
    }
}
