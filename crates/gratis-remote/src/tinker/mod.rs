//! An engine on a training server that speaks the Tinker API (the managed service, SkyRL).
//!
//! A pass is `forward_only` for the log-probabilities, then the caller's weights. The weighted
//! sequences wait here until the optimizer step, which sends the backward passes and then
//! `optim_step`: so a gradient can be discarded, the number of sequences of the step is known
//! ([`loss`]), and a step that fails is repeated as a whole.
//!
//! A server that was restarted has lost the model. It is created again with the same seed, the last
//! saved state is loaded, and the steps since then are sent again: they are kept here, and a state is
//! saved every so many steps, so that they stay few. A run that was killed finds its model on the
//! server by the [`journal`] and asks for the results of what it had sent.

mod archive;
mod journal;
mod loss;
mod model;
mod sampling;
mod session;
mod wire;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gratis_engine::{
    Error as EngineError, ModelDescription, OptimizerStep, PackedBatch, Score, StateName, StateRef,
    StepReport, TokenValues, Train, Weigh,
};
use serde_json::{Value, json};

use self::journal::{Journal, Line, PastModel};
use self::loss::{Carrier, Weighted};
use self::model::{Kind, Model};
use self::session::{Body, Session, Trouble};
use self::wire::Datum;
use crate::answer::Sequence;
use crate::error::{Error, Result};
use crate::http::{Client, Connection, KeyHeader};
use crate::inference::{ModelShape, path_of};
use crate::pool::{Pool, Retries};
use crate::settings::EngineSettings;
use crate::traffic::{Counters, Traffic};

/// Tokens in one request: 24 bytes each, within the 5 MB of the managed service.
const REQUEST_TOKENS: usize = 1 << 17;
/// Sequences in one request.
const REQUEST_DATA: usize = 1024;
/// Times that a lost model is created again for one call.
const MAX_RECOVERIES: u32 = 3;
/// Tokens of the sequence of the probe.
const PROBE_TOKENS: u32 = 8;

/// The adapter to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AdapterRequest {
    /// Its rank.
    rank: usize,
    /// Seed of its initial values.
    seed: u64,
}

/// A step that can be sent again.
#[derive(Debug, Clone)]
struct Taken {
    data: Vec<Weighted>,
    step: OptimizerStep,
}

/// What changes while the engine works.
#[derive(Debug)]
struct State {
    model: Option<Model>,
    journal: Journal,
    /// The state that the steps of `since` follow; `None` for the fresh adapter.
    saved: Option<String>,
    since: Vec<Taken>,
    /// Numbers of checkpoints, so that every name is new.
    n_saved: u64,
    /// The model of a run that was killed.
    past: Option<PastModel>,
    carrier: Option<Carrier>,
    n_steps: u64,
}

/// An engine that trains an adapter on a server.
#[derive(Debug)]
pub struct TrainingEngine {
    settings: EngineSettings,
    client: Arc<Client>,
    counters: Arc<Counters>,
    /// The client, to sample with.
    pool: Pool,
    /// Models that the server offers to train.
    offered: Vec<String>,
    adapter: AdapterRequest,
    description: ModelDescription,
    state: Mutex<State>,
    /// The sequences of the next step.
    pending: Vec<Weighted>,
}

