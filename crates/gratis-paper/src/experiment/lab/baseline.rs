//! Baselines in the laboratory: trained once, kept beside the implicit models, and judged on the same
//! candidates.

use std::path::{Path, PathBuf};

use gratis_cpu::{NativeEngine, NativeOptions};
use gratis_model::Tokenizer;
use serde_json::{Value, json};

use super::judgement::{Choices, ScoreCandidates};
use super::recipe::PAIRS_PER_PROMPT;
use super::{InferenceReference, Judgement, Lab, Prepared, RECORD, ROLLOUTS, record, store};
use crate::experiment::baselines::{Baseline, Configuration, Form, Labels, Start};
use crate::experiment::workshop::{self, LearningSettings, Workshop};
use crate::world::Strength;
use gratis::annotate::autopsv;
use gratis::baseline::{
    BaselineForm, HeadScorer, HeadTask, LabelTexts, LabelTokens, SelfCertainty, TokenScorer,
    TokenTask, ValueObjective,
};
use gratis::data::{DataOperation, MakePairs, Score, apply};
use gratis::error::{Error, Result};
use gratis::manifest::Manifest;
use gratis::observer::Silent;
use gratis::scoring::{RewardModel, ScoringSettings, TokenRewards};
use gratis::training::{Learner, Task, reward_data};

/// A head learns at this many times the rate of its trunk.
const HEAD_LEARNING_RATE_FACTOR: f64 = 2.0;

