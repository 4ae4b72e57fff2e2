//! The reference of a training run: which model it is, and its log-probabilities.

use std::path::Path;

use super::TrainPlace;
use crate::cost::Work;
use crate::error::Result;
use crate::manifest::{Kind, ReferenceModel};
use crate::observer::Observer;
use crate::reward_model::place::PlaceKind;
use crate::reward_model::{LoadOptions, Model, Weights, load_reference};
use crate::training::{ImplicitReward, Task, reference_log_probs};

/// What the log-ratio is taken to.
pub(super) enum Reference {
    /// Nothing.
    None,
    /// The model that training starts from.
    Start {
        /// How it is found again.
        place: String,
        /// Hash of its weights.
        hash: String,
    },
    /// Another model.
    Other(Box<Model>),
}

impl Reference {
    /// Loads what was asked for: a place, `none`, or by default the reference that the model to start
    /// from was trained with, the base of an adapter, or the model itself.
    pub(super) fn load(
        given: Option<&Path>,
        model: &Model,
        at: &TrainPlace<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let options = LoadOptions {
            n_threads: at.n_threads,
            weights: Weights::Auto,
            ..LoadOptions::default()
        };
        let mut other = |path: &Path| {
            let model = load_reference(model, path, options, at.hub, observer)?;
            Ok(Self::Other(Box::new(model)))
        };
        if let Some(path) = given {
            return if path == Path::new("none") { Ok(Self::None) } else { other(path) };
        }
        // Training on from a reward model: its reward is a log-ratio to its own reference.
        if let Some(manifest) = model.manifest()
            && let Kind::Implicit { .. } = manifest.kind
        {
            return match &manifest.reference {
                Some(named) => other(&named.place_from(&model.place().path)),
                None => Ok(Self::None),
            };
        }
        if let PlaceKind::Adapter(base) = &model.place().kind {
            return other(Path::new(&base.display_name()));
        }
        Ok(Self::Start { place: model.place().display_name(), hash: model.hash()? })
    }

    /// Its name for the manifest of a model in `folder`.
    pub(super) fn named(&self, folder: &Path) -> Result<Option<ReferenceModel>> {
        Ok(match self {
            Self::None => None,
            Self::Start { place, hash } => Some(ReferenceModel::named(place, hash.clone(), folder)),
            Self::Other(model) => {
                let place = model.place().display_name();
                Some(ReferenceModel::named(&place, model.hash()?, folder))
            }
        })
    }

    /// The reference's log-probabilities of the responses of a task that are used, and the passes that
    /// they stand for; `None` without a reference.
    pub(super) fn log_probs(
        &self,
        task: &ImplicitReward,
        is_used: &[bool],
        start: &Model,
        cache: Option<&Path>,
        micro_batch_tokens: usize,
        observer: &mut dyn Observer,
    ) -> Result<Option<(Vec<Vec<f32>>, Work)>> {
        let (model, hash) = match self {
            Self::None => return Ok(None),
            Self::Start { hash, .. } => (start, hash.clone()),
            Self::Other(model) => (&**model, model.hash()?),
        };
        let (engine, corpus, budget) = (model.score(), task.corpus(), micro_batch_tokens);
        Ok(Some(reference_log_probs(engine, &hash, corpus, is_used, cache, budget, observer)?))
    }
}
