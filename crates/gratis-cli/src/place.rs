//! Where a model is: a folder, a run's folder, an adapter and its base, a GGUF file, or a name on a
//! hub.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gratis_model::BaseName;
use gratis_model::checkpoint;
use gratis_model::hub::HubName;
use gratis_model::lora::peft::{self, AdapterConfig};

use crate::hub;

/// What stands at a place.
pub(crate) enum Kind {
    /// A Hugging Face folder.
    Folder,
    /// A folder with an adapter, and the model that it adapts.
    Adapter(Box<Place>),
    /// A single file of llama.cpp.
    Gguf,
}

/// A model that was found and not yet read.
pub(crate) struct Place {
    /// The folder or the file.
    pub(crate) path: PathBuf,
    /// By which it is found again: an absolute path, or a name on a hub.
    pub(crate) name: BaseName,
    pub(crate) kind: Kind,
}

impl Place {
    /// Finds a model. What exists here wins over a hub's name.
    pub(crate) fn find(given: &Path) -> Result<Self> {
        let text = given.to_string_lossy();
        if given.exists() {
            return Self::here(given);
        }
        let Ok(name) = text.parse::<HubName>() else { return Self::here(given) };
        let path = hub::fetch(&name)?;
        let name = BaseName { name: name.repository, revision: name.revision };
        Ok(Self { kind: kind_of(&path)?, path, name })
    }

    /// A model on this machine.
    fn here(given: &Path) -> Result<Self> {
        let is_model =
            |path: &Path| path.join("config.json").exists() || AdapterConfig::is_in(path);
        let of_run = given.join("model");
        let path = if !is_model(given) && is_model(&of_run) { of_run } else { given.to_owned() };
        let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        let name = BaseName { name: absolute.display().to_string(), revision: None };
        Ok(Self { kind: kind_of(&path)?, path, name })
    }

    /// Its name with its revision, as it may be given again.
    pub(crate) fn display_name(&self) -> String {
        match &self.name.revision {
            Some(revision) => format!("{}@{revision}", self.name.name),
            None => self.name.name.clone(),
        }
    }

    /// The place of the weights that an adapter adapts, or else its own.
    pub(crate) fn base(&self) -> &Self {
        match &self.kind {
            Kind::Adapter(base) => base.base(),
            Kind::Folder | Kind::Gguf => self,
        }
    }

    /// Whether the weights are those of another place.
    pub(crate) fn has_base_of(&self, other: &Self) -> bool {
        let canonical = |place: &Self| place.base().path.canonicalize().ok();
        canonical(self).is_some_and(|path| Some(path) == canonical(other))
    }

    /// All files of its weights.
    pub(crate) fn weight_paths(&self) -> Result<Vec<PathBuf>> {
        Ok(match &self.kind {
            Kind::Gguf => vec![self.path.clone()],
            Kind::Folder => checkpoint::weight_files(&self.path)?.paths,
            Kind::Adapter(base) => {
                let mut paths = base.weight_paths()?;
                paths.push(self.path.join(peft::WEIGHTS_FILE));
                paths
            }
        })
    }
}

fn kind_of(path: &Path) -> Result<Kind> {
    if path.extension().is_some_and(|extension| extension == "gguf") {
        return Ok(Kind::Gguf);
    }
    if !AdapterConfig::is_in(path) {
        return Ok(Kind::Folder);
    }
    let BaseName { name, revision } = AdapterConfig::read(path)?.base;
    let given = match revision {
        Some(revision) if !Path::new(&name).exists() => format!("{name}@{revision}"),
        _ => name,
    };
    let base = Place::find(Path::new(&given)).with_context(|| {
        format!("cannot find `{given}`, which `{}` is an adapter to", path.display())
    })?;
    Ok(Kind::Adapter(Box::new(base)))
}
