//! A fake training server: the Tinker API as SkyRL 0.4 speaks it, over adapters of a CPU engine.
//!
//! What SkyRL keeps in its database (futures, checkpoints, the numbers of requests) outlives a
//! [`TinkerServer::restart`]; models do not. A request with a number that was seen is answered with
//! the first one's future, or refused if its body differs.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;
use gratis_cpu::NativeEngine;
use gratis_engine::{
    Generate, OptimizerStep, PackedBatch, Sample, SampleRequest, SamplingSettings, Score,
    StateName, StateRef, TokenValues, Train,
};
use gratis_model::lora::BaseName;
use gratis_model::{LoraScaling, LoraSettings, LoraTarget};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model::mixed;
use crate::protobuf::{self, Datum, Pass};

/// How the server makes gradients of its losses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Losses {
    /// Both are plain sums over tokens: the managed service by its documentation.
    #[default]
    Sum,
    /// Means: SkyRL's JAX backend.
    Mean,
    /// `cross_entropy` is a mean and `importance_sampling` a sum: weights fit neither.
    Unfit,
    /// As `Sum`, without a gradient norm in the answers.
    Silent,
}

/// What is wrong with the log-probabilities that the server answers with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spoilt {
    /// Nothing.
    #[default]
    No,
    /// One of them is not a number.
    NotANumber,
    /// The last is missing.
    Short,
    /// A sequence is missing.
    MissingRow,
}

/// An answer of a route.
pub(crate) enum TinkerAnswer {
    Json(u16, Value),
    Protobuf(Vec<u8>),
    File(Vec<u8>),
}

fn refused(status: u16, message: &str) -> TinkerAnswer {
    TinkerAnswer::Json(status, json!({ "detail": message }))
}

/// The adapter of a model, and what it waits for.
struct Adapter {
    engine: NativeEngine,
    rank: usize,
    /// Sequences since the last step, with `dL/dlp` before means over sequences.
    pending: Vec<(PackedBatch, Vec<f32>)>,
}

/// The result of a request.
#[derive(Clone)]
enum Outcome {
    Json(Value),
    Protobuf(Vec<u8>),
    Failed(String),
}

#[derive(Default)]
struct State {
    n_sessions: u64,
    n_models: u64,
    /// Every model that was created, with its rank.
    known: BTreeMap<String, usize>,
    loaded: BTreeMap<String, Adapter>,
    futures: Vec<Outcome>,
    /// Hash and future of each numbered request.
    numbered: BTreeMap<(String, u64), (u64, usize)>,
    /// Ranks of checkpoints by their URI.
    checkpoints: BTreeMap<String, usize>,
    /// Optimizer steps by model.
    n_steps: BTreeMap<String, u64>,
    n_samples: u64,
    spoilt: Spoilt,
    losses: Losses,
}

/// A fake training server's models and memory; clones share them.
#[derive(Clone)]
pub struct TinkerServer {
    base: Arc<NativeEngine>,
    name: String,
    folder: Arc<TempDir>,
    state: Arc<Mutex<State>>,
}

