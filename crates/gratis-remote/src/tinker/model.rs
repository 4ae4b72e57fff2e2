//! A model on a training server: its requests, each with its number.

use gratis_engine::OptimizerStep;
use serde_json::json;

use super::journal::Journal;
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
}

impl Model {
    fn seq_id(&mut self) -> u64 {
        self.next_seq += 1;
        self.next_seq - 1
    }

    pub(super) fn new(session: Session, id: String) -> Self {
        Self { session, id, next_seq: 1 }
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
        let seq_id = self.seq_id();
        let request = ForwardBackward { model_id: &self.id, seq_id, data, loss, is_forward_only };
        let body = request.encode();
        let path = "/api/v1/forward_backward";
        let id = self.session.submit(journal, kind, seq_id, path, Body::Protobuf(&body))?;
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
        let seq_id = self.seq_id();
        let body = json!({
            "model_id": self.id,
            "seq_id": seq_id,
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
        let id = self.session.submit(journal, "optim_step", seq_id, path, Body::Json(&body))?;
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

    pub(super) fn save(
        &mut self,
        journal: &mut Journal,
        name: &str,
        kind: Kind,
    ) -> Result<String, Trouble> {
        let (route, type_name) = match kind {
            Kind::State => ("/api/v1/save_weights", "save_weights"),
            Kind::Weights => ("/api/v1/save_weights_for_sampler", "save_weights_for_sampler"),
        };
        let seq_id = self.seq_id();
        let body = json!({
            "model_id": self.id, "path": name, "seq_id": seq_id, "type": type_name,
        });
        let id = self.session.submit(journal, type_name, seq_id, route, Body::Json(&body))?;
        let outcome = self.session.result(&id)?.json();
        let outcome = outcome.map_err(|reason| self.session.unusable("a save", reason))?;
        let path = outcome["path"].as_str().map(str::to_owned);
        path.ok_or_else(|| self.session.unusable("a save", format!("it is {outcome}")))
    }

    /// Loads a state with the moments of the optimizer; only as the first request of a model.
    pub(super) fn load(&mut self, journal: &mut Journal, uri: &str) -> Result<(), Trouble> {
        let seq_id = self.seq_id();
        let body = json!({
            "model_id": self.id,
            "path": uri,
            "optimizer": true,
            "seq_id": seq_id,
            "type": "load_weights",
        });
        let route = "/api/v1/load_weights";
        let id = self.session.submit(journal, "load_weights", seq_id, route, Body::Json(&body))?;
        self.session.result(&id)?;
        Ok(())
    }
}