impl TrainingEngine {
    /// Connects to the server and checks that it offers the base model. The adapter is created with
    /// the first pass; its rank is 1, or that of the checkpoint, unless
    /// [`TrainingEngine::set_adapter`] gives another.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it does not; those of the requests.
    pub fn connect(
        settings: &EngineSettings,
        connection: &Connection,
        shape: ModelShape,
    ) -> Result<Self> {
        let address = settings.servers().first().copied().unwrap_or_default().to_owned();
        let client = Arc::new(Client::new(&address, settings, connection, KeyHeader::ApiKey)?);
        let pool = Pool::new(vec![Arc::clone(&client)], retries(settings), "/api/v1/healthz");
        let counters = Arc::clone(pool.counters());
        let what = "the list of models";
        let path = "/api/v1/get_server_capabilities";
        let listed = pool.ask_first(&client, path, what)?;
        let models = listed["supported_models"].as_array().into_iter().flatten();
        let names = models.filter_map(|model| model["model_name"].as_str().map(str::to_owned));
        let offered: Vec<String> = names.collect();
        if !offered.is_empty() && !offered.contains(&settings.model) {
            return Err(Error::Unsupported {
                server: client.name().to_owned(),
                what: format!("train `{}`: it offers {}", settings.model, offered.join(", ")),
            });
        }
        let mut adapter = AdapterRequest { rank: 1, seed: 0 };
        if let Some(uri) = &settings.checkpoint {
            adapter.rank = rank_of(&pool, &client, uri)?;
        }
        let description = ModelDescription {
            architecture: shape.architecture,
            n_parameters: shape.n_parameters,
            vocab_size: shape.vocab_size,
            context_length: shape.context_length,
            preferred_batch_tokens: settings.request_tokens,
            n_concurrent_batches: 16,
        };
        Ok(Self {
            settings: settings.clone(),
            client,
            counters,
            pool,
            offered,
            adapter,
            description,
            state: Mutex::new(State {
                model: None,
                journal: Journal::default(),
                saved: settings.checkpoint.clone(),
                since: Vec::new(),
                n_saved: 0,
                past: None,
                carrier: None,
                n_steps: 0,
            }),
            pending: Vec::new(),
        })
    }

    /// Keeps a journal in this file. The model that a killed run trained is taken up again if its
    /// adapter has this rank and seed; other models that it left on the server are freed.
    ///
    /// # Errors
    /// Those of the file; a server that no longer knows the models is none.
    pub fn journal_at(&self, path: &Path) -> Result<()> {
        let (mut journal, lines) = Journal::open(path)?;
        let own = (self.adapter.rank, self.adapter.seed);
        let (past, left) = Journal::left_over(&lines, own);
        for PastModel { id, .. } in left {
            self.free_past(&mut journal, id)?;
        }
        let mut state = self.lock();
        state.journal = journal;
        state.past = past;
        Ok(())
    }

    /// Frees a model of an earlier process; a server that was restarted does not know it.
    fn free_past(&self, journal: &mut Journal, id: String) -> Result<()> {
        let body = json!({ "model_id": id, "type": "unload_model" }).to_string();
        let content = crate::http::Content::Json(body.as_bytes());
        let limit = Duration::from_secs(30);
        let path = "/api/v1/unload_model";
        let _ = self.client.exchange("POST", path, content, limit, &self.counters);
        journal.write(&Line::Freed { id })
    }

    /// Models that the server offers to train.
    pub fn offered(&self) -> &[String] {
        &self.offered
    }

    /// Sets the rank of the adapter to train and the seed of its initial values; the model is not
    /// created yet.
    pub fn set_adapter(&mut self, rank: usize, seed: u64) {
        self.adapter = AdapterRequest { rank, seed };
    }

    /// What the requests so far amount to.
    pub fn traffic(&self) -> Traffic {
        self.counters.snapshot()
    }

    /// How the weights reach the gradient, found by a probe on the server.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if no loss of the server carries them.
    pub fn probe(&self) -> Result<&'static str> {
        let mut state = self.lock();
        Ok(self.carrier(&mut state)?.describe())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session, or goes on with one.
    fn session(&self, id: Option<&str>) -> Result<Session, Trouble> {
        let (client, counters) = (Arc::clone(&self.client), Arc::clone(&self.counters));
        let limit = Duration::from_secs_f64(self.settings.answer_seconds);
        let retries = retries(&self.settings);
        match id {
            Some(id) => Session::resume(client, counters, retries, limit, id),
            None => Session::begin(client, counters, retries, limit),
        }
    }

