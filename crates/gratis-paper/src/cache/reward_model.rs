//! Implicit process reward models: their data, their training, and the second stage of appendix C.2.

use std::path::{Path, PathBuf};

use gratis::data::{DataOperation, MixRule, Rollout, apply};
use gratis::objective::Magnitude;
use gratis::objective::{Objective, StepKto};
use gratis::observer::Silent;
use gratis::training::reward_data;
use serde_json::{Value, json};

use super::{Cache, RECORD, ROLLOUTS, model_record, store};
use crate::error::Result;
use crate::rows::{Factor, Recipe, TrainingReference, Trunk};
use crate::settings::LearningSettings;
use crate::trainer::{self, ModelTrainer};
use crate::world::{Split, Strength};

/// Pairs per problem that pairwise objectives learn from, so that an epoch takes about as many
/// optimizer steps as one of single responses.
pub(super) const PAIRS_PER_PROMPT: usize = 4;

/// Rollouts before their operations, and the artefacts they come from.
struct Data {
    rollouts: Vec<Rollout>,
    operations: Vec<DataOperation>,
    sources: Vec<String>,
}

/// One training of an implicit model.
struct ImplicitTraining<'a> {
    /// What it starts from.
    start: &'a Path,
    /// Denominator of the log-ratio.
    reference: Option<&'a Path>,
    objective: Objective,
    learning: LearningSettings,
    rollouts: &'a [Rollout],
}

impl Cache<'_> {
    /// The reward model of a recipe.
    ///
    /// # Errors
    /// Those of the data and of training.
    pub(crate) fn implicit_model(&mut self, seed: u64, recipe: &Recipe) -> Result<PathBuf> {
        let start = self.generator(seed, Strength::Medium)?;
        let data = self.data(seed, recipe)?;
        let learning = self.learning(recipe);
        let key = json!({ "start": store::name(&start), "recipe": recipe, "learning": learning,
                          "data": data.sources, "seed": seed });
        if let Some(model) = self.find("reward", &key)? {
            return Ok(model);
        }
        let (rollouts, _) = apply(&data.operations, data.rollouts, &mut Silent)?;
        let training = ImplicitTraining {
            start: &start,
            reference: (recipe.reference == TrainingReference::Start).then_some(&start),
            objective: recipe.objective,
            learning,
            rollouts: &rollouts,
        };
        self.train_implicit(seed, &key, &training)
    }

    /// An implicit model of `recipe`, trained further on Math-Shepherd's hard labels (appendix C.2).
    ///
    /// # Errors
    /// Those of training.
    pub(crate) fn second_stage_model(
        &mut self,
        seed: u64,
        recipe: &Recipe,
        magnitude: Magnitude,
    ) -> Result<PathBuf> {
        let first = self.implicit_model(seed, recipe)?;
        let reference = self.generator(seed, Strength::Medium)?;
        let labels = self.step_labels(seed)?;
        let beta = recipe.objective.beta();
        let objective = Objective::StepKto(StepKto { beta, magnitude });
        let learning = self.learning(&Recipe { objective, ..recipe.clone() });
        let key = json!({ "first": store::name(&first), "labels": store::name(&labels),
                          "objective": objective, "learning": learning, "seed": seed });
        if let Some(model) = self.find("reward", &key)? {
            return Ok(model);
        }
        let rollouts = self.rollouts(&labels)?;
        let training = ImplicitTraining {
            start: &first,
            reference: Some(&reference),
            objective,
            learning,
            rollouts: &rollouts,
        };
        self.train_implicit(seed, &key, &training)
    }

    fn train_implicit(
        &mut self,
        seed: u64,
        key: &Value,
        training: &ImplicitTraining,
    ) -> Result<PathBuf> {
        let ImplicitTraining { objective, learning, .. } = *training;
        let mut policy = self.load(training.start)?;
        let encoder = trainer::encoder(&self.tokenizer, &policy)?;
        let data = reward_data(training.rollouts, &encoder)?;
        data.check(&objective)?;
        let data_hash = data.digest();
        let n_units = if objective.needs_pairs() { data.pairs.len() } else { data.examples.len() };
        let mut reference = training.reference.map(|folder| self.load(folder)).transpose()?;
        let trainer = ModelTrainer { tokenizer: &self.tokenizer, seed };
        let before = self.observer.processor_seconds();
        let course = trainer.train_reward_model(
            &mut policy,
            reference.as_mut(),
            objective,
            data,
            &learning,
            self.observer,
        )?;
        let record = model_record(course, n_units, before, self.observer);
        self.store.make("reward", key, |draft| {
            let reference = training.reference;
            trainer.publish_reward_model(&policy, objective, data_hash, reference, draft)?;
            store::write_json(&draft.join(RECORD), &record)
        })
    }

    /// The settings of a recipe's training.
    fn learning(&self, recipe: &Recipe) -> LearningSettings {
        let Recipe { learning_rate, n_epochs, .. } = *recipe;
        let settings = LearningSettings { n_epochs, learning_rate, ..self.settings.reward_model };
        if recipe.objective.needs_pairs() { settings.in_pairs() } else { settings }
    }

    /// The rollouts of a recipe and what is to be done to them.
    fn data(&mut self, seed: u64, recipe: &Recipe) -> Result<Data> {
        let samples = self.train_samples(seed)?;
        let mut sources = vec![store::name(&samples)];
        let mut rollouts = self.rollouts(&samples)?.to_vec();
        if let Some(n) = recipe.n_problems {
            rollouts.truncate(n);
        }
        if let Some(n) = recipe.n_responses {
            for rollout in &mut rollouts {
                let n = n.min(rollout.completions.len());
                *rollout = rollout.with_completions(&(0..n).collect::<Vec<_>>());
            }
        }
        let mut operations = Vec::new();
        match recipe.factor {
            Factor::None => {}
            Factor::DatasetBalanced => {
                operations.push(DataOperation::BalanceDataset { seed });
            }
            Factor::InstructionBalanced => {
                operations.push(DataOperation::BalanceInstructions { seed });
            }
            Factor::Deduplicated => {
                operations.push(DataOperation::deduplicate());
            }
            Factor::OtherInstructions | Factor::OtherInstructionsOnePair => {
                let other = self.other_samples(seed)?;
                sources.push(store::name(&other));
                let one_pair = recipe.factor == Factor::OtherInstructionsOnePair;
                let take = if one_pair { MixRule::OnePair } else { MixRule::All };
                operations.push(DataOperation::Mix { path: other.join(ROLLOUTS), take, seed });
            }
            Factor::BaseResponses => {
                let base = self.base(seed, Trunk::default())?;
                let other = self.samples(seed, &base, Split::Train, self.settings.train)?;
                sources.push(store::name(&other));
                operations.push(DataOperation::ReplaceResponses {
                    path: other.join(ROLLOUTS),
                    n: self.settings.train.n_samples / 2,
                    seed,
                });
            }
        }
        if recipe.objective.needs_pairs() {
            operations.push(DataOperation::MakePairs { per_prompt: Some(PAIRS_PER_PROMPT), seed });
        }
        Ok(Data { rollouts, operations, sources })
    }
}
