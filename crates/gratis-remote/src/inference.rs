//! An engine on inference servers: scores and samples.

use std::sync::{Arc, Mutex, PoisonError};

use gratis_engine::{
    Activity, Error as EngineError, Generate, ModelDescription, PackedBatch, Role, Sample,
    SampleRequest, SamplingSettings, Score, SegmentIdx, TokenValues,
};
use serde_json::{Value, json};

use crate::address::Protocol;
use crate::answer::{Draw, Sequence};
use crate::canary;
use crate::classify::{self, FromState, HeadFiles};
use crate::error::{Error, Result};
use crate::http::{Client, Connection, Content, Fault, KeyHeader};
use crate::openai::{self, ScoreBy};
use crate::pool::{Pool, Retries};
use crate::pooling::{self, Activation, Checked, Head, Pooled, Task};
use crate::sampling::{SAMPLING, Sampler};
use crate::settings::EngineSettings;
use crate::sglang;
use crate::traffic::{Reason, Traffic};

/// Batches per call for each scoring request that may be in flight: enough to keep the servers busy
/// until the end of a call.
const BATCHES_PER_REQUEST: usize = 4;
/// Sequences in one scoring request; vLLM accepts 1024.
pub(crate) const MAX_SEQUENCES: usize = 256;
/// What scoring is called in messages.
pub(crate) const SCORING: &str = "a scoring request";

/// The model that the servers run, as the configuration beside its tokenizer describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelShape {
    /// Architecture as named by Hugging Face.
    pub architecture: String,
    /// Number of parameters.
    pub n_parameters: usize,
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Longest sequence.
    pub context_length: usize,
}

/// A text with its tokens, without special tokens around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The text.
    pub text: String,
    /// Its tokens by our tokenizer.
    pub tokens: Vec<u32>,
}

/// What comparing tokenizers found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenizerCheck {
    /// All probes are encoded the same.
    Same,
    /// The servers have no route for it.
    Unavailable,
}

/// What the servers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    /// A model that gives log-probabilities and samples, as far as is known.
    LanguageModel,
    /// A classifier of SGLang, whose server dies of a request for log-probabilities (0.5.23).
    Classifier,
}

/// An engine that scores and samples on one or many inference servers.
#[derive(Debug)]
pub struct InferenceEngine {
    settings: EngineSettings,
    pool: Pool,
    description: ModelDescription,
    /// Name of an adapter for SGLang, which has a field of its own for it.
    adapter: String,
    runs: Runs,
    /// The log-probabilities of the check at the start, once it has passed.
    canary: Mutex<Option<Vec<f32>>>,
    /// What the values of a reward model are, if it is one.
    pub(crate) head: Option<Checked>,
}

impl InferenceEngine {
    /// Connects to the servers and checks that all of them serve the model.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if a server does not list the model; those of the requests.
    pub fn connect(
        settings: &EngineSettings,
        connection: &Connection,
        shape: ModelShape,
    ) -> Result<Self> {
        let clients = settings.servers().into_iter().map(|address| {
            Client::new(address, settings, connection, KeyHeader::Bearer).map(Arc::new)
        });
        let clients = clients.collect::<Result<Vec<_>>>()?;
        let health = match settings.protocol {
            Protocol::Openai => "/v1/models",
            _ => "/health",
        };
        let pool = Pool::new(clients, Retries::within(settings.retry_seconds), health);
        let mut context_length = shape.context_length;
        let mut adapter = String::new();
        let mut runs = Runs::LanguageModel;
        for client in pool.clients() {
            if settings.protocol == Protocol::Sglang && is_classifier(&pool, client)? {
                runs = Runs::Classifier;
            }
            let listed = listed(&pool, client, settings)?;
            if let Some(n) = listed.context_length {
                context_length = context_length.min(n);
            }
            if listed.is_adapter && settings.protocol == Protocol::Sglang {
                adapter.clone_from(&settings.model);
            }
        }
        if matches!(settings.protocol, Protocol::Vllm | Protocol::Sglang) {
            // A scoring request of vLLM has room for one sampled token; SGLang refuses sequences as long as
            // the context.
            context_length = context_length.saturating_sub(1);
        }
        let n_in_flight = settings.scoring_concurrency * pool.clients().len();
        let description = ModelDescription {
            architecture: shape.architecture,
            n_parameters: shape.n_parameters,
            vocab_size: shape.vocab_size,
            context_length,
            preferred_batch_tokens: settings.request_tokens,
            n_concurrent_batches: BATCHES_PER_REQUEST * n_in_flight,
        };
        Ok(Self {
            settings: settings.clone(),
            pool,
            description,
            adapter,
            runs,
            canary: Mutex::default(),
            head: None,
        })
    }

