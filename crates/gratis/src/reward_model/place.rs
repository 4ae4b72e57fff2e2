//! Where a model is: a folder, the folder of a run, an adapter and its base, a GGUF file, a name on a
//! hub, or an engine that runs elsewhere.

use std::path::{Path, PathBuf};

use gratis_model::chat_template::ChatTemplates;
use gratis_model::checkpoint;
use gratis_model::config::generation;
use gratis_model::gguf::GgufFile;
use gratis_model::hub::HubName;
use gratis_model::links;
use gratis_model::lora::peft::{self, AdapterConfig};
use gratis_model::web::Proxies;
use gratis_model::{BaseName, ModelConfig, Tokenizer};
use gratis_remote::EngineSettings;

use crate::error::{Error, Result};

/// Adapters that may stand on top of each other before they are taken for endless.
const MAX_ADAPTERS: usize = 8;

/// Finds models by their names on a hub.
///
/// The library reads no environment, so whoever calls it knows the cache, the endpoint and the token.
pub trait Hub {
    /// The folder of a model in the cache, downloaded first if need be.
    ///
    /// # Errors
    /// Those of the hub and of the cache.
    fn fetch(&self, name: &HubName) -> Result<PathBuf>;

    /// An environment variable, for the key of an engine that runs elsewhere.
    fn variable(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// The proxies on the way to an engine that runs elsewhere.
    fn proxies(&self) -> Proxies {
        Proxies::default()
    }
}

/// No hub: only what is on this machine is found.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHub;

impl Hub for NoHub {
    fn fetch(&self, name: &HubName) -> Result<PathBuf> {
        Err(gratis_model::Error::HubName { name: name.to_string() }.into())
    }
}

/// What stands at a place.
#[derive(Debug, Clone, PartialEq)]
pub enum PlaceKind {
    /// A Hugging Face folder.
    Folder,
    /// A folder with an adapter, and the model that it adapts.
    Adapter(Box<Place>),
    /// A single GGUF file.
    Gguf,
    /// An engine that runs elsewhere; the folder has its configuration and its tokenizer.
    Engine(Box<EngineSettings>),
}

/// A model that was found and not yet read.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The folder or the file.
    pub path: PathBuf,
    /// By which it is found again: an absolute path, or a name on a hub.
    pub name: BaseName,
    /// What it is.
    pub kind: PlaceKind,
    /// The best model of the run whose last model this is, if the run has one.
    pub best: Option<PathBuf>,
}

impl Place {
    /// Finds a model. What exists on this machine wins over a name on a hub; of a run's folder the
    /// last model is taken (`RUN/model`; `RUN/best` names the best).
    ///
    /// # Errors
    /// Those of the hub, and of the configuration of an adapter.
    pub fn find(given: &Path, hub: &dyn Hub) -> Result<Self> {
        if EngineSettings::is_named_by(given) {
            return Self::engine(given);
        }
        let text = given.to_string_lossy();
        if !given.exists()
            && let Ok(name) = text.parse::<HubName>()
        {
            let parent = given.parent().filter(|parent| parent.is_dir());
            if let (Some(parent), None) = (parent, name.revision()) {
                let parent = parent.display();
                let hint = format!(
                    "the folder `{parent}` has nothing of that name; for a model on a hub write \
                     `{name}@main`"
                );
                let path = given.to_owned();
                return Err(gratis_model::Error::MissingFile { path, hint }.into());
            }
            return Self::on_hub(&name, hub, &[]).map_err(|source| Error::OnHub {
                name: text.into_owned(),
                source: Box::new(source),
            });
        }
        Self::here(given, hub, &[])
    }

