//! Evaluation of a reward model of the tiny world on unseen candidates.

use std::path::PathBuf;
use std::rc::Rc;

use gratis::reward::ValueRule;
use gratis_cpu::NativeEngine;
use serde_json::{Value, json};

use super::{Cache, Candidates, baseline, store};
use crate::error::{Error, Result};
use crate::evaluation::{ByRule, Choices, Controls, Evaluation, Scored, evaluate, validate};
use crate::rows::{Form, InferenceReference, RewardModel};
use crate::world::{Split, Strength};

/// A trained reward model that can score candidates.
struct CandidateScorer {
    folder: PathBuf,
    form: ScoreForm,
    /// Loaded at the first scoring.
    engine: Option<NativeEngine>,
}

/// How a [`CandidateScorer`] scores.
#[derive(Debug, Clone, Copy)]
enum ScoreForm {
    LogRatio(f64, InferenceReference),
    Baseline(Form, f64),
}

impl Cache<'_> {
    /// The folder of a reward model, which is trained if necessary.
    ///
    /// # Errors
    /// Those of its data and its training.
    pub(crate) fn model(&mut self, seed: u64, model: &RewardModel) -> Result<PathBuf> {
        match model {
            RewardModel::Generator => self.generator(seed, Strength::Medium),
            RewardModel::Implicit(recipe, _) => self.implicit_model(seed, recipe),
            RewardModel::SecondStage(recipe, magnitude) => {
                self.second_stage_model(seed, recipe, *magnitude)
            }
            RewardModel::Baseline(baseline) => self.baseline_model(seed, baseline),
            RewardModel::Named(name) => Err(Error::NoRow { name: name.clone() }),
        }
    }

    /// Evaluates a reward model on the test problems of a seed.
    ///
    /// # Errors
    /// Those of making, scoring and evaluating it.
    pub(crate) fn evaluate(&mut self, seed: u64, model: &RewardModel) -> Result<Evaluation> {
        let mut scorer = self.scorer(seed, model)?;
        let choices = Choices::of(model);
        let ns = self.settings.ns.clone();
        let key = json!({ "scores": scorer.key(),
                          "validation": self.candidate_names(seed, Split::Validation)?,
                          "test": self.candidate_names(seed, Split::Test)?, "ns": ns,
                          "choices": choices });
        if let Some(evaluation) = self.find_value("judgement", &key)? {
            return Ok(evaluation);
        }
        let validation = self.split_candidates(seed, Split::Validation)?;
        let test = self.split_candidates(seed, Split::Test)?;
        self.observer.stage("evaluation", None);
        let mut scored = Vec::new();
        for &rule in &choices.value_rules {
            let validation = scorer.score(self, &validation, rule)?;
            scored.push(ByRule { rule, validation, test: scorer.score(self, &test, rule)? });
        }
        let evaluation = evaluate(&scored, &ns, &choices)?;
        self.store.make_value("judgement", &key, &evaluation)?;
        Ok(evaluation)
    }

    /// Best-of-N average of a reward model on the validation problems of a seed: the only measure
    /// used for tuning.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub(crate) fn validate(&mut self, seed: u64, model: &RewardModel) -> Result<f64> {
        let mut scorer = self.scorer(seed, model)?;
        let choices = Choices::of(model);
        let ns = self.settings.ns.clone();
        let key = json!({ "scores": scorer.key(),
                          "validation": self.candidate_names(seed, Split::Validation)?, "ns": ns,
                          "choices": choices });
        if let Some(accuracy) = self.find_value("validation", &key)? {
            return Ok(accuracy);
        }
        let validation = self.split_candidates(seed, Split::Validation)?;
        let mut accuracy = f64::NEG_INFINITY;
        for &rule in &choices.value_rules {
            let scored = scorer.score(self, &validation, rule)?;
            accuracy = accuracy.max(validate(&scored, &ns, &choices.aggregations)?);
        }
        self.store.make_value("validation", &key, &accuracy)?;
        Ok(accuracy)
    }

    /// Majority, random and oracle on the test problems of a seed.
    ///
    /// # Errors
    /// Those of evaluating.
    pub(crate) fn controls(&mut self, seed: u64) -> Result<Controls> {
        let ns = self.settings.ns.clone();
        let key = json!({ "test": self.candidate_names(seed, Split::Test)?, "ns": ns });
        if let Some(controls) = self.find_value("controls", &key)? {
            return Ok(controls);
        }
        let mut test = Vec::new();
        for (strength, of) in Strength::ALL.iter().zip(self.split_candidates(seed, Split::Test)?) {
            test.push(Scored::unscored(strength.name(), &of.rollouts)?);
        }
        let controls = Controls::measure(&test, &ns)?;
        self.store.make_value("controls", &key, &controls)?;
        Ok(controls)
    }

    fn scorer(&mut self, seed: u64, model: &RewardModel) -> Result<CandidateScorer> {
        let folder = self.model(seed, model)?;
        let form = match model {
            RewardModel::Generator => ScoreForm::LogRatio(1.0, InferenceReference::None),
            RewardModel::Implicit(recipe, reference) => {
                ScoreForm::LogRatio(recipe.objective.beta(), *reference)
            }
            RewardModel::SecondStage(recipe, _) => {
                ScoreForm::LogRatio(recipe.objective.beta(), InferenceReference::Start)
            }
            RewardModel::Baseline(baseline) => {
                ScoreForm::Baseline(baseline.form, baseline.configuration.beta)
            }
            RewardModel::Named(name) => return Err(Error::NoRow { name: name.clone() }),
        };
        Ok(CandidateScorer { folder, form, engine: None })
    }
}

impl CandidateScorer {
    /// What its scores depend on.
    fn key(&self) -> Value {
        let model = store::name(&self.folder);
        match self.form {
            ScoreForm::LogRatio(beta, reference) => {
                json!({ "model": model, "beta": beta, "reference": reference })
            }
            ScoreForm::Baseline(form, beta) => {
                json!({ "baseline": model, "form": form, "beta": beta })
            }
        }
    }

    /// Scores the candidates of each generator.
    fn score(
        &mut self,
        cache: &Cache<'_>,
        generators: &[Rc<Candidates>],
        rule: ValueRule,
    ) -> Result<Vec<Scored>> {
        let engine = match &mut self.engine {
            Some(engine) => engine,
            none => none.insert(match self.form {
                ScoreForm::LogRatio(..) => cache.load(&self.folder)?,
                ScoreForm::Baseline(form, _) => {
                    baseline::load(&self.folder, form, cache.options())?
                }
            }),
        };
        let mut all = Vec::new();
        for (strength, candidates) in Strength::ALL.iter().zip(generators) {
            let scores = match self.form {
                ScoreForm::LogRatio(beta, reference) => {
                    candidates.log_ratio_scores(engine, beta, rule, reference)?
                }
                ScoreForm::Baseline(form, beta) => {
                    baseline::scores(engine, form, beta, cache.tokenizer(), candidates)?
                }
            };
            all.push(candidates.scored(strength.name(), scores)?);
        }
        Ok(all)
    }
}
