//! Qwen2.5-Math-PRM-7B and -72B, and Qwen2.5-Math-7B-PRM800K.
//!
//! A chat whose answer is the steps, each followed by `<extra_0>`; the reward of a step is the
//! probability of the second class at that token, by a head of two layers with a ReLU between them.
//! Their paper (arXiv:2501.07301) multiplies the step rewards.

use super::head::{Dense, HeadTensors, Loaded};
use super::recipe::{Begin, Reading, Recipe, Reward, Scope, Template};
use super::{Classes, Definition, Served};
use crate::data::{ModelFormat, StepSplit};
use crate::error::Result;
use crate::selection::Aggregation;

const SYSTEM: &str = "Please reason step by step, and put your final answer within \\boxed{}.";
const TENSORS: [&str; 4] = ["score.0.weight", "score.0.bias", "score.2.weight", "score.2.bias"];

pub(super) static DEFINITION: Definition = Definition {
    format: ModelFormat::QwenPrm,
    classes: Classes::Named(&["Qwen2ForProcessRewardModel"]),
    repositories: &[],
    config_fields: &[],
    tensors: &TENSORS,
    head: super::Head::Tensors(load),
    served: Served::Pooled(|n_channels| (n_channels == 2).then_some(Reward::Softmax { good: 1 })),
    recipe: Recipe {
        template: Template::Chat { system: Some(SYSTEM) },
        begin: Begin::Tokenizer,
        tag: "<extra_0>",
        step_join: "",
        reading: Reading::Tag,
        scope: Scope::Steps,
        step_split: StepSplit::Paragraphs,
        aggregation: Aggregation::Prod,
    },
};

fn load(head: &mut HeadTensors<'_>) -> Result<Loaded> {
    let [weight_0, bias_0, weight_2, bias_2] = TENSORS;
    let network = head.network(&[
        Dense { weight: weight_0, bias: Some(bias_0), n_out: &[] },
        Dense { weight: weight_2, bias: Some(bias_2), n_out: &[2] },
    ])?;
    Ok(Loaded::new(vec![network], Reward::Softmax { good: 1 }))
}