    /// The same engine, whose values are those of the head of a reward model, after a check of every
    /// server on known sequences. `files` is what is known of a head other than [`Head::Labels`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] for servers that read no such head, [`Error::Head`] if its values are not
    /// what they should be; those of the requests.
    pub fn with_head(mut self, head: Head, files: &HeadFiles) -> Result<Self> {
        if !matches!(head, Head::Labels(_)) {
            match self.settings.protocol {
                // No token is sampled.
                Protocol::Vllm => self.description.context_length += 1,
                Protocol::Sglang => {}
                Protocol::Openai | Protocol::Tinker => {
                    let server = self.settings.servers().first().copied().unwrap_or_default();
                    let protocol = self.settings.protocol.name();
                    return Err(Error::Unsupported {
                        server: server.to_owned(),
                        what: format!(
                            "be asked for the values of a head: that is done through `/pooling` of \
                             vLLM or `/classify` of SGLang, and the protocol is `{protocol}`"
                        ),
                    });
                }
            }
        }
        self.head = Some(self.check_head(head, files)?);
        Ok(self)
    }

    /// The settings of the engine.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// What the requests so far amount to.
    pub fn traffic(&self) -> Traffic {
        self.pool.counters().snapshot()
    }

    /// Compares the tokenizer of every server with ours.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for the first probe that differs.
    pub fn check_tokenizer(&self, probes: &[Probe]) -> Result<TokenizerCheck> {
        for client in self.pool.clients() {
            for Probe { text, tokens } in probes {
                let what = "a request to its tokenizer";
                let body = json!({
                    "model": self.settings.model,
                    "prompt": text,
                    "add_special_tokens": false,
                });
                let asked = self.pool.ask_one(client, what, || {
                    let body = body.to_string();
                    client.post_json("/tokenize", body.as_bytes(), what, self.pool.counters())
                });
                let answer = match asked {
                    Err(Error::Refused { status: 400 | 404 | 405 | 422 | 501, .. }) => {
                        return Ok(TokenizerCheck::Unavailable);
                    }
                    answer => answer?,
                };
                let Some(found) = answer["tokens"].as_array() else {
                    return Ok(TokenizerCheck::Unavailable);
                };
                let found: Vec<u64> = found.iter().filter_map(Value::as_u64).collect();
                if !found.iter().copied().eq(tokens.iter().map(|&token| u64::from(token))) {
                    return Err(Error::Tokenizer {
                        server: client.name().to_owned(),
                        text: text.clone(),
                        expected: format!("{tokens:?}"),
                        got: format!("{found:?}"),
                    });
                }
            }
        }
        Ok(TokenizerCheck::Same)
    }

    /// The check at the start: a sequence scored alone and beside others, on every server. The first
    /// call runs it; later calls compare with the first, so a model that was replaced meanwhile, or
    /// another engine on the same server that disturbs this one, is noticed.
    ///
    /// # Errors
    /// [`Error::Canary`] if the numbers differ; those of the requests.
    pub fn check_scores(&self) -> Result<()> {
        if self.runs == Runs::Classifier {
            return Err(Error::Unsupported {
                server: self.settings.servers().first().copied().unwrap_or_default().to_owned(),
                what: "give log-probabilities: it runs a classifier".to_owned(),
            });
        }
        let mut known = self.canary.lock().unwrap_or_else(PoisonError::into_inner);
        let (n_vocab, n_context) = (self.description.vocab_size, self.description.context_length);
        let alone = [canary::alone(n_vocab, n_context)];
        if alone[0].tokens.len() < 2 {
            return Ok(());
        }
        for client in self.pool.clients() {
            let differs = |what: &str, difference: f32| {
                let reason = format!(
                    "the log-probability of a token differs by {difference} {what}, and {} is \
                     accepted (`tolerance`)",
                    self.settings.tolerance()
                );
                Error::Canary { server: client.name().to_owned(), reason }
            };
            let ask = |sequences: &[Sequence]| {
                self.pool.ask_one(client, SCORING, || self.ask_scores(client, sequences))
            };
            let values = ask(&alone)?.concat();
            match &*known {
                None => {}
                Some(known) => {
                    let difference = canary::difference(known, &values);
                    if difference > self.settings.tolerance() {
                        return Err(differs("from that of the first check", difference));
                    }
                    // Each server was asked for a batch the first time.
                    if self.pool.clients().len() == 1 {
                        continue;
                    }
                }
            }
            let batch = ask(&canary::in_batch(n_vocab, n_context))?;
            let difference = canary::difference(&values, canary::of_batch(&batch));
            if difference > self.settings.tolerance() {
                return Err(differs("alone and in a batch", difference));
            }
            known.get_or_insert(values);
        }
        Ok(())
    }

