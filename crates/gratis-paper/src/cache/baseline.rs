//! Baselines: trained once, cached beside the implicit models, and evaluated on the same
//! candidates.

use std::path::{Path, PathBuf};

use gratis::annotate::autopsv;
use gratis::baseline::{LabelTexts, LabelTokens, Pooling, SelfCertainty, ValueObjective};
use gratis::data::{DataOperation, ProblemScores, Rollout, ScorePart, apply};
use gratis::manifest::{Kind, Manifest};
use gratis::observer::Silent;
use gratis::reward::ValueRule;
use gratis::scoring::{ScoreRollouts as _, ScoringSettings, TokenRewards};
use gratis::training::{Learner, Task, reward_data};
use gratis_cpu::{NativeEngine, NativeOptions};
use gratis_model::Tokenizer;
use serde_json::json;

use super::reward_model::PAIRS_PER_PROMPT;
use super::{Cache, Candidates, RECORD, ROLLOUTS, model_record, store};
use crate::error::{Error, Result};
use crate::rows::{Baseline, Form, InferenceReference, Labels, Start, TrainedForm};
use crate::settings::LearningSettings;
use crate::trainer::{self, BATCH_TOKENS, ModelTrainer};
use crate::world::Strength;

/// Learning rate of a head, relative to that of its trunk.
const HEAD_LEARNING_RATE_FACTOR: f64 = 2.0;

impl Cache<'_> {
    /// The model of a baseline; for an untrained one, the model that it scores with.
    ///
    /// # Errors
    /// [`Error::NoReference`]; those of its labels and its training.
    pub(crate) fn baseline_model(&mut self, seed: u64, baseline: &Baseline) -> Result<PathBuf> {
        let start = match baseline.start {
            Start::Generator => self.generator(seed, Strength::Medium)?,
            Start::Base(trunk) => self.base(seed, trunk)?,
        };
        let Form::Trained(form) = baseline.form else { return Ok(start) };
        match (form, baseline.labels) {
            // The log-probabilities of candidates under the reference are those of the generator.
            (TrainedForm::LogRatio(_), _) if baseline.start != Start::Generator => {
                Err(Error::NoReference { baseline: baseline.name.clone() })
            }
            (TrainedForm::Head(head, pooling, _), Labels::AutoPsv) => {
                let objective = ValueObjective::EveryToken;
                let verifier = Baseline {
                    form: Form::Trained(TrainedForm::Head(head, pooling, objective)),
                    labels: Labels::Outcome,
                    ..baseline.clone()
                };
                let start = self.baseline_model(seed, &verifier)?;
                let samples = self.verified_samples(seed, &start, verifier.form, pooling)?;
                self.train_baseline(seed, baseline, form, &start, &samples)
            }
            _ => {
                let samples = self.labelled_samples(seed, baseline.labels)?;
                self.train_baseline(seed, baseline, form, &start, &samples)
            }
        }
    }

    fn train_baseline(
        &mut self,
        seed: u64,
        baseline: &Baseline,
        form: TrainedForm,
        start: &Path,
        samples: &Path,
    ) -> Result<PathBuf> {
        let Baseline { labels, n_epochs, .. } = *baseline;
        let (learning_rate, beta) =
            (baseline.configuration.learning_rate, baseline.configuration.beta);
        let learning = LearningSettings { n_epochs, learning_rate, ..self.settings.reward_model };
        let in_pairs = matches!(form, TrainedForm::Head(.., objective) if objective.needs_pairs());
        let learning = if in_pairs { learning.in_pairs() } else { learning };
        let key = json!({ "start": store::name(start), "form": form, "labels": labels,
                          "beta": beta, "learning": learning, "samples": store::name(samples),
                          "seed": seed });
        if let Some(model) = self.find("baseline", &key)? {
            return Ok(model);
        }
        let mut rollouts = self.labelled(samples, labels)?;
        if in_pairs {
            let pairs = DataOperation::MakePairs { per_prompt: Some(PAIRS_PER_PROMPT), seed };
            rollouts = apply(&[pairs], rollouts, &mut Silent)?.0;
        }
        let mut engine = load(start, baseline.form, self.options())?;
        let data = reward_data(&rollouts, &trainer::encoder(&self.tokenizer, &engine)?)?;
        let data_hash = data.digest();
        let trainer = ModelTrainer { tokenizer: &self.tokenizer, seed };
        let before = self.observer.processor_seconds();
        let (training, n_units) = match form {
            TrainedForm::LogRatio(objective) => {
                let n_units = data.examples.len();
                let mut reference = self.load(start)?;
                let training = trainer.train_reward_model(
                    &mut engine,
                    Some(&mut reference),
                    objective.with_beta(beta),
                    data,
                    &learning,
                    self.observer,
                )?;
                (training, n_units)
            }
            TrainedForm::Head(_, pooling, objective) => {
                let mut task = objective.task(pooling, data)?;
                let n_units = task.items().len();
                let learner = &mut Learner::Values(&mut engine);
                (trainer.train_task(learner, &mut task, &learning, self.observer)?, n_units)
            }
            TrainedForm::LabelTokens => {
                let labels = LabelTokens::new(&label_texts(), &self.tokenizer)?;
                let mut task = labels.task(&data)?;
                let n_units = task.items().len();
                let learner = &mut Learner::LogProbs(&mut engine);
                (trainer.train_task(learner, &mut task, &learning, self.observer)?, n_units)
            }
        };
        let record = model_record(training, n_units, before, self.observer);
        self.store.make("baseline", &key, |draft| {
            match form {
                TrainedForm::LogRatio(objective) => {
                    let (objective, start) = (objective.with_beta(beta), Some(start));
                    trainer.publish_reward_model(&engine, objective, data_hash, start, draft)?;
                }
                TrainedForm::Head(head, pooling, objective) => {
                    let form = Kind::Head { head, pooling, objective };
                    trainer.publish_baseline(&engine, form, data_hash, draft)?;
                }
                TrainedForm::LabelTokens => {
                    let form = Kind::LabelTokens { labels: label_texts() };
                    trainer.publish_baseline(&engine, form, data_hash, draft)?;
                }
            }
            store::write_json(&draft.join(RECORD), &record)
        })
    }

    /// The training samples with AutoPSV's labels from a verifier.
    fn verified_samples(
        &mut self,
        seed: u64,
        verifier: &Path,
        form: Form,
        pooling: Pooling,
    ) -> Result<PathBuf> {
        let samples = self.train_samples(seed)?;
        let key = json!({ "samples": store::name(&samples), "verifier": store::name(verifier),
                          "threshold": autopsv::THRESHOLD });
        if let Some(labels) = self.find("labels", &key)? {
            return Ok(labels);
        }
        let rollouts = self.rollouts(&samples)?;
        let mut engine = load(verifier, form, self.options())?;
        let scores = head_scores(&mut engine, pooling, &self.tokenizer, &rollouts)?;
        let split = &trainer::STEP_SPLIT;
        let labelled = autopsv::annotate(&rollouts, &scores, split, autopsv::THRESHOLD)?;
        self.store
            .make("labels", &key, |draft| trainer::write_rollouts(&draft.join(ROLLOUTS), &labelled))
    }
}