impl Lab<'_> {
    /// The model of a baseline; of one that is not trained, what it reads from.
    ///
    /// # Errors
    /// Those of its labels and its training.
    pub fn baseline_model(
        &mut self,
        seed: u64,
        baseline: &Baseline,
        configuration: Configuration,
    ) -> Result<PathBuf> {
        let start = match baseline.start {
            Start::Generator => self.generator(seed, Strength::Medium)?,
            Start::Base(trunk) => self.base_of(seed, trunk)?,
        };
        match (baseline.form, baseline.labels) {
            (Form::Likelihood | Form::SelfCertainty, _) => Ok(start),
            (Form::LogRatio(_), _) if baseline.start != Start::Generator => {
                // Candidates are prepared with its log-probabilities as the reference's.
                Err(Error::setting("start", "`generator` for a log-ratio", "base"))
            }
            (Form::Head(head, pooling, _), Labels::AutoPsv) => {
                let verifier = Baseline {
                    form: Form::Head(head, pooling, ValueObjective::EveryToken),
                    labels: Labels::Outcome,
                    ..baseline.clone()
                };
                let start = self.baseline_model(seed, &verifier, configuration)?;
                let samples = self.verified_samples(seed, &start, verifier.form)?;
                self.train_baseline(seed, baseline, configuration, &start, &samples)
            }
            _ => {
                let samples = self.labelled_samples(seed, baseline.labels)?;
                self.train_baseline(seed, baseline, configuration, &start, &samples)
            }
        }
    }

    fn train_baseline(
        &mut self,
        seed: u64,
        baseline: &Baseline,
        configuration: Configuration,
        start: &Path,
        samples: &Path,
    ) -> Result<PathBuf> {
        let Baseline { form, labels, n_epochs, .. } = *baseline;
        let Configuration { learning_rate, beta } = configuration;
        let learning = LearningSettings { n_epochs, learning_rate, ..self.settings.reward_model };
        let in_pairs = matches!(form, Form::Head(.., objective) if objective.needs_pairs());
        let learning = if in_pairs { learning.in_pairs() } else { learning };
        let key = json!({ "start": store::name(start), "form": form, "labels": labels,
                          "beta": beta, "learning": learning, "samples": store::name(samples),
                          "seed": seed });
        let rollouts = self.labelled(samples, labels)?;
        let options = self.options();
        let (tokenizer, observer) = (&self.tokenizer, &mut *self.observer);
        self.store.folder("baseline", &key, |draft| {
            let rollouts = if in_pairs {
                let pairs = MakePairs { per_prompt: Some(PAIRS_PER_PROMPT), seed };
                apply(&[DataOperation::MakePairs(pairs)], rollouts, &mut Silent)?.0
            } else {
                rollouts
            };
            let mut engine = beginning(start, form, options)?;
            let data = reward_data(&rollouts, &workshop::encoder(tokenizer, &engine)?)?;
            let data_hash = data.digest();
            let workshop = Workshop { tokenizer, seed };
            let before = observer.processor_seconds();
            let (training, n_units) = match form {
                Form::LogRatio(objective) => {
                    let n_units = data.examples.len();
                    let mut reference = NativeEngine::load(start, options)?;
                    let training = workshop.train_reward_model(
                        &mut engine,
                        Some(&mut reference),
                        objective.with_beta(beta),
                        data,
                        &learning,
                        observer,
                    )?;
                    (training, n_units)
                }
                Form::Head(_, pooling, objective) => {
                    let mut task = HeadTask::new(objective, pooling, data)?;
                    let n_units = task.items().len();
                    let learner = &mut Learner::Values(&mut engine);
                    (workshop.train_task(learner, &mut task, &learning, observer)?, n_units)
                }
                Form::LabelTokens => {
                    let labels = LabelTokens::new(&label_texts(), tokenizer)?;
                    let mut task = TokenTask::new(&labels, &data)?;
                    let n_units = task.items().len();
                    let learner = &mut Learner::LogProbs(&mut engine);
                    (workshop.train_task(learner, &mut task, &learning, observer)?, n_units)
                }
                Form::Likelihood | Form::SelfCertainty => {
                    return Err(Error::setting("form", "one that is trained", "none"));
                }
            };
            let record = record(training, n_units, before, observer);
            if let Form::LogRatio(objective) = form {
                let (objective, start) = (objective.with_beta(beta), Some(start));
                workshop.publish_reward_model(&engine, objective, data_hash, start, draft)?;
            } else if let Some(form) = published(form) {
                workshop.publish_baseline(&engine, form, data_hash, draft)?;
            }
            store::write_json(&draft.join(RECORD), &record)
        })
    }

    /// The training samples with AutoPSV's labels from a verifier.
    fn verified_samples(&mut self, seed: u64, verifier: &Path, form: Form) -> Result<PathBuf> {
        let samples = self.train_samples(seed)?;
        let rollouts = self.rollouts(&samples)?;
        let options = self.options();
        let tokenizer = &self.tokenizer;
        let key = json!({ "samples": store::name(&samples), "verifier": store::name(verifier),
                          "threshold": autopsv::THRESHOLD });
        self.store.folder("labels", &key, |draft| {
            let mut engine = beginning(verifier, form, options)?;
            let mut scorer = reward_model(&mut engine, form, tokenizer)?;
            let scores = scorer.score(&rollouts, &mut Silent)?;
            let split = &workshop::STEP_SPLIT;
            let labelled = autopsv::annotate(&rollouts, &scores, split, autopsv::THRESHOLD)?;
            workshop::write_rollouts(&draft.join(ROLLOUTS), &labelled)
        })
    }

    /// Judges a baseline.
    ///
    /// # Errors
    /// Those of its labels, its training and its evaluation.
    pub fn judge_baseline(
        &mut self,
        seed: u64,
        baseline: &Baseline,
        configuration: Configuration,
    ) -> Result<Judgement> {
        self.with_baseline(seed, baseline, configuration, |lab, key, score| {
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
        baseline: &Baseline,
        configuration: Configuration,
    ) -> Result<f64> {
        self.with_baseline(seed, baseline, configuration, |lab, key, score| {
            lab.validate_with(seed, key, &Choices::baseline(), score)
        })
    }

    /// Hands `judge` a baseline that is loaded when it is first asked to score.
    fn with_baseline<T>(
        &mut self,
        seed: u64,
        baseline: &Baseline,
        configuration: Configuration,
        judge: impl FnOnce(&mut Self, &Value, &mut ScoreCandidates<'_>) -> Result<T>,
    ) -> Result<T> {
        let model = self.baseline_model(seed, baseline, configuration)?;
        let (form, beta) = (baseline.form, configuration.beta);
        let key = json!({ "baseline": store::name(&model), "form": form, "beta": beta });
        let (options, tokenizer) = (self.options(), self.tokenizer.clone());
        let mut loaded = None;
        judge(self, &key, &mut |prepared| {
            let engine = match &mut loaded {
                Some(engine) => engine,
                none => none.insert(beginning(&model, form, options)?),
            };
            scores(engine, form, beta, &tokenizer, prepared)
        })
    }
}

/// The model of a folder as this form needs it: with its head where it has such a one, with a fresh
/// one where not.
fn beginning(folder: &Path, form: Form, options: NativeOptions) -> Result<NativeEngine> {
    let Form::Head(head, ..) = form else { return Ok(NativeEngine::load(folder, options)?) };
    let own = Manifest::read(folder)?.and_then(|manifest| manifest.baseline);
    let mut engine = match own {
        Some(BaselineForm::Head { head: own, .. }) if own == head => {
            NativeEngine::load_with_value_head(folder, head, options)?
        }
        _ => NativeEngine::load(folder, options)?.with_value_head(head),
    };
    engine.set_head_learning_rate_factor(HEAD_LEARNING_RATE_FACTOR);
    Ok(engine)
}

/// What `gratis.json` says of a model of this form.
fn published(form: Form) -> Option<BaselineForm> {
    match form {
        Form::Head(head, pooling, objective) => {
            Some(BaselineForm::Head { head, pooling, objective })
        }
        Form::LabelTokens => Some(BaselineForm::Tokens { labels: label_texts() }),
        Form::LogRatio(_) | Form::Likelihood | Form::SelfCertainty => None,
    }
}

/// Tokens of this world that solutions never hold at such places.
fn label_texts() -> LabelTexts {
    let [tag, good, bad] = [" coins. ", " more. ", " fewer. "].map(str::to_owned);
    LabelTexts { tag, good, bad, neutral: None }
}

/// Scores of prepared candidates.
fn scores(
    engine: &mut NativeEngine,
    form: Form,
    beta: f64,
    tokenizer: &Tokenizer,
    prepared: &Prepared,
) -> Result<Vec<Score>> {
    match form {
        Form::LogRatio(_) => prepared.log_ratio_scores(engine, beta, InferenceReference::Start),
        Form::Likelihood => prepared.log_ratio_scores(engine, 1.0, InferenceReference::None),
        Form::SelfCertainty | Form::Head(..) | Form::LabelTokens => {
            reward_model(engine, form, tokenizer)?.score(&prepared.rollouts, &mut Silent)
        }
    }
}

/// A model of a form that is no log-ratio as something that scores.
fn reward_model<'a>(
    engine: &'a mut NativeEngine,
    form: Form,
    tokenizer: &'a Tokenizer,
) -> Result<Box<dyn RewardModel + 'a>> {
    let encoder = workshop::encoder(tokenizer, engine)?;
    let settings = ScoringSettings {
        beta: 1.0,
        step_split: workshop::STEP_SPLIT,
        batch_tokens: super::prepared::BATCH_TOKENS,
        tokens: TokenRewards::Omit,
    };
    Ok(match form {
        Form::Head(_, pooling, _) => Box::new(HeadScorer { engine, pooling, encoder, settings }),
        Form::LabelTokens => {
            let labels = LabelTokens::new(&label_texts(), tokenizer)?;
            Box::new(TokenScorer { engine, labels, encoder, settings })
        }
        Form::SelfCertainty => Box::new(SelfCertainty { engine, encoder, settings }),
        Form::LogRatio(_) | Form::Likelihood => {
            return Err(Error::setting("form", "a head or label tokens", "log-probabilities"));
        }
    })
}