    /// Creates a model with a fresh adapter, to be trained or for a probe.
    fn create(
        &self,
        journal: &mut Journal,
        adapter: AdapterRequest,
        is_probe: bool,
    ) -> Result<Model, Trouble> {
        let session = self.session(None)?;
        let body = json!({
            "session_id": session.id(),
            "model_seq_id": 0,
            "base_model": self.settings.model,
            // Servers read 31 bits.
            "lora_config": { "rank": adapter.rank, "seed": adapter.seed & 0x7fff_ffff },
            "type": "create_model",
        });
        let answer = session.ask("/api/v1/create_model", Body::Json(&body))?;
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        let (Some(id), Some(request)) = (text("model_id"), text("request_id")) else {
            return Err(session.unusable("a request for a model", format!("it is {answer}")));
        };
        let line = Line::Model {
            id: id.clone(),
            session: session.id().to_owned(),
            adapter: (!is_probe).then_some((adapter.rank, adapter.seed)),
        };
        journal.write(&line).map_err(Trouble::Failed)?;
        let made = session.result(&request)?;
        let made =
            made.json().map_err(|reason| session.unusable("a request for a model", reason))?;
        let rank = made["lora_config"]["rank"].as_u64();
        if rank.is_some_and(|rank| rank != adapter.rank as u64) {
            let reason = format!("it made an adapter of rank {rank:?}");
            return Err(session.unusable("a request for a model", reason));
        }
        Ok(Model::new(session, id))
    }

    /// Frees a model. One that stays is freed by the server once its session ends.
    fn free(&self, journal: &mut Journal, model: &Model) {
        let _ = self.free_past(journal, model.id.clone());
    }

    /// Finds out which loss carries the weights.
    fn carrier(&self, state: &mut State) -> Result<Carrier> {
        if let Some(carrier) = state.carrier {
            return Ok(carrier);
        }
        let failed = |trouble| self.failure(trouble);
        let probe = AdapterRequest { rank: 1, seed: 0 };
        let mut model = self.create(&mut state.journal, probe, true).map_err(failed)?;
        let n_vocab = self.description.vocab_size as u32;
        let mut tokens: Vec<u32> = (0..PROBE_TOKENS).map(|at| (3 + 5 * at) % n_vocab).collect();
        let n = tokens.len() - 1;
        // A server with a smaller vocabulary answers with NaN.
        tokens[n] = n_vocab - 1;
        let plain = |weight: f32| Datum {
            tokens: tokens.clone(),
            inputs: vec![("weights", vec![weight; n])],
        };
        let mut run = || -> Result<Option<Carrier>, Trouble> {
            let journal = &mut state.journal;
            let log_probs = model.pass(journal, &[plain(0.0)], "cross_entropy", true)?.concat();
            let item = Weighted { tokens: tokens.clone(), log_probs, weights: vec![-1.0; n] };
            let importance = Carrier::ImportanceSampling.datum(&item, 1);
            let mut norms = Vec::new();
            for (datum, loss) in [
                (plain(1.0), "cross_entropy"),
                (plain(3.0), "cross_entropy"),
                (importance, "importance_sampling"),
            ] {
                model.pass(journal, &[datum], loss, false)?;
                norms.push(model.step(journal, &STILL)?.unwrap_or(f64::NAN));
            }
            Ok(Carrier::of_norms(norms[0], norms[1], norms[2], n))
        };
        let found = run();
        self.free(&mut state.journal, &model);
        let carrier = found.map_err(failed)?.ok_or_else(|| Error::Unsupported {
            server: self.client.name().to_owned(),
            what: "train with weights per token: neither `cross_entropy` nor \
                   `importance_sampling` scales with them, or it reports no gradient norm"
                .to_owned(),
        })?;
        state.carrier = Some(carrier);
        Ok(carrier)
    }

