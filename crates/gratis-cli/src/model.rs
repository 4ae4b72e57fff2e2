//! Models: the engine, the tokenizer and what `gratis.json` says, found together.

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use gratis::baseline::BaselineForm;
use gratis::encoding::{Encoder, OnOverlong};
use gratis::manifest::{self, Manifest};
use gratis::training::Companion;
use gratis_cpu::{NativeEngine, NativeOptions, WeightStorage};
use gratis_engine::Score as _;
use gratis_model::config::{ModelConfig, generation};
use gratis_model::gguf::GgufFile;
use gratis_model::{Layout, Tokenizer};
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::place::{Kind, Place};

/// From this size in memory on, weights to score with stay in their files.
const MAPPED_FROM: usize = 1 << 30;

/// Files beside the tokenizer that go where a model goes.
const CARRIED_FILES: &[&str] = &[
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
];

/// Where the weights are while they are used; results are the same to the bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Weights {
    /// Mapped from 1 GiB on, loaded below.
    Auto,
    /// In memory, four bytes a parameter: fastest.
    #[default]
    Loaded,
    /// In their files, widened tile by tile: the files' size at most.
    Mapped,
}

impl Weights {
    fn storage(self, config: &ModelConfig) -> WeightStorage {
        let n_bytes = || 4 * Layout::new(config).n_parameters();
        match self {
            Self::Mapped => WeightStorage::Mapped,
            Self::Auto if n_bytes() >= MAPPED_FROM => WeightStorage::Mapped,
            Self::Auto | Self::Loaded => WeightStorage::Loaded,
        }
    }
}

/// A loaded model.
pub(crate) struct Model {
    /// Where it is.
    pub(crate) place: Place,
    /// The weights.
    pub(crate) engine: NativeEngine,
    /// The tokenizer beside them.
    pub(crate) tokenizer: Tokenizer,
    /// How to score with it, where it is a reward model.
    pub(crate) manifest: Option<Manifest>,
}

impl Model {
    /// Loads a model into memory: see [`Place`] for what may be given.
    pub(crate) fn load(path: &Path, threads: usize) -> Result<Self> {
        Self::load_as(path, threads, Weights::Loaded)
    }

    /// Loads a model with its weights where `weights` says.
    pub(crate) fn load_as(path: &Path, threads: usize, weights: Weights) -> Result<Self> {
        Self::load_beside(path, threads, weights, None)
    }

    /// Loads a model that shares its weights with `known`, if both have the same base.
    pub(crate) fn load_beside(
        path: &Path,
        threads: usize,
        weights: Weights,
        known: Option<&Self>,
    ) -> Result<Self> {
        let load = || -> Result<Self> {
            let place = Place::find(path)?;
            let engine = match known.filter(|known| known.place.has_base_of(&place)) {
                Some(known) => known.engine.base()?,
                None => load_base(place.base(), threads, weights)?,
            };
            let engine = adapted(engine, &place)?;
            let tokenizer = tokenizer_at(&place)?;
            tokenizer.check_fits(engine.config())?;
            let manifest = match place.kind {
                Kind::Gguf => None,
                Kind::Folder | Kind::Adapter(_) => Manifest::read(&place.path)?,
            };
            Ok(Self { place, engine, tokenizer, manifest })
        };
        let model =
            load().with_context(|| format!("cannot load the model `{}`", path.display()))?;
        let n_parameters = model.engine.describe().n_parameters;
        let mapped = if model.engine.is_mapped() { ", mapped" } else { "" };
        let path = model.place.path.display();
        info!("`{path}`: {n_parameters} parameters{mapped}, {threads} threads");
        Ok(model)
    }

    /// SHA-256 of the weights.
    pub(crate) fn hash(&self) -> Result<String> {
        Ok(manifest::hash_files(&self.place.weight_paths()?)?)
    }

