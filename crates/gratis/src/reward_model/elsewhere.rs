//! What a model has to tell if its engine runs elsewhere: its requests, its checks, and training on a
//! server.

use std::path::Path;

use gratis_model::{LoraScaling, LoraSettings, LoraTarget};
use gratis_remote::TrainingEngine;

use super::engine::{Engine, Servers};
use super::model::Model;
use crate::error::{Error, Result};

/// LoRA alpha of training servers, which cannot be chosen.
pub(crate) const ALPHA: f64 = 32.0;

impl Model {
    /// What the requests of an engine that runs elsewhere amount to; `None` for one in this process.
    pub fn traffic(&self) -> Option<gratis_remote::traffic::Traffic> {
        match &self.engine {
            Engine::Native(_) => None,
            Engine::Remote(remote) => Some(remote.traffic()),
        }
    }

    /// Runs the check at the start of an engine that runs elsewhere, or compares with the first one.
    ///
    /// # Errors
    /// [`gratis_remote::Error::Canary`]; those of the requests.
    pub fn check_scores(&self) -> Result<()> {
        match &self.engine {
            Engine::Native(_) => Ok(()),
            Engine::Remote(remote) => match &remote.servers {
                Servers::Inference(engine) => Ok(engine.check_scores()?),
                Servers::Training { .. } => Ok(()),
            },
        }
    }

    /// Whether it is trained on a server.
    pub fn is_trained_elsewhere(&self) -> bool {
        self.training_engine().is_some()
    }

    /// Models that its server offers to train; `None` if it is no training server.
    pub fn offered_to_train(&self) -> Option<&[String]> {
        self.training_engine().map(TrainingEngine::offered)
    }

    fn training_engine(&self) -> Option<&TrainingEngine> {
        match &self.engine {
            Engine::Remote(remote) => match &remote.servers {
                Servers::Training { engine, .. } => Some(engine),
                Servers::Inference(_) => None,
            },
            Engine::Native(_) => None,
        }
    }

    /// Refuses to clip gradients on a server, which cannot, unless the engine's settings give it up.
    ///
    /// # Errors
    /// [`Error::Mismatch`].
    pub fn check_clipping(&self, max_norm: f64) -> Result<()> {
        let is_given_up = self.place.engine_settings().is_none_or(|one| one.without_clipping);
        if max_norm == 0.0 || is_given_up || !self.is_trained_elsewhere() {
            return Ok(());
        }
        Err(Error::Mismatch {
            what: format!(
                "a training server does not clip gradients, and the largest norm is {max_norm}"
            ),
            hint: "give `--clip 0`, or set `without_clipping = true` in the engine's file",
        })
    }

    /// Prepares training on a server, if it is trained there: keeps the journal of its requests in a
    /// file, and finds out how the server takes weights per token. What was found, for the log.
    ///
    /// # Errors
    /// Those of the file and of the server.
    pub fn prepare_training(&self, journal: &Path) -> Result<Option<&'static str>> {
        let Some(engine) = self.training_engine() else { return Ok(None) };
        engine.journal_at(journal)?;
        Ok(Some(engine.probe()?))
    }

    /// The same model with a fresh adapter that a server trains.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it is not trained on a server.
    pub fn with_adapter_elsewhere(mut self, rank: usize, seed: u64) -> Result<Self> {
        if self.place.engine_settings().is_some_and(|settings| settings.checkpoint.is_some()) {
            return Err(Error::Mismatch {
                what: "a checkpoint of a training server is for sampling and scoring".to_owned(),
                hint: "leave `checkpoint` out of the engine's settings to train",
            });
        }
        if let Engine::Remote(remote) = &mut self.engine
            && let Servers::Training { engine, rank: known } = &mut remote.servers
        {
            engine.set_adapter(rank, seed);
            *known = Some(rank);
            return Ok(self);
        }
        Err(Error::Mismatch {
            what: format!("`{}` is not a training server", self.place.display_name()),
            hint: "give `tinker://HOST:PORT/MODEL`",
        })
    }

    /// The shape of the adapter that a server trains.
    pub(super) fn adapter_elsewhere(&self) -> Option<LoraSettings> {
        let Engine::Remote(remote) = &self.engine else { return None };
        let Servers::Training { rank: Some(rank), .. } = remote.servers else { return None };
        let targets = LoraTarget::ALL.to_vec();
        Some(LoraSettings { rank, alpha: ALPHA, scaling: LoraScaling::Standard, targets })
    }
}
