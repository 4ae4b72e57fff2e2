//! The cache of a reproduction: every model, every set of samples and every evaluation that the
//! experiments need is computed once.
//!
//! Experiments get their inputs from the [`Cache`]; results of other experiments, or of earlier
//! runs, with the same settings are found in the [`store`].

mod baseline;
mod candidates;
mod evaluation;
mod reward_model;
mod step_labels;
pub(crate) mod store;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gratis::data::Rollout;
use gratis::encoding::Encoder;
use gratis::observer::Observer;
use gratis_cpu::{NativeEngine, NativeOptions};
use gratis_model::Tokenizer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::rows::Trunk;
use crate::settings::{SampleSettings, Settings};
use crate::trainer::{self, ModelTrainer, Training};
use crate::world::{Split, Strength, SyntheticGenerator, pool};

pub(crate) use candidates::Candidates;
pub(crate) use step_labels::LabelRecord;
use store::{Lookup, Store};

/// File with an artefact's record.
const RECORD: &str = "record.json";
/// Kind of the artefact that records that a base model did not learn.
const FAILED_BASE: &str = "failed-base";
/// File with the rollouts of an artefact of samples.
const ROLLOUTS: &str = "rollouts.jsonl";

/// The cost of training a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModelRecord {
    /// The course of its training.
    pub(crate) training: Training,
    /// Processor time, where the observer measures it.
    pub(crate) cpu_seconds: Option<f64>,
    /// Responses, or pairs, it could learn from.
    pub(crate) n_units: usize,
}

/// The cost of sampling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct SampleRecord {
    /// Tokens of prompts, each counted once, and of all samples.
    pub(crate) n_tokens: u64,
    /// Processor time, where the observer measures it.
    pub(crate) cpu_seconds: Option<f64>,
}

/// Computes the inputs of experiments, or finds them in the store.
pub(crate) struct Cache<'a> {
    /// How large everything is.
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    tokenizer: Tokenizer,
    pub(crate) observer: &'a mut dyn Observer,
    /// Seeds that were left out, because their base models did not learn.
    pub(crate) failed_seeds: Vec<u64>,
    /// The experiment of the current stages: `2 of 11, table1`.
    part: String,
    rollouts: HashMap<PathBuf, Rc<Vec<Rollout>>>,
    candidates: HashMap<PathBuf, Rc<Candidates>>,
}

impl<'a> Cache<'a> {
    /// The cache in `folder`.
    ///
    /// # Errors
    /// Those of the folder and the tokenizer.
    pub(crate) fn new(
        settings: Settings,
        folder: &Path,
        observer: &'a mut dyn Observer,
    ) -> Result<Self> {
        Ok(Self {
            settings,
            store: Store::open(folder)?,
            tokenizer: trainer::tokenizer()?,
            observer,
            failed_seeds: Vec::new(),
            part: String::new(),
            rollouts: HashMap::new(),
            candidates: HashMap::new(),
        })
    }

    /// Sets the experiment of the following stages.
    pub(crate) fn begin_part(&mut self, part: String) {
        self.observer.part(&part);
        self.part = part;
    }

    /// Sets the row of a table and the seed of the following stages.
    pub(crate) fn begin_row(&mut self, row: &str, seed: u64) {
        let seed =
            if self.settings.seeds.len() > 1 { format!(", seed {seed}") } else { String::new() };
        self.observer.part(&format!("{}, {row}{seed}", self.part));
    }

    /// The artefact of this key. One that is damaged is removed, with a note.
    pub(crate) fn find(&mut self, kind: &str, key: &Value) -> Result<Option<PathBuf>> {
        Ok(match self.store.find(kind, key)? {
            Lookup::Found(artefact) => Some(artefact),
            Lookup::Missing => None,
            Lookup::Damaged { artefact, reason } => {
                self.observer
                    .note(&format!("`{artefact}` in the cache: {reason}; making it again"));
                None
            }
        })
    }

    /// The value of this key, if there is one.
    pub(crate) fn find_value<T: DeserializeOwned>(
        &mut self,
        kind: &str,
        key: &Value,
    ) -> Result<Option<T>> {
        match self.find(kind, key)? {
            Some(artefact) => self.store.value(&artefact),
            None => Ok(None),
        }
    }

    /// The tokenizer of all models.
    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Settings of engines on this machine.
    fn options(&self) -> NativeOptions {
        NativeOptions { n_threads: self.settings.n_threads, ..NativeOptions::default() }
    }

