//! Model folders: the engine, the tokenizer and what `gratis.json` says, found together.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gratis::encoding::{Encoder, OnOverlong};
use gratis::manifest::{self, Manifest};
use gratis::training::Companion;
use gratis_engine::{Engine, NativeEngine, NativeOptions, Tokenizer};
use tracing::info;

/// The prompt of a model that was not told another.
pub(crate) const TEMPLATE: &str = "{prompt}";

/// A loaded model.
pub(crate) struct Model {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// The weights.
    pub(crate) engine: NativeEngine,
    /// The tokenizer beside them.
    pub(crate) tokenizer: Tokenizer,
    /// How to score with it, where it is a reward model.
    pub(crate) manifest: Option<Manifest>,
}

impl Model {
    /// Loads a Hugging Face folder, or the `model` of a run folder.
    pub(crate) fn load(path: &Path, threads: usize) -> Result<Self> {
        let of_run = path.join("model");
        let is_run = !path.join("config.json").exists() && of_run.join("config.json").exists();
        let folder = if is_run { of_run } else { path.to_owned() };
        let options = NativeOptions { n_threads: threads, ..NativeOptions::default() };
        let load = || -> Result<Self> {
            let engine = NativeEngine::load(&folder, options)?;
            let tokenizer = Tokenizer::load(&folder)?;
            tokenizer.check_fits(engine.config())?;
            let manifest = Manifest::read(&folder)?;
            Ok(Self { folder: folder.clone(), engine, tokenizer, manifest })
        };
        let model =
            load().with_context(|| format!("cannot load the model `{}`", path.display()))?;
        let n_parameters = model.engine.describe().n_parameters;
        info!("`{}`: {n_parameters} parameters, {threads} threads", model.folder.display());
        Ok(model)
    }

    /// SHA-256 of the weights.
    pub(crate) fn hash(&self) -> Result<String> {
        Ok(manifest::hash_file(&self.folder.join("model.safetensors"))?)
    }

    /// The prompt template: the one given, or the model's own.
    pub(crate) fn template(&self, given: Option<&str>) -> String {
        let own = self.manifest.as_ref().map(|manifest| manifest.template.as_str());
        given.or(own).unwrap_or(TEMPLATE).to_owned()
    }

    /// The encoder of this model.
    pub(crate) fn encoder(&self, template: &str, on_overlong: OnOverlong) -> Result<Encoder<'_>> {
        let description = self.engine.describe();
        Ok(Encoder::new(&self.tokenizer, template, &description, on_overlong)?)
    }
}

/// The tokenizer's files as they stand beside the weights of a trained model.
pub(crate) fn tokenizer_files(tokenizer: &Tokenizer) -> Result<Vec<Companion>> {
    let folder = tempfile::tempdir()?;
    tokenizer.save(folder.path())?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder.path())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push(Companion { name, bytes: std::fs::read(entry.path())? });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
