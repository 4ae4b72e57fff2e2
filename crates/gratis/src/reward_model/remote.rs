//! Connecting to an engine that runs elsewhere: the shape of its model, its key, and the check that
//! its tokenizer is ours.

use std::path::PathBuf;

use gratis_model::lora::peft::AdapterConfig;
use gratis_model::{Layout, ModelConfig, Tokenizer};
use gratis_remote::{
    Bias, Connection, EngineSettings, Head, HeadFiles, InferenceEngine, ModelShape, Probe,
    Protocol, TokenizerCheck, TrainingEngine,
};

use super::engine::{RemoteEngine, Servers};
use super::formats::{OF_LABELS, Reading, Recognised, Served, recognise};
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

/// Connects to the servers of `settings`.
///
/// # Errors
/// Those of the settings, the configuration and the servers; [`gratis_remote::Error::Tokenizer`].
pub(super) fn connect(
    place: &Place,
    settings: &EngineSettings,
    published: Option<&Recognised>,
    tokenizer: &Tokenizer,
    hub: &dyn Hub,
    observer: &mut dyn Observer,
) -> Result<RemoteEngine> {
    let head = published.map(|recognised| head_of(recognised, place, tokenizer)).transpose()?;
    let head = head.flatten();
    let config = match published.map(Recognised::body).transpose()?.flatten() {
        Some(body) => body,
        None => ModelConfig::read(&config_folder(place, hub)?.join("config.json"))?,
    };
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
        if head.is_some() {
            return Err(not_served(published, "a training server reads no head"));
        }
        let engine = TrainingEngine::connect(settings, &connection, shape)?;
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
    let engine = match (head, published) {
        (Some(head), Some(recognised)) => engine.with_head(head, &files_of(recognised, place)?)?,
        _ => engine,
    };
    Ok(RemoteEngine { servers: Servers::Inference(Box::new(engine)), config, layout })
}

/// The folder with the configuration: that of the tokenizer, or of the base if an adapter is there.
fn config_folder(place: &Place, hub: &dyn Hub) -> Result<PathBuf> {
    if !place.path.join("config.json").exists() && AdapterConfig::is_in(&place.path) {
        return Ok(Place::find(&place.path, hub)?.base().path.clone());
    }
    Ok(place.path.clone())
}

/// The published format of the model of an engine that runs elsewhere. A model with a `gratis.json` is
/// what that says.
///
/// # Errors
/// A fault of the configuration.
pub(super) fn recognise_at(
    place: &Place,
    asked: Option<ModelFormat>,
) -> Result<Option<Recognised>> {
    if asked.is_none() && Manifest::read(&place.path)?.is_some() {
        return Ok(None);
    }
    recognise(place, asked)
}

/// What is asked of the servers for the head of a published format; `None` for a language model.
///
/// # Errors
/// [`Error::Mismatch`] for a format that no server has.
fn head_of(recognised: &Recognised, place: &Place, tokenizer: &Tokenizer) -> Result<Option<Head>> {
    let definition = recognised.definition;
    Ok(match definition.served {
        Served::LogProbs => recognised.labels(tokenizer)?.map(Head::Labels),
        Served::Nowhere(reason) => return Err(not_served(Some(recognised), reason)),
        Served::Pooled(_) => match definition.recipe.reading {
            Reading::Tag => {
                let tag = tokenizer.encode(definition.recipe.tag.trim())?.ids;
                let is_one = definition.recipe.template.holds_conversations() && tag.len() == 1;
                Some(Head::EachToken { tag: tag.first().copied().filter(|_| is_one) })
            }
            Reading::Last => Some(Head::LastToken),
            Reading::LastAndOpening(_) | Reading::BeforeTag => {
                let path = place.path.display();
                let reason = format!("the head of `{path}` is read at other tokens");
                return Err(not_served(Some(recognised), &reason));
            }
        },
    })
}

/// What the files beside the tokenizer tell of the head of a published format.
///
/// # Errors
/// A fault of the files.
fn files_of(recognised: &Recognised, place: &Place) -> Result<HeadFiles> {
    let has_bias =
        recognised.definition.tensors.iter().any(|name| name.rsplit('.').next() == Some("bias"));
    let bias = if has_bias { Bias::Present } else { Bias::Absent };
    // The folder of an engine needs no weights.
    let is_there = recognised.missing(&place.path).is_ok_and(|missing| missing.is_empty());
    let head = if is_there { recognised.head_of_tensors(&place.path)? } else { None };
    let layers = head.and_then(|head| head.readout.networks.into_iter().next());
    Ok(HeadFiles { bias, layers })
}

fn not_served(recognised: Option<&Recognised>, reason: &str) -> Error {
    let format = recognised.map(|recognised| recognised.definition.format.to_string());
    Error::Mismatch {
        what: format!(
            "a reward model of the kind `{}` cannot be scored on an engine that runs elsewhere: {reason}",
            format.unwrap_or_default()
        ),
        hint: "give the folder of the model to score it on this machine",
    }
}

/// How the channels of an engine's head become rewards.
///
/// # Errors
/// [`Error::Mismatch`] for a number of channels that models of the format do not have.
pub(super) fn published(recognised: &Recognised, engine: &RemoteEngine) -> Result<Published> {
    let definition = recognised.definition;
    let reward = match (definition.served, engine.values()) {
        (Served::Pooled(reward), Some(values)) => {
            let n = values.n_channels();
            let reason = format!("the server gives {n} values per token");
            Some(reward(n).ok_or_else(|| not_served(Some(recognised), &reason))?)
        }
        (Served::LogProbs, Some(_)) if !definition.is_implicit() => Some(OF_LABELS),
        _ => None,
    };
    let (pad, by_name) = (recognised.pad(), recognised.by_name);
    Ok(Published { definition, reward, pad, by_name })
}

/// The probes as this tokenizer encodes them, as far as it can.
fn probes(tokenizer: &Tokenizer) -> Vec<Probe> {
    let probe = |text: &&str| {
        let tokens = tokenizer.encode(text).ok()?.ids;
        Some(Probe { text: (*text).to_owned(), tokens })
    };
    PROBES.iter().filter_map(probe).collect()
}
