//! The laboratory: the cast of the tiny world and every reward model of the paper's experiments,
//! each made once and found again.
//!
//! Experiments ask the [`Lab`] for what they need, by recipe; whatever another experiment, or an
//! earlier run, has made from the same settings is taken from the [`Store`].

mod baseline;
mod inference;
mod judgement;
mod prepared;
mod recipe;
mod second_stage;
mod settings;
mod step_labels;
pub mod store;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gratis_cpu::{NativeEngine, NativeOptions};
use gratis_model::Tokenizer;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::experiment::baselines::Trunk;
use crate::experiment::workshop::{self, DrawSettings, LearningSettings, Training, Workshop};
use crate::world::{Author, Split, Strength, pool};
use gratis::data::Rollout;
use gratis::encoding::Encoder;
use gratis::error::{Error, Result};
use gratis::observer::Observer;

pub use inference::InferenceTimes;
pub use judgement::{Choices, Controls, Judgement, ScoreCandidates, SelectorAccuracies};
pub use prepared::Prepared;
pub use recipe::{Factor, InferenceReference, Recipe, TrainingReference};
pub use settings::{LabSettings, Scale};
pub use step_labels::{LabelQuality, LabelRecord};
pub use store::Store;

/// File that an artefact's record stands in.
const RECORD: &str = "record.json";
/// Rollouts of an artefact of samples.
const ROLLOUTS: &str = "rollouts.jsonl";

/// What making a model took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// The course of its training.
    pub training: Training,
    /// Processor time, where somebody measured it.
    pub cpu_seconds: Option<f64>,
    /// Responses, or pairs, it could learn from.
    pub n_units: usize,
}

/// What sampling took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// Tokens of prompts, each counted once, and of all samples.
    pub n_tokens: u64,
    /// Processor time, where somebody measured it.
    pub cpu_seconds: Option<f64>,
}

/// Where everything is made.
pub struct Lab<'a> {
    /// How large everything is.
    pub settings: LabSettings,
    store: Store,
    tokenizer: Tokenizer,
    observer: &'a mut dyn Observer,
    loaded: HashMap<PathBuf, Rc<Vec<Rollout>>>,
    prepared: prepared::PreparedSamples,
}

