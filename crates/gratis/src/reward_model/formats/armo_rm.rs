//! ArmoRM-Llama3-8B: nineteen objectives, weighed by a gate that sees the problem.
//!
//! The Llama 3 chat of problem and solution. The objectives are read at the last token; the gate, a
//! network with ReLU layers, reads the token at which the assistant's turn opens. The score is
//! `sum_j g_j (r T)_j` with `g = logit_scale * softmax(z / temperature)`.

use super::head::{Dense, HeadTensors, Loaded};
use super::recipe::{Begin, Gate, Reading, Recipe, Reward, Scope, Template};
use super::{Classes, Definition, Served};
use crate::data::{ModelFormat, StepSplit};
use crate::error::Result;
use crate::selection::Aggregation;

const REGRESSION: &str = "regression_layer.weight";
const TRANSFORM: &str = "reward_transform_matrix";
const SCALE: &str = "gating.logit_scale";
/// Divides the gate's logits where the configuration does not say.
const TEMPERATURE: f64 = 10.0;
const GATE: [Dense; 4] = [
    Dense { weight: "gating.layers.0.weight", bias: Some("gating.layers.0.bias"), n_out: &[] },
    Dense { weight: "gating.layers.1.weight", bias: Some("gating.layers.1.bias"), n_out: &[] },
    Dense { weight: "gating.layers.2.weight", bias: Some("gating.layers.2.bias"), n_out: &[] },
    Dense { weight: "gating.layers.3.weight", bias: Some("gating.layers.3.bias"), n_out: &[] },
];

pub(super) static DEFINITION: Definition = Definition {
    format: ModelFormat::ArmoRm,
    classes: Classes::Named(&["LlamaForRewardModelWithGating"]),
    repositories: &[],
    config_fields: &[
        "gating_hidden_dim",
        "gating_n_hidden",
        "gating_temperature",
        "num_objectives",
    ],
    tensors: &[
        REGRESSION,
        TRANSFORM,
        SCALE,
        "gating.layers.0.weight",
        "gating.layers.0.bias",
        "gating.layers.1.weight",
        "gating.layers.1.bias",
        "gating.layers.2.weight",
        "gating.layers.2.bias",
        "gating.layers.3.weight",
        "gating.layers.3.bias",
    ],
    head: super::Head::Tensors(load),
    served: Served::Nowhere(
        "neither vLLM nor SGLang has the class `LlamaForRewardModelWithGating`, whose gate is read too",
    ),
    recipe: Recipe {
        template: Template::Chat { system: None },
        begin: Begin::AsWritten,
        tag: "",
        step_join: "",
        reading: Reading::LastAndOpening(
            "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        scope: Scope::Solution,
        step_split: StepSplit::Whole,
        aggregation: Aggregation::Outcome,
    },
};

fn load(head: &mut HeadTensors<'_>) -> Result<Loaded> {
    let regression = head.network(&[Dense { weight: REGRESSION, bias: None, n_out: &[] }])?;
    let n = regression.last().map_or(0, gratis_model::Dense::n_out);
    let gate = head.network(&GATE)?;
    if gate.last().map_or(0, gratis_model::Dense::n_out) != n {
        return Err(head.other_width(GATE[3].weight, &format!("{n} rows, one per objective")));
    }
    let transform = head.read(TRANSFORM, &[n, n])?;
    let scale = head.read(SCALE, &[1])?;
    let temperature = head.config().number("gating_temperature").unwrap_or(TEMPERATURE);
    let gate_of = Gate { transform, temperature, scale: f64::from(scale[0]) };
    Ok(Loaded::new(vec![regression, gate], Reward::Gated(gate_of)))
}
