//! Connecting to an engine that runs elsewhere: the shape of its model, its key, and the check that
//! its tokenizer is ours.

use std::path::PathBuf;

use gratis_model::lora::peft::AdapterConfig;
use gratis_model::{Layout, ModelConfig, Tokenizer};
use gratis_remote::{
    AdapterRequest, Connection, EngineSettings, InferenceEngine, ModelShape, Probe, Protocol,
    TokenizerCheck, TrainingEngine,
};

use super::engine::{RemoteEngine, Servers};
use super::formats::{Recognised, recognise};
use super::model::Published;
use super::place::{Hub, Place};
use crate::data::ModelFormat;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::observer::Observer;

/// Texts that different tokenizers encode differently: digits, white space, formulas, other scripts.
const PROBES: &[&str] = &[
    "2 + 2 = 4.",
    "Step 1: 1234567890 / 25\n\n  = 49382715.6\n",
    "\\boxed{\\frac{1}{2}} and $x^2 - 1 \\le 0$",
    "Tabs\tand   spaces; \u{201c}quotes\u{201d} \u{2014} na\u{ef}ve \u{65e5}\u{672c}\u{8a9e} \u{1f642}",
];

/// The adapter of a training server that only scores: a fresh one changes nothing.
const FRESH: AdapterRequest = AdapterRequest { rank: 1, seed: 0 };

/// Connects to the servers of `settings`.
///
/// # Errors
/// Those of the settings, the configuration and the servers; [`gratis_remote::Error::Tokenizer`].
pub(super) fn connect(
    place: &Place,
    settings: &EngineSettings,
    tokenizer: &Tokenizer,
    hub: &dyn Hub,
    observer: &mut dyn Observer,
) -> Result<RemoteEngine> {
    let config = ModelConfig::read(&config_folder(place, hub)?.join("config.json"))?;
    let layout = Layout::new(&config);
    let shape = ModelShape {
        architecture: config.architecture.name().to_owned(),
        n_parameters: layout.n_parameters(),
        vocab_size: config.vocab_size,
        context_length: config.context_length,
    };
    let key = settings.key(&|name| hub.variable(name))?;
    let connection = Connection { key, proxies: hub.proxies() };
    if settings.protocol == Protocol::Tinker {
        let engine = TrainingEngine::connect(settings, &connection, shape, FRESH)?;
        return Ok(RemoteEngine {
            servers: Servers::Training { engine: Box::new(engine), rank: None },
            config,
            layout,
        });
    }
    let engine = InferenceEngine::connect(settings, &connection, shape)?;
    match engine.check_tokenizer(&probes(tokenizer))? {
        TokenizerCheck::Same => {}
        TokenizerCheck::Unavailable => observer.note(&format!(
            "`{}` has no route that encodes text: its tokenizer is taken to be that of `{}`",
            place.display_name(),
            place.path.display()
        )),
    }
    Ok(RemoteEngine { servers: Servers::Inference(Box::new(engine)), config, layout })
}

/// The folder with the configuration: that of the tokenizer, or of the base if an adapter is there.
fn config_folder(place: &Place, hub: &dyn Hub) -> Result<PathBuf> {
    if !place.path.join("config.json").exists() && AdapterConfig::is_in(&place.path) {
        return Ok(Place::find(&place.path, hub)?.base().path.clone());
    }
    Ok(place.path.clone())
}

/// The published format of the model of an engine that runs elsewhere: only formats that are scored
/// by log-probabilities are.
///
/// # Errors
/// [`Error::Mismatch`] for a format with a head.
pub(super) fn published(place: &Place, asked: Option<ModelFormat>) -> Result<Option<Published>> {
    if asked.is_none() && Manifest::read(&place.path)?.is_some() {
        return Ok(None);
    }
    let Some(recognised) = recognise(place, asked)? else { return Ok(None) };
    let format = recognised.definition.format;
    if !recognised.definition.is_implicit() {
        return Err(Error::Mismatch {
            what: format!(
                "a reward model of the kind `{format}` cannot be scored on an engine that \
                           runs elsewhere: its head is not read there"
            ),
            hint: "give the folder of the model to score it on this machine",
        });
    }
    let Recognised { definition, by_name, .. } = recognised;
    Ok(Some(Published { definition, reward: None, pad: None, by_name }))
}

/// The probes as this tokenizer encodes them, as far as it can.
fn probes(tokenizer: &Tokenizer) -> Vec<Probe> {
    let probe = |text: &&str| {
        let tokens = tokenizer.encode(text).ok()?.ids;
        Some(Probe { text: (*text).to_owned(), tokens })
    };
    PROBES.iter().filter_map(probe).collect()
}
