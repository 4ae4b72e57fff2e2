//! The routes `/pooling` of vLLM and `/classify` and `/v1/score` of SGLang, and a model with a head behind
//! them.

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

/// How a server reads a head.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pooling {
    /// Where the head is read.
    pub task: PoolingTask,
    /// Whether `use_activation` of the request is ignored, and the activation always on.
    pub ignores_activation: bool,
    /// Added to the values on the routes of SGLang: a bias that the checkpoint lacks.
    pub bias: f32,
    /// The class of the model, as SGLang names it.
    pub class: Option<&'static str>,
}

impl Default for Pooling {
    fn default() -> Self {
        Self { task: PoolingTask::EachToken, ignores_activation: false, bias: 0.0, class: None }
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

/// The values of a sequence where SGLang reads them: at the last token, unless it averages.
fn classified(model: &dyn Model, prompt: &[u32], pooling: Pooling) -> Option<Vec<f32>> {
    let values = model.values(prompt)?;
    let n = values.len() as f32;
    let mut row = match pooling.task {
        PoolingTask::Average => {
            let sum = |channel: usize| values.iter().map(|row| row[channel]).sum::<f32>();
            (0..values[0].len()).map(|channel| sum(channel) / n).collect()
        }
        _ => values.last()?.clone(),
    };
    for value in &mut row {
        *value += pooling.bias;
    }
    Some(if pooling.ignores_activation { activation(&row) } else { row })
}

/// An error as SGLang writes it.
fn refused(message: &str) -> Answer {
    (400, json!({"error": {"message": message}}))
}

const NO_HEAD: &str = "This model does not appear to be an embedding model by default. Please add \
                       `--is-embedding` when launching the server or try another model.";

/// `POST /classify`.
pub(crate) fn classify(body: &Value, model: &dyn Model, pooling: Pooling) -> Answer {
    let Some(prompts) = prompts(&body["input_ids"]) else { return refused("ids") };
    if let Err(answer) = check(model, &prompts) {
        return answer;
    }
    let mut items = Vec::new();
    for prompt in &prompts {
        let Some(row) = classified(model, prompt, pooling) else { return refused(NO_HEAD) };
        items.push(json!({"embedding": row, "meta_info": {"prompt_tokens": prompt.len()}}));
    }
    (200, Value::Array(items))
}

/// `POST /v1/score`.
pub(crate) fn score(body: &Value, model: &dyn Model, pooling: Pooling) -> Answer {
    let query = prompts(&body["query"]).and_then(|mut query| query.pop());
    let (Some(query), Some(items)) = (query, prompts(&body["items"])) else {
        return refused("ids");
    };
    let (mut scores, mut states) = (Vec::new(), Vec::new());
    for item in &items {
        let tokens = [&query[..], item].concat();
        let found = (classified(model, &tokens, pooling), model.states(&tokens));
        let (Some(row), Some(mut state)) = found else { return refused(NO_HEAD) };
        scores.push(row);
        states.extend(state.pop());
    }
    (200, json!({"scores": scores, "pooled_hidden_states": states, "object": "scoring"}))
}

/// `GET /model_info`.
pub(crate) fn info(model: &dyn Model, pooling: Pooling) -> Answer {
    let classes: Vec<&str> = pooling.class.into_iter().collect();
    (200, json!({"architectures": classes, "is_generation": model.values(&[0]).is_none()}))
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
pub struct HeadModel {
    /// Its channels are those of the head, then the state.
    engine: NativeEngine,
    n_channels: usize,
}

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
        let n_state = config.hidden_size;
        let mut n_in = n_state;
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
        let mut identity = vec![0.0; n_state * n_state];
        for value in identity.iter_mut().step_by(n_state + 1) {
            *value = 1.0;
        }
        let identity = Dense { weight: identity, bias: None, n_in: n_state };
        let readout = Readout { networks: vec![network, vec![identity]] };
        let engine = engine.expect("a model").with_readout(readout).expect("a head that fits");
        Self { engine, n_channels: n_in }
    }

    /// The channels at each token.
    fn channels(&self, tokens: &[u32]) -> Vec<Vec<f32>> {
        let batch = |prompt: &[u32], response: &[u32]| {
            PackedBatch::from_groups([(prompt, [response])]).expect("tokens")
        };
        let n_channels = self.engine.n_channels();
        let rows = |prompt: &[u32], response: &[u32]| -> Vec<Vec<f32>> {
            let values = self.engine.values(&[batch(prompt, response)]).expect("a pass");
            let row = values[0].row(0);
            let n = response.len();
            let column = |at: usize| (0..n_channels).map(move |c| c * n + at);
            (0..n).map(|at| column(at).map(|place| row[place]).collect()).collect()
        };
        // A response follows a token, so the value of the first token is that of its repetition. No score
        // is read there.
        let first = rows(&tokens[..1], &tokens[..1]).swap_remove(0);
        let rest = if tokens.len() > 1 { rows(&tokens[..1], &tokens[1..]) } else { Vec::new() };
        std::iter::once(first).chain(rest).collect()
    }
}

impl Model for HeadModel {
    fn vocab_size(&self) -> usize {
        self.engine.describe().vocab_size
    }

    fn context_length(&self) -> usize {
        self.engine.describe().context_length
    }

    fn scores(&self, tokens: &[u32]) -> Vec<f32> {
        vec![0.0; tokens.len().saturating_sub(1)]
    }

    fn sample(&self, _prompt: &[u32], _sampling: &Sampling) -> Sample {
        unreachable!("a model with a head samples nothing")
    }

    fn values(&self, tokens: &[u32]) -> Option<Vec<Vec<f32>>> {
        let of_head = |mut row: Vec<f32>| {
            row.truncate(self.n_channels);
            row
        };
        Some(self.channels(tokens).into_iter().map(of_head).collect())
    }

    fn states(&self, tokens: &[u32]) -> Option<Vec<Vec<f32>>> {
        let of_state = |mut row: Vec<f32>| row.split_off(self.n_channels);
        Some(self.channels(tokens).into_iter().map(of_state).collect())
    }
}
