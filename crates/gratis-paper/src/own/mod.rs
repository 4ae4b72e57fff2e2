//! A user's own cast: models and problems that a file names.
//!
//! Models are opened by `gratis::reward_model`, trained by `gratis::run::train` and scored chunk by chunk;
//! everything is kept in the cache of the reproduction, so an interrupted run continues where it was.

mod check;
mod costs;
mod data;
mod details;
mod expected;
mod file;
mod models;
mod plan;
mod propositions;
mod ranking;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gratis::data::Rollout;
use gratis::evaluation::{Bootstrap, StepSignal};
use gratis::objective::Objective;
use gratis::observer::Observer;
use gratis::reward::ValueRule;
use gratis::reward_model::{Hub, Model};
use gratis::run::{RewardKind, TrainSettings};
use gratis::selection::Aggregation;
use gratis::theory::PrefixEstimate;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::data::{Answers, CandidateSet, Purpose};
use self::expected::blank;
use self::models::{Form, TrainRecord, Training, WithReference};
use crate::cache::store::{Lookup, Store};
use crate::cast::{Cast, Details, Role, TableRow};
use crate::cast::{Inference, Operations, Way};
use crate::error::{Error, Result};
use crate::evaluation::{ByRule, Choices, Controls, Evaluation, Scored, evaluate};
use crate::rows::{Factor, IMPLICIT, InferenceReference, Recipe, RewardModel, Tuned, tuned};

use self::file::{Propositions, RowKind, RowSettings, StepTruth};

pub use check::{Checked, check};
pub use file::{CastFile, TEMPLATE};
pub use plan::Plan;

const EXPLICIT: &str = "Explicit reward models";
const UNTRAINED: &str = "Not trained";

/// Where models are found and computed.
#[derive(Clone, Copy)]
pub struct Machine<'a> {
    /// Threads that compute.
    pub n_threads: usize,
    /// Finds models by name, and keys and proxies of engines.
    pub hub: &'a dyn Hub,
    /// A folder for temporary files.
    pub scratch: &'a Path,
}

/// A cast that a file names.
pub(crate) struct OwnCast<'a> {
    file: Rc<CastFile>,
    machine: Machine<'a>,
    folder: PathBuf,
    pub(crate) store: Store,
    pub(crate) observer: &'a mut dyn Observer,
    /// What would be computed, where nothing is to be computed.
    pub(crate) plan: Option<Plan>,
    part: String,
    row: String,
    start: Option<Rc<Model>>,
    start_place: PathBuf,
    reference: Option<models::Scored>,
    answers: HashMap<(Purpose, u64, String), Answers>,
    sets: HashMap<(Purpose, u64), Rc<Vec<CandidateSet>>>,
    trainings: Vec<(String, TrainRecord)>,
    /// Processor seconds of the samples of each generator, where they were measured.
    sampling_seconds: HashMap<(Purpose, u64, String), f64>,
    left_out: Vec<[String; 2]>,
}

/// A model that is ready to score, and what is chosen for it.
struct Ready {
    form: Form,
    choices: Choices,
}

impl<'a> OwnCast<'a> {
    /// The cast of a file, with its cache in `folder`.
    ///
    /// # Errors
    /// Those of the folder.
    pub(crate) fn new(
        file: &CastFile,
        machine: Machine<'a>,
        folder: &Path,
        observer: &'a mut dyn Observer,
    ) -> Result<Self> {
        // Absolute, because runs record the paths of their models: the same cache named in another way
        // continues them.
        let folder = std::path::absolute(folder).map_err(Error::io("find", folder))?;
        let mut cast = Self {
            file: Rc::new(file.clone()),
            machine,
            store: Store::open(&folder)?,
            folder,
            observer,
            plan: None,
            part: String::new(),
            row: String::new(),
            start: None,
            start_place: PathBuf::new(),
            reference: None,
            answers: HashMap::new(),
            sets: HashMap::new(),
            trainings: Vec::new(),
            sampling_seconds: HashMap::new(),
            left_out: Vec::new(),
        };
        cast.leave_out_what_is_missing();
        Ok(cast)
    }

    /// The same, which plans and computes nothing.
    pub(crate) fn planning(
        file: &CastFile,
        machine: Machine<'a>,
        folder: &Path,
        observer: &'a mut dyn Observer,
    ) -> Result<Self> {
        let cast = Self::new(file, machine, folder, observer)?;
        Ok(Self { plan: Some(Plan::default()), ..cast })
    }

