//! The engine of a model: the CPU engine in this process, or one that runs elsewhere.
//!
//! All traits of `gratis_engine` are implemented for both, so nobody else needs to know which it is.
//! What an engine cannot do is an error that says so.

use std::path::Path;

use gratis_cpu::NativeEngine;
use gratis_engine::{
    Activity, Error as EngineError, Generate, ModelDescription, OptimizerStep, PackedBatch, Result,
    Sample, SampleRequest, SamplingSettings, Score, StateName, StateRef, StepReport, TokenValues,
    Train, TrainValues, Values, Weigh,
};
use gratis_model::{Layout, ModelConfig};
use gratis_remote::traffic::Traffic;
use gratis_remote::{InferenceEngine, TrainingEngine};

/// An engine.
#[derive(Debug)]
pub(super) enum Engine {
    /// In this process.
    Native(Box<NativeEngine>),
    /// On servers.
    Remote(Box<RemoteEngine>),
}

/// An engine on servers, with the shape of its model.
#[derive(Debug)]
pub(super) struct RemoteEngine {
    pub(super) servers: Servers,
    pub(super) config: ModelConfig,
    pub(super) layout: Layout,
}

/// What the servers do.
#[derive(Debug)]
pub(super) enum Servers {
    /// They score and sample.
    Inference(Box<InferenceEngine>),
    /// One trains an adapter.
    Training {
        engine: Box<TrainingEngine>,
        /// Rank of the adapter, once one was asked for.
        rank: Option<usize>,
    },
}

impl RemoteEngine {
    pub(super) fn score(&self) -> &dyn Score {
        match &self.servers {
            Servers::Inference(engine) => &**engine,
            Servers::Training { engine, .. } => &**engine,
        }
    }

    /// The servers, to read the values of a head; `None` for a training server.
    pub(super) fn values(&self) -> Option<&dyn Values> {
        match &self.servers {
            Servers::Inference(engine) => Some(&**engine),
            Servers::Training { .. } => None,
        }
    }

    /// What the requests amount to.
    pub(super) fn traffic(&self) -> Traffic {
        match &self.servers {
            Servers::Inference(engine) => engine.traffic(),
            Servers::Training { engine, .. } => engine.traffic(),
        }
    }

    /// The head of a published reward model.
    fn head(&self) -> Result<&dyn Values> {
        match self.values() {
            Some(values) if values.n_channels() > 0 => Ok(values),
            _ => unsupported("read a scalar head that was trained by gratis"),
        }
    }

    fn training(&mut self) -> Result<&mut TrainingEngine> {
        match &mut self.servers {
            Servers::Training { engine, .. } => Ok(engine),
            Servers::Inference(_) => unsupported("train: it is an inference server"),
        }
    }
}

/// Name of remote engines in messages.
const REMOTE: &str = "remote";

fn unsupported<T>(what: &'static str) -> Result<T> {
    Err(EngineError::Unsupported { engine: REMOTE, what })
}

impl Engine {
    /// The shape of the model.
    pub(super) fn config(&self) -> &ModelConfig {
        match self {
            Self::Native(engine) => engine.config(),
            Self::Remote(remote) => &remote.config,
        }
    }

    /// Names and shapes of the parameters.
    pub(super) fn layout(&self) -> &Layout {
        match self {
            Self::Native(engine) => engine.layout(),
            Self::Remote(remote) => &remote.layout,
        }
    }

    /// The engine in this process; `what` needs one.
    ///
    /// # Errors
    /// [`crate::Error::Mismatch`] for an engine that runs elsewhere.
    pub(super) fn into_native(self, what: &str) -> crate::error::Result<NativeEngine> {
        match self {
            Self::Native(engine) => Ok(*engine),
            Self::Remote(_) => Err(needs_native(what)),
        }
    }

    /// As [`Self::into_native`].
    ///
    /// # Errors
    /// As [`Self::into_native`].
    pub(super) fn native(&self, what: &str) -> crate::error::Result<&NativeEngine> {
        match self {
            Self::Native(engine) => Ok(engine),
            Self::Remote(_) => Err(needs_native(what)),
        }
    }
}

fn needs_native(what: &str) -> crate::Error {
    crate::Error::Mismatch {
        what: format!("{what} needs a model on this machine, not an engine that runs elsewhere"),
        hint: "give the folder of the model; `docs/engines.md` has a table of what each engine can do",
    }
}

impl Score for Engine {
    fn describe(&self) -> &ModelDescription {
        match self {
            Self::Native(engine) => engine.describe(),
            Self::Remote(remote) => remote.score().describe(),
        }
    }

