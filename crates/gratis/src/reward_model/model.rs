//! A model in use: its engine, its tokenizer and what `gratis.json` says, found together.
//!
//! This is the one module that knows which engines there are; everything else is handed a trait
//! object of `gratis_engine`.

use std::path::Path;

use gratis_cpu::{Initialisation, NativeEngine, NativeOptions, WeightStorage};
use gratis_engine::{Generate, Score, TrainValues};
use gratis_model::destination::is_same_file;
use gratis_model::gguf::GgufFile;
use gratis_model::{Layout, LoraSettings, ModelConfig, Tokenizer, ValueHead, WeightType, atomic};
use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::formats::{Definition, Loaded, Recognised, Reward, recognise};
use super::place::{Hub, Place, PlaceKind};
use super::remote;
use crate::data::{Fingerprint, ModelFormat, Precision};
use crate::encoding::{Encoder, OnOverlong};
use crate::error::{Error, Result};
use crate::manifest::{self, Kind, Manifest, ReferenceModel};
use crate::observer::Observer;
use crate::training::{Learner, OptimizationSettings, Purpose, Trained};

/// From this size in memory on, weights to score with stay in their files.
const MAPPED_FROM: usize = 1 << 30;

/// Files beside the tokenizer that go where a model goes.
const CARRIED_FILES: &[&str] = &[
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
];

/// How weights are held in memory; results have the same bits. The quantised weights of a GGUF file
/// always stay as they are stored, mapped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// Mapped if they would take 1 GiB or more, else loaded.
    Auto,
    /// In memory as f32, four bytes per parameter; fastest. Quantised GGUF files stay mapped.
    #[default]
    Loaded,
    /// In their memory-mapped files, converted tile by tile; uses less memory, slower per token.
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

/// How a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// Threads that compute; results depend on it in the last bits.
    pub n_threads: usize,
    /// How the weights are held.
    pub weights: Weights,
    /// How products are rounded.
    pub precision: Precision,
}

impl Default for LoadOptions {
    /// One thread, weights in memory, nothing rounded.
    fn default() -> Self {
        Self { n_threads: 1, weights: Weights::Loaded, precision: Precision::F32 }
    }
}

/// A loaded model.
#[derive(Debug)]
pub struct Model {
    pub(super) place: Place,
    pub(super) engine: Engine,
    tokenizer: Tokenizer,
    manifest: Option<Manifest>,
    published: Option<Published>,
}

/// What a model of a published format has beside its body.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) definition: &'static Definition,
    /// What becomes of the channels of its head; `None` where it is scored as a language model.
    pub(super) reward: Option<Reward>,
    /// Padding, as the configuration names it.
    pub(super) pad: Option<u32>,
    /// Whether it was recognised by its name alone.
    pub(super) by_name: bool,
}

/// Which models may be loaded.
enum Wanted {
    /// Language models, and reward models with a `gratis.json`.
    Own,
    /// Published reward models too: of this format, or of the one that is recognised.
    Published(Option<ModelFormat>),
}

impl Model {
    /// How its own engine rounds; f32 of an engine that runs elsewhere, which decides itself.
    pub fn precision(&self) -> Precision {
        match &self.engine {
            Engine::Native(engine) if engine.precision() == gratis_cpu::Precision::Bf16 => {
                Precision::Bf16
            }
            Engine::Native(_) | Engine::Remote(_) => Precision::F32,
        }
    }

    /// Loads a model: a folder or the folder of a run, an adapter, a GGUF file, a name on a hub, or an
    /// engine that runs elsewhere. What exists on this machine wins over a name on a hub; of a run's
    /// folder the last model is taken (`RUN/model`; `RUN/best` names the best).
    ///
    /// # Errors
    /// [`Error::Load`] with the reason.
    pub fn load(
        path: &Path,
        options: LoadOptions,
        hub: &dyn Hub,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        Self::load_beside(path, options, None, hub, observer)
    }

