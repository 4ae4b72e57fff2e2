//! A training run from its settings to its run folder: one call for every front end.
//!
//! [`train`] opens the initial model and its reference, reads the data, trains with `fit` and
//! writes the cost record. The kind of model, an implicit reward model or one of the paper's
//! baselines, is a setting ([`RewardKind`]).

mod card;
mod data;
pub(crate) mod explicit;
mod lora;
mod reference;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use explicit::ExplicitSettings;
pub use explicit::RewardKind;
pub use lora::AdapterSettings;

use self::data::TrainData;
use self::reference::Reference;
use crate::cost::{Architecture, COST_FILE, CostRecord, JobWork, Pass, Phase, Work};
use crate::data::Error as DataError;
use crate::data::{DataOperation, ShapeSettings, StepSplit};
use crate::encoding::{OnOverlong, TokenIds};
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::objective::Objective;
use crate::observer::Observer;
use crate::reward::ValueRule;
use crate::reward_model::{Hub, LoadOptions, Model, PromptSettings};
use crate::selection::Aggregation;
use crate::training::{
    CheckpointSettings, ImplicitReward, LogFormat, OnExisting, OptimizationSettings, Purpose,
    RewardData, RunFolder, Summary, Task, Warning, fit, training_work,
};

/// The settings of a run; the `config.toml` of its folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(deny_unknown_fields, default)]
pub struct TrainSettings {
    /// Model to start from.
    #[cfg_attr(feature = "clap", arg(short, long, visible_alias = "engine"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// Reference model, or `none` [default: the reference of the initial model, the base of an
    /// adapter, or else the initial model itself].
    #[cfg_attr(feature = "clap", arg(short, long))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<PathBuf>,
    /// Graded rollout files.
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "FILE", num_args = 1..))]
    pub data: Vec<PathBuf>,
    /// File with graded rollouts for validation.
    #[cfg_attr(feature = "clap", arg(long, value_name = "FILE"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Share of the problems to hold out for validation, if no validation file is given.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().validation_share))]
    pub validation_share: f64,
    /// How solutions without `steps` are split when scoring.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().step_split))]
    pub step_split: StepSplit,
    /// How step rewards are aggregated into a solution's score; if left at `min`, outcome models
    /// use `outcome` and explicit process models `q_min`.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().aggregation))]
    pub aggregation: Aggregation,
    /// What to do with completions longer than the context.
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Self::default().on_overlong))]
    pub on_overlong: OnOverlong,
    /// Token ids that completions bring: `use` trains on them as they are, `ignore` tokenizes the
    /// texts.
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    #[serde(skip_serializing_if = "TokenIds::is_default")]
    pub token_ids: TokenIds,
    /// Skip and count malformed lines.
    #[cfg_attr(feature = "clap", arg(long))]
    pub skip_invalid: bool,
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(skip_serializing_if = "ShapeSettings::is_default")]
    /// How the records of the data become rollouts.
    pub shape: ShapeSettings,
    /// Operation on the training data before training, with settings after commas (`deduplicate`,
    /// `balance_instructions,seed=1`); repeatable, see `gratis data apply --help`.
    #[cfg_attr(feature = "clap", arg(long = "operation", value_name = "OPERATION"))]
    pub operations: Vec<DataOperation>,
    /// Kind of reward model to train.
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    #[serde(skip_serializing_if = "RewardKind::is_default")]
    pub kind: RewardKind,
    /// Objective of an implicit model, with settings after commas: `ce`, `kto,beta=0.5`.
    #[cfg_attr(feature = "clap", arg(long, default_value = "ce"))]
    pub objective: Objective,
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(skip_serializing_if = "PromptSettings::is_default")]
    /// The prompt.
    pub prompt: PromptSettings,
    #[cfg_attr(feature = "clap", command(flatten))]
    /// Steps, batches and the learning rate.
    pub optimization: OptimizationSettings,
    #[cfg_attr(feature = "clap", command(flatten))]
    /// Validation and checkpoints.
    pub checkpoints: CheckpointSettings,
    #[cfg_attr(feature = "clap", command(flatten))]
    /// The adapter.
    pub lora: AdapterSettings,
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(skip_serializing_if = "ExplicitSettings::is_default")]
    #[doc(hidden)]
    /// Settings of models that are not implicit.
    pub baseline: ExplicitSettings,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            model: None,
            reference: None,
            data: Vec::new(),
            validation: None,
            validation_share: 0.0,
            step_split: StepSplit::default(),
            aggregation: Aggregation::default(),
            on_overlong: OnOverlong::default(),
            token_ids: TokenIds::default(),
            skip_invalid: false,
            shape: ShapeSettings::default(),
            operations: Vec::new(),
            kind: RewardKind::default(),
            objective: Objective::default(),
            prompt: PromptSettings::default(),
            optimization: OptimizationSettings::default(),
            checkpoints: CheckpointSettings::default(),
            lora: AdapterSettings::default(),
            baseline: ExplicitSettings::default(),
        }
    }
}

