//! The route `/pooling` of vLLM, and a model with a head behind it.

use std::path::Path;

use gratis_cpu::{NativeEngine, NativeOptions};
use gratis_engine::{PackedBatch, Sample, Score, Values};
use gratis_model::checkpoint::NamedTensors;
use gratis_model::config::json::ConfigFile;
use gratis_model::{Dense, Readout};
use serde_json::{Value, json};

use crate::bodies::{Answer, check, error, prompts};
use crate::model::{Model, Sampling};

/// At which tokens a server reads a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolingTask {
    /// All of them.
    EachToken,
    /// Those that are this token.
    StepTag(u32),
    /// The last.
    LastToken,
    /// The average of all.
    Average,
}

/// How a server answers to `/pooling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    /// Where the head is read.
    pub task: PoolingTask,
    /// Whether `use_activation` of the request is ignored, and the activation always on.
    pub ignores_activation: bool,
}

impl Default for Pooling {
    fn default() -> Self {
        Self { task: PoolingTask::EachToken, ignores_activation: false }
    }
}

/// `POST /pooling`.
pub(crate) fn pooling(body: &Value, model: &dyn Model, pooling: Pooling) -> Answer {
    let Some(prompts) = prompts(&body["input"]) else { return error(400, "an input of ids") };
    if let Err(answer) = check(model, &prompts) {
        return answer;
    }
    let own = match pooling.task {
        PoolingTask::EachToken | PoolingTask::StepTag(_) => "token_classify",
        PoolingTask::LastToken | PoolingTask::Average => "classify",
    };
    if body["task"].as_str().is_some_and(|asked| asked != own) {
        let asked = body["task"].as_str().unwrap_or_default();
        let message =
            format!("Try switching the model's pooling_task via --pooler-config.task {asked}.");
        return error(400, &message);
    }
    let is_activated = pooling.ignores_activation || body["use_activation"] != false;
    let mut data = Vec::new();
    for (index, prompt) in prompts.iter().enumerate() {
        let Some(values) = model.values(prompt) else {
            return (404, json!({"detail": "Not Found"}));
        };
        let n = values.len() as f32;
        let pooled: Vec<Vec<f32>> = match pooling.task {
            PoolingTask::EachToken => values,
            PoolingTask::StepTag(tag) => {
                let of_tag = prompt.iter().zip(values).filter(|(token, _)| **token == tag);
                of_tag.map(|(_, values)| values).collect()
            }
            PoolingTask::LastToken => values.last().cloned().into_iter().collect(),
            PoolingTask::Average => {
                let sum = |channel: usize| values.iter().map(|row| row[channel]).sum::<f32>();
                vec![(0..values[0].len()).map(|channel| sum(channel) / n).collect()]
            }
        };
        let activated = |row: Vec<f32>| if is_activated { activation(&row) } else { row };
        let rows: Vec<Vec<f32>> = pooled.into_iter().map(activated).collect();
        let rows = if own == "classify" { json!(rows[0]) } else { json!(rows) };
        data.push(json!({"index": index, "object": "pooling", "data": rows}));
    }
    (200, json!({"id": "pool-0", "object": "list", "data": data}))
}

/// The logistic function of one value, the softmax of several.
fn activation(row: &[f32]) -> Vec<f32> {
    if let [value] = row {
        return vec![1.0 / (1.0 + (-value).exp())];
    }
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = row.iter().map(|value| (value - largest).exp()).collect();
    let total: f32 = powers.iter().sum();
    powers.iter().map(|power| power / total).collect()
}

/// A real model with the head of a published reward model.
#[derive(Debug)]
pub struct HeadModel(NativeEngine);

impl HeadModel {
    /// The model of a folder; `layers` are the names of the weight and the bias of each layer of its head.
    ///
    /// # Panics
    /// For a folder that cannot be read: this is for tests.
    pub fn load(folder: &Path, layers: &[(&str, Option<&str>)]) -> Self {
        let config = ConfigFile::read(&folder.join("config.json")).expect("a configuration");
        let config = config.body(&[]).expect("a supported configuration");
        let names = layers.iter().flat_map(|&(weight, bias)| std::iter::once(weight).chain(bias));
        let names: Vec<String> = names.map(str::to_owned).collect();
        let mut tensors = NamedTensors::open(folder).expect("weights");
        let mut n_in = config.hidden_size;
        let mut network = Vec::new();
        for &(weight, bias) in layers {
            let n_out = tensors.shape(weight).expect("the weight of a layer")[0];
            let mut read =
                |name: &str, shape: &[usize]| tensors.read(name, shape).expect("a tensor");
            let (weight, bias) = (read(weight, &[n_out, n_in]), bias.map(|b| read(b, &[n_out])));
            network.push(Dense { weight, bias, n_in });
            n_in = n_out;
        }
        let engine = NativeEngine::load_body(folder, config, &names, NativeOptions::default());
        let readout = Readout { networks: vec![network] };
        Self(engine.expect("a model").with_readout(readout).expect("a head that fits"))
    }
}

impl Model for HeadModel {
    fn vocab_size(&self) -> usize {
        self.0.describe().vocab_size
    }

    fn context_length(&self) -> usize {
        self.0.describe().context_length
    }

    fn scores(&self, tokens: &[u32]) -> Vec<f32> {
        vec![0.0; tokens.len().saturating_sub(1)]
    }

    fn sample(&self, _prompt: &[u32], _sampling: &Sampling) -> Sample {
        unreachable!("a model with a head samples nothing")
    }

    fn values(&self, tokens: &[u32]) -> Option<Vec<Vec<f32>>> {
        let batch = |prompt: &[u32], response: &[u32]| {
            PackedBatch::from_groups([(prompt, [response])]).expect("tokens")
        };
        let n_channels = self.0.n_channels();
        let rows = |prompt: &[u32], response: &[u32]| -> Vec<Vec<f32>> {
            let values = self.0.values(&[batch(prompt, response)]).expect("a pass");
            let row = values[0].row(0);
            let n = response.len();
            let column = |at: usize| (0..n_channels).map(move |c| c * n + at);
            (0..n).map(|at| column(at).map(|place| row[place]).collect()).collect()
        };
        // A response follows a token, so the value of the first token is that of its repetition. No score
        // is read there.
        let first = rows(&tokens[..1], &tokens[..1]).swap_remove(0);
        let rest = if tokens.len() > 1 { rows(&tokens[..1], &tokens[1..]) } else { Vec::new() };
        Some(std::iter::once(first).chain(rest).collect())
    }
}
