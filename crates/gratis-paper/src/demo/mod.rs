//! The paper in the tiny world, on a laptop.
//!
//! 1. A base model learns to solve problems from correct solutions.
//! 2. Three generators, weak, medium and strong, are trained on the output of synthetic generators
//!    with systematic errors.
//! 3. The medium generator's rollouts are graded by their final answers: the only labels.
//! 4. An implicit process reward model is trained on them with cross-entropy (Eq. 5), starting from
//!    the medium generator, which is also its reference.
//! 5. On unseen problems it selects the best of N candidates of each generator (paper section 4.1)
//!    and predicts the first wrong step (paper section 5).
//!
//! Every model is written as a Hugging Face folder and all data as rollout files, so each part can
//! be repeated with the regular commands.

mod measure;
mod page;
mod summary;

use std::path::Path;

use gratis::data::{ProblemScores, Rollout, ScorePart};
use gratis::evaluation::{BestOfNTable, Bootstrap, FirstErrorScore};
use gratis::objective::{Ce, Objective};
use gratis::observer::{Observer, Silent};
use gratis::reward::ValueRule;
use gratis::rollout::GradeCounts;
use gratis::scoring::{ScoreRollouts as _, Scorer, ScoringSettings, TokenRewards};
use gratis::training::reward_data;
use gratis_cpu::{NativeEngine, NativeOptions};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::example::Example;
use crate::rows::Trunk;
use crate::settings::{BaseSettings, LearningSettings, SampleSettings};
use crate::trainer::{self, BATCH_TOKENS, ModelTrainer, Training};
use crate::world::{Split, Strength, SyntheticGenerator};

pub use page::page;

/// Settings of the demo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DemoSettings {
    /// Seed of everything: problems, error contexts, weights, order of the data, samples, intervals.
    pub(crate) seed: u64,
    /// Threads that compute.
    pub(crate) n_threads: usize,
    /// Optimisation of the base model.
    pub(crate) base: BaseSettings,
    /// Optimisation of each generator.
    pub(crate) generators: LearningSettings,
    /// Optimisation of the reward model.
    pub(crate) reward_model: LearningSettings,
    /// Factor of the log-ratio in the reward.
    pub(crate) beta: f64,
    /// Rollouts the reward model learns from.
    pub(crate) train: SampleSettings,
    /// Rollouts the threshold of the first-error score is tuned on.
    pub(crate) validation: SampleSettings,
    /// Candidates of each generator to select from.
    pub(crate) test: SampleSettings,
    /// Values of N.
    pub(crate) ns: Vec<usize>,
    /// Intervals over test problems.
    pub(crate) bootstrap: Bootstrap,
}

impl DemoSettings {
    /// The default settings with this seed and number of threads.
    pub fn new(seed: u64, n_threads: usize) -> Self {
        Self { seed, n_threads, ..Self::default() }
    }
}

impl Default for DemoSettings {
    fn default() -> Self {
        Self {
            seed: 0,
            n_threads: 2,
            base: BaseSettings::default(),
            generators: LearningSettings::of_generators(),
            reward_model: LearningSettings::of_reward_models(),
            beta: 0.3,
            train: SampleSettings { n_problems: 2000, n_samples: 8, temperature: 1.0 },
            validation: SampleSettings { n_problems: 100, n_samples: 8, temperature: 1.0 },
            test: SampleSettings { n_problems: 120, n_samples: 64, temperature: 0.7 },
            ns: vec![4, 16, 64],
            bootstrap: Bootstrap::default(),
        }
    }
}