    /// Loads a model that shares its weights with `known`, if both have the same base.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_beside(
        path: &Path,
        options: LoadOptions,
        known: Option<&Self>,
        hub: &dyn Hub,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        Self::load_wanted(path, options, known, &Wanted::Own, hub, observer)
    }

    /// Loads a reward model: one with a `gratis.json`, a language model, or a published one of the
    /// format `asked`, or of the one that it is recognised by.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_reward_model(
        path: &Path,
        options: LoadOptions,
        asked: Option<ModelFormat>,
        hub: &dyn Hub,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let wanted = Wanted::Published(asked);
        let model = Self::load_wanted(path, options, None, &wanted, hub, observer)?;
        if let Some(Published { definition, by_name: true, .. }) = &model.published {
            let format = definition.format;
            observer.note(&format!(
                "scored as a reward model of the kind `{format}`, by its name; `--kind` names another"
            ));
        }
        Ok(model)
    }

    fn load_wanted(
        path: &Path,
        options: LoadOptions,
        known: Option<&Self>,
        wanted: &Wanted,
        hub: &dyn Hub,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let mut load = || -> Result<Self> {
            let place = Place::find(path, hub)?;
            if let PlaceKind::Engine(settings) = &place.kind {
                if !options.precision.is_f32() {
                    return Err(Error::Mismatch {
                        what: format!("`{}` computes elsewhere", place.display_name()),
                        hint: "leave out `--precision`: the server decides on its own",
                    });
                }
                let tokenizer = place.tokenizer()?;
                let recognised = match wanted {
                    Wanted::Own => None,
                    Wanted::Published(asked) => remote::recognise_at(&place, *asked)?,
                };
                let own = recognised.as_ref();
                let engine = remote::connect(&place, settings, own, &tokenizer, hub, observer)?;
                tokenizer.check_fits(&engine.config)?;
                let published = own.map(|own| remote::published(own, &engine)).transpose()?;
                let manifest = Manifest::read(&place.path)?;
                let engine = Engine::Remote(Box::new(engine));
                return Ok(Self { place, engine, tokenizer, manifest, published });
            }
            let recognised = match wanted {
                Wanted::Own => None,
                Wanted::Published(asked) => recognise(&place, *asked)?,
            };
            let base = &place.base().path;
            let head = recognised.as_ref().map(|recognised| recognised.head_of_tensors(base));
            let head = head.transpose()?.flatten();
            let engine = match known.filter(|known| known.place.has_base_of(&place)) {
                Some(known) => known.engine.native("sharing weights")?.base()?,
                None => load_base(place.base(), recognised.as_ref(), options)?,
            };
            let mut engine = adapted(engine, &place)?;
            let tokenizer = place.tokenizer()?;
            tokenizer.check_fits(engine.config())?;
            if let Some(recognised) = recognised {
                let published;
                (engine, published) = with_head(engine, &recognised, head, &tokenizer)?;
                let (manifest, published) = (None, Some(published));
                let engine = Engine::Native(Box::new(engine));
                return Ok(Self { place, engine, tokenizer, manifest, published });
            }
            let manifest = match place.kind {
                PlaceKind::Gguf => None,
                PlaceKind::Folder | PlaceKind::Adapter(_) | PlaceKind::Engine(_) => {
                    Manifest::read(&place.path)?
                }
            };
            let engine = Engine::Native(Box::new(engine));
            Ok(Self { place, engine, tokenizer, manifest, published: None })
        };
        let model = load()
            .map_err(|source| Error::Load { path: path.to_owned(), source: Box::new(source) })?;
        let n_parameters = model.engine.describe().n_parameters;
        if let Some(choice) = model.place.choice() {
            observer.note(&choice);
        }
        let Engine::Native(engine) = &model.engine else {
            observer.note(&format!("`{}`: {n_parameters} parameters", model.place.display_name()));
            return Ok(model);
        };
        let mapped = match (engine.is_mapped(), model.is_quantised()?) {
            (false, _) => "",
            (true, false) => ", mapped",
            (true, true) => ", quantised, mapped",
        };
        let path = model.place.path.display();
        let n_threads = options.n_threads;
        observer.note(&format!("`{path}`: {n_parameters} parameters{mapped}, {n_threads} threads"));
        Ok(model)
    }

    /// Writes a model of this shape with fresh parameters and its tokenizer into a folder, and answers
    /// with its number of parameters. A folder that holds this very model already stays as it is.
    ///
    /// # Errors
    /// [`gratis_model::Error::FolderDiffers`] for a folder with another model; [`Io`](crate::data::Error::Io).
    pub fn initialise(
        folder: &Path,
        config: ModelConfig,
        tokenizer: &Tokenizer,
        seed: u64,
        n_threads: usize,
    ) -> Result<(usize, atomic::Published)> {
        use gratis_engine::Train as _;
        let options = NativeOptions { n_threads, ..NativeOptions::default() };
        let engine = NativeEngine::initialise(config, Initialisation::default(), seed, options)?;
        let published = atomic::write_new_folder(folder, |folder| -> Result<()> {
            engine.save_weights(folder)?;
            Ok(tokenizer.save(folder)?)
        })?;
        Ok((engine.describe().n_parameters, published))
    }

    /// Where it is.
    #[doc(hidden)]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The tokenizer beside the weights.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How to score with it, where it is a reward model.
    #[doc(hidden)]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// What it has as a model of a published format, where it is one.
    pub(super) fn published(&self) -> Option<&Published> {
        self.published.as_ref()
    }

    /// The shape of the model.
    pub fn config(&self) -> &ModelConfig {
        self.engine.config()
    }

    /// The model, to score with.
    pub fn score(&self) -> &dyn Score {
        &self.engine
    }

    /// The published format that it is scored by, if it has one with a head.
    pub fn head_format(&self) -> Option<ModelFormat> {
        let published = self.published.as_ref().filter(|published| published.reward.is_some());
        published.map(|published| published.definition.format)
    }

    /// The model, to read its scalar head.
    pub fn values(&self) -> &dyn gratis_engine::Values {
        &self.engine
    }

    /// The model, to sample from.
    pub fn generate(&self) -> &dyn Generate {
        &self.engine
    }

    /// The model, to sample from and to score with.
    pub fn sampler(&self) -> &(impl Score + Generate) {
        &self.engine
    }

    /// The model, to train: by the values of its scalar head where it has one, otherwise by its
    /// log-probabilities.
    #[doc(hidden)]
    pub fn learner(&mut self) -> Learner<'_> {
        let has_head = match &self.engine {
            Engine::Native(engine) => engine.value_head().is_some(),
            Engine::Remote(_) => false,
        };
        if has_head {
            Learner::Values(&mut self.engine as &mut dyn TrainValues)
        } else {
            Learner::LogProbs(&mut self.engine)
        }
    }

    /// SHA-256 of the weights; of an engine that runs elsewhere, that of what names its model.
    ///
    /// # Errors
    /// A fault of the files.
    pub fn hash(&self) -> Result<String> {
        if let Some(settings) = self.place.engine_settings() {
            return Ok(settings.identity()?);
        }
        manifest::hash_files(&self.place.weight_paths()?)
    }

    /// Adds what names this model to a fingerprint: the hashes of its weights and of the small files
    /// beside them. `role` is what it is called in messages.
    ///
    /// # Errors
    /// A fault of the files.
    #[doc(hidden)]
    pub fn add_to(&self, fingerprint: Fingerprint, role: &str) -> Result<Fingerprint> {
        let fingerprint = fingerprint.with(&format!("weights of the {role}"), self.hash()?);
        add_files(fingerprint, role, &self.place)
    }

    /// The encoder of this model.
    ///
    /// # Errors
    /// Those of the template.
    pub fn encoder(&self, template: &str, on_overlong: OnOverlong) -> Result<Encoder<'_>> {
        Encoder::new(&self.tokenizer, template, self.engine.describe(), on_overlong)
    }

    /// Tokens at which a sample ends: those of `generation_config.json` or else of `config.json`,
    /// and the one that ended the texts of training.
    ///
    /// # Errors
    /// A fault of the file.
    pub fn stop_tokens(&self) -> Result<Vec<u32>> {
        let mut tokens = self.place.base().stop_tokens(self.engine.config())?;
        tokens.extend(self.tokenizer.eos());
        tokens.sort_unstable();
        tokens.dedup();
        Ok(tokens)
    }

    /// Whether its weights are those of a quantised GGUF file.
    ///
    /// # Errors
    /// A fault of the file.
    fn is_quantised(&self) -> Result<bool> {
        let base = self.place.base();
        Ok(base.kind == PlaceKind::Gguf && GgufFile::open(&base.path)?.is_quantised())
    }

    /// Refuses a model that cannot be trained: one with quantised weights, unless what is trained
    /// is an adapter to them.
    ///
    /// # Errors
    /// [`Error::Mismatch`]; a fault of the file.
    pub fn check_trainable(&self) -> Result<()> {
        if self.has_adapter() || !self.is_quantised()? {
            return Ok(());
        }
        Err(Error::Mismatch {
            what: format!(
                "`{}` has quantised weights, which can only be trained through an adapter",
                self.place.path.display()
            ),
            hint: "add `--lora-rank`, or write the weights as floats first: `gratis merge FILE -o \
                   FOLDER`",
        })
    }

    /// Whether what is trained is an adapter.
    pub fn has_adapter(&self) -> bool {
        match &self.engine {
            Engine::Native(engine) => engine.adapter().is_some(),
            Engine::Remote(_) => self.adapter_elsewhere().is_some(),
        }
    }

    /// Number of parameters that training changes.
    pub fn n_trained_parameters(&self) -> usize {
        match &self.engine {
            Engine::Native(engine) => engine.trained_parameters().len(),
            Engine::Remote(remote) => {
                self.adapter_elsewhere().map_or(0, |settings| settings.n_parameters(&remote.layout))
            }
        }
    }

    /// Sets the default learning rate for training this model where none was given, and reports the
    /// rate with its source.
    #[doc(hidden)]
    pub fn set_learning_rate(
        &self,
        settings: &mut OptimizationSettings,
        purpose: Purpose,
        observer: &mut dyn Observer,
    ) {
        let trained = Trained {
            purpose,
            n_parameters: self.engine.layout().n_parameters(),
            n_adapter_parameters: self.has_adapter().then(|| self.n_trained_parameters()),
        };
        settings.resolve(&trained, observer);
    }

    /// The same model with a fresh low-rank adapter, which alone will be trained.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it has an adapter already; settings that make no adapter.
    pub fn with_adapter(self, settings: LoraSettings, seed: u64) -> Result<Self> {
        if self.has_adapter() {
            return Err(Error::Mismatch {
                what: format!("`{}` is an adapter already", self.place.path.display()),
                hint: "leave out `--lora-rank` to go on training it, or merge it first \
                       (`gratis merge`)",
            });
        }
        let name = self.place.name.clone();
        let engine = self.engine.into_native("training")?.with_adapter(settings, name, seed)?;
        Ok(Self { engine: Engine::Native(Box::new(engine)), ..self })
    }

    /// The same model with a scalar head: a fresh one, unless it has such a head already. The head
    /// learns at `learning_rate_factor` times the learning rate of the other parameters.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it has an adapter.
    pub fn with_head(mut self, head: ValueHead, learning_rate_factor: f64) -> Result<Self> {
        if self.has_adapter() {
            return Err(Error::Mismatch {
                what: "a scalar head cannot be trained with an adapter".to_owned(),
                hint: "leave out `--lora-rank`, or merge the adapter first (`gratis merge`)",
            });
        }
        self.check_trainable()?;
        let mut engine = self.engine.into_native("training a scalar head")?;
        if engine.value_head() != Some(head) {
            engine = engine.with_value_head(head);
        }
        engine.set_head_learning_rate_factor(learning_rate_factor);
        self.engine = Engine::Native(Box::new(engine));
        Ok(self)
    }

    /// Writes the model that an adapter and its base make together, with everything that stands
    /// beside the adapter, or the model of a GGUF file, as a folder, and answers with its number of
    /// parameters. A folder that holds this very model already stays as it is.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a folder without an adapter or the adapter's own folder;
    /// [`gratis_model::Error::FolderDiffers`] for a folder with another model; [`Io`](crate::data::Error::Io).
    pub fn write_merged(
        &self,
        folder: &Path,
        weights: WeightType,
    ) -> Result<(usize, atomic::Published)> {
        if is_same_file(folder, &self.place.path) {
            return Err(Error::Mismatch {
                what: format!("`{}` is the adapter's own folder", folder.display()),
                hint: "name another folder: the model would be written over the adapter",
            });
        }
        if self.place.kind == PlaceKind::Folder {
            return Err(Error::Mismatch {
                what: format!("`{}` is a model without an adapter", self.place.path.display()),
                hint: "an adapter's folder has an `adapter_config.json`; a GGUF file needs none",
            });
        }
        let merged = self.engine.native("merging")?.merged()?;
        // The reference as it is found from the new folder.
        let manifest = self.manifest.clone().map(|manifest| {
            let moved = |reference: ReferenceModel| reference.moved(&self.place.path, folder);
            Manifest { reference: manifest.reference.map(moved), ..manifest }
        });
        let published = atomic::write_new_folder(folder, |folder| -> Result<()> {
            merged.save_weights_as(folder, weights)?;
            self.write_companions(folder)?;
            if let Some(manifest) = &manifest {
                atomic::write(&folder.join(Manifest::FILE_NAME), &manifest.to_bytes())?;
            }
            Ok(())
        })?;
        Ok((merged.layout().n_parameters(), published))
    }

    /// Writes the files that stand beside the weights of what is made from this model: the
    /// tokenizer's, the chat template, the settings of sampling.
    fn write_companions(&self, folder: &Path) -> Result<()> {
        self.tokenizer.save(folder)?;
        for name in CARRIED_FILES {
            let source = self.place.base().path.join(name);
            if source.is_file() {
                std::fs::copy(&source, folder.join(name)).map_err(Error::io("copy", &source))?;
            }
        }
        if let PlaceKind::Gguf = self.place.base().kind
            && let Some(template) = GgufFile::open(&self.place.base().path)?.chat_template()?
        {
            atomic::write(&folder.join("chat_template.jinja"), template.source().as_bytes())?;
        }
        Ok(())
    }

    /// The files that stand beside the weights of what is trained from this model, by name and with
    /// their content, by way of the folder `scratch`.
    ///
    /// # Errors
    /// [`Io`](crate::data::Error::Io).
    pub fn companions(&self, scratch: &Path) -> Result<Vec<(String, Vec<u8>)>> {
        let folder = &scratch.join("companions");
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        self.write_companions(folder)?;
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(Error::io("read", folder))? {
            let entry = entry.map_err(Error::io("read", folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let bytes = std::fs::read(entry.path()).map_err(Error::io("read", entry.path()))?;
            files.push((name, bytes));
        }
        files.sort();
        Ok(files)
    }
}

/// Adds the hashes of the small files at a place, and at the one that it adapts.
fn add_files(mut fingerprint: Fingerprint, role: &str, place: &Place) -> Result<Fingerprint> {
    let names = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "adapter_config.json",
        Manifest::FILE_NAME,
    ];
    for name in names.iter().chain(CARRIED_FILES) {
        let path = place.path.join(name);
        if path.is_file() {
            let hash = manifest::hash_file(&path)?;
            fingerprint = fingerprint.with(&format!("`{name}` of the {role}"), hash);
        }
    }
    match &place.kind {
        PlaceKind::Adapter(base) => add_files(fingerprint, &format!("base of the {role}"), base),
        PlaceKind::Folder | PlaceKind::Gguf | PlaceKind::Engine(_) => Ok(fingerprint),
    }
}