impl TrainSettings {
    /// Checks the settings that can be checked without a model.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting), [`Error::MissingSetting`].
    pub fn validate(&self) -> Result<()> {
        self.objective.validate()?;
        self.optimization.validate()?;
        self.baseline.validate(self.kind)?;
        if !(0.0..1.0).contains(&self.validation_share) {
            let expected = "at least 0 and below 1";
            return Err(Error::setting("validation_share", expected, self.validation_share));
        }
        if self.model.is_none() {
            return Err(Error::MissingSetting { field: "model" });
        }
        if self.data.is_empty() {
            return Err(Error::MissingSetting { field: "data" });
        }
        Ok(())
    }
}

/// The requests to a training server, in the folder of the run.
const REQUESTS_FILE: &str = "requests.jsonl";

/// The folder, threads and caches of a run.
#[derive(Clone, Copy)]
pub struct TrainPlace<'a> {
    /// Run folder.
    pub run: &'a Path,
    /// What to do if the folder already contains a run.
    pub on_existing: OnExisting,
    /// Number of compute threads.
    pub n_threads: usize,
    /// Finds models by name.
    pub hub: &'a dyn Hub,
    /// A folder for temporary files.
    pub scratch: &'a Path,
    /// Cache folder for the reference's log-probabilities; `None` keeps them in memory only.
    pub cache: Option<&'a Path>,
    /// Formats in which the metrics are written beside `metrics.jsonl`.
    pub logs: &'a [LogFormat],
    /// Seconds since 1970, for formats that record the time: the library reads no clock.
    pub now: f64,
}