impl TinkerServer {
    /// A server of adapters to `base`, which it calls `name`.
    ///
    /// # Errors
    /// Those of a temporary folder for checkpoints.
    pub fn new(base: NativeEngine, name: &str, losses: Losses) -> std::io::Result<Self> {
        let state = State { losses, ..State::default() };
        Ok(Self {
            base: Arc::new(base),
            name: name.to_owned(),
            folder: Arc::new(tempfile::tempdir()?),
            state: Arc::new(Mutex::new(state)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all models, as a server does that is started again.
    pub fn restart(&self) {
        self.lock().loaded.clear();
    }

    /// Answers wrongly from now on.
    pub fn spoil(&self, spoilt: Spoilt) {
        self.lock().spoilt = spoilt;
    }

    /// Optimizer steps of each model that took any, oldest first.
    pub fn n_steps(&self) -> Vec<u64> {
        self.lock().n_steps.values().copied().collect()
    }

    /// Models that are loaded.
    pub fn n_loaded(&self) -> usize {
        self.lock().loaded.len()
    }

    /// Models that were ever created.
    pub fn n_created(&self) -> usize {
        self.lock().known.len()
    }

    /// Samples drawn.
    pub fn n_samples(&self) -> u64 {
        self.lock().n_samples
    }

    /// URIs of the checkpoints.
    pub fn checkpoints(&self) -> Vec<String> {
        self.lock().checkpoints.keys().cloned().collect()
    }

    /// The answer to a request; `None` for a route that is not one of the Tinker API.
    pub(crate) fn answer(&self, method: &str, path: &str, body: &[u8]) -> Option<TinkerAnswer> {
        let route = path.strip_prefix("/api/v1/")?;
        let mut state = self.lock();
        if method == "GET" {
            return Some(self.answer_get(&state, route));
        }
        if route == "forward_backward" {
            return Some(match protobuf::read_pass(body) {
                Some(pass) => {
                    Self::numbered(&mut state, &pass.model_id, pass.seq_id, body, |state| {
                        Self::pass(state, &pass)
                    })
                }
                None => refused(422, "Invalid proto forward_backward body"),
            });
        }
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Some(refused(422, "JSON decode error"));
        };
        Some(self.answer_post(&mut state, route, &value, body))
    }

    fn answer_get(&self, state: &State, route: &str) -> TinkerAnswer {
        match route {
            "healthz" => TinkerAnswer::Json(200, json!({ "status": "ok" })),
            "get_server_capabilities" => {
                let models = json!([{ "model_name": self.name }]);
                TinkerAnswer::Json(200, json!({ "supported_models": models }))
            }
            _ => {
                let parts: Vec<&str> = route.split('/').collect();
                match parts[..] {
                    ["training_runs", model, "checkpoints", name, "archive"]
                        if state.checkpoints.contains_key(&sampler_uri(model, name)) =>
                    {
                        TinkerAnswer::File(self.archive(model, name))
                    }
                    _ => refused(404, "Not Found"),
                }
            }
        }
    }

    fn answer_post(
        &self,
        state: &mut State,
        route: &str,
        body: &Value,
        bytes: &[u8],
    ) -> TinkerAnswer {
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let model_id = text("model_id");
        let needs_model = !matches!(
            route,
            "create_session"
                | "session_heartbeat"
                | "create_model"
                | "retrieve_future"
                | "asample"
                | "weights_info"
        );
        if needs_model && !state.known.contains_key(&model_id) {
            return refused(404, "Model not found");
        }
        match route {
            "create_session" => {
                state.n_sessions += 1;
                let id = format!("session_{:04}", state.n_sessions);
                TinkerAnswer::Json(200, json!({ "type": "create_session", "session_id": id }))
            }
            "session_heartbeat" => TinkerAnswer::Json(200, json!({ "type": "session_heartbeat" })),
            "get_info" => TinkerAnswer::Json(
                200,
                json!({ "model_id": model_id, "status": "created", "model_data": {
                    "base_model": self.name,
                    "lora_config": { "rank": state.known[&model_id] },
                } }),
            ),
            "create_model" => self.create(state, body),
            "unload_model" => {
                state.loaded.remove(&model_id);
                future(state, Outcome::Json(json!({ "model_id": model_id })))
            }
            "optim_step" => {
                let seq_id = body["seq_id"].as_u64().unwrap_or(0);
                Self::numbered(state, &model_id, seq_id, bytes, |state| step(state, body))
            }
            "save_weights" | "save_weights_for_sampler" => {
                self.save(state, &model_id, &text("path"), route == "save_weights")
            }
            "load_weights" => self.load(state, &model_id, &text("path")),
            "weights_info" => match state.checkpoints.get(&text("tinker_path")) {
                Some(rank) => TinkerAnswer::Json(
                    200,
                    json!({ "base_model": self.name, "is_lora": true, "lora_rank": rank }),
                ),
                None => refused(404, "Checkpoint not found"),
            },
            "asample" => self.sample(state, body),
            "retrieve_future" => {
                let id = text("request_id").parse::<usize>().ok();
                match id.and_then(|id| state.futures.get(id)) {
                    Some(Outcome::Json(value)) => TinkerAnswer::Json(200, value.clone()),
                    Some(Outcome::Protobuf(bytes)) => TinkerAnswer::Protobuf(bytes.clone()),
                    Some(Outcome::Failed(message)) => refused(400, message),
                    None => refused(404, "Future not found"),
                }
            }
            _ => refused(404, "Not Found"),
        }
    }

    /// A request with a number is done once.
    fn numbered(
        state: &mut State,
        model_id: &str,
        seq_id: u64,
        body: &[u8],
        work: impl FnOnce(&mut State) -> Outcome,
    ) -> TinkerAnswer {
        if !state.known.contains_key(model_id) {
            return refused(404, "Model not found");
        }
        let hash = body.iter().fold(0, |hash, &byte| mixed(hash ^ u64::from(byte)));
        let key = (model_id.to_owned(), seq_id);
        if let Some(&(known, id)) = state.numbered.get(&key) {
            return if known == hash {
                pending(id)
            } else {
                refused(409, "Training request sequence number was reused")
            };
        }
        let outcome = work(state);
        state.numbered.insert(key, (hash, state.futures.len()));
        future(state, outcome)
    }

    fn create(&self, state: &mut State, body: &Value) -> TinkerAnswer {
        state.n_models += 1;
        let id = format!("model_{:04}", state.n_models);
        let rank = body["lora_config"]["rank"].as_u64().unwrap_or(0) as usize;
        let seed = body["lora_config"]["seed"].as_u64().unwrap_or(0);
        let targets = LoraTarget::ALL.to_vec();
        let settings = LoraSettings { rank, alpha: 32.0, scaling: LoraScaling::Standard, targets };
        let base = BaseName { name: self.name.clone(), revision: None };
        let made = self.base.base().and_then(|engine| engine.with_adapter(settings, base, seed));
        state.known.insert(id.clone(), rank);
        let outcome = match made {
            Ok(engine) => {
                let adapter = Adapter { engine, rank, pending: Vec::new() };
                state.loaded.insert(id.clone(), adapter);
                let config = json!({ "rank": rank, "alpha": 32.0, "seed": seed });
                Outcome::Json(json!({ "model_id": id, "lora_config": config }))
            }
            Err(error) => Outcome::Failed(error.to_string()),
        };
        let request_id = state.futures.len().to_string();
        state.futures.push(outcome);
        let answer = json!({ "model_id": id, "request_id": request_id, "status": "created" });
        TinkerAnswer::Json(200, answer)
    }

    fn pass(state: &mut State, pass: &Pass) -> Outcome {
        let (losses, spoilt) = (state.losses, state.spoilt);
        let Some(adapter) = state.loaded.get_mut(&pass.model_id) else {
            return not_loaded(&pass.model_id);
        };
        let batches: Vec<PackedBatch> = pass.data.iter().map(batch_of).collect();
        let values = adapter.engine.log_probs(&batches).expect("a pass");
        let mut rows: Vec<Vec<f32>> = values.iter().map(|values| values.row(0).to_vec()).collect();
        if !pass.is_forward_only {
            for ((batch, datum), row) in batches.into_iter().zip(&pass.data).zip(&rows) {
                let weights = gradient(losses, &pass.loss, datum, row);
                adapter.pending.push((batch, weights));
            }
        }
        match spoilt {
            Spoilt::No => {}
            Spoilt::NotANumber => rows[0][0] = f32::NAN,
            Spoilt::Short => {
                rows[0].pop();
            }
            Spoilt::MissingRow => {
                rows.pop();
            }
        }
        Outcome::Protobuf(protobuf::write_log_probs(&rows))
    }

    fn save(&self, state: &mut State, id: &str, name: &str, is_state: bool) -> TinkerAnswer {
        let uri = if is_state { state_uri(id, name) } else { sampler_uri(id, name) };
        if state.checkpoints.contains_key(&uri) {
            let message = format!("Checkpoint '{name}' already exists for model '{id}'");
            return refused(409, &message);
        }
        let Some(adapter) = state.loaded.get(id) else {
            return future(state, not_loaded(id));
        };
        let folder = self.folder_of(&uri);
        fs::create_dir_all(&folder).expect("a folder");
        let to = StateName { folder: folder.clone(), name: name.to_owned() };
        adapter.engine.save_state(&to).expect("saved");
        adapter.engine.save_weights(&folder).expect("saved");
        state.checkpoints.insert(uri.clone(), adapter.rank);
        // SkyRL writes the short form for samplers.
        let path = if is_state { uri } else { format!("tinker://{id}/{name}") };
        future(state, Outcome::Json(json!({ "path": path, "type": "save_weights" })))
    }

    fn load(&self, state: &mut State, id: &str, uri: &str) -> TinkerAnswer {
        if !state.checkpoints.contains_key(uri) || !uri.contains("/weights/") {
            return refused(404, "Checkpoint not found");
        }
        if state.numbered.keys().any(|(model, _)| model == id) {
            return refused(400, "LoadWeights is not permitted with seq_id 2");
        }
        let from = StateRef::Folder(self.folder_of(uri));
        let Some(adapter) = state.loaded.get_mut(id) else {
            return future(state, not_loaded(id));
        };
        adapter.engine.load_state(&from).expect("loaded");
        future(state, Outcome::Json(json!({ "path": null, "type": "load_weights" })))
    }

    fn sample(&self, state: &mut State, body: &Value) -> TinkerAnswer {
        let ids = |value: &Value| -> Vec<u32> {
            value
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_u64)
                .map(|id| id as u32)
                .collect()
        };
        let prompt = ids(&body["prompt"]["chunks"][0]["tokens"]);
        let parameters = &body["sampling_params"];
        let number = |name: &str| parameters[name].as_f64();
        let Some(max_new_tokens) = parameters["max_tokens"].as_u64() else {
            return refused(400, "max_tokens is currently required");
        };
        let settings = SamplingSettings {
            temperature: number("temperature").unwrap_or(1.0) as f32,
            top_p: number("top_p").unwrap_or(1.0) as f32,
            top_k: parameters["top_k"].as_i64().unwrap_or(-1).max(0) as usize,
            max_new_tokens: max_new_tokens as usize,
            stop_tokens: ids(&parameters["stop"]),
            seed: parameters["seed"].as_u64().unwrap_or(0),
        };
        let key = settings.seed;
        let request = SampleRequest { prompt, key, first_sample: 0, n_samples: 1 };
        let draw = |engine: &NativeEngine| engine.sample_all(&[request], &settings).expect("drawn");
        let drawn = match (body["base_model"].as_str(), body["model_path"].as_str()) {
            (Some(name), None) if name == self.name => draw(&self.base),
            (None, Some(path)) => {
                let rest = path.strip_prefix("tinker://").unwrap_or_default();
                let (id, name) = rest.split_once('/').unwrap_or_default();
                let name = name.strip_prefix("sampler_weights/").unwrap_or(name);
                let uri = sampler_uri(id, name);
                if !state.checkpoints.contains_key(&uri) {
                    return refused(404, "Checkpoint not found");
                }
                let from = StateRef::Folder(self.folder_of(&uri));
                let Some(adapter) = state.loaded.get_mut(id) else {
                    return future(state, Outcome::Failed(format!("Model {id} not loaded")));
                };
                // The fault of SkyRL: what is sampled becomes what is trained.
                adapter.engine.load_state(&from).expect("loaded");
                draw(&adapter.engine)
            }
            _ => return refused(422, "exactly one of 'base_model' or 'model_path'"),
        };
        state.n_samples += 1;
        let Sample { tokens, log_probs, finish } = &drawn[0][0];
        let is_cut = *finish == gratis_engine::FinishReason::Length;
        let message = protobuf::write_sample(tokens, log_probs, is_cut);
        future(state, Outcome::Protobuf(message))
    }

    fn folder_of(&self, uri: &str) -> PathBuf {
        self.folder.path().join(uri.replace([':', '/'], "_"))
    }

    /// A checkpoint as it is downloaded, with the null that SkyRL writes.
    fn archive(&self, model: &str, name: &str) -> Vec<u8> {
        let folder = self.folder_of(&sampler_uri(model, name));
        let config = fs::read(folder.join("adapter_config.json")).expect("there");
        let mut config: Value = serde_json::from_slice(&config).expect("JSON");
        config["target_modules"] = Value::Null;
        let weights = fs::read(folder.join("adapter_model.safetensors")).expect("there");
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let config = config.to_string().into_bytes();
        for (name, content) in
            [("adapter_config.json", config), ("adapter_model.safetensors", weights)]
        {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, name, &content[..]).expect("packed");
        }
        archive.into_inner().and_then(GzEncoder::finish).expect("packed")
    }
}

fn state_uri(id: &str, name: &str) -> String {
    format!("tinker://{id}/weights/{name}")
}

fn sampler_uri(id: &str, name: &str) -> String {
    format!("tinker://{id}/sampler_weights/{name}")
}

fn not_loaded(id: &str) -> Outcome {
    Outcome::Failed(format!("Model {id} not loaded (likely stale request from previous server)"))
}

fn pending(id: usize) -> TinkerAnswer {
    let id = id.to_string();
    TinkerAnswer::Json(200, json!({ "future_id": id, "status": "pending", "request_id": id }))
}

fn future(state: &mut State, outcome: Outcome) -> TinkerAnswer {
    state.futures.push(outcome);
    pending(state.futures.len() - 1)
}

fn batch_of(datum: &Datum) -> PackedBatch {
    let first = datum.input.first().copied().unwrap_or_default();
    PackedBatch::from_groups([(&[first][..], [&datum.targets[..]])]).expect("tokens")
}

/// `dL/dlp` of each token of a sequence, before the mean over sequences.
fn gradient(losses: Losses, loss: &str, datum: &Datum, log_probs: &[f32]) -> Vec<f32> {
    let input = |name: &str| datum.input_of_loss(name).unwrap_or_default();
    let is_mean = matches!(losses, Losses::Mean | Losses::Unfit);
    if loss == "cross_entropy" {
        let weights = input("weights");
        let sum: f32 = weights.iter().sum();
        let scale = if is_mean { sum.max(1e-9) } else { 1.0 };
        return weights.iter().map(|weight| -weight / scale).collect();
    }
    let scale = if losses == Losses::Mean { log_probs.len() as f32 } else { 1.0 };
    let known = input("logprobs").iter().zip(input("advantages"));
    let of = |(log_prob, (known, advantage)): (&f32, (&f32, &f32))| {
        -advantage * (log_prob - known).exp() / scale
    };
    log_probs.iter().zip(known).map(of).collect()
}

fn step(state: &mut State, body: &Value) -> Outcome {
    let id = body["model_id"].as_str().unwrap_or_default();
    let losses = state.losses;
    let Some(adapter) = state.loaded.get_mut(id) else { return not_loaded(id) };
    let pending = std::mem::take(&mut adapter.pending);
    let is_mean = matches!(losses, Losses::Mean | Losses::Unfit);
    let scale = if is_mean { 1.0 / pending.len().max(1) as f32 } else { 1.0 };
    let (batches, weights): (Vec<PackedBatch>, Vec<Vec<f32>>) = pending.into_iter().unzip();
    let mut weigh = |nth: usize, _: &TokenValues| {
        let scaled: Vec<f32> = weights[nth].iter().map(|weight| scale * weight).collect();
        Ok(TokenValues::from_rows([&scaled[..]]))
    };
    adapter.engine.forward_backward(&batches, &mut weigh).expect("a pass");
    let number = |name: &str| body["adam_params"][name].as_f64().unwrap_or_default();
    let settings = OptimizerStep {
        learning_rate: number("learning_rate"),
        beta1: number("beta1"),
        beta2: number("beta2"),
        epsilon: number("eps"),
        weight_decay: number("weight_decay"),
        max_gradient_norm: None,
    };
    let report = adapter.engine.optimizer_step(&settings).expect("a step");
    if settings.learning_rate > 0.0 {
        *state.n_steps.entry(id.to_owned()).or_default() += 1;
    }
    let metrics = match losses {
        Losses::Silent => json!({}),
        _ => json!({ "skyrl.ai/grad_norm": report.gradient_norm }),
    };
    Outcome::Json(json!({ "metrics": metrics }))
}