/// The model of a folder as a form needs it: with the folder's own head if it has one of this kind,
/// otherwise with a new one.
pub(super) fn load(folder: &Path, form: Form, options: NativeOptions) -> Result<NativeEngine> {
    let Form::Trained(TrainedForm::Head(head, ..)) = form else {
        return Ok(NativeEngine::load(folder, options)?);
    };
    let own = Manifest::read(folder)?.map(|manifest| manifest.kind);
    let mut engine = match own {
        Some(Kind::Head { head: own, .. }) if own == head => {
            NativeEngine::load_with_value_head(folder, head, options)?
        }
        _ => NativeEngine::load(folder, options)?.with_value_head(head),
    };
    engine.set_head_learning_rate_factor(HEAD_LEARNING_RATE_FACTOR);
    Ok(engine)
}

/// Tokens of the tiny world that never follow a step in a solution.
fn label_texts() -> LabelTexts {
    let [tag, good, bad] = [" coins. ", " more. ", " fewer. "].map(str::to_owned);
    LabelTexts { tag, good, bad, neutral: None }
}

/// Scores of candidates by a model of this form.
pub(super) fn scores(
    engine: &mut NativeEngine,
    form: Form,
    beta: f64,
    tokenizer: &Tokenizer,
    candidates: &Candidates,
) -> Result<Vec<ProblemScores>> {
    let rollouts = &candidates.rollouts;
    match form {
        Form::Trained(TrainedForm::LogRatio(_)) => {
            candidates.log_ratio_scores(engine, beta, ValueRule::Sum, InferenceReference::Start)
        }
        Form::Likelihood => {
            candidates.log_ratio_scores(engine, 1.0, ValueRule::Sum, InferenceReference::None)
        }
        Form::SelfCertainty => {
            let encoder = trainer::encoder(tokenizer, engine)?;
            let scorer = SelfCertainty { engine, encoder, settings: SCORING };
            Ok(scorer.score(rollouts, &mut Silent)?)
        }
        Form::Trained(TrainedForm::Head(_, pooling, _)) => {
            head_scores(engine, pooling, tokenizer, rollouts)
        }
        Form::Trained(TrainedForm::LabelTokens) => {
            let encoder = trainer::encoder(tokenizer, engine)?;
            let labels = LabelTokens::new(&label_texts(), tokenizer)?;
            let scorer = labels.scorer(engine, encoder, SCORING);
            Ok(scorer.score(rollouts, &mut Silent)?)
        }
    }
}

fn head_scores(
    engine: &mut NativeEngine,
    pooling: Pooling,
    tokenizer: &Tokenizer,
    rollouts: &[Rollout],
) -> Result<Vec<ProblemScores>> {
    let encoder = trainer::encoder(tokenizer, engine)?;
    let scorer = pooling.scorer(engine, encoder, SCORING);
    Ok(scorer.score(rollouts, &mut Silent)?)
}

/// Scoring settings of models with a head and of untrained ones.
const SCORING: ScoringSettings = ScoringSettings {
    beta: 1.0,
    value_rule: ValueRule::Sum,
    step_split: trainer::STEP_SPLIT,
    batch_tokens: BATCH_TOKENS,
    tokens: TokenRewards::Omit,
    part: ScorePart::All,
};