    /// Sets the experiment of the following stages.
    pub(crate) fn begin_part(&mut self, part: String) {
        self.observer.part(&part);
        self.part = part;
    }

    /// Title of the report.
    pub(crate) fn title(&self) -> String {
        format!("Free process rewards on {}", self.file.name)
    }

    /// Sentence that opens the report.
    pub(crate) fn lead(&self) -> String {
        let status = self.file.status.as_ref().map_or(String::new(), |text| format!(" ({text})"));
        format!(
            "Tables and figures of the paper on the cast `{}`{status}: models, problems and \
             generators of `{}`, our numbers beside the paper's, and for each claim whether it holds \
             here.",
            self.file.name,
            self.file.path().display(),
        )
    }

    /// The artefact of this key. One that is damaged is removed, with a note.
    fn find(&mut self, kind: &str, key: &Value) -> Result<Option<PathBuf>> {
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

    fn find_value<T: DeserializeOwned>(&mut self, kind: &str, key: &Value) -> Result<Option<T>> {
        match self.find(kind, key)? {
            Some(artefact) => self.store.value(&artefact),
            None => Ok(None),
        }
    }

    /// What this cast cannot offer, whatever the experiment.
    fn leave_out_what_is_missing(&mut self) {
        let mut left_out = Vec::new();
        if self.file.generators.iter().any(|of| of.truth == StepTruth::Unknown) {
            let why = match self.file.process_bench {
                Some(_) => {
                    "the true first errors of the candidates are not known; ProcessBench is reported \
                     instead"
                }
                None => {
                    "the true first errors of the candidates are not known, and no `[process_bench]` \
                     folder is given"
                }
            };
            left_out.push(["first-error F1 of the candidates".to_owned(), why.to_owned()]);
        }
        let labels = |kind| matches!(kind, RowKind::PrmHead | RowKind::PrmToken);
        if !self.file.rows.iter().any(|row| labels(row.kind)) {
            let why = if self.file.train.generator.is_some() {
                "the cast has no row of the kind `prm-head` or `prm-token`"
            } else {
                "the generators are files, so no prefix can be continued"
            };
            left_out.push(["Math-Shepherd".to_owned(), why.to_owned()]);
        }
        self.left_out = left_out;
    }

    /// The row with this objective that the paper's experiments vary: the first that trains all
    /// parameters, or else the first.
    fn row_of(&self, objective: &Objective) -> Option<usize> {
        let is_it = |idx: &usize| {
            let row = &self.file.rows[*idx];
            let settings = self.file.training_of(*idx);
            row.kind == RowKind::Implicit
                && settings.is_ok_and(|of| of.objective.name() == objective.name())
        };
        let is_full = |idx: &usize| {
            self.file.training_of(*idx).is_ok_and(|settings| settings.lora.lora_rank.is_none())
        };
        let all = || (0..self.file.rows.len()).filter(is_it);
        all().find(is_full).or_else(|| all().next())
    }

    /// The settings of a row's training, with its kind.
    fn settings_of(&self, idx: usize) -> Result<TrainSettings> {
        let kind = match self.file.rows[idx].kind {
            RowKind::Orm => RewardKind::Orm,
            RowKind::PrmHead => RewardKind::PrmHead,
            RowKind::PrmToken => RewardKind::PrmToken,
            RowKind::Implicit | RowKind::Likelihood | RowKind::SelfCertainty => {
                RewardKind::Implicit
            }
        };
        Ok(TrainSettings { kind, ..self.file.training_of(idx)? })
    }

    /// Trains a model, if it needs it.
    fn ready(&mut self, seed: u64, model: &RewardModel) -> Result<Ready> {
        let (idx, recipe, inference) = match model {
            RewardModel::Generator => return self.likelihood(),
            RewardModel::Implicit(recipe, inference) => {
                let name = recipe.objective.name();
                let idx = self.row_of(&recipe.objective);
                let missing = || Error::NoRow { name: name.to_owned() };
                (idx.ok_or_else(missing)?, Some(recipe.clone()), *inference)
            }
            RewardModel::Named(name) => {
                let missing = || Error::NoRow { name: name.clone() };
                let idx = self.file.rows.iter().position(|row| row.name == *name);
                (idx.ok_or_else(missing)?, None, InferenceReference::Start)
            }
            RewardModel::SecondStage(..) | RewardModel::Baseline(_) => {
                return Err(Error::NoRow { name: "of the tiny world".to_owned() });
            }
        };
        let settings = self.settings_of(idx)?;
        let explicit = Choices {
            aggregations: vec![
                Aggregation::Min,
                Aggregation::QMin,
                Aggregation::Mean,
                Aggregation::Outcome,
            ],
            signals: vec![StepSignal::Reward, StepSignal::QValue],
            value_rules: vec![ValueRule::Sum],
        };
        Ok(match self.file.rows[idx].kind {
            RowKind::Likelihood => self.likelihood()?,
            RowKind::SelfCertainty => {
                Ready { form: Form::SelfCertainty(self.reference()?), choices: explicit }
            }
            RowKind::Orm | RowKind::PrmHead | RowKind::PrmToken => {
                let policy = self.trained(seed, &Training { settings, recipe: None })?;
                Ready { form: Form::Own(policy), choices: explicit }
            }
            RowKind::Implicit => {
                let mut settings = settings;
                if let Some(recipe) = &recipe {
                    settings.optimization.epochs = recipe.n_epochs as usize;
                }
                let beta = settings.objective.beta();
                let as_in_paper = Recipe::new(settings.objective, 0.0);
                let choices = Choices::of(&RewardModel::Implicit(as_in_paper, inference));
                let policy = self.trained(seed, &Training { settings, recipe })?;
                let reference = match inference {
                    InferenceReference::Start => WithReference::Yes,
                    InferenceReference::None => WithReference::No,
                };
                Ready { form: Form::LogRatio { policy, beta, reference }, choices }
            }
        })
    }

    fn likelihood(&mut self) -> Result<Ready> {
        let form =
            Form::LogRatio { policy: self.reference()?, beta: 1.0, reference: WithReference::No };
        Ok(Ready { form, choices: Choices::of(&RewardModel::Generator) })
    }

    fn scored(
        &mut self,
        form: &Form,
        rule: ValueRule,
        sets: &[CandidateSet],
    ) -> Result<Vec<Scored>> {
        let mut all = Vec::new();
        for set in sets {
            let scores = self.score(form, rule, &set.answers.rollouts)?;
            if self.plan.is_none() {
                let truth = self.first_errors(set)?.map(Rc::new);
                all.push(Scored::new(&set.name, &set.answers.rollouts, scores, truth)?);
            }
        }
        Ok(all)
    }

    /// Whether the training rollouts have the labels that a row needs.
    fn can_train(&mut self, row: &RowSettings) -> bool {
        let needs_labels = matches!(row.kind, RowKind::PrmHead | RowKind::PrmToken);
        if !needs_labels || self.file.train.generator.is_some() {
            return true;
        }
        let seed = self.file.seeds[0];
        let has_labels = |answers: Answers| {
            let labelled =
                |rollout: &Rollout| rollout.step_labels().is_ok_and(|labels| labels.is_some());
            answers.rollouts.iter().any(labelled)
        };
        self.file.train.problems.is_empty() && self.training_answers(seed).is_ok_and(has_labels)
    }
}

impl Cast for OwnCast<'_> {
    fn seeds(&self) -> Vec<u64> {
        self.file.seeds.clone()
    }

