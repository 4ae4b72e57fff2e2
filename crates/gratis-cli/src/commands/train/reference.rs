//! The reference of a training: which model it is, and its log-probabilities.

use std::path::Path;

use anyhow::Result;
use gratis::manifest::ReferenceModel;
use gratis::training::{ImplicitReward, ReferenceValues, Task, reference_log_probs};

use crate::Common;
use crate::model::{Model, Weights};
use crate::progress::Progress;

/// What the log-ratio is taken to.
pub(super) enum Reference {
    /// Nothing.
    None,
    /// The model that training starts from.
    Start {
        /// Its folder as it was given, and its hash.
        model: ReferenceModel,
    },
    /// Another model.
    Other(Box<Model>),
}

impl Reference {
    /// Loads what was asked for: a folder, `none`, or by default the model to start from.
    pub(super) fn load(given: Option<&Path>, model: &Model, common: &Common) -> Result<Self> {
        match given {
            Some(path) if path == Path::new("none") => Ok(Self::None),
            Some(path) => {
                let beside = Model::load_beside(path, common.threads, Weights::Auto, Some(model))?;
                Ok(Self::Other(Box::new(beside)))
            }
            None => {
                let path = model.place.display_name();
                Ok(Self::Start { model: ReferenceModel { path, hash: model.hash()? } })
            }
        }
    }

    /// Its name for the manifest.
    pub(super) fn named(&self) -> Result<Option<ReferenceModel>> {
        Ok(match self {
            Self::None => None,
            Self::Start { model } => Some(model.clone()),
            Self::Other(model) => {
                Some(ReferenceModel { path: model.place.display_name(), hash: model.hash()? })
            }
        })
    }

    /// The reference's log-probabilities of the responses of a task that are used; `None` without a
    /// reference.
    pub(super) fn log_probs(
        &self,
        task: &ImplicitReward,
        is_used: &[bool],
        start: &Model,
        cache: Option<&Path>,
        micro_batch_tokens: usize,
        progress: &mut Progress,
    ) -> Result<Option<ReferenceValues>> {
        let (engine, hash) = match self {
            Self::None => return Ok(None),
            Self::Start { model } => (&start.engine, model.hash.clone()),
            Self::Other(model) => (&model.engine, model.hash()?),
        };
        let corpus = task.corpus();
        let budget = micro_batch_tokens;
        Ok(Some(reference_log_probs(engine, &hash, corpus, is_used, cache, budget, progress)?))
    }
}
