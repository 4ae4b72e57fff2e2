//! Published reward models: one file per format, each a [`Definition`]: the classes by which it is
//! recognised, the tensors of its head, and its [`Recipe`].
//!
//! The body is a decoder like any other. Every format is scored by one pass over a solution: the
//! head is computed at its tokens and read at positions that are known from how the tokens were put
//! together ([`prompt`]), never by searching for a token that the text may hold itself.

mod armo_rm;
mod eurus_rm;
mod head;
mod implicit_prm;
mod math_shepherd;
mod prompt;
mod qwen_prm;
mod recipe;
mod rlhflow;
mod scorer;
mod sequence_classification;
mod token_classification;
mod value_head_prm;

use std::path::Path;

use gratis_model::checkpoint::NamedTensors;
use gratis_model::config::json::ConfigFile;
use gratis_model::{ModelConfig, Readout, Tokenizer};

use super::place::{Place, PlaceKind};
use crate::data::ModelFormat;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use head::HeadTensors;
pub(crate) use head::Loaded;
pub(crate) use implicit_prm::COEFFICIENT;
pub(crate) use prompt::{Chat, Prompter, Sequence};
pub(crate) use recipe::{Reading, Recipe, Reward, Scope, Template};
pub(crate) use scorer::PublishedScorer;

/// A format of published reward models.
#[derive(Debug)]
pub(crate) struct Definition {
    /// Its name.
    pub(crate) format: ModelFormat,
    /// The classes that have it.
    classes: Classes,
    /// Names of published models in it whose class is that of a language model.
    repositories: &'static [&'static str],
    /// Fields of `config.json` that describe the head.
    config_fields: &'static [&'static str],
    /// The tensors of the head.
    pub(crate) tensors: &'static [&'static str],
    /// How the head is made.
    head: Head,
    /// How a server gives what its head gives.
    pub(crate) served: Served,
    /// How it scores.
    pub(crate) recipe: Recipe,
}

/// By which names in `architectures` a format is recognised.
#[derive(Debug, Clone, Copy)]
enum Classes {
    /// None: its class is that of a language model.
    Unnamed,
    /// These.
    Named(&'static [&'static str]),
    /// All that end so.
    Ending(&'static str),
}

/// How a head is made.
#[derive(Debug, Clone, Copy)]
enum Head {
    /// From tensors of its own.
    Tensors(fn(&mut HeadTensors<'_>) -> Result<Loaded>),
    /// From the rows of the language model's head for two labels, good and bad.
    Labels(fn(&Tokenizer) -> Result<[u32; 2]>),
    /// The language model itself is scored with.
    LanguageModel,
}

/// How a server gives the channels of a head.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Served {
    /// As the outputs of a classifier; what becomes of them, by their number per token.
    Pooled(fn(usize) -> Option<Reward>),
    /// As log-probabilities of a language model.
    LogProbs,
    /// No server does, for this reason.
    Nowhere(&'static str),
}

/// The reward from two channels for the labels, good and bad: logits or log-probabilities.
pub(crate) const OF_LABELS: Reward = Reward::Softmax { good: 0 };

/// Every format.
static DEFINITIONS: [&Definition; 10] = [
    &sequence_classification::DEFINITION,
    &token_classification::DEFINITION,
    &qwen_prm::DEFINITION,
    &value_head_prm::DEFINITION,
    &eurus_rm::DEFINITION,
    &armo_rm::DEFINITION,
    &math_shepherd::DEFINITION,
    &rlhflow::PROCESS,
    &rlhflow::OUTCOME,
    &implicit_prm::DEFINITION,
];

impl Definition {
    /// The definition of a format.
    pub(crate) fn of(format: ModelFormat) -> &'static Self {
        let found = DEFINITIONS.iter().find(|definition| definition.format == format);
        found.unwrap_or(&DEFINITIONS[0])
    }

    /// Whether the rewards are log-ratios to a reference.
    pub(crate) fn is_implicit(&self) -> bool {
        matches!(self.head, Head::LanguageModel)
    }

    /// Whether the body is that of a class with another head than a language model's.
    fn has_tensors(&self) -> bool {
        matches!(self.head, Head::Tensors(_))
    }

    fn has_class(&self, class: &str) -> bool {
        match self.classes {
            Classes::Unnamed => false,
            Classes::Named(names) => names.contains(&class),
            Classes::Ending(end) => class.ends_with(end),
        }
    }
}

/// A published reward model that was recognised and not yet loaded.
#[derive(Debug, Clone)]
pub(crate) struct Recognised {
    pub(crate) definition: &'static Definition,
    /// Of the base, where it has one.
    config: Option<ConfigFile>,
    /// Whether it was recognised by its name alone.
    pub(crate) by_name: bool,
}

/// What published reward model is at `place`: the kind that is asked for, or else the one that its
/// class, its tensors or its name say. A model with a `gratis.json` is what that says.
///
/// # Errors
/// A fault of the configuration; [`Error::Mismatch`] for a GGUF file asked to have a head.
pub(crate) fn recognise(place: &Place, asked: Option<ModelFormat>) -> Result<Option<Recognised>> {
    let base = place.base();
    let is_file = matches!(base.kind, PlaceKind::Gguf);
    let config = if is_file { None } else { Some(read_config(&base.path)?) };
    if let Some(format) = asked {
        let definition = Definition::of(format);
        if is_file && definition.has_tensors() {
            return Err(Error::Mismatch {
                what: format!("a GGUF file holds no head of the kind `{format}`"),
                hint: "take the folder with `config.json` and safetensors",
            });
        }
        return Ok(Some(Recognised { definition, config, by_name: false }));
    }
    if !is_file && Manifest::read(&place.path)?.is_some() {
        return Ok(None);
    }
    let found = |definition, by_name| Recognised { definition, config: config.clone(), by_name };
    let mut classes = config.iter().flat_map(ConfigFile::classes);
    let by_class = classes
        .find_map(|class| DEFINITIONS.into_iter().find(|definition| definition.has_class(class)));
    if let Some(definition) = by_class {
        return Ok(Some(found(definition, false)));
    }
    let value_head = &value_head_prm::DEFINITION;
    if !is_file && has_tensor(&base.path, value_head.tensors[0]) {
        return Ok(Some(found(value_head, false)));
    }
    let name = place.name.name.trim_end_matches('/');
    let name = name.rsplit('/').next().unwrap_or_default();
    let is_named = |definition: &&Definition| definition.repositories.contains(&name);
    Ok(DEFINITIONS.into_iter().find(is_named).map(|definition| found(definition, true)))
}

/// Whether the files hold a tensor. A folder without weights is reported when it is loaded.
fn has_tensor(folder: &Path, name: &str) -> bool {
    NamedTensors::open(folder).is_ok_and(|tensors| tensors.shape(name).is_some())
}

fn read_config(folder: &Path) -> Result<ConfigFile> {
    Ok(ConfigFile::read(&folder.join("config.json"))?)
}

impl Recognised {
    /// The shape of the body; `None` where it is that of a language model.
    ///
    /// # Errors
    /// Those of the configuration.
    pub(crate) fn body(&self) -> Result<Option<ModelConfig>> {
        match &self.config {
            Some(config) if self.definition.has_tensors() => {
                Ok(Some(config.body(self.definition.config_fields)?))
            }
            _ => Ok(None),
        }
    }

