//! Samples from a training server: of its base model, or of the adapter that this engine holds.
//!
//! SkyRL answers a request for an older checkpoint by loading it into the adapter that is trained. So
//! an adapter is sampled from a checkpoint that was saved for it just now, under a new name, and only
//! from one of this engine's own model: a checkpoint of another model is first loaded into a model of
//! its own.

use std::time::Duration;

use gratis_engine::{
    Activity, Error as EngineError, Generate, Sample, SampleRequest, SamplingSettings,
};
use serde_json::{Value, json};

use super::model::Kind;
use super::{TrainingEngine, wire};
use crate::answer::{Draw, as_written, finish, log_prob};
use crate::error::{Error, Result};
use crate::http::{Client, Content, Fault, PROTOBUF};
use crate::sampling::{SAMPLING, Sampler};
use crate::traffic::Reason;

/// How long one request for a result waits before it is repeated.
const POLL: Duration = Duration::from_secs(60);

impl TrainingEngine {
    /// What to sample from, as fields of a request.
    fn source(&self) -> Result<Value> {
        let mut state = self.lock();
        if state.saved.is_none() && state.n_steps == 0 {
            return Ok(json!({ "base_model": self.settings.model }));
        }
        let (uri, _) = self.save(&mut state, "gratis-sampler", Kind::Weights)?;
        Ok(json!({ "model_path": uri }))
    }

    fn ask_sample(
        &self,
        client: &Client,
        source: &Value,
        draw: &Draw<'_>,
    ) -> Result<Sample, Fault> {
        let unusable = |reason: String| {
            let server = client.name().to_owned();
            Fault::Final(Error::Answer { server, what: SAMPLING, reason })
        };
        let mut body = json!({
            "num_samples": 1,
            "prompt": { "chunks": [{ "type": "encoded_text", "tokens": draw.prompt }] },
            "sampling_params": {
                "max_tokens": draw.max_new_tokens,
                "temperature": as_written(draw.temperature),
                "top_p": as_written(draw.top_p),
                "top_k": if draw.top_k == 0 { -1 } else { draw.top_k as i64 },
                // Servers read 31 bits.
                "seed": draw.seed & 0x7fff_ffff,
                "stop": draw.stop_tokens,
            },
            "type": "sample",
        });
        for (name, value) in source.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let body = body.to_string();
        let path = "/api/v1/asample";
        let answer = client.post_json(path, body.as_bytes(), SAMPLING, &self.counters)?;
        let id = match &answer["request_id"] {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => return Err(unusable("it has no `request_id`".to_owned())),
        };
        let bytes = self.sampled(client, &id)?;
        let mut samples = wire::samples(&bytes).map_err(unusable)?;
        let sampled = samples.pop().filter(|_| samples.is_empty());
        let sampled = sampled.ok_or_else(|| unusable("it has not one sample".to_owned()))?;
        let wire::Sampled { tokens, log_probs, is_cut } = sampled;
        let vocab_size = self.description.vocab_size;
        if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocab_size) {
            return Err(Fault::Final(Error::Vocabulary { token, vocab_size }));
        }
        if log_probs.len() != tokens.len() {
            let (n, expected) = (log_probs.len(), tokens.len());
            return Err(unusable(format!("it has {n} log-probabilities for {expected} tokens")));
        }
        log_probs
            .iter()
            .try_for_each(|&value| log_prob(value.into()).map(drop))
            .map_err(unusable)?;
        let reason = if is_cut { "length" } else { "stop" };
        let finish = finish(reason, &tokens, draw).map_err(unusable)?;
        self.counters.tokens(draw.prompt.len(), tokens.len());
        Ok(Sample { tokens, log_probs, finish })
    }

    /// The result of a sampling request. A result that is lost is drawn again, with the same seed.
    fn sampled(&self, client: &Client, id: &str) -> Result<Vec<u8>, Fault> {
        let limit = Duration::from_secs_f64(self.settings.answer_seconds);
        let (poll, mut polled) = (POLL.min(limit), Duration::ZERO);
        let body = json!({ "request_id": id }).to_string();
        let content = Content::Json(body.as_bytes());
        let again = |reason, message| Fault::Transient { reason, message, after: None };
        loop {
            let path = "/api/v1/retrieve_future";
            let answer = client.exchange("POST", path, content, poll, &self.counters)?;
            let message = || client.message_of(&answer.body);
            match answer.status {
                200..=299 if answer.content_type.starts_with(PROTOBUF) => return Ok(answer.body),
                408 if polled < limit => polled += poll,
                status @ (404 | 408 | 410 | 425 | 429 | 500..=599) => {
                    return Err(again(Reason::Status(status), message()));
                }
                status => {
                    let (server, message) = (client.name().to_owned(), message());
                    let what = SAMPLING;
                    return Err(Fault::Final(Error::Refused { server, what, status, message }));
                }
            }
        }
    }
}

impl Generate for TrainingEngine {
    fn sample(
        &self,
        requests: &[SampleRequest],
        settings: &SamplingSettings,
        done: &mut dyn FnMut(usize, Vec<Sample>),
    ) -> Result<(), EngineError> {
        let sampler = Sampler {
            pool: &self.pool,
            description: &self.description,
            n_at_once: self.settings.concurrency,
        };
        let source = self.source()?;
        sampler.sample(
            requests,
            settings,
            &|client, draw| self.ask_sample(client, &source, draw),
            done,
        )
    }

    fn n_concurrent_samples(&self) -> usize {
        self.settings.concurrency
    }

    fn activity(&self) -> Option<Activity> {
        let traffic = self.traffic();
        Some(Activity { n_in_flight: traffic.n_in_flight, n_repeated: traffic.n_retries() })
    }
}