    /// An engine that runs elsewhere.
    fn engine(given: &Path) -> Result<Self> {
        let settings = EngineSettings::read(given)?;
        let text = given.to_string_lossy();
        let name = if gratis_remote::is_address(&text) {
            text.into_owned()
        } else {
            std::path::absolute(given).unwrap_or_else(|_| given.to_owned()).display().to_string()
        };
        let Some(tokenizer) = settings.tokenizer.clone() else {
            return Err(Error::Mismatch {
                what: format!("the engine `{name}` has no `tokenizer`"),
                hint: "set it to a folder with `config.json` and `tokenizer.json` of the model that the \
                       server runs: `tokenizer = \"FOLDER\"` in a file, `?tokenizer=FOLDER` in an address",
            });
        };
        let path = Self::folder_of_run(&tokenizer);
        let name = BaseName { name, revision: None };
        Ok(Self { path, name, kind: PlaceKind::Engine(Box::new(settings)), best: None })
    }

    /// The model of a run's folder, or the folder itself.
    fn folder_of_run(given: &Path) -> PathBuf {
        let of_run = given.join("model");
        let is_model = |path: &Path| path.join("tokenizer.json").exists();
        if !is_model(given) && is_model(&of_run) { of_run } else { given.to_owned() }
    }

    /// The settings of an engine that runs elsewhere, if it is one.
    pub fn engine_settings(&self) -> Option<&EngineSettings> {
        match &self.kind {
            PlaceKind::Engine(settings) => Some(settings),
            PlaceKind::Folder | PlaceKind::Adapter(_) | PlaceKind::Gguf => None,
        }
    }

    /// A model on this machine, the base of the adapters in `above`, if there are any.
    fn here(given: &Path, hub: &dyn Hub, above: &[PathBuf]) -> Result<Self> {
        let is_model =
            |path: &Path| path.join("config.json").exists() || AdapterConfig::is_in(path);
        let of_run = given.join("model");
        let (mut path, mut best) = (given.to_owned(), None);
        if !is_model(given) && is_model(&of_run) {
            links::check_within(&of_run, given)?;
            path = of_run;
            best = Some(given.join("best")).filter(|best| is_model(best));
        }
        links::check(&path)?;
        let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        let name = BaseName { name: absolute.display().to_string(), revision: None };
        Ok(Self { kind: kind_of(&path, hub, above)?, path, name, best })
    }

    /// A model on a hub, as for [`Self::here`].
    fn on_hub(name: &HubName, hub: &dyn Hub, above: &[PathBuf]) -> Result<Self> {
        let path = hub.fetch(name)?;
        let revision = name.revision().map(str::to_owned);
        let name = BaseName { name: name.repository().to_owned(), revision };
        Ok(Self { kind: kind_of(&path, hub, above)?, path, name, best: None })
    }

    /// Its name with its revision, as it may be given again.
    pub fn display_name(&self) -> String {
        match &self.name.revision {
            Some(revision) => format!("{}@{revision}", self.name.name),
            None => self.name.name.clone(),
        }
    }

    /// Which of the two models of a run this is, and how to use the other.
    pub fn choice(&self) -> Option<String> {
        let best = self.best.as_ref()?.display();
        let last = self.path.display();
        Some(format!(
            "using `{last}`, the model after the last step; give `{best}` to use the one with the best \
             validation loss"
        ))
    }

    /// The place of the weights that an adapter adapts, or else its own.
    pub fn base(&self) -> &Self {
        match &self.kind {
            PlaceKind::Adapter(base) => base.base(),
            PlaceKind::Folder | PlaceKind::Gguf | PlaceKind::Engine(_) => self,
        }
    }

    /// Whether the weights are those of another place.
    pub fn has_base_of(&self, other: &Self) -> bool {
        if self.engine_settings().or(other.engine_settings()).is_some() {
            return false;
        }
        let canonical = |place: &Self| place.base().path.canonicalize().ok();
        canonical(self).is_some_and(|path| Some(path) == canonical(other))
    }