    /// Tensors that stand beside the body in its files: the head's, and a language model's head.
    pub(crate) fn beside(&self) -> Vec<String> {
        let unused = ["lm_head.weight", "pretrained_model.lm_head.weight"];
        self.definition.tensors.iter().chain(&unused).map(|name| (*name).to_owned()).collect()
    }

    /// Tensors of the head that the files of `folder` lack.
    ///
    /// # Errors
    /// A fault of the files.
    pub(crate) fn missing(&self, folder: &Path) -> Result<Vec<&'static str>> {
        if !self.definition.has_tensors() {
            return Ok(Vec::new());
        }
        let tensors = NamedTensors::open(folder)?;
        let is_missing = |name: &&&str| tensors.shape(name).is_none();
        Ok(self.definition.tensors.iter().filter(is_missing).copied().collect())
    }

    /// The padding token that the configuration names.
    pub(crate) fn pad(&self) -> Option<u32> {
        self.config.as_ref()?.token("pad_token_id")
    }

    /// The head that has tensors of its own.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a missing tensor or another number of labels; a fault of the files.
    pub(crate) fn head_of_tensors(&self, folder: &Path) -> Result<Option<Loaded>> {
        let (Head::Tensors(load), Some(config)) = (self.definition.head, &self.config) else {
            return Ok(None);
        };
        let Some(body) = self.body()? else { return Ok(None) };
        let format = self.definition.format;
        load(&mut HeadTensors::open(folder, format, config, body.hidden_size)?).map(Some)
    }

    /// The label tokens, good and bad, where the head is rows of the language model's.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a tokenizer without them.
    pub(crate) fn labels(&self, tokenizer: &Tokenizer) -> Result<Option<[u32; 2]>> {
        match self.definition.head {
            Head::Labels(labels) => labels(tokenizer).map(Some),
            Head::Tensors(_) | Head::LanguageModel => Ok(None),
        }
    }

    /// The head that is rows of the language model's, which `head_rows` gives.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a tokenizer without the label tokens.
    pub(crate) fn head_of_labels(
        &self,
        hidden_size: usize,
        tokenizer: &Tokenizer,
        head_rows: impl FnOnce(&[u32]) -> Result<Vec<f32>>,
    ) -> Result<Option<Loaded>> {
        let Some(labels) = self.labels(tokenizer)? else { return Ok(None) };
        let readout = Readout::linear(head_rows(&labels)?, None, hidden_size);
        Ok(Some(Loaded { readout, reward: OF_LABELS }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_one_definition() {
        for format in ModelFormat::ALL {
            let found = DEFINITIONS.iter().filter(|one| one.format == format).count();
            assert_eq!(found, 1, "{format}");
            assert_eq!(Definition::of(format).format, format);
        }
    }
}