    fn ns(&self) -> Vec<usize> {
        self.file.ns.clone()
    }

    fn bootstrap(&self) -> Bootstrap {
        // A plan measures nothing.
        let n_resamples = if self.plan.is_some() { 1 } else { Bootstrap::default().n_resamples };
        Bootstrap { n_resamples, ..Bootstrap::default() }
    }

    fn generators(&self) -> Vec<String> {
        self.file.generators.iter().map(|generator| generator.name.clone()).collect()
    }

    fn train_size(&mut self) -> Result<(usize, usize)> {
        let seed = self.file.seeds[0];
        if self.plan.is_some() && self.file.train.generator.is_some() {
            let n_problems = self.problems(&Rc::clone(&self.file).train.part())?.len();
            let largest = self.file.ns.iter().max().copied().unwrap_or(1);
            return Ok((n_problems, self.file.train.n_responses.unwrap_or(largest)));
        }
        let rollouts = self.training_answers(seed)?.rollouts;
        let most = rollouts.iter().map(|rollout| rollout.completions.len()).max();
        Ok((rollouts.len(), most.unwrap_or_default()))
    }

    fn conditions(&self) -> Vec<String> {
        self.own_conditions()
    }

    fn tuning(&self) -> Option<String> {
        Some(
            "Nothing was tuned: every row has the settings that the cast gives, one trial each."
                .to_owned(),
        )
    }

