//! Loading models in commands: with the hub settings from the environment, and remarks in the log.

use std::path::Path;

use gratis::data::ModelFormat;
use gratis::reward_model::{Hub, LoadOptions, Model, Weights};
use gratis::{Error, Observer, Place};
use tracing::{info, warn};

use crate::Common;
use crate::hub::EnvironmentHub;

/// The hub for models given by name.
pub(crate) const HUB: &dyn Hub = &EnvironmentHub;

/// An observer that logs remarks and nothing else.
pub(crate) struct Remarks;

impl Observer for Remarks {
    fn note(&mut self, text: &str) {
        info!("{text}");
    }

    fn warn(&mut self, text: &str) {
        warn!("{text}");
    }
}

/// The load options from the flags of every command.
pub(crate) fn load_options(weights: Weights, common: &Common) -> LoadOptions {
    LoadOptions { n_threads: common.threads, weights, ..LoadOptions::default() }
}

/// Loads a model; see [`Place`] for the accepted arguments.
pub(crate) fn load(path: &Path, weights: Weights, common: &Common) -> Result<Model, Error> {
    Model::load(path, load_options(weights, common), HUB, &mut Remarks)
}

/// Loads a model that may be a published reward model, of the format `kind` or of the one it is
/// recognised by.
pub(crate) fn load_reward_model(
    path: &Path,
    kind: Option<ModelFormat>,
    common: &Common,
) -> Result<Model, Error> {
    let options = load_options(Weights::Loaded, common);
    Model::load_reward_model(path, options, kind, HUB, &mut Remarks)
}

/// Logs what the requests of an engine that runs elsewhere amount to.
pub(crate) fn report_traffic(model: &Model) {
    if let Some(traffic) = model.traffic() {
        info!("`{}`: {traffic}", model.place().display_name());
    }
}

/// Finds a model without loading it.
pub(crate) fn find(path: &Path) -> Result<Place, Error> {
    let place = Place::find(path, HUB)?;
    if let Some(choice) = place.choice() {
        info!("{choice}");
    }
    Ok(place)
}