    /// The model of an artefact.
    ///
    /// # Errors
    /// Those of the checkpoint.
    pub(crate) fn load(&self, model: &Path) -> Result<NativeEngine> {
        Ok(NativeEngine::load(model, self.options())?)
    }

    /// A base model of a seed.
    ///
    /// # Errors
    /// [`Error::TargetNotReached`] if it does not learn in time; those of training.
    pub(crate) fn base(&mut self, seed: u64, trunk: Trunk) -> Result<PathBuf> {
        let settings = self.settings.base;
        let mut key = json!({ "seed": seed, "settings": settings });
        if trunk != Trunk::default() {
            key["trunk"] = json!(trunk);
        }
        if let Some(base) = self.find("base", &key)? {
            return Ok(base);
        }
        let shape = trainer::shape(&self.tokenizer, trunk);
        let mut engine =
            NativeEngine::initialise(shape, trainer::INITIALISATION, seed, self.options())?;
        let trainer = ModelTrainer { tokenizer: &self.tokenizer, seed };
        let before = self.observer.processor_seconds();
        let trained = trainer.train_base(&mut engine, &settings, self.observer);
        if let Err(Error::TargetNotReached { reached, .. }) = trained {
            // So that another run does not train it again to see the same.
            self.store.make_value(FAILED_BASE, &key, &reached)?;
        }
        let record = model_record(trained?.0, 0, before, self.observer);
        self.store.make("base", &key, |draft| {
            trainer.publish(&engine, draft)?;
            store::write_json(&draft.join(RECORD), &record)
        })
    }

    /// Replaces seeds whose base model does not learn to solve problems by the next ones: nothing of
    /// the paper can be measured in their worlds. The base models know nothing of reward models, so
    /// this chooses nothing by its results.
    ///
    /// # Errors
    /// [`Error::TargetNotReached`] if too many base models do not learn; those of training.
    pub(crate) fn choose_seeds(&mut self) -> Result<()> {
        let (n_seeds, first) =
            (self.settings.seeds.len(), self.settings.seeds.first().copied().unwrap_or_default());
        let mut seeds = Vec::new();
        for seed in first.. {
            if seeds.len() == n_seeds {
                break;
            }
            let settings = self.settings.base;
            let key = json!({ "seed": seed, "settings": settings });
            let known: Option<f64> = self.find_value(FAILED_BASE, &key)?;
            let failed = match known {
                Some(reached) => Some(reached),
                None => match self.base(seed, Trunk::default()) {
                    Ok(_) => None,
                    Err(Error::TargetNotReached { reached, .. })
                        if self.failed_seeds.len() <= n_seeds =>
                    {
                        Some(reached)
                    }
                    Err(error) => return Err(error),
                },
            };
            let Some(reached) = failed else {
                seeds.push(seed);
                continue;
            };
            self.failed_seeds.push(seed);
            self.observer.note(&format!(
                "seed {seed} is left out, the next takes its place: the probability of a correct \
                 solution under its base model is {reached:.3}, below the target of {}",
                settings.target,
            ));
        }
        self.settings.seeds = seeds;
        Ok(())
    }

    /// A generator of a seed.
    ///
    /// # Errors
    /// Those of training.
    pub(crate) fn generator(&mut self, seed: u64, strength: Strength) -> Result<PathBuf> {
        let base = self.base(seed, Trunk::default())?;
        let settings = self.settings.generators;
        let key = json!({ "base": store::name(&base), "strength": strength, "seed": seed,
                          "settings": settings });
        if let Some(generator) = self.find("generator", &key)? {
            return Ok(generator);
        }
        let mut engine = self.load(&base)?;
        let trainer = ModelTrainer { tokenizer: &self.tokenizer, seed };
        let written_by = SyntheticGenerator::new(strength, seed);
        let before = self.observer.processor_seconds();
        let training = trainer.train_generator(
            &mut engine,
            strength,
            &written_by,
            &settings,
            self.observer,
        )?;
        let record = model_record(training, 0, before, self.observer);
        self.store.make("generator", &key, |draft| {
            trainer.publish(&engine, draft)?;
            store::write_json(&draft.join(RECORD), &record)
        })
    }