    /// The servers.
    pub(crate) fn clients(&self) -> &[Arc<Client>] {
        self.pool.clients()
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A scoring request to one server, repeated while that may help.
    pub(crate) fn ask_again<T>(
        &self,
        client: &Client,
        ask: impl Fn() -> Result<T, Fault>,
    ) -> Result<T> {
        self.pool.ask_one(client, SCORING, ask)
    }

    /// One request for the values of a head.
    pub(crate) fn ask_pooled(
        &self,
        client: &Client,
        sequences: &[Sequence],
        task: Task,
        tag: Option<u32>,
        activation: Activation,
    ) -> Result<Pooled, Fault> {
        let is_sglang = self.settings.protocol == Protocol::Sglang;
        let (route, body) = if is_sglang {
            (classify::ROUTE, classify::body(&self.adapter, sequences))
        } else {
            (pooling::ROUTE, pooling::body(&self.settings.model, sequences, task, activation))
        };
        let answer = self.post(client, route, &body.to_string(), sequences)?;
        let read = if is_sglang {
            classify::read(&answer, sequences)
        } else {
            pooling::read(&answer, sequences, task, tag)
        };
        read.map_err(|reason| unusable(client, SCORING, reason))
    }

    /// One request for the values and the states at the last tokens of sequences that share what comes
    /// before; `None` where the server gives no states.
    pub(crate) fn ask_states(
        &self,
        client: &Client,
        sequences: &[Sequence],
    ) -> Result<Option<Vec<FromState>>, Fault> {
        let body = classify::states_body(&self.settings.model, sequences).to_string();
        let answer = self.post(client, classify::STATES_ROUTE, &body, sequences)?;
        let read = classify::read_states(&answer, sequences.len());
        read.map_err(|reason| unusable(client, SCORING, reason))
    }

    /// One request for the log-probability of the last token of every sequence, which is the same token
    /// in all. vLLM takes what comes before from its prefix cache, as no log-probabilities of the prompt
    /// are asked for.
    pub(crate) fn ask_labels(
        &self,
        client: &Client,
        sequences: &[Sequence],
    ) -> Result<Vec<f32>, Fault> {
        if self.settings.protocol != Protocol::Vllm {
            return Ok(self.ask_scores(client, sequences)?.concat());
        }
        let body = openai::label_body(&self.settings.model, sequences).to_string();
        let answer = self.post(client, openai::ROUTE, &body, sequences)?;
        let read = openai::read_labels(&answer, sequences);
        read.map_err(|reason| unusable(client, SCORING, reason))
    }

    /// The body of the answer to a scoring request.
    fn post(
        &self,
        client: &Client,
        route: &str,
        body: &str,
        sequences: &[Sequence],
    ) -> Result<Vec<u8>, Fault> {
        let counters = self.pool.counters();
        let content = Content::Json(body.as_bytes());
        let answer = client.ask("POST", route, content, SCORING, counters)?;
        counters.tokens(sequences.iter().map(|sequence| sequence.tokens.len()).sum(), 0);
        Ok(answer.body)
    }

    /// One scoring request.
    pub(crate) fn ask_scores(
        &self,
        client: &Client,
        sequences: &[Sequence],
    ) -> Result<Vec<Vec<f32>>, Fault> {
        let model = &self.settings.model;
        let (route, body) = match self.settings.protocol {
            Protocol::Sglang => (sglang::ROUTE, sglang::score_body(&self.adapter, sequences)),
            _ => (openai::ROUTE, openai::score_body(model, sequences, self.score_by())),
        };
        let answer = self.post(client, route, &body.to_string(), sequences)?;
        let read = match self.settings.protocol {
            Protocol::Sglang => {
                sglang::read_scores(&answer, sequences, self.description.vocab_size)
            }
            _ => openai::read_scores(&answer, sequences, self.score_by()),
        };
        read.map_err(|reason| unusable(client, SCORING, reason))
    }

    fn score_by(&self) -> ScoreBy {
        match self.settings.protocol {
            Protocol::Openai => ScoreBy::Echo,
            _ => ScoreBy::PromptLogProbs,
        }
    }

    /// One sampling request.
    fn ask_sample(&self, client: &Client, draw: &Draw) -> Result<Sample, Fault> {
        let (route, body) = match self.settings.protocol {
            Protocol::Sglang => (sglang::ROUTE, sglang::sample_body(&self.adapter, draw)),
            _ => (openai::ROUTE, openai::sample_body(&self.settings.model, draw)),
        };
        let body = body.to_string();
        let counters = self.pool.counters();
        let content = Content::Json(body.as_bytes());
        let answer = client.ask("POST", route, content, SAMPLING, counters)?;
        let read = match self.settings.protocol {
            Protocol::Sglang => sglang::read_sample(&answer.body, draw),
            _ => openai::read_sample(&answer.body, draw),
        };
        let sample = read.map_err(|reason| unusable(client, SAMPLING, reason))?;
        let sample = sample.ok_or_else(|| Fault::Transient {
            reason: Reason::Aborted,
            message: "the server ended the request early".to_owned(),
            after: None,
        })?;
        let vocab_size = self.description.vocab_size;
        if let Some(&token) = sample.tokens.iter().find(|&&token| token as usize >= vocab_size) {
            return Err(Fault::Final(Error::Vocabulary { token, vocab_size }));
        }
        counters.tokens(draw.prompt.len(), sample.tokens.len());
        Ok(sample)
    }

    /// The responses of batches, as (batch, number in it), in requests of up to `request_tokens` tokens;
    /// responses of a prompt stay together.
    pub(crate) fn requests(
        &self,
        batches: &[PackedBatch],
    ) -> Result<Vec<Vec<(usize, usize)>>, EngineError> {
        let context_length = self.description.context_length;
        let mut requests = Vec::new();
        let (mut request, mut n_tokens) = (Vec::new(), 0);
        for (batch_idx, batch) in batches.iter().enumerate() {
            self.check_tokens(batch.tokens())?;
            for (nth, &idx) in batch.responses().iter().enumerate() {
                let segment = batch.segment(idx);
                debug_assert_eq!(segment.role, Role::Response);
                let n = segment.position + segment.n_tokens;
                if n > context_length {
                    return Err(EngineError::ContextOverflow { n_tokens: n, context_length });
                }
                let is_full =
                    n_tokens + n > self.settings.request_tokens || request.len() == MAX_SEQUENCES;
                if is_full && !request.is_empty() {
                    requests.push(std::mem::take(&mut request));
                    n_tokens = 0;
                }
                request.push((batch_idx, nth));
                n_tokens += n;
            }
        }
        if !request.is_empty() {
            requests.push(request);
        }
        Ok(requests)
    }

    /// Refuses what a classifier cannot be asked for.
    pub(crate) fn check_runs(&self) -> Result<(), EngineError> {
        match self.runs {
            Runs::LanguageModel => Ok(()),
            Runs::Classifier => Err(EngineError::Unsupported {
                engine: "remote",
                what: "give log-probabilities or samples: its server runs a classifier",
            }),
        }
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<(), EngineError> {
        let vocab_size = self.description.vocab_size;
        match tokens.iter().find(|&&token| token as usize >= vocab_size) {
            Some(&token) => Err(Error::Vocabulary { token, vocab_size }.into()),
            None => Ok(()),
        }
    }
}

fn unusable(client: &Client, what: &'static str, reason: String) -> Fault {
    Fault::Final(Error::Answer { server: client.name().to_owned(), what, reason })
}

/// Whether a server of SGLang says that its model generates nothing.
fn is_classifier(pool: &Pool, client: &Client) -> Result<bool> {
    match pool.ask_first(client, classify::INFO_ROUTE, "what its model is") {
        Ok(found) => Ok(found["is_generation"] == false),
        Err(Error::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a server lists of the model.
struct Listed {
    context_length: Option<usize>,
    is_adapter: bool,
}

/// Finds the model in the list of a server.
fn listed(pool: &Pool, client: &Client, settings: &EngineSettings) -> Result<Listed> {
    let what = "the list of models";
    let list = pool.ask_first(client, "/v1/models", what)?;
    let models = list["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name_of = |model: &Value| model["id"].as_str().unwrap_or_default().to_owned();
    let find = |name: &str| models.iter().find(|model| name_of(model) == name);
    let length = |model: &Value| model["max_model_len"].as_u64().map(|n| n as usize);
    let first = models.first();
    // SGLang loads adapters without listing them, and its base needs no name.
    if settings.protocol == Protocol::Sglang && find(&settings.model).is_none() {
        let is_adapter = !settings.model.is_empty();
        return Ok(Listed { context_length: first.and_then(length), is_adapter });
    }
    let Some(model) = find(&settings.model) else {
        let names: Vec<String> =
            models.iter().map(|model| format!("`{}`", name_of(model))).collect();
        return Err(Error::Unsupported {
            server: client.name().to_owned(),
            what: format!("serve `{}`: it serves {}", settings.model, names.join(", ")),
        });
    };
    let parent = model["parent"].as_str().and_then(find);
    let context_length = length(model).or_else(|| parent.and_then(length));
    Ok(Listed { context_length, is_adapter: parent.is_some() })
}

/// The tokens from the root to a segment, and how many of them come before it.
pub(crate) fn path_of(batch: &PackedBatch, idx: SegmentIdx) -> Sequence {
    let mut chain = vec![idx];
    while let Some(parent) = batch.segment(chain[chain.len() - 1]).parent {
        chain.push(parent);
    }
    let segment = batch.segment(idx);
    let mut tokens = Vec::with_capacity(segment.position + segment.n_tokens);
    for &idx in chain.iter().rev() {
        tokens.extend_from_slice(&batch.tokens()[batch.segment(idx).rows()]);
    }
    Sequence { tokens, n_context: segment.position }
}

impl Score for InferenceEngine {
    fn describe(&self) -> &ModelDescription {
        &self.description
    }

    fn log_probs(&self, batches: &[PackedBatch]) -> Result<Vec<TokenValues>, EngineError> {
        self.check_runs()?;
        let mut all: Vec<TokenValues> = batches.iter().map(TokenValues::zeros).collect();
        let requests = self.requests(batches)?;
        if requests.is_empty() {
            return Ok(all);
        }
        if self.canary.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.check_scores()?;
        }
        let ask = |client: &Client, request: &&Vec<(usize, usize)>| {
            let sequences = request.iter().map(|&(batch_idx, nth)| {
                let batch = &batches[batch_idx];
                path_of(batch, batch.responses()[nth])
            });
            self.ask_scores(client, &sequences.collect::<Vec<_>>())
        };
        let n_at_once = self.settings.scoring_concurrency;
        self.pool.run(n_at_once, SCORING, &mut requests.iter(), &ask, &mut |idx, rows| {
            for (&(batch_idx, nth), row) in requests[idx].iter().zip(&rows) {
                all[batch_idx].row_mut(nth).copy_from_slice(row);
            }
        })?;
        Ok(all)
    }
}

impl Generate for InferenceEngine {
    fn sample(
        &self,
        requests: &[SampleRequest],
        settings: &SamplingSettings,
        done: &mut dyn FnMut(usize, Vec<Sample>),
    ) -> Result<(), EngineError> {
        self.check_runs()?;
        let sampler = Sampler {
            pool: &self.pool,
            description: &self.description,
            n_at_once: self.settings.concurrency,
        };
        sampler.sample(requests, settings, &|client, draw| self.ask_sample(client, draw), done)
    }

    fn n_concurrent_samples(&self) -> usize {
        self.settings.concurrency * self.pool.clients().len()
    }

    fn activity(&self) -> Option<Activity> {
        let traffic = self.traffic();
        Some(Activity { n_in_flight: traffic.n_in_flight, n_repeated: traffic.n_retries() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_sent_with_all_that_comes_before_it() {
        let mut builder = gratis_engine::PackedBatchBuilder::default();
        let root = builder.context(None, &[1, 2]).expect("a root");
        let prefix = builder.context(Some(root), &[3]).expect("a prefix");
        builder.response(prefix, &[4, 5]).expect("a response");
        let batch = builder.finish();
        let sequence = path_of(&batch, batch.responses()[0]);
        assert_eq!(sequence, Sequence { tokens: vec![1, 2, 3, 4, 5], n_context: 3 });
    }
}