fn load_base(
    place: &Place,
    recognised: Option<&Recognised>,
    options: LoadOptions,
) -> Result<NativeEngine> {
    let LoadOptions { n_threads, weights, precision } = options;
    let precision = match precision {
        Precision::F32 => gratis_cpu::Precision::F32,
        Precision::Bf16 => gratis_cpu::Precision::Bf16,
    };
    let options = NativeOptions { n_threads, precision, ..NativeOptions::default() };
    if let Some(recognised) = recognised
        && let Some(config) = recognised.body()?
    {
        let options = NativeOptions { weights: weights.storage(&config), ..options };
        let beside = recognised.beside();
        return Ok(NativeEngine::load_body(&place.path, config, &beside, options)?);
    }
    if let PlaceKind::Gguf = place.kind {
        let file = GgufFile::open(&place.path)?;
        let options = NativeOptions { weights: weights.storage(&file.config()?), ..options };
        return Ok(NativeEngine::load_gguf(&file, options)?);
    }
    let kind = Manifest::read(&place.path)?.map(|manifest| manifest.kind);
    if let (Some(Kind::Head { head, .. }), None) = (kind, recognised) {
        return Ok(NativeEngine::load_with_value_head(&place.path, head, options)?);
    }
    let config = ModelConfig::read(&place.path.join("config.json"))?;
    let options = NativeOptions { weights: weights.storage(&config), ..options };
    Ok(NativeEngine::load(&place.path, options)?)
}