    /// Does `work` with the model, which is created first if it is not there, and again if the
    /// server has lost it.
    fn with_model<T>(
        &self,
        state: &mut State,
        mut work: impl FnMut(&mut Model, &mut Journal) -> Result<T, Trouble>,
    ) -> Result<T> {
        let mut n_lost = 0;
        loop {
            let done = match &mut state.model {
                Some(model) => work(model, &mut state.journal),
                None => match self.restore(state) {
                    Ok(model) => {
                        state.model = Some(model);
                        continue;
                    }
                    Err(trouble) => Err(trouble),
                },
            };
            match done {
                Err(Trouble::Lost(_)) if n_lost < MAX_RECOVERIES => {
                    n_lost += 1;
                    if let Some(model) = state.model.take() {
                        self.free(&mut state.journal, &model);
                    }
                }
                done => return done.map_err(|trouble| self.failure(trouble)),
            }
        }
    }

    /// A model in the present state: that of a killed run, or a fresh one, with the saved state, with
    /// the steps since then.
    fn restore(&self, state: &mut State) -> Result<Model, Trouble> {
        if let Some(past) = state.past.take() {
            if let Some((position, n_saved)) = past.position(state.saved.as_deref()) {
                state.n_saved = n_saved;
                let session = self.session(Some(&past.session))?;
                return Ok(Model::take_up(session, past, position));
            }
            self.free_past(&mut state.journal, past.id).map_err(Trouble::Failed)?;
        }
        let mut model = self.create(&mut state.journal, self.adapter, false)?;
        if let Some(saved) = &state.saved {
            model.load(&mut state.journal, saved)?;
        }
        if state.since.is_empty() {
            return Ok(model);
        }
        let carrier = state.carrier.unwrap_or(Carrier::CrossEntropy);
        for Taken { data, step } in &state.since {
            model.take(&mut state.journal, carrier, data, step)?;
        }
        Ok(model)
    }

    fn failure(&self, trouble: Trouble) -> Error {
        match trouble {
            Trouble::Failed(error) => error,
            Trouble::Lost(message) => {
                Error::NoServer { server: self.client.name().to_owned(), message }
            }
            Trouble::NameTaken => Error::Unsupported {
                server: self.client.name().to_owned(),
                what: "save under a new name".to_owned(),
            },
        }
    }

    /// Saves the state under a new name; its URI.
    fn save(&self, state: &mut State, name: &str, kind: Kind) -> Result<(String, String)> {
        let mut n = state.n_saved;
        let saved = self.with_model(state, |model, journal| {
            loop {
                n += 1;
                let name = format!("{name}-{n}");
                match model.save(journal, &name, kind, n) {
                    Err(Trouble::NameTaken) => {}
                    saved => return saved.map(|uri| (uri, name)),
                }
            }
        });
        state.n_saved = n;
        saved
    }

    /// The log-probabilities of every token but the first of sequences.
    fn forward(&self, sequences: &[Sequence]) -> Result<Vec<Vec<f32>>> {
        let mut state = self.lock();
        let mut rows = Vec::with_capacity(sequences.len());
        for part in parts(sequences, |sequence| sequence.tokens.len()) {
            let data: Vec<Datum> = part
                .iter()
                .map(|sequence| Datum {
                    tokens: sequence.tokens.clone(),
                    inputs: vec![("weights", vec![0.0; sequence.tokens.len() - 1])],
                })
                .collect();
            let found = self.with_model(&mut state, |model, journal| {
                model.pass(journal, &data, "cross_entropy", true)
            })?;
            let n_tokens: usize = part.iter().map(|sequence| sequence.tokens.len()).sum();
            self.counters.tokens(n_tokens, 0);
            rows.extend(found);
        }
        Ok(rows)
    }

