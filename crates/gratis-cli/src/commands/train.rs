//! `gratis train`: trains an implicit process reward model from outcome labels, or a baseline.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{ArgMatches, Args};
use gratis::run::{RewardKind, TrainPlace, TrainSettings, train};
use gratis::training::{LogFormat, OnExisting};

use super::training;
use crate::Common;
use crate::cache;
use crate::config::{self, Base};
use crate::model::HUB;
use crate::output;
use crate::progress::Progress;
use crate::temporary::TemporaryFolder;

/// Train an implicit process reward model from outcome labels only, or a baseline.
///
/// The reward of a solution is `beta * log pi/pi_ref`; the objective fits it to the labels, and the
/// process rewards need no further training. The run folder contains `config.toml`,
/// `metrics.jsonl`, `checkpoints/`, the last model in `model/` and, with a validation split, the
/// best in `best/`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis train --model my-model --data graded.jsonl --run runs/prm
  gratis train --model my-model --data graded.jsonl --run runs/dpo --objective dpo --beta 0.1
  gratis train --model my-model --data graded.jsonl --run runs/balanced \\
    --operation balance_instructions --operation subsample_responses,n=4
  gratis train --model org/model --data graded.jsonl --run runs/lora --lora-rank 16
  gratis train --config runs/prm/config.toml --learning-rate 3e-4 --run runs/prm-2
  gratis train --run runs/prm --resume")]
pub(crate) struct TrainArgs {
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
    /// Cache folder for the reference's log-probabilities, which later runs on the same data reuse
    /// [default: `GRATIS_CACHE`, or `gratis` in the platform's cache folder].
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Also write the metrics in this format, beside `metrics.jsonl`; repeatable.
    #[arg(long, value_enum, value_name = "FORMAT")]
    log: Vec<LogFormat>,
    /// Factor of the log-ratio [default: the objective's].
    #[arg(long)]
    beta: Option<f64>,
    #[command(flatten)]
    settings: TrainSettings,
}

pub(crate) fn run(args: TrainArgs, given: &ArgMatches, common: &Common) -> Result<()> {
    let base = Base::of_run(args.config.as_deref(), &args.run, args.resume);
    let with_beta = |mut settings: TrainSettings| {
        if let Some(beta) = args.beta {
            settings.objective = settings.objective.with_beta(beta);
        }
        settings
    };
    let settings = config::layered(args.settings, given, &base, with_beta)?;
    let scratch = TemporaryFolder::new()?;
    let cache = match (settings.kind, &settings.reference) {
        (RewardKind::Implicit, Some(reference)) if reference == Path::new("none") => None,
        (RewardKind::Implicit, _) => cache::folder(args.cache.as_deref(), "reference"),
        _ => None,
    };
    let at = TrainPlace {
        run: &args.run,
        on_existing: if args.resume { OnExisting::Resume } else { OnExisting::Fail },
        n_threads: common.threads,
        hub: HUB,
        scratch: scratch.path(),
        cache: cache.as_deref(),
        logs: &args.log,
        now: training::now(),
    };
    let mut progress = Progress::new(common);
    let summary = train(&settings, at, &mut progress)?;
    progress.finish();
    training::report(&summary, &args.run);
    let folder = args.run.to_string_lossy();
    output::next(&["gratis", "score", "--model", &folder, "ROLLOUTS", "-o", "scores.jsonl"]);
    Ok(())
}