    /// The encoder of this model.
    pub(crate) fn encoder(&self, template: &str, on_overlong: OnOverlong) -> Result<Encoder<'_>> {
        let description = self.engine.describe();
        Ok(Encoder::new(&self.tokenizer, template, description, on_overlong)?)
    }

    /// Tokens at which a sample ends: those of `generation_config.json` or else of `config.json`,
    /// and the one that ended the texts of training.
    pub(crate) fn stop_tokens(&self) -> Result<Vec<u32>> {
        let mut tokens = declared_stop_tokens(self.place.base(), self.engine.config())?;
        tokens.extend(self.tokenizer.eos());
        tokens.sort_unstable();
        tokens.dedup();
        Ok(tokens)
    }

    /// The files that stand beside the weights of what is trained from this model: the tokenizer's,
    /// the chat template, the settings of sampling.
    pub(crate) fn companions(&self) -> Result<Vec<Companion>> {
        let folder = crate::temporary::TemporaryFolder::new()?;
        self.tokenizer.save(folder.path())?;
        for name in CARRIED_FILES {
            let source = self.place.base().path.join(name);
            if source.is_file() {
                std::fs::copy(&source, folder.path().join(name))
                    .with_context(|| format!("cannot copy `{}`", source.display()))?;
            }
        }
        if let Kind::Gguf = self.place.base().kind
            && let Some(template) = GgufFile::open(&self.place.base().path)?.chat_template()?
        {
            std::fs::write(folder.path().join("chat_template.jinja"), template.source())?;
        }
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder.path())? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            files.push(Companion { name, bytes: std::fs::read(entry.path())? });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }
}

fn load_base(place: &Place, threads: usize, weights: Weights) -> Result<NativeEngine> {
    let options = NativeOptions { n_threads: threads, ..NativeOptions::default() };
    if let Kind::Gguf = place.kind {
        return Ok(NativeEngine::load_gguf(&GgufFile::open(&place.path)?, options)?);
    }
    let baseline = Manifest::read(&place.path)?.and_then(|manifest| manifest.baseline);
    if let Some(BaselineForm::Head { head, .. }) = baseline {
        return Ok(NativeEngine::load_with_value_head(&place.path, head, options)?);
    }
    let config = ModelConfig::read(&place.path.join("config.json"))?;
    let options = NativeOptions { weights: weights.storage(&config), ..options };
    Ok(NativeEngine::load(&place.path, options)?)
}

/// The engine of a base with the adapters of `place`, if there is one.
fn adapted(engine: NativeEngine, place: &Place) -> Result<NativeEngine> {
    match &place.kind {
        Kind::Folder | Kind::Gguf => Ok(engine),
        Kind::Adapter(base) if matches!(base.kind, Kind::Adapter(_)) => {
            anyhow::bail!(crate::failure::CliError::Mismatch {
                what: format!("`{}` is an adapter to an adapter", place.path.display()),
                hint: "merge the lower one first (`gratis merge`)",
            })
        }
        Kind::Adapter(_) => Ok(engine.with_adapter_of(&place.path)?),
    }
}

/// The stop tokens of `generation_config.json`, or else those of the configuration.
pub(crate) fn declared_stop_tokens(base: &Place, config: &ModelConfig) -> Result<Vec<u32>> {
    let own = if base.path.is_dir() { generation::stop_tokens(&base.path)? } else { None };
    Ok(own.unwrap_or_else(|| config.eos_tokens.clone()))
}

/// The tokenizer beside the weights; an adapter may have its base's.
pub(crate) fn tokenizer_at(place: &Place) -> Result<Tokenizer> {
    let own = &place.path;
    Ok(match &place.kind {
        Kind::Gguf => GgufFile::open(own)?.tokenizer()?,
        Kind::Adapter(base) if !own.join("tokenizer.json").exists() => tokenizer_at(base)?,
        Kind::Adapter(_) | Kind::Folder => Tokenizer::load(own)?,
    })
}