    /// The sequences of batches, checked.
    fn sequences(&self, batches: &[PackedBatch]) -> Result<Vec<Sequence>, EngineError> {
        let ModelDescription { vocab_size, context_length, .. } = self.description;
        let mut sequences = Vec::new();
        for batch in batches {
            if let Some(&token) = batch.tokens().iter().find(|&&id| id as usize >= vocab_size) {
                return Err(Error::Vocabulary { token, vocab_size }.into());
            }
            for &idx in batch.responses() {
                let sequence = path_of(batch, idx);
                let n_tokens = sequence.tokens.len();
                if n_tokens > context_length {
                    return Err(EngineError::ContextOverflow { n_tokens, context_length });
                }
                sequences.push(sequence);
            }
        }
        Ok(sequences)
    }
}

/// A step that changes nothing.
const STILL: OptimizerStep = OptimizerStep {
    learning_rate: 0.0,
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-8,
    weight_decay: 0.0,
    max_gradient_norm: None,
};

/// The rank of the adapter in a checkpoint.
fn rank_of(pool: &Pool, client: &Client, uri: &str) -> Result<usize> {
    let what = "a request for a checkpoint";
    let body = json!({ "tinker_path": uri }).to_string();
    let path = "/api/v1/weights_info";
    let ask = || client.post_json(path, body.as_bytes(), what, pool.counters());
    let answer = pool.ask_one(client, what, ask)?;
    answer["lora_rank"].as_u64().map(|rank| rank as usize).ok_or_else(|| Error::Answer {
        server: client.name().to_owned(),
        what,
        reason: format!("it has no `lora_rank`: {answer}"),
    })
}

fn retries(settings: &EngineSettings) -> Retries {
    Retries::within(settings.retry_seconds)
}

/// Cuts items into requests.
fn parts<T>(items: &[T], n_tokens: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut parts = Vec::new();
    let (mut start, mut n) = (0, 0);
    for (at, item) in items.iter().enumerate() {
        let own = n_tokens(item);
        if at > start && (n + own > REQUEST_TOKENS || at - start == REQUEST_DATA) {
            parts.push(&items[start..at]);
            (start, n) = (at, 0);
        }
        n += own;
    }
    if start < items.len() {
        parts.push(&items[start..]);
    }
    parts
}

impl Score for TrainingEngine {
    fn describe(&self) -> &ModelDescription {
        &self.description
    }

    fn log_probs(&self, batches: &[PackedBatch]) -> Result<Vec<TokenValues>, EngineError> {
        let sequences = self.sequences(batches)?;
        let rows = self.forward(&sequences)?;
        let mut scored = sequences.iter().zip(&rows).map(|(s, row)| &row[s.n_context - 1..]);
        let of = |batch: &PackedBatch| {
            TokenValues::from_rows(scored.by_ref().take(batch.responses().len()))
        };
        Ok(batches.iter().map(of).collect())
    }
}

impl Train for TrainingEngine {
    fn forward_backward(
        &mut self,
        batches: &[PackedBatch],
        weigh: &mut Weigh<'_>,
    ) -> Result<(), EngineError> {
        let sequences = self.sequences(batches)?;
        let rows = self.forward(&sequences)?;
        let mut items = sequences.into_iter().zip(rows);
        for (nth, batch) in batches.iter().enumerate() {
            let own: Vec<(Sequence, Vec<f32>)> =
                items.by_ref().take(batch.responses().len()).collect();
            let values = TokenValues::from_rows(own.iter().map(|(s, row)| &row[s.n_context - 1..]));
            let weights = weigh(nth, &values)?;
            for ((sequence, log_probs), scored) in own.into_iter().zip(weights.rows()) {
                let mut weights = vec![0.0; log_probs.len()];
                weights[sequence.n_context - 1..].copy_from_slice(scored);
                // A sequence without a weight has no gradient, but counts in a mean.
                self.pending.push(Weighted { tokens: sequence.tokens, log_probs, weights });
            }
        }
        Ok(())
    }

