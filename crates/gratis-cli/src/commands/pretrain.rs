//! `gratis pretrain`: trains a plain language model, from scratch or from a checkpoint.

use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgMatches, Args};
use gratis::data::RecordReader;
use gratis::encoding::OnOverlong;
use gratis::reward_model::{Model, PromptSettings, Weights};
use gratis::training::{
    CheckpointSettings, LanguageExample, LanguageModelling, LogFormat, LossOn, OnExisting,
    OptimizationSettings, Purpose, RunFolder, Task, fit, language_data,
};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::training;
use super::{on_invalid, read_records};
use crate::Common;
use crate::config::{self, Base};
use crate::failure::CliError;
use crate::interrupt::{Continue, on_interrupt};
use crate::model::{self, Remarks};
use crate::output;
use crate::progress::Progress;
use crate::temporary::TemporaryFolder;

/// Train a language model on texts, or on completions given their prompts.
///
/// Each line has a `text`, or a `prompt` with `completions` as in rollout files.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis init --preset tiny --train-tokenizer corpus.jsonl --vocab 4096 fresh
  gratis pretrain --model fresh --data corpus.jsonl --run runs/base --epochs 3")]
pub(crate) struct PretrainArgs {
    /// File with settings in the format of a run folder's `config.toml`; flags override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Run folder.
    #[arg(long, value_name = "FOLDER")]
    run: PathBuf,
    /// Continue the run in the folder, if there is one, with the settings of its `config.toml`; the
    /// result has the same bits as that of an uninterrupted run.
    #[arg(long)]
    resume: bool,
    /// Also write the metrics in this format, beside `metrics.jsonl`; repeatable.
    #[arg(long, value_enum, value_name = "FORMAT")]
    log: Vec<LogFormat>,
    #[command(flatten)]
    settings: PretrainSettings,
}

/// The settings of a run; the `config.toml` of its folder.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PretrainSettings {
    /// Model to start from.
    #[arg(short, long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<PathBuf>,
    /// Training files.
    #[arg(short, long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Validation file.
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<PathBuf>,
    /// Which tokens contribute to the loss.
    #[arg(long, value_enum, default_value_t = LossOn::default())]
    loss_on: LossOn,
    /// What to do with completions longer than the context.
    #[arg(long, value_enum, default_value_t = OnOverlong::default())]
    on_overlong: OnOverlong,
    /// Skip and count malformed lines.
    #[arg(long)]
    skip_invalid: bool,
    #[command(flatten)]
    #[serde(skip_serializing_if = "PromptSettings::is_default")]
    prompt: PromptSettings,
    #[command(flatten)]
    optimization: OptimizationSettings,
    #[command(flatten)]
    checkpoints: CheckpointSettings,
}

pub(crate) fn run(args: PretrainArgs, given: &ArgMatches, common: &Common) -> Result<()> {
    let base = Base::of_run(args.config.as_deref(), &args.run, args.resume);
    let mut settings = config::layered(args.settings, given, &base, |settings| settings)?;
    settings.optimization.validate()?;
    let missing = |field| CliError::Missing {
        field,
        hint: format!("give `--{field}`, or set `{field}` in the file of `--config`"),
    };
    let model_path = settings.model.clone().ok_or(missing("model"))?;
    if settings.data.is_empty() {
        return Err(missing("data").into());
    }
    let on_existing = if args.resume { OnExisting::Resume } else { OnExisting::Fail };
    RunFolder::check(&args.run, on_existing)?;
    let mut model = model::load(&model_path, Weights::Loaded, common)?;
    model.check_trainable()?;
    settings.optimization.resolve(&model.trained(Purpose::LanguageModel), &mut Remarks);
    let (mut task, mut validation) = {
        let validation: Vec<PathBuf> = settings.validation.iter().cloned().collect();
        (load(&settings.data, &settings, &model)?, load(&validation, &settings, &model)?)
    };
    info!(
        "{} responses, {} distinct; {} for validation",
        task.items().len(),
        task.corpus().responses().len(),
        validation.items().len(),
    );
    let scratch = TemporaryFolder::new()?;
    let companions = model.companions(scratch.path())?;
    let run_hash = format!("{} {}", task.corpus().digest(), model.hash()?);
    let config = config::resolved(&settings)?;
    if task.items().is_empty() {
        return Err(gratis::Error::NoExamples { purpose: "train on", n_left_out: 0 }.into());
    }
    let run = RunFolder::open(&args.run, &config, &run_hash, companions, on_existing)?;
    let mut run = run.with_threads(common.threads).with_logs(&args.log, training::now());
    on_interrupt(Continue::WithResume);
    let mut progress = Progress::new(common);
    let has_validation = !validation.items().is_empty();
    let summary = fit(
        &mut model.learner(),
        &mut task,
        has_validation.then_some(&mut validation as &mut dyn Task),
        &settings.optimization,
        &settings.checkpoints,
        Some(&mut run),
        &mut progress,
    )?;
    progress.finish();
    training::report(&summary, &args.run);
    let folder = args.run.to_string_lossy();
    output::next(&["gratis", "rollout", "--model", &folder, "PROBLEMS", "-o", "rollouts.jsonl"]);
    Ok(())
}

fn load(
    paths: &[PathBuf],
    settings: &PretrainSettings,
    model: &Model,
) -> Result<LanguageModelling> {
    let mut examples: Vec<LanguageExample> = Vec::new();
    for path in paths {
        examples
            .extend(read_records(RecordReader::open(path, on_invalid(settings.skip_invalid))?)?);
    }
    let template = settings.prompt.template(model, &mut Remarks)?;
    let encoder = model.encoder(&template, settings.on_overlong)?;
    Ok(language_data(examples, &encoder, settings.loss_on)?)
}
