//! The baselines in the laboratory: Math-Shepherd's labels, and every row of
//! [`baselines`](crate::experiment::baselines) on the same samples as the implicit models.

use std::path::PathBuf;

use gratis_engine::NativeEngine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::judgement::{Choices, ScoreCandidates};
use super::{InferenceReference, Judgement, Lab, RECORD, ROLLOUTS, Recipe, record, since, store};
use crate::annotate::AnnotationCounts;
use crate::error::Result;
use crate::experiment::baselines::{
    self, ComparisonSettings, Configuration, LabelQuality, Model, Stage, continue_prefixes,
    label_quality,
};
use crate::experiment::workshop::{self, Workshop};
use crate::objective::step_kto::Magnitude;
use crate::objective::{Objective, StepKto};
use crate::training::reward_data;
use crate::world::Strength;

/// Continuations of each step prefix (paper section 2, Math-Shepherd).
const N_CONTINUATIONS: usize = 8;

/// What the Monte-Carlo labels took, and what they are worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelRecord {
    /// Continuations and passes.
    pub counts: AnnotationCounts,
    /// Soft labels held against the truth at one half.
    pub soft: LabelQuality,
    /// Hard labels held against the truth.
    pub hard: LabelQuality,
    /// Processor time, where somebody measured it.
    pub cpu_seconds: Option<f64>,
}

impl Lab<'_> {
    /// The training samples with soft Monte-Carlo labels of their steps.
    ///
    /// # Errors
    /// Those of sampling and grading.
    pub fn step_labels(&mut self, seed: u64) -> Result<PathBuf> {
        let medium = self.generator(seed, Strength::Medium)?;
        let samples = self.train_samples(seed)?;
        let rollouts = self.rollouts(&samples)?;
        let settings = self.comparison(seed);
        let options = self.options();
        let (tokenizer, observer) = (&self.tokenizer, &mut *self.observer);
        let key = json!({ "samples": store::name(&samples), "generator": store::name(&medium),
                          "n_continuations": settings.n_continuations, "seed": seed });
        self.store.folder("labels", &key, |draft| {
            observer.stage("continuations", None);
            let mut generator = NativeEngine::load(&medium, options)?;
            let before = observer.processor_seconds();
            let (labelled, counts) =
                continue_prefixes(&settings, tokenizer, &mut generator, &rollouts)?;
            let record = LabelRecord {
                counts,
                soft: label_quality(&labelled, 0.5)?,
                hard: label_quality(&labelled, f64::MIN_POSITIVE)?,
                cpu_seconds: since(before, observer),
            };
            workshop::write_rollouts(&draft.join(ROLLOUTS), &labelled)?;
            store::write_json(&draft.join(RECORD), &record)
        })
    }

    /// What the labels of a seed took.
    ///
    /// # Errors
    /// As [`Self::step_labels`].
    pub fn label_record(&mut self, seed: u64) -> Result<LabelRecord> {
        let labels = self.step_labels(seed)?;
        store::read_json(&labels.join(RECORD))
    }

    /// Judges a baseline.
    ///
    /// # Errors
    /// Those of its labels, its training and its evaluation.
    pub fn judge_baseline(
        &mut self,
        seed: u64,
        recipe: &baselines::Recipe,
        configuration: Configuration,
    ) -> Result<Judgement> {
        self.with_baseline(seed, recipe, configuration, |lab, key, score| {
            lab.judge_with(seed, key, &Choices::baseline(), score)
        })
    }

    /// Best-of-N average of a baseline on validation problems.
    ///
    /// # Errors
    /// As [`Self::judge_baseline`].
    pub fn validate_baseline(
        &mut self,
        seed: u64,
        recipe: &baselines::Recipe,
        configuration: Configuration,
    ) -> Result<f64> {
        self.with_baseline(seed, recipe, configuration, |lab, key, score| {
            lab.validate_with(seed, key, &Choices::baseline(), score)
        })
    }

    /// Hands `judge` a baseline that is trained when it is first asked to score.
    fn with_baseline<T>(
        &mut self,
        seed: u64,
        recipe: &baselines::Recipe,
        configuration: Configuration,
        judge: impl FnOnce(&mut Self, &Value, &mut ScoreCandidates<'_>) -> Result<T>,
    ) -> Result<T> {
        let labels = self.step_labels(seed)?;
        let settings = self.comparison(seed);
        let tokenizer = self.tokenizer.clone();
        let stage = Stage {
            settings: &settings,
            tokenizer: &tokenizer,
            options: self.options(),
            medium: self.generator(seed, Strength::Medium)?,
            train: self.rollouts(&labels)?.to_vec(),
            validation: Vec::new(),
            test: Vec::new(),
        };
        let key = json!({ "baseline": recipe, "configuration": configuration,
                          "labels": store::name(&labels) });
        let mut model: Option<Model<'_>> = None;
        judge(self, &key, &mut |prepared| {
            let model = match &mut model {
                Some(model) => model,
                none => none.insert(Model::train(&stage, recipe, configuration)?),
            };
            model.score(&prepared.rollouts)
        })
    }

    /// An implicit model of `recipe`, trained further on Math-Shepherd's hard labels (appendix
    /// C.2), judged.
    ///
    /// # Errors
    /// Those of training and judging.
    pub fn judge_second_stage(
        &mut self,
        seed: u64,
        recipe: &Recipe,
        magnitude: Magnitude,
    ) -> Result<Judgement> {
        let first = self.reward_model(seed, recipe)?;
        let start = self.generator(seed, Strength::Medium)?;
        let labels = self.step_labels(seed)?;
        let rollouts = self.rollouts(&labels)?;
        let beta = recipe.objective.beta();
        let objective = Objective::StepKto(StepKto { beta, magnitude });
        let learning = self.learning(&Recipe { objective, ..recipe.clone() });
        let key = json!({ "first": store::name(&first), "labels": store::name(&labels),
                          "objective": objective, "learning": learning, "seed": seed });
        let options = self.options();
        let (tokenizer, observer) = (&self.tokenizer, &mut *self.observer);
        let model = self.store.folder("reward", &key, |draft| {
            let mut policy = NativeEngine::load(&first, options)?;
            let mut reference = NativeEngine::load(&start, options)?;
            let labelled = reward_data(&rollouts, &workshop::encoder(tokenizer, &policy)?)?;
            let (data_hash, n_units) = (labelled.digest(), labelled.examples.len());
            let workshop = Workshop { tokenizer, seed };
            let before = observer.processor_seconds();
            let training = workshop.train_reward_model(
                &mut policy,
                Some(&mut reference),
                objective,
                labelled,
                &learning,
                observer,
            )?;
            let record = record(training, n_units, before, observer);
            workshop.publish_reward_model(&policy, objective, data_hash, Some(&start), draft)?;
            store::write_json(&draft.join(RECORD), &record)
        })?;
        self.judge_model(seed, &model, beta, InferenceReference::Start)
    }

    fn comparison(&self, seed: u64) -> ComparisonSettings {
        ComparisonSettings {
            seed,
            n_threads: self.settings.n_threads,
            train: self.settings.train,
            n_continuations: N_CONTINUATIONS,
            ..ComparisonSettings::default()
        }
    }
}
