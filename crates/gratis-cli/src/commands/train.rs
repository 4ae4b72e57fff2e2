//! `gratis train`: an implicit process reward model from outcome labels, or one of the usual kinds.

mod baseline;
mod data;
mod lora;
mod reference;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{ArgMatches, Args};
use gratis::cost::{Architecture, COST_FILE, CostRecord, Pass, Phase};
use gratis::data::{DataOperation, StepSplit};
use gratis::encoding::OnOverlong;
use gratis::manifest::{FILE_NAME, Manifest};
use gratis::objective::Objective;
use gratis::selection::Aggregation;
use gratis::training::{
    CheckpointSettings, Companion, ImplicitReward, OnExisting, OptimizationSettings, RewardData,
    RunFolder, Task, fit, scoring_work, training_work,
};
use serde::{Deserialize, Serialize};
use tracing::info;

use self::baseline::{BaselineSettings, Kind};
use self::data::TrainData;
use self::lora::LoraArgs;
use self::reference::Reference;
use super::training;
use crate::Common;
use crate::config;
use crate::failure::CliError;
use crate::interrupt::{Continue, on_interrupt};
use crate::model::Model;
use crate::progress::Progress;
use crate::prompt::PromptSettings;
use crate::{output, usage};

/// Train an implicit process reward model from outcome labels only, or a baseline.
///
/// The reward of a solution is `beta * log pi/pi_ref`; an objective fits it to the labels, and every
/// step's reward follows for free. The run folder holds `config.toml`, `metrics.jsonl`,
/// `checkpoints/`, the last model in `model/` and, with a validation split, the best in `best/`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis train --model my-model --data graded.jsonl --run runs/prm
  gratis train --model my-model --data graded.jsonl --run runs/dpo --objective dpo --beta 0.1
  gratis train --model my-model --data graded.jsonl --run runs/balanced \\
    --operation balance_instructions --operation subsample_responses,n=4
  gratis train --model org/model --data graded.jsonl --run runs/lora --lora-rank 16
  gratis train --config runs/prm/config.toml --learning-rate 3e-4 --run runs/prm-2
  gratis train --config runs/prm/config.toml --run runs/prm --resume")]
pub(crate) struct TrainArgs {
    /// Settings in a file, as `config.toml` of a run folder has them; flags overrule it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the run.
    #[arg(long, value_name = "FOLDER")]
    run: PathBuf,
    /// Go on with the run in the folder, if there is one, to the same bits.
    #[arg(long)]
    resume: bool,
    /// Factor of the log-ratio [default: the objective's].
    #[arg(long)]
    beta: Option<f64>,
    #[command(flatten)]
    settings: TrainSettings,
}

/// What a run depends on; `config.toml` of its folder.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TrainSettings {
    /// Model to start from.
    #[arg(short, long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<PathBuf>,
    /// Reference model, or `none` [default: the model to start from].
    #[arg(short, long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<PathBuf>,
    /// Graded rollout files.
    #[arg(short, long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Graded rollouts to validate on.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<PathBuf>,
    /// Share of the problems to hold out for validation, where no file is given.
    #[arg(long, default_value_t = Self::default().validation_share)]
    validation_share: f64,
    /// How solutions without `steps` are to be split when scoring.
    #[arg(long, default_value_t = Self::default().step_split)]
    step_split: StepSplit,
    /// How step rewards are to become a solution's score; where it is left at `min`, outcome models
    /// take `outcome` and explicit process models `q_min`.
    #[arg(long, default_value_t = Self::default().aggregation)]
    aggregation: Aggregation,
    /// What to do with completions longer than the context.
    #[arg(long, value_enum, default_value_t = Self::default().on_overlong)]
    on_overlong: OnOverlong,
    /// Leave out and count malformed lines and empty completions.
    #[arg(long)]
    skip_invalid: bool,
    /// What to do with the training data first, with settings after commas (`deduplicate`,
    /// `balance_instructions,seed=1`); may be repeated, see `gratis data apply --help`.
    #[arg(long = "operation", value_name = "OPERATION")]
    operations: Vec<DataOperation>,
    /// What kind of reward model is trained.
    #[arg(long, value_enum, default_value_t)]
    #[serde(skip_serializing_if = "Kind::is_default")]
    kind: Kind,
    /// Objective of an implicit model, with settings after commas: `ce`, `kto,beta=0.5`.
    #[arg(long, default_value = "ce")]
    objective: Objective,
    #[command(flatten)]
    #[serde(skip_serializing_if = "PromptSettings::is_default")]
    prompt: PromptSettings,
    #[command(flatten)]
    optimization: OptimizationSettings,
    #[command(flatten)]
    checkpoints: CheckpointSettings,
    #[command(flatten)]
    lora: LoraArgs,
    #[command(flatten)]
    #[serde(skip_serializing_if = "BaselineSettings::is_default")]
    baseline: BaselineSettings,
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
            skip_invalid: false,
            operations: Vec::new(),
            kind: Kind::default(),
            objective: Objective::default(),
            prompt: PromptSettings::default(),
            optimization: OptimizationSettings::default(),
            checkpoints: CheckpointSettings::default(),
            lora: LoraArgs::default(),
            baseline: BaselineSettings::default(),
        }
    }
}