    /// The tokenizer beside the weights; an adapter may have its base's.
    ///
    /// # Errors
    /// A fault of its files.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let own = &self.path;
        Ok(match &self.kind {
            PlaceKind::Gguf => GgufFile::open(own)?.tokenizer()?,
            PlaceKind::Adapter(base) if !own.join("tokenizer.json").exists() => base.tokenizer()?,
            PlaceKind::Adapter(_) | PlaceKind::Folder | PlaceKind::Engine(_) => {
                Tokenizer::load(own)?
            }
        })
    }

    /// The chat templates beside the weights; an adapter may have its base's.
    ///
    /// # Errors
    /// A fault of a template's file.
    pub fn chat_templates(&self) -> Result<Option<ChatTemplates>> {
        Ok(match &self.kind {
            PlaceKind::Gguf => GgufFile::open(&self.path)?.chat_templates(),
            PlaceKind::Folder | PlaceKind::Engine(_) => ChatTemplates::from_folder(&self.path)?,
            PlaceKind::Adapter(base) => match ChatTemplates::from_folder(&self.path)? {
                Some(own) => Some(own),
                None => base.chat_templates()?,
            },
        })
    }

    /// The stop tokens of `generation_config.json`, or else those of the configuration.
    ///
    /// # Errors
    /// A fault of the file.
    pub fn stop_tokens(&self, config: &ModelConfig) -> Result<Vec<u32>> {
        let own = if self.path.is_dir() { generation::stop_tokens(&self.path)? } else { None };
        Ok(own.unwrap_or_else(|| config.eos_tokens.clone()))
    }

    /// All files of its weights.
    ///
    /// # Errors
    /// A fault of the files.
    pub fn weight_paths(&self) -> Result<Vec<PathBuf>> {
        Ok(match &self.kind {
            PlaceKind::Gguf => vec![self.path.clone()],
            PlaceKind::Engine(_) => Vec::new(),
            PlaceKind::Folder => checkpoint::weight_files(&self.path)?.paths,
            PlaceKind::Adapter(base) => {
                let mut paths = base.weight_paths()?;
                paths.push(self.path.join(peft::WEIGHTS_FILE));
                paths
            }
        })
    }
}

/// What is at a path. `above` are the adapters whose base it is, the topmost first.
fn kind_of(path: &Path, hub: &dyn Hub, above: &[PathBuf]) -> Result<PlaceKind> {
    if path.extension().is_some_and(|extension| extension == "gguf") {
        return Ok(PlaceKind::Gguf);
    }
    if !AdapterConfig::is_in(path) {
        return Ok(PlaceKind::Folder);
    }
    let mut above = above.to_vec();
    above.push(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    check_chain(&above)?;
    let BaseName { name, revision } = AdapterConfig::read(path)?.base;
    let base = || {
        let given = Path::new(&name);
        if given.exists() {
            return Place::here(given, hub, &above);
        }
        if let Some(revision) = revision.as_deref().filter(|text| !HubName::is_revision(text)) {
            return Err(Error::from(gratis_model::Error::InvalidConfig {
                path: path.join(peft::CONFIG_FILE),
                field: "revision".to_owned(),
                expected: "a branch, a tag or a commit".to_owned(),
                got: format!("{revision:?}"),
            }));
        }
        match HubName::new(&name, revision.as_deref()) {
            Ok(name) => Place::on_hub(&name, hub, &above),
            Err(_) => Place::here(given, hub, &above),
        }
    };
    let base = base().map_err(|source| Error::AdapterBase {
        path: path.to_owned(),
        base: name.clone(),
        source: Box::new(source),
    })?;
    Ok(PlaceKind::Adapter(Box::new(base)))
}

/// Refuses adapters whose bases lead back to one of them, or never end.
fn check_chain(adapters: &[PathBuf]) -> Result<()> {
    let Some((last, above)) = adapters.split_last() else { return Ok(()) };
    let chain = || {
        let names: Vec<String> =
            adapters.iter().map(|path| format!("`{}`", path.display())).collect();
        names.join(" -> ")
    };
    let what = if above.contains(last) {
        format!("an adapter is its own base: {}", chain())
    } else if above.len() >= MAX_ADAPTERS {
        format!("more than {MAX_ADAPTERS} adapters on top of each other: {}", chain())
    } else {
        return Ok(());
    };
    let hint = "`base_model_name_or_path` in `adapter_config.json` must name the model that the \
                adapter was trained on";
    Err(Error::Mismatch { what, hint })
}