    fn log_probs(&self, batches: &[PackedBatch]) -> Result<Vec<TokenValues>> {
        match self {
            Self::Native(engine) => engine.log_probs(batches),
            Self::Remote(remote) => remote.score().log_probs(batches),
        }
    }

    fn mean_log_probs(&self, batches: &[PackedBatch]) -> Result<Vec<TokenValues>> {
        match self {
            Self::Native(engine) => engine.mean_log_probs(batches),
            Self::Remote(_) => unsupported("average over the vocabulary"),
        }
    }
}

impl Generate for Engine {
    fn sample(
        &self,
        requests: &[SampleRequest],
        settings: &SamplingSettings,
        done: &mut dyn FnMut(usize, Vec<Sample>),
    ) -> Result<()> {
        match self {
            Self::Native(engine) => engine.sample(requests, settings, done),
            Self::Remote(remote) => match &remote.servers {
                Servers::Inference(engine) => engine.sample(requests, settings, done),
                Servers::Training { engine, .. } => engine.sample(requests, settings, done),
            },
        }
    }

    fn n_concurrent_samples(&self) -> usize {
        match self {
            Self::Native(engine) => engine.n_concurrent_samples(),
            Self::Remote(remote) => match &remote.servers {
                Servers::Inference(engine) => engine.n_concurrent_samples(),
                Servers::Training { engine, .. } => engine.n_concurrent_samples(),
            },
        }
    }

    fn activity(&self) -> Option<Activity> {
        match self {
            Self::Native(engine) => Generate::activity(&**engine),
            Self::Remote(remote) => match &remote.servers {
                Servers::Inference(engine) => engine.activity(),
                Servers::Training { engine, .. } => Generate::activity(&**engine),
            },
        }
    }
}

impl Train for Engine {
    fn forward_backward(&mut self, batches: &[PackedBatch], weigh: &mut Weigh<'_>) -> Result<()> {
        match self {
            Self::Native(engine) => engine.forward_backward(batches, weigh),
            Self::Remote(remote) => remote.training()?.forward_backward(batches, weigh),
        }
    }

    fn optimizer_step(&mut self, step: &OptimizerStep) -> Result<StepReport> {
        match self {
            Self::Native(engine) => engine.optimizer_step(step),
            Self::Remote(remote) => remote.training()?.optimizer_step(step),
        }
    }

    fn discard_gradient(&mut self) -> Result<()> {
        match self {
            Self::Native(engine) => engine.discard_gradient(),
            Self::Remote(remote) => remote.training()?.discard_gradient(),
        }
    }

    fn save_state(&self, to: &StateName) -> Result<StateRef> {
        match self {
            Self::Native(engine) => engine.save_state(to),
            Self::Remote(remote) => match &remote.servers {
                Servers::Training { engine, .. } => engine.save_state(to),
                Servers::Inference(_) => unsupported("train: it is an inference server"),
            },
        }
    }

    fn load_state(&mut self, from: &StateRef) -> Result<()> {
        match self {
            Self::Native(engine) => engine.load_state(from),
            Self::Remote(remote) => remote.training()?.load_state(from),
        }
    }

    fn save_weights(&self, folder: &Path) -> Result<()> {
        match self {
            Self::Native(engine) => engine.save_weights(folder),
            Self::Remote(remote) => match &remote.servers {
                Servers::Training { engine, .. } => engine.save_weights(folder),
                Servers::Inference(_) => unsupported("write weights: it is an inference server"),
            },
        }
    }
}

impl Values for Engine {
    fn n_channels(&self) -> usize {
        match self {
            Self::Native(engine) => engine.n_channels(),
            Self::Remote(remote) => remote.values().map_or(0, Values::n_channels),
        }
    }

    fn values(&self, batches: &[PackedBatch]) -> Result<Vec<TokenValues>> {
        match self {
            Self::Native(engine) => engine.values(batches),
            Self::Remote(remote) => remote.head()?.values(batches),
        }
    }

    fn values_at(
        &self,
        batches: &[PackedBatch],
        wanted: &[Vec<Vec<usize>>],
    ) -> Result<Vec<TokenValues>> {
        match self {
            Self::Native(engine) => engine.values_at(batches, wanted),
            Self::Remote(remote) => remote.head()?.values_at(batches, wanted),
        }
    }
}

impl TrainValues for Engine {
    fn values_backward(&mut self, batches: &[PackedBatch], weigh: &mut Weigh<'_>) -> Result<()> {
        match self {
            Self::Native(engine) => engine.values_backward(batches, weigh),
            Self::Remote(_) => unsupported("train a scalar head"),
        }
    }
}