    fn optimizer_step(&mut self, step: &OptimizerStep) -> Result<StepReport, EngineError> {
        if step.max_gradient_norm.is_some() && !self.settings.without_clipping {
            return Err(Error::Unsupported {
                server: self.client.name().to_owned(),
                what:
                    "clip the gradient: give `--clip 0`, or set `without_clipping = true` in the \
                       engine's file to train without it"
                        .to_owned(),
            }
            .into());
        }
        let data = std::mem::take(&mut self.pending);
        let weights = || data.iter().flat_map(|item| &item.weights);
        let square: f64 = weights().map(|&weight| f64::from(weight).powi(2)).sum();
        if !square.is_finite() {
            return Err(EngineError::NonFiniteGradient { norm: square.sqrt() });
        }
        let mut state = self.lock();
        let carrier = self.carrier(&mut state)?;
        let norm = self
            .with_model(&mut state, |model, journal| model.take(journal, carrier, &data, step))?;
        state.n_steps += 1;
        state.since.push(Taken { data, step: *step });
        if state.since.len() >= self.settings.snapshot_steps {
            let name = format!("gratis-{:08}", state.n_steps);
            let (uri, _) = self.save(&mut state, &name, Kind::State)?;
            state.saved = Some(uri);
            state.since.clear();
        }
        // Without a report, the norm of the weights: it is 0 with the gradient's.
        Ok(StepReport { gradient_norm: norm.unwrap_or(square.sqrt()), n_steps: state.n_steps })
    }

    fn discard_gradient(&mut self) -> Result<(), EngineError> {
        self.pending.clear();
        Ok(())
    }

    fn save_state(&self, to: &StateName) -> Result<StateRef, EngineError> {
        let mut state = self.lock();
        let (uri, _) = self.save(&mut state, &to.name, Kind::State)?;
        state.saved = Some(uri.clone());
        state.since.clear();
        // The server does not count the steps.
        Ok(StateRef::Uri(format!("{uri}#{}", state.n_steps)))
    }

    fn load_state(&mut self, from: &StateRef) -> Result<(), EngineError> {
        self.pending.clear();
        let StateRef::Uri(text) = from else {
            return Err(EngineError::Unsupported {
                engine: "remote",
                what: "take up a run that was begun on this machine",
            });
        };
        let (uri, n_steps) = text.rsplit_once('#').unwrap_or((text, ""));
        let n_steps = n_steps.parse().map_err(|_| EngineError::Unsupported {
            engine: "remote",
            what: "load a state without its number of steps",
        })?;
        let mut state = self.lock();
        if let Some(model) = state.model.take() {
            self.free(&mut state.journal, &model);
        }
        state.saved = Some(uri.to_owned());
        state.since.clear();
        state.n_steps = n_steps;
        self.with_model(&mut state, |_, _| Ok(()))?;
        Ok(())
    }

    fn save_weights(&self, folder: &Path) -> Result<(), EngineError> {
        let mut state = self.lock();
        let name = format!("gratis-weights-{:08}", state.n_steps);
        let (_, name) = self.save(&mut state, &name, Kind::Weights)?;
        let bytes = self.with_model(&mut state, |model, _| {
            let id = &model.id;
            let path = format!("/api/v1/training_runs/{id}/checkpoints/{name}/archive");
            model.session.download(&path)
        })?;
        let adapter = archive::read(&bytes).map_err(|reason| Error::Answer {
            server: self.client.name().to_owned(),
            what: "a download",
            reason,
        })?;
        let mut config = adapter.config;
        if let Some(base) = &self.settings.weights {
            config["base_model_name_or_path"] = Value::String(base.display().to_string());
        }
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, bytes).map_err(|source| Error::Write { path, source })
        };
        write("adapter_config.json", format!("{config:#}\n").as_bytes())?;
        write("adapter_model.safetensors", &adapter.weights)?;
        Ok(())
    }
}

impl Drop for TrainingEngine {
    fn drop(&mut self) {
        let mut state = self.lock();
        if let Some(model) = state.model.take() {
            self.free(&mut state.journal, &model);
        }
    }
}