/// The result of the demo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DemoResult {
    /// What was done.
    pub(crate) settings: DemoSettings,
    /// Number of parameters of each model.
    pub(crate) n_parameters: usize,
    /// The base model's training.
    pub(crate) base: Training,
    /// Mean probability of the correct solution under the base model on unseen problems.
    pub(crate) base_solves: f64,
    /// The generators, weakest first.
    pub(crate) generators: Vec<GeneratorReport>,
    /// The data the reward model was trained on.
    pub(crate) rollouts: RolloutReport,
    /// The reward model's training.
    pub(crate) reward_model: Training,
    /// Accuracy of every selector. The first row is the majority vote, the second the implicit
    /// process reward model by its lowest step reward.
    pub(crate) best_of_n: BestOfNTable,
    /// First-error score on the validation problems, where the threshold was tuned.
    pub(crate) first_error_validation: FirstErrorScore,
    /// Solutions to look at.
    pub(crate) examples: Vec<Example>,
    /// Time per stage, filled in by the caller, who has a clock.
    pub stages: Vec<StageTime>,
}

/// A generator, and the reward model on its candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GeneratorReport {
    /// Which synthetic generator it was trained on.
    pub(crate) strength: Strength,
    /// Its training.
    pub(crate) training: Training,
    /// Share of correct candidates on the test problems.
    pub(crate) pass_at_1: f64,
    /// Candidates in all.
    pub(crate) n_candidates: usize,
    /// First-error score on its candidates, at the threshold tuned on validation problems.
    pub(crate) first_error: FirstErrorScore,
}

/// The labelled rollouts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RolloutReport {
    /// Verdicts of the grader.
    pub(crate) verdicts: GradeCounts,
    /// Share of the responses with a right answer that have a wrong step all the same.
    pub(crate) wrong_step_despite_right_answer: f64,
}

/// Time of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// The stage as the observer was told.
    pub name: String,
    /// Seconds on the clock.
    pub wall_seconds: f64,
    /// Processor seconds, where they are known.
    pub cpu_seconds: Option<f64>,
}

/// Candidates of one generator with their scores.
struct Candidates {
    strength: Strength,
    rollouts: Vec<Rollout>,
    scores: Vec<ProblemScores>,
}