/// Trains a reward model from graded rollouts. The run folder then contains `config.toml` with
/// every setting resolved, `metrics.jsonl`, `checkpoints/`, the last model in `model/` and, with a
/// validation split, the best in `best/`.
///
/// # Errors
/// Those of the settings, the data, the models and the training.
pub fn train(
    settings: &TrainSettings,
    at: TrainPlace<'_>,
    observer: &mut dyn Observer,
) -> Result<Summary> {
    settings.validate()?;
    let model_path = settings.model.as_ref().ok_or(Error::MissingSetting { field: "model" })?;
    RunFolder::check(at.run, at.on_existing)?;

    // The models.
    let options = LoadOptions {
        n_threads: at.n_threads,
        weights: settings.lora.weights,
        ..LoadOptions::default()
    };
    let model = Model::load(model_path, options, at.hub, observer)?;
    let (kind, model_hash) = (settings.kind, model.hash()?);
    let reference = match kind {
        RewardKind::Implicit => {
            Reference::load(settings.reference.as_deref(), &model, &at, observer)?
        }
        _ => Reference::None,
    };
    let model = settings.lora.apply(model, settings.optimization.seed, observer)?;
    model.check_trainable()?;
    model.check_clipping(settings.optimization.clip)?;
    let mut model = settings.baseline.fit_head(kind, model)?;
    let settings = &resolved(settings, &model, observer);

    // Tokens.
    let template = settings.prompt.template(&model, observer)?;
    let conversations = settings.prompt.conversations(&model)?;
    let encoder = model
        .encoder(&template, settings.on_overlong)?
        .with_conversations(conversations)
        .with_token_ids(settings.token_ids);
    let TrainData { train: mut train_data, validation: mut validation_data } =
        data::read(settings, &encoder, at.scratch, observer)?;
    settings.baseline.relabel(&mut train_data);
    settings.baseline.relabel(&mut validation_data);
    observer.note(&format!(
        "{} problems, {} completions ({} correct, {} distinct); {} held out",
        train_data.n_problems,
        train_data.examples.len(),
        train_data.n_correct(),
        train_data.corpus.responses().len(),
        validation_data.examples.len(),
    ));
    let mut unusual = train_data.unusual;
    unusual += validation_data.unusual;
    unusual.remarks().iter().for_each(|remark| observer.note(remark));
    let n_soft = train_data.n_soft() + validation_data.n_soft();
    if n_soft > 0 {
        observer.note(&format!(
            "{n_soft} labels are soft (between 0 and 1): they are the targets of the objective, and \
             accuracies and mean rewards count those above 1/2 as correct"
        ));
    }
    let n_masked = train_data.n_masked + validation_data.n_masked;
    if n_masked > 0 {
        let what = match kind {
            RewardKind::Implicit => "the masked parts are not used in training",
            _ => "only fully masked steps are skipped, because a value is that of the whole text",
        };
        observer.note(&format!("{n_masked} completions have masks: {what}"));
    }
    settings.baseline.check(kind, &settings.objective, &train_data, model.tokenizer())?;

    if settings.baseline.needs_pairs(kind, &settings.objective) {
        match Warning::of_pairs(&train_data) {
            Some(warning) => observer.warn(&warning.to_string()),
            None => observer.note(&format!(
                "{} pairs from {} of {} problems",
                train_data.pairs.len(),
                train_data.n_with_pairs,
                train_data.n_problems
            )),
        }
    }

    // The run, opened before the slow pass of the reference.
    let manifest = Manifest {
        version: Manifest::VERSION,
        kind: settings.baseline.kind(kind, settings.objective),
        beta: if kind == RewardKind::Implicit { settings.objective.beta() } else { 1.0 },
        value_rule: Some(settings.objective.value_rule())
            .filter(|rule| kind == RewardKind::Implicit && *rule != ValueRule::Sum),
        reference: reference.named(&at.run.join("model"))?,
        step_split: settings.step_split.clone(),
        aggregation: kind.aggregation(settings.aggregation),
        template,
        chat: settings.prompt.chat_settings(&model),
        data_hash: train_data.corpus.digest(),
    };
    let base = model_path.to_string_lossy();
    let card = card::card(settings, &manifest, &base, &train_data, &validation_data);
    let mut companions = model.companions(at.scratch)?;
    companions.push((Manifest::FILE_NAME.to_owned(), manifest.to_bytes()));
    let run_hash = format!("{} {} {}", train_data.digest(), validation_data.digest(), model_hash);
    let config = toml::to_string(settings).map_err(|error| DataError::Caller(Box::new(error)))?;
    let run = RunFolder::open(at.run, &config, &run_hash, companions, at.on_existing)?;
    let mut run = run.with_threads(at.n_threads).with_card(card).with_logs(at.logs, at.now);
    if let Some(found) = model.prepare_training(&at.run.join(REQUESTS_FILE))? {
        observer.note(&format!("on the server {found}"));
    }
    observer.resumable();

    let optimization = &settings.optimization;
    let mut reference_work = None;
    let mut task_on = |data: RewardData, split: Split| -> Result<Box<dyn Task>> {
        if kind != RewardKind::Implicit {
            return settings.baseline.task(kind, data, model.tokenizer());
        }
        let RewardData { corpus, examples, pairs, .. } = data;
        let (objective, context) = (settings.objective, model.config().context_length);
        let task = ImplicitReward::new(objective, corpus, examples, &pairs, context, optimization);
        if split == Split::Training {
            task.warnings().for_each(|warning| observer.warn(&warning));
        }
        let is_used = match split {
            Split::Training => task.used_in_training(optimization),
            Split::Validation => task.used_in_evaluation(),
        };
        let budget = optimization.micro_batch_tokens;
        let values = reference.log_probs(&task, &is_used, &model, at.cache, budget, observer)?;
        Ok(match values {
            None => Box::new(task),
            Some((log_probs, work)) => {
                if split == Split::Training {
                    reference_work = Some(work);
                }
                Box::new(task.with_reference(log_probs))
            }
        })
    };
    let mut task = task_on(train_data, Split::Training)?;
    let mut validation = if validation_data.examples.is_empty() {
        None
    } else {
        Some(task_on(validation_data, Split::Validation)?)
    };

    let architecture = Architecture::from(model.config());
    let summary = fit(
        &mut model.learner(),
        task.as_mut(),
        validation.as_mut().map(|task| &mut **task as &mut dyn Task),
        &settings.optimization,
        &settings.checkpoints,
        Some(&mut run),
        observer,
    )?;
    if let Some(traffic) = model.traffic() {
        observer.note(&format!("`{}`: {traffic}", model.place().display_name()));
    }
    let architecture = if kind.has_head() { architecture.with_scalar_head() } else { architecture };
    let phases = phases(architecture, task.as_ref(), optimization, reference_work)?;
    let before = summary.processor_seconds_before;
    let seconds = observer.processor_seconds().map(|seconds| before + seconds);
    let cost = CostRecord::new(phases, seconds);
    cost.write(&at.run.join(COST_FILE))?;
    Ok(summary)
}

/// The settings with the learning rate that they leave to the model.
fn resolved(settings: &TrainSettings, model: &Model, observer: &mut dyn Observer) -> TrainSettings {
    let mut settings = settings.clone();
    model.set_learning_rate(&mut settings.optimization, Purpose::RewardModel, observer);
    settings
}

/// What responses are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    Training,
    Validation,
}

/// The cost of training; `reference_work` are the reference's passes over the data that were used.
fn phases(
    architecture: Architecture,
    task: &dyn Task,
    optimization: &OptimizationSettings,
    reference_work: Option<Work>,
) -> Result<Vec<Phase>> {
    let JobWork { as_run, as_counted } = training_work(task, optimization)?;
    let pass = Pass::ForwardBackward;
    let mut phases = vec![Phase::new("training", pass, architecture, as_run, as_counted)];
    if let Some(as_run) = reference_work {
        // Counted once per trained response; run once per distinct response.
        let pass = Pass::Forward;
        phases.push(Phase::new("reference", pass, architecture, as_run, as_counted));
    }
    Ok(phases)
}