    fn left_out(&self) -> Vec<[String; 2]> {
        self.left_out.clone()
    }

    fn leave_out(&mut self, what: &str, why: &str) {
        let line = [what.to_owned(), why.to_owned()];
        if !self.left_out.contains(&line) {
            self.left_out.push(line);
        }
    }

    fn offers(&self, model: &RewardModel) -> Result<(), &'static str> {
        match model {
            RewardModel::Implicit(recipe, _) => match recipe.factor {
                Factor::None
                | Factor::DatasetBalanced
                | Factor::InstructionBalanced
                | Factor::Deduplicated => Ok(()),
                Factor::OtherInstructions | Factor::OtherInstructionsOnePair => {
                    Err("a cast names no problems of another kind")
                }
                Factor::BaseResponses => Err("a cast names no base model of its generators"),
            },
            RewardModel::SecondStage(..) => {
                Err("a second stage on step labels needs the tiny world")
            }
            RewardModel::Baseline(_) => Err("the row is one of the tiny world"),
            RewardModel::Generator | RewardModel::Named(_) => Ok(()),
        }
    }

    fn start_name(&self) -> String {
        "the start".to_owned()
    }

    fn here(&self) -> &'static str {
        "on this cast"
    }

    fn margin(&self) -> Option<f64> {
        None
    }

    fn begin_row(&mut self, row: &str, seed: u64) {
        row.clone_into(&mut self.row);
        let seed = match self.file.seeds.len() {
            1 => String::new(),
            _ => format!(", seed {seed}"),
        };
        self.observer.part(&format!("{}, {row}{seed}", self.part));
    }

    fn rows(&mut self) -> Vec<TableRow> {
        let mut rows = Vec::new();
        let file = Rc::clone(&self.file);
        for (idx, row) in file.rows.iter().enumerate() {
            if !self.can_train(row) {
                let why = "the training rollouts have no step labels, and no engine continues their \
                           prefixes; `gratis annotate` adds labels";
                self.leave_out(&format!("row `{}`", row.name), why);
                continue;
            }
            let Ok(settings) = self.settings_of(idx) else { continue };
            let rate = settings.optimization.learning_rate;
            let rate = rate.map_or("learning rate by size".to_owned(), |rate| {
                format!("learning rate {rate:e}")
            });
            let adapter =
                settings.lora.lora_rank.map_or(String::new(), |rank| format!(", LoRA rank {rank}"));
            let objective = settings.objective;
            let is_the_one = self.row_of(&objective) == Some(idx);
            let (group, detail, role, paper) = match row.kind {
                RowKind::Implicit => (
                    IMPLICIT,
                    format!("{}, beta {}, {rate}{adapter}", objective.name(), objective.beta()),
                    if is_the_one { Role::Implicit(objective, Factor::None) } else { Role::Other },
                    tuned(objective).paper.filter(|_| is_the_one),
                ),
                RowKind::Orm | RowKind::PrmHead | RowKind::PrmToken => {
                    (EXPLICIT, format!("{rate}{adapter}"), Role::Other, None)
                }
                RowKind::Likelihood | RowKind::SelfCertainty => {
                    (UNTRAINED, "not trained".to_owned(), Role::Other, None)
                }
            };
            let (name, model) = (row.name.clone(), RewardModel::Named(row.name.clone()));
            rows.push(TableRow { group, name, detail, paper, model, role });
        }
        rows
    }

    fn recipe(&mut self, objective: Objective) -> Option<Tuned> {
        let Some(settings) = self.row_of(&objective).and_then(|idx| self.settings_of(idx).ok())
        else {
            let why = "the cast has no row with this objective";
            self.leave_out(&format!("`{}`", objective.name()), why);
            return None;
        };
        let rate = settings.optimization.learning_rate.unwrap_or_default();
        let n_epochs = settings.optimization.epochs as u64;
        let recipe = Recipe { n_epochs, ..Recipe::new(settings.objective, rate) };
        Some(Tuned { recipe, paper: tuned(objective).paper })
    }

    fn controls(&mut self, seed: u64) -> Result<Controls> {
        let ns = self.file.ns.clone();
        if self.plan_before_sampling(seed, &RewardModel::Generator)?.is_some() {
            let n = self.problems(&Rc::clone(&self.file).test)?.len();
            let blank = blank(self.file.generators.len() * ns.len(), n).best_of_n;
            return Ok(Controls { majority: blank.clone(), random: blank.clone(), oracle: blank });
        }
        let sets = self.candidate_sets(Purpose::Test, seed)?;
        let mut scored = Vec::new();
        for set in &*sets {
            scored.push(Scored::unscored(&set.name, &set.answers.rollouts)?);
        }
        Controls::measure(&scored, &ns)
    }

    fn evaluate(&mut self, seed: u64, model: &RewardModel) -> Result<Evaluation> {
        if let Some(blank) = self.plan_before_sampling(seed, model)? {
            return Ok(blank);
        }
        let Ready { form, choices } = self.ready(seed, model)?;
        let validation = self.candidate_sets(Purpose::Validation, seed)?;
        let test = self.candidate_sets(Purpose::Test, seed)?;
        let digests = |sets: &[CandidateSet]| -> Vec<String> {
            sets.iter().map(|set| set.digest.clone()).collect()
        };
        let with_reference = matches!(form, Form::LogRatio { reference: WithReference::Yes, .. });
        let reference = if with_reference { Some(self.reference()?.key) } else { None };
        let ns = self.file.ns.clone();
        let mut key = json!({ "scores": form.key(), "reference": reference, "choices": choices,
                              "ns": ns, "validation": digests(&validation), "test": digests(&test),
                              "split": self.file.step_split.to_string(),
                              "prompt": self.file.prompt, "batch": self.file.batch_tokens });
        let mut truth = Vec::new();
        for set in validation.iter().chain(&*test) {
            truth.extend(self.first_errors(set)?);
        }
        if !truth.is_empty() {
            key["first_errors"] = json!(data::hash_text(&[&json!(truth).to_string()]));
        }
        if let Some(evaluation) = self.find_value("judgement", &key)? {
            return Ok(evaluation);
        }
        let mut scored = Vec::new();
        for &rule in &choices.value_rules {
            let validation = self.scored(&form, rule, &validation)?;
            scored.push(ByRule { rule, validation, test: self.scored(&form, rule, &test)? });
        }
        if self.plan.is_some() {
            let n = test.first().map_or(0, |set| set.answers.rollouts.len());
            return Ok(blank(test.len() * ns.len(), n));
        }
        let evaluation = evaluate(&scored, &ns, &choices)?;
        self.store.make_value("judgement", &key, &evaluation)?;
        Ok(evaluation)
    }

    fn policy(&mut self, seed: u64, model: &RewardModel, n_samples: usize) -> Result<Vec<f64>> {
        if let Some(blank) = self.plan_before_sampling(seed, model)? {
            return Ok(blank.best_of_n.cells.into_iter().next().unwrap_or_default());
        }
        let Form::LogRatio { policy, .. } = self.ready(seed, model)?.form else {
            return Err(Error::CastData {
                what: "a model with a head gives no solutions".to_owned(),
                hint: "table 2 is of implicit models",
            });
        };
        self.pass_at_1(&policy, seed, n_samples)
    }

    fn temperature(&self) -> f32 {
        self.file.sampling.temperature
    }

    fn way_name(&self, way: Way) -> String {
        costs::name_of(way)
    }

    fn way_model(&mut self, way: Way, n_responses: Option<usize>) -> Option<RewardModel> {
        self.model_of_way(way, n_responses)
    }

    fn operations(&mut self, seed: u64, way: Way, n_responses: usize) -> Result<Operations> {
        self.operations_of_way(seed, way, n_responses)
    }

    fn counting(&self) -> String {
        self.how_operations_are_counted()
    }

    fn processor_seconds(&mut self, seed: u64, way: Way) -> Result<Option<f64>> {
        self.seconds_of_way(seed, way)
    }

    fn inference(&mut self, seed: u64) -> Result<Vec<Inference>> {
        self.inference_of_ce(seed)
    }

    fn propositions(&self) -> Propositions {
        self.file.propositions
    }

    fn prefix_estimates(&mut self, seed: u64) -> Result<Vec<PrefixEstimate>> {
        self.estimates_at_prefixes(seed)
    }

    fn details(&mut self, rows: &[TableRow]) -> Result<Details> {
        self.own_details(rows)
    }
}