    /// Graded samples of a model on problems of a split, as an artefact.
    ///
    /// # Errors
    /// Those of sampling.
    pub(crate) fn samples(
        &mut self,
        seed: u64,
        model: &Path,
        split: Split,
        settings: SampleSettings,
    ) -> Result<PathBuf> {
        let key = json!({ "model": store::name(model), "split": split, "settings": settings,
                          "seed": seed });
        if let Some(samples) = self.find("samples", &key)? {
            return Ok(samples);
        }
        let stage = format!("samples, {}", split.name());
        self.observer.stage(&stage, Some(settings.n_problems as u64));
        let mut engine = self.load(model)?;
        let before = self.observer.processor_seconds();
        let (rollouts, _) =
            trainer::sample(&mut engine, &self.tokenizer, split, &settings, seed, self.observer)?;
        let encoder = trainer::encoder(&self.tokenizer, &engine)?;
        let record = SampleRecord {
            n_tokens: sampled_tokens(&rollouts, &encoder)?,
            cpu_seconds: since(before, self.observer),
        };
        self.store.make("samples", &key, |draft| {
            trainer::write_rollouts(&draft.join(ROLLOUTS), &rollouts)?;
            store::write_json(&draft.join(RECORD), &record)
        })
    }

    /// The rollouts of an artefact of samples, held in memory once read.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn rollouts(&mut self, samples: &Path) -> Result<Rc<Vec<Rollout>>> {
        if let Some(rollouts) = self.rollouts.get(samples) {
            return Ok(Rc::clone(rollouts));
        }
        // Line by line without the reader's checks: a policy that does not write well-formed solutions
        // is evaluated as it is.
        let path = samples.join(ROLLOUTS);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let parse = |line: &str| {
            serde_json::from_str::<Rollout>(line)
                .map_err(|source| Error::Json { path: path.clone(), source })
        };
        let rollouts = Rc::new(text.lines().map(parse).collect::<Result<Vec<_>>>()?);
        self.rollouts.insert(samples.to_owned(), Rc::clone(&rollouts));
        Ok(rollouts)
    }

    /// The training samples of the reward models of a seed.
    ///
    /// # Errors
    /// Those of sampling.
    pub(crate) fn train_samples(&mut self, seed: u64) -> Result<PathBuf> {
        let medium = self.generator(seed, Strength::Medium)?;
        self.samples(seed, &medium, Split::Train, self.settings.train)
    }

    /// Graded responses to problems of another kind, half as many as the training problems.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn other_samples(&mut self, seed: u64) -> Result<PathBuf> {
        let SampleSettings { n_problems, n_samples, .. } = self.settings.train;
        let n_problems = n_problems / 2;
        let key = json!({ "seed": seed, "n_problems": n_problems, "n_samples": n_samples });
        if let Some(samples) = self.find("other", &key)? {
            return Ok(samples);
        }
        let rollouts = pool::rollouts(n_problems, n_samples, seed);
        self.store
            .make("other", &key, |draft| trainer::write_rollouts(&draft.join(ROLLOUTS), &rollouts))
    }

    /// The candidates of each generator on a split, weakest first.
    ///
    /// # Errors
    /// Those of sampling.
    pub(crate) fn candidate_samples(&mut self, seed: u64, split: Split) -> Result<Vec<PathBuf>> {
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
}

/// Reads the record beside a model.
///
/// # Errors
/// Those of reading.
pub(crate) fn record_of_model(model: &Path) -> Result<ModelRecord> {
    store::read_json(&model.join(RECORD))
}

/// Reads the record beside samples.
///
/// # Errors
/// Those of reading.
pub(crate) fn record_of_samples(samples: &Path) -> Result<SampleRecord> {
    store::read_json(&samples.join(RECORD))
}

fn model_record(
    training: Training,
    n_units: usize,
    before: Option<f64>,
    observer: &dyn Observer,
) -> ModelRecord {
    ModelRecord { training, cpu_seconds: since(before, observer), n_units }
}

/// Processor time since `before`.
pub(crate) fn since(before: Option<f64>, observer: &dyn Observer) -> Option<f64> {
    observer.processor_seconds().zip(before).map(|(now, before)| now - before)
}

/// Tokens that went through a model to sample: each prompt once, each sample in full.
fn sampled_tokens(rollouts: &[Rollout], encoder: &Encoder) -> Result<u64> {
    let mut n_tokens = 0;
    for rollout in rollouts {
        let n_prompt = encoder.prompt(&rollout.prompt)?.len();
        n_tokens += n_prompt;
        for idx in 0..rollout.completions.len() {
            n_tokens +=
                encoder.completion_tokens(rollout, idx, n_prompt)?.map_or(0, |tokens| tokens.len());
        }
    }
    Ok(n_tokens as u64)
}

#[cfg(test)]
mod tests;