pub(crate) fn run(args: TrainArgs, given: &ArgMatches, common: &Common) -> Result<()> {
    let mut settings = config::layered(args.settings, given, args.config.as_deref())?;
    if let Some(beta) = args.beta {
        settings.objective = settings.objective.with_beta(beta);
    }
    settings.objective.validate()?;
    settings.optimization.validate()?;
    settings.baseline.validate(settings.kind)?;
    let missing = |field| CliError::Missing {
        field,
        hint: format!("give `--{field}`, or set `{field}` in the file of `--config`"),
    };
    let model_path = settings.model.clone().ok_or(missing("model"))?;
    let first_data = settings.data.first().cloned().ok_or(missing("data"))?;

    let on_existing = if args.resume { OnExisting::Resume } else { OnExisting::Fail };
    RunFolder::check(&args.run, on_existing)?;

    // Tokens.
    let model = Model::load_as(&model_path, common.threads, settings.lora.weights)?;
    let (kind, model_hash) = (settings.kind, model.hash()?);
    let mut reference = match kind {
        Kind::Implicit => Reference::load(settings.reference.as_deref(), &model, common)?,
        _ => Reference::None,
    };
    let model = settings.lora.apply(model, settings.optimization.seed)?;
    let mut model = settings.baseline.fit_head(kind, model)?;
    let template = settings.prompt.template(&model)?;
    let mut progress = Progress::new(common);
    let encoder = model.encoder(&template, settings.on_overlong)?;
    let TrainData { train: mut train_data, validation: mut validation_data } =
        data::read(&settings, &encoder, &mut progress)?;
    settings.baseline.relabel(&mut train_data);
    settings.baseline.relabel(&mut validation_data);
    let n_correct = train_data.n_correct();
    info!(
        "{} problems, {} completions ({n_correct} correct, {} distinct); {} held out",
        train_data.n_problems,
        train_data.examples.len(),
        train_data.corpus.responses().len(),
        validation_data.examples.len(),
    );
    settings.baseline.check(kind, &settings.objective, &train_data, &model.tokenizer)?;

    // The run, opened before the reference takes its time.
    let manifest = Manifest {
        version: Manifest::VERSION,
        objective: (kind == Kind::Implicit).then_some(settings.objective),
        baseline: settings.baseline.form(kind),
        beta: if kind == Kind::Implicit { settings.objective.beta() } else { 1.0 },
        reference: reference.named()?,
        step_split: settings.step_split.clone(),
        aggregation: kind.aggregation(settings.aggregation),
        template,
        data_hash: train_data.corpus.digest(),
    };
    let mut companions = model.companions()?;
    companions.push(Companion { name: FILE_NAME.to_owned(), bytes: manifest.to_bytes() });
    let run_hash = format!("{} {} {}", train_data.digest(), validation_data.digest(), model_hash);
    let config = config::resolved(&settings)?;
    let mut run = RunFolder::open(&args.run, &config, &run_hash, companions, on_existing)?;
    on_interrupt(Continue::WithResume);

    let optimization = &settings.optimization;
    let mut task_on = |data: RewardData, file: &Path| -> Result<Box<dyn Task>> {
        if kind != Kind::Implicit {
            return settings.baseline.task(kind, data, &model.tokenizer);
        }
        let RewardData { corpus, examples, pairs, .. } = data;
        let task = ImplicitReward::new(settings.objective, corpus, examples, &pairs, optimization);
        // The cache stands beside the data; standard input has no place.
        let of_run = args.run.join("stdin");
        let beside = if file == Path::new("-") { &of_run } else { file };
        let budget = optimization.micro_batch_tokens;
        Ok(Box::new(reference.apply(task, &model, beside, budget, &mut progress)?))
    };
    let mut task = task_on(train_data, &first_data)?;
    let validation_file = settings.validation.as_ref().unwrap_or(&first_data);
    let mut validation = if validation_data.examples.is_empty() {
        None
    } else {
        Some(task_on(validation_data, validation_file)?)
    };

    let summary = fit(
        &mut kind.learner(&mut model.engine),
        task.as_mut(),
        validation.as_mut().map(|task| &mut **task as &mut dyn Task),
        &settings.optimization,
        &settings.checkpoints,
        Some(&mut run),
        &mut progress,
    )?;
    progress.finish();
    let has_reference = !matches!(reference, Reference::None);
    write_cost(&args.run, &model, task.as_ref(), optimization, (kind, has_reference))?;
    training::report(&summary, &args.run);
    let folder = args.run.to_string_lossy();
    output::next(&["gratis", "score", "--model", &folder, "ROLLOUTS", "-o", "scores.jsonl"]);
    Ok(())
}

/// Writes what the training cost into its folder.
fn write_cost(
    run: &Path,
    model: &Model,
    task: &dyn Task,
    optimization: &OptimizationSettings,
    (kind, has_reference): (Kind, bool),
) -> Result<()> {
    let mut architecture = Architecture::from(model.engine.config());
    if kind.has_head() {
        architecture = architecture.with_scalar_head();
    }
    let (as_run, as_counted) = training_work(task, optimization)?;
    let pass = Pass::ForwardBackward;
    let mut phases = vec![Phase::new("training", pass, architecture, as_run, as_counted)];
    if has_reference {
        // Counted with every trained response; run once for each distinct one.
        let (as_run, _) = scoring_work(task, optimization.micro_batch_tokens)?;
        let pass = Pass::Forward;
        phases.push(Phase::new("reference", pass, architecture, as_run, as_counted));
    }
    Ok(CostRecord::new(phases, usage::cpu_seconds()).write(&run.join(COST_FILE))?)
}