/// The engine with the head of a published format: the one that was read from its files, or one of
/// the language model's own rows.
fn with_head(
    engine: NativeEngine,
    recognised: &Recognised,
    head: Option<Loaded>,
    tokenizer: &Tokenizer,
) -> Result<(NativeEngine, Published)> {
    let hidden_size = engine.config().hidden_size;
    let head_rows = |tokens: &[u32]| Ok(engine.head_rows(tokens)?);
    let head = match head {
        Some(head) => Some(head),
        None => recognised.head_of_labels(hidden_size, tokenizer, head_rows)?,
    };
    let (engine, reward) = match head {
        Some(head) => (engine.with_readout(head.readout)?, Some(head.reward)),
        None => (engine, None),
    };
    let Recognised { definition, by_name, .. } = recognised;
    let (by_name, pad) = (*by_name, recognised.pad());
    Ok((engine, Published { definition, reward, pad, by_name }))
}

/// The engine of a base with the adapter of `place`, if there is one.
fn adapted(engine: NativeEngine, place: &Place) -> Result<NativeEngine> {
    match &place.kind {
        PlaceKind::Folder | PlaceKind::Gguf | PlaceKind::Engine(_) => Ok(engine),
        PlaceKind::Adapter(base) if matches!(base.kind, PlaceKind::Adapter(_)) => {
            Err(Error::Mismatch {
                what: format!("`{}` is an adapter to an adapter", place.path.display()),
                hint: "merge the lower one first (`gratis merge`)",
            })
        }
        PlaceKind::Adapter(_) => Ok(engine.with_adapter_of(&place.path)?),
    }
}