/// Runs the demo; models and data are written into `folder`:
///
/// ```text
/// models/base  models/weak  models/medium  models/strong  models/reward
/// data/train.jsonl  data/validation.jsonl  data/test-weak.jsonl ...
/// data/scores-validation.jsonl  data/scores-weak.jsonl ...
/// ```
///
/// # Errors
/// [`Error::TargetNotReached`] if the base model does not learn to solve problems; those of
/// the engine and of files.
pub fn run(
    settings: &DemoSettings,
    folder: &Path,
    observer: &mut dyn Observer,
) -> Result<DemoResult> {
    let models_folder = folder.join("models");
    let data_folder = folder.join("data");
    for path in [&models_folder, &data_folder] {
        std::fs::create_dir_all(path).map_err(Error::io("create", path))?;
    }
    let data = |name: &str| data_folder.join(format!("{name}.jsonl"));
    let model = |name: &str| models_folder.join(name);
    let options = NativeOptions { n_threads: settings.n_threads, ..NativeOptions::default() };
    let tokenizer = trainer::tokenizer()?;
    let trainer = ModelTrainer { tokenizer: &tokenizer, seed: settings.seed };

    // A base model that solves problems.
    let mut base = NativeEngine::initialise(
        trainer::shape(&tokenizer, Trunk::default()),
        trainer::INITIALISATION,
        settings.seed,
        options,
    )?;
    let n_parameters = base.parameters().len();
    let (base_training, base_solves) = trainer.train_base(&mut base, &settings.base, observer)?;
    trainer.publish(&base, &model("base"))?;

    // Three generators that make errors.
    let mut trainings = Vec::new();
    for strength in Strength::ALL {
        let mut generator = NativeEngine::load(&model("base"), options)?;
        let written_by = SyntheticGenerator::new(strength, settings.seed);
        trainings.push(trainer.train_generator(
            &mut generator,
            strength,
            &written_by,
            &settings.generators,
            observer,
        )?);
        trainer.publish(&generator, &model(strength.name()))?;
    }

    // Rollouts of the medium one, labelled by their final answers.
    let mut reference = NativeEngine::load(&model(Strength::Medium.name()), options)?;
    observer.stage("rollouts", Some(settings.train.n_problems as u64));
    let (train, verdicts) = trainer::sample(
        &mut reference,
        &tokenizer,
        Split::Train,
        &settings.train,
        settings.seed,
        observer,
    )?;
    trainer::write_rollouts(&data("train"), &train)?;
    let (validation, _) = trainer::sample(
        &mut reference,
        &tokenizer,
        Split::Validation,
        &settings.validation,
        settings.seed,
        &mut Silent,
    )?;
    trainer::write_rollouts(&data("validation"), &validation)?;

    // The implicit process reward model, from outcome labels only.
    let objective = Objective::Ce(Ce { beta: settings.beta });
    let mut policy = NativeEngine::load(&model(Strength::Medium.name()), options)?;
    let labelled = reward_data(&train, &trainer::encoder(&tokenizer, &policy)?)?;
    let data_hash = labelled.digest();
    let reward_training = trainer.train_reward_model(
        &mut policy,
        Some(&mut reference),
        objective,
        labelled,
        &settings.reward_model,
        observer,
    )?;
    trainer.publish_reward_model(
        &policy,
        objective,
        data_hash,
        Some(&model(Strength::Medium.name())),
        &model("reward"),
    )?;

    // Candidates of all three on new problems, every step scored.
    let mut candidates = Vec::new();
    for strength in Strength::ALL {
        let name = strength.name();
        let mut generator = NativeEngine::load(&model(name), options)?;
        observer.stage(&format!("candidates of {name}"), Some(settings.test.n_problems as u64));
        let (rollouts, _) = trainer::sample(
            &mut generator,
            &tokenizer,
            Split::Test,
            &settings.test,
            settings.seed,
            observer,
        )?;
        trainer::write_rollouts(&data(&format!("test-{name}")), &rollouts)?;
        candidates.push((strength, rollouts));
    }
    let scoring = ScoringSettings {
        beta: settings.beta,
        value_rule: ValueRule::Sum,
        step_split: trainer::STEP_SPLIT,
        batch_tokens: BATCH_TOKENS,
        tokens: TokenRewards::Omit,
        part: ScorePart::All,
    };
    observer.stage("scores", None);
    let encoder = trainer::encoder(&tokenizer, &policy)?;
    let scorer =
        Scorer { policy: &policy, reference: Some(&reference), encoder, settings: scoring };
    let validation_scores = scorer.score(&validation, observer)?;
    trainer::write_scores(&data("scores-validation"), &validation_scores)?;
    let mut scored = Vec::new();
    for (strength, rollouts) in candidates {
        let scores = scorer.score(&rollouts, observer)?;
        trainer::write_scores(&data(&format!("scores-{}", strength.name())), &scores)?;
        scored.push(Candidates { strength, rollouts, scores });
    }

    // Evaluation.
    observer.stage("evaluation", None);
    let first_error_validation = measure::tune(&validation, &validation_scores)?;
    let threshold = first_error_validation.threshold;
    let best_of_n = measure::best_of_n(settings, &scored)?;
    let mut generators = Vec::new();
    for (candidates, training) in scored.iter().zip(trainings) {
        generators.push(GeneratorReport {
            strength: candidates.strength,
            training,
            pass_at_1: measure::pass_at_1(&candidates.rollouts)?,
            n_candidates: candidates.rollouts.iter().map(|r| r.completions.len()).sum(),
            first_error: measure::first_error(&candidates.rollouts, &candidates.scores, threshold),
        });
    }
    Ok(DemoResult {
        settings: settings.clone(),
        n_parameters,
        base: base_training,
        base_solves,
        generators,
        rollouts: RolloutReport {
            verdicts,
            wrong_step_despite_right_answer: measure::wrong_step_despite_right_answer(&train)?,
        },
        reward_model: reward_training,
        best_of_n,
        first_error_validation,
        examples: measure::examples(&scored)?,
        stages: Vec::new(),
    })
}