impl<'a> Lab<'a> {
    /// A laboratory with its store in `folder`.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn new(
        settings: LabSettings,
        folder: &Path,
        observer: &'a mut dyn Observer,
    ) -> Result<Self> {
        Ok(Self {
            settings,
            store: Store::new(folder),
            tokenizer: workshop::tokenizer()?,
            observer,
            loaded: HashMap::new(),
            prepared: HashMap::new(),
        })
    }

    /// The store.
    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Whoever looks on.
    pub fn observer(&mut self) -> &mut dyn Observer {
        self.observer
    }

    /// The tokenizer of all models.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How an engine is to use the machine.
    pub fn options(&self) -> NativeOptions {
        NativeOptions { n_threads: self.settings.n_threads, ..NativeOptions::default() }
    }

    /// The model of an artefact.
    ///
    /// # Errors
    /// Those of the checkpoint.
    pub fn load(&self, model: &Path) -> Result<NativeEngine> {
        Ok(NativeEngine::load(model, self.options())?)
    }

    /// The base model of a seed.
    ///
    /// # Errors
    /// Those of training.
    pub fn base(&mut self, seed: u64) -> Result<PathBuf> {
        self.base_of(seed, Trunk::default())
    }

    /// A base model of another size.
    ///
    /// # Errors
    /// [`Error::TargetNotReached`] if it does not learn in time; those of training.
    pub fn base_of(&mut self, seed: u64, trunk: Trunk) -> Result<PathBuf> {
        let settings = self.settings.base;
        let (tokenizer, options) = (&self.tokenizer, self.options());
        let shape = workshop::shape(tokenizer, trunk);
        let observer = &mut *self.observer;
        let mut key = json!({ "seed": seed, "settings": settings });
        if trunk != Trunk::default() {
            key["trunk"] = json!(trunk);
        }
        self.store.folder("base", &key, |draft| {
            let mut engine =
                NativeEngine::initialise(shape, workshop::INITIALISATION, seed, options)?;
            let workshop = Workshop { tokenizer, seed };
            let before = observer.processor_seconds();
            let (training, _) = workshop.train_base(&mut engine, &settings, observer)?;
            let record = record(training, 0, before, observer);
            workshop.publish(&engine, draft)?;
            store::write_json(&draft.join(RECORD), &record)
        })
    }

    /// A generator of a seed.
    ///
    /// # Errors
    /// Those of training.
    pub fn generator(&mut self, seed: u64, strength: Strength) -> Result<PathBuf> {
        let base = self.base(seed)?;
        let settings = self.settings.generators;
        let (tokenizer, options) = (&self.tokenizer, self.options());
        let observer = &mut *self.observer;
        let key = json!({ "base": store::name(&base), "strength": strength, "seed": seed,
                          "settings": settings });
        self.store.folder("generator", &key, |draft| {
            let mut engine = NativeEngine::load(&base, options)?;
            let workshop = Workshop { tokenizer, seed };
            let author = Author::new(strength, seed);
            let before = observer.processor_seconds();
            let training =
                workshop.train_generator(&mut engine, strength, &author, &settings, observer)?;
            let record = record(training, 0, before, observer);
            workshop.publish(&engine, draft)?;
            store::write_json(&draft.join(RECORD), &record)
        })
    }

    /// Graded samples of a model on problems of a split, as an artefact.
    ///
    /// # Errors
    /// Those of sampling.
    pub fn samples(
        &mut self,
        seed: u64,
        model: &Path,
        split: Split,
        settings: DrawSettings,
    ) -> Result<PathBuf> {
        let (tokenizer, options) = (&self.tokenizer, self.options());
        let observer = &mut *self.observer;
        let key = json!({ "model": store::name(model), "split": split, "settings": settings,
                          "seed": seed });
        self.store.folder("samples", &key, |draft| {
            observer.stage("samples", Some(settings.n_problems as u64));
            let mut engine = NativeEngine::load(model, options)?;
            let before = observer.processor_seconds();
            let (rollouts, _) =
                workshop::draw(&mut engine, tokenizer, split, &settings, seed, observer)?;
            let encoder = workshop::encoder(tokenizer, &engine)?;
            let record = SampleRecord {
                n_tokens: sampled_tokens(&rollouts, &encoder)?,
                cpu_seconds: since(before, observer),
            };
            workshop::write_rollouts(&draft.join(ROLLOUTS), &rollouts)?;
            store::write_json(&draft.join(RECORD), &record)
        })
    }

    /// The rollouts of an artefact of samples, held in memory once read.
    ///
    /// # Errors
    /// Those of reading.
    pub fn rollouts(&mut self, samples: &Path) -> Result<Rc<Vec<Rollout>>> {
        if let Some(rollouts) = self.loaded.get(samples) {
            return Ok(Rc::clone(rollouts));
        }
        // Line by line without the reader's checks: a policy that was trained out of shape may say
        // nothing at all, and is to be judged by that.
        let path = samples.join(ROLLOUTS);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let malformed = |error| Error::io("read", &path)(std::io::Error::other(error));
        let parse = |line: &str| serde_json::from_str::<Rollout>(line).map_err(malformed);
        let rollouts = Rc::new(text.lines().map(parse).collect::<Result<Vec<_>>>()?);
        self.loaded.insert(samples.to_owned(), Rc::clone(&rollouts));
        Ok(rollouts)
    }

    /// The samples that reward models of a seed learn from.
    ///
    /// # Errors
    /// Those of sampling.
    pub fn train_samples(&mut self, seed: u64) -> Result<PathBuf> {
        let medium = self.generator(seed, Strength::Medium)?;
        self.samples(seed, &medium, Split::Train, self.settings.train)
    }

    /// Graded responses to problems of another kind, half as many as there are to train on.
    ///
    /// # Errors
    /// Those of writing.
    pub fn other_samples(&mut self, seed: u64) -> Result<PathBuf> {
        let DrawSettings { n_problems, n_samples, .. } = self.settings.train;
        let n_problems = n_problems / 2;
        let key = json!({ "seed": seed, "n_problems": n_problems, "n_samples": n_samples });
        self.store.folder("other", &key, |draft| {
            let rollouts = pool::rollouts(n_problems, n_samples, seed);
            workshop::write_rollouts(&draft.join(ROLLOUTS), &rollouts)
        })
    }

    /// The candidates of each generator on a split, weakest first.
    ///
    /// # Errors
    /// Those of sampling.
    pub fn candidates(&mut self, seed: u64, split: Split) -> Result<Vec<PathBuf>> {
        let settings = match split {
            Split::Validation => self.settings.validation,
            _ => self.settings.test,
        };
        let mut all = Vec::new();
        for strength in Strength::ALL {
            let generator = self.generator(seed, strength)?;
            all.push(self.samples(seed, &generator, split, settings)?);
        }
        Ok(all)
    }

    /// The settings of a reward model's training at a learning rate.
    fn learning(&self, recipe: &Recipe) -> LearningSettings {
        let Recipe { learning_rate, n_epochs, .. } = *recipe;
        let settings = LearningSettings { n_epochs, learning_rate, ..self.settings.reward_model };
        if recipe.objective.needs_pairs() { settings.in_pairs() } else { settings }
    }
}

/// Reads the record beside a model.
///
/// # Errors
/// Those of reading.
pub fn model_record(model: &Path) -> Result<ModelRecord> {
    store::read_json(&model.join(RECORD))
}

/// Reads the record beside samples.
///
/// # Errors
/// Those of reading.
pub fn sample_record(samples: &Path) -> Result<SampleRecord> {
    store::read_json(&samples.join(RECORD))
}

fn record(
    training: Training,
    n_units: usize,
    before: Option<f64>,
    observer: &mut dyn Observer,
) -> ModelRecord {
    ModelRecord { training, cpu_seconds: since(before, observer), n_units }
}

/// Processor time since `before`.
fn since(before: Option<f64>, observer: &dyn Observer) -> Option<f64> {
    observer.processor_seconds().zip(before).map(|(now, before)| now - before)
}

/// Tokens that went through a model to sample: each prompt once, each sample in full.
fn sampled_tokens(rollouts: &[Rollout], encoder: &Encoder) -> Result<u64> {
    let mut n_tokens = 0;
    for rollout in rollouts {
        let n_prompt = encoder.prompt(&rollout.prompt)?.len();
        n_tokens += n_prompt;
        for idx in 0..rollout.completions.len() {
            n_tokens += encoder.completion(rollout, idx, n_prompt)?.map_or(0, |c| c.tokens.len());
        }
    }
    Ok(n_tokens as u64)
}
