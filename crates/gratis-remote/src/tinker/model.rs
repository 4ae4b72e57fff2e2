//! A model on a training server: its requests, each with its number.

use std::collections::BTreeMap;

use gratis_engine::OptimizerStep;
use serde_json::{Value, json};

use super::journal::{Journal, Line, PastModel, PastRequest, hash_of};
use super::loss::{Carrier, Weighted};
use super::parts;
use super::session::{Body, Outcome, Session, Trouble};
use super::wire::{self, Datum, ForwardBackward};
use crate::answer::log_prob;

/// What a checkpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To train on.
    State,
    /// To sample from, or to download.
    Weights,
}

/// The model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) session: Session,
    pub(super) id: String,
    next_seq: u64,
    /// What an earlier process sent for it, by number.
    past: BTreeMap<u64, PastRequest>,
}

impl Model {
    pub(super) fn new(session: Session, id: String) -> Self {
        Self { session, id, next_seq: 1, past: BTreeMap::new() }
    }

    /// The model of an earlier process, after its request number `position`.
    pub(super) fn take_up(session: Session, past: PastModel, position: u64) -> Self {
        let PastModel { id, mut requests, .. } = past;
        let past = requests.split_off(&(position + 1));
        Self { session, id, next_seq: position + 1, past }
    }

    /// Sends a request that becomes a future; its id. The journal has it before the server. If an
    /// earlier process sent it, its future is taken, or its refusal if the name of a checkpoint was
    /// taken; if that sent another one under this number, the model is in another state than ours and
    /// lost to us.
    fn submit(
        &mut self,
        journal: &mut Journal,
        kind: &'static str,
        path: &str,
        body: Body<'_>,
    ) -> Result<String, Trouble> {
        let (seq_id, hash) = (self.next_seq, hash_of(body));
        if let Some(past) = self.past.remove(&seq_id) {
            if past.refused.contains(&hash) {
                self.past.insert(seq_id, past);
                return Err(Trouble::NameTaken);
            }
            if past.hash != hash {
                let message = "the run before this one went on differently";
                return Err(Trouble::Lost(message.to_owned()));
            }
            if let Some(id) = past.request_id {
                self.next_seq += 1;
                return Ok(id);
            }
        }
        journal.sending(&self.id, kind, seq_id, hash).map_err(Trouble::Failed)?;
        let answer = self.session.ask(path, body)?;
        let id = match &answer["request_id"] {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => {
                let reason = "it has no `request_id`".to_owned();
                return Err(self.session.unusable("a training request", reason));
            }
        };
        journal.sent(&self.id, seq_id, &id).map_err(Trouble::Failed)?;
        self.next_seq += 1;
        Ok(id)
    }

    /// A forward or a backward pass: the log-probabilities, a row per datum.
    pub(super) fn pass(
        &mut self,
        journal: &mut Journal,
        data: &[Datum],
        loss: &str,
        is_forward_only: bool,
    ) -> Result<Vec<Vec<f32>>, Trouble> {
        let (kind, what) = if is_forward_only {
            ("forward", "a forward pass")
        } else {
            ("backward", "a backward pass")
        };
        let seq_id = self.next_seq;
        let request = ForwardBackward { model_id: &self.id, seq_id, data, loss, is_forward_only };
        let body = request.encode();
        let path = "/api/v1/forward_backward";
        let id = self.submit(journal, kind, path, Body::Protobuf(&body))?;
        let outcome = self.session.result(&id)?;
        let read = |outcome: Outcome| -> Result<Vec<Vec<f32>>, String> {
            let rows = wire::log_probs(&outcome.protobuf()?)?;
            if rows.len() != data.len() {
                return Err(format!("it has {} rows for {} sequences", rows.len(), data.len()));
            }
            for (row, datum) in rows.iter().zip(data) {
                if row.len() + 1 != datum.tokens.len() {
                    let (n, expected) = (row.len(), datum.tokens.len() - 1);
                    return Err(format!("a row has {n} values, expected {expected}"));
                }
                row.iter().try_for_each(|&value| log_prob(value.into()).map(|_| ()))?;
            }
            Ok(rows)
        };
        read(outcome).map_err(|reason| self.session.unusable(what, reason))
    }

    /// An optimizer step; the gradient norm, if the server reports one.
    pub(super) fn step(
        &mut self,
        journal: &mut Journal,
        step: &OptimizerStep,
    ) -> Result<Option<f64>, Trouble> {
        let body = json!({
            "model_id": self.id,
            "seq_id": self.next_seq,
            "adam_params": {
                "learning_rate": step.learning_rate,
                "beta1": step.beta1,
                "beta2": step.beta2,
                "eps": step.epsilon,
                "weight_decay": step.weight_decay,
            },
            "type": "optim_step",
        });
        let path = "/api/v1/optim_step";
        let id = self.submit(journal, "optim_step", path, Body::Json(&body))?;
        let outcome = self.session.result(&id)?.json();
        let outcome = outcome.map_err(|reason| self.session.unusable("a step", reason))?;
        let metrics = outcome["metrics"].as_object();
        let mut metrics = metrics.into_iter().flatten();
        let norm = metrics.find(|(name, _)| name.ends_with("grad_norm"));
        Ok(norm.and_then(|(_, value)| value.as_f64()))
    }

    /// The backward passes of a step, and the step.
    pub(super) fn take(
        &mut self,
        journal: &mut Journal,
        carrier: Carrier,
        data: &[Weighted],
        step: &OptimizerStep,
    ) -> Result<Option<f64>, Trouble> {
        for part in parts(data, |item| item.tokens.len()) {
            let encoded: Vec<Datum> =
                part.iter().map(|item| carrier.datum(item, data.len())).collect();
            self.pass(journal, &encoded, carrier.loss(), false)?;
        }
        self.step(journal, step)
    }

    /// Saves a checkpoint; its URI. `n_saved` names were tried so far.
    pub(super) fn save(
        &mut self,
        journal: &mut Journal,
        name: &str,
        kind: Kind,
        n_saved: u64,
    ) -> Result<String, Trouble> {
        let (route, type_name) = match kind {
            Kind::State => ("/api/v1/save_weights", "save_weights"),
            Kind::Weights => ("/api/v1/save_weights_for_sampler", "save_weights_for_sampler"),
        };
        let body = json!({
            "model_id": self.id, "path": name, "seq_id": self.next_seq, "type": type_name,
        });
        let id = self.submit(journal, type_name, route, Body::Json(&body))?;
        let outcome = self.session.result(&id)?.json();
        let outcome = outcome.map_err(|reason| self.session.unusable("a save", reason))?;
        let Some(uri) = outcome["path"].as_str().map(str::to_owned) else {
            return Err(self.session.unusable("a save", format!("it is {outcome}")));
        };
        let (model, seq_id) = (self.id.clone(), self.next_seq - 1);
        let saved = Line::Saved { model, seq_id, uri: uri.clone(), n_saved };
        journal.write(&saved).map_err(Trouble::Failed)?;
        Ok(uri)
    }

    /// Loads a state with the moments of the optimizer; only as the first request of a model.
    pub(super) fn load(&mut self, journal: &mut Journal, uri: &str) -> Result<(), Trouble> {
        let body = json!({
            "model_id": self.id,
            "path": uri,
            "optimizer": true,
            "seq_id": self.next_seq,
            "type": "load_weights",
        });
        let route = "/api/v1/load_weights";
        let id = self.submit(journal, "load_weights", route, Body::Json(&body))?;
        self.session.result(&id)?;
        Ok(())
    }
}
