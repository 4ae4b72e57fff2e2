//! `gratis reproduce`: the paper's tables and figures in the tiny world, or on a cast of the user's own.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use gratis_paper::{CastFile, Experiment, Finished, Folders, Machine, Scale, Settings, summary};
use serde_json::json;
use tracing::info;

use crate::Common;
use crate::failure::CliError;
use crate::interrupt::{Continue, on_interrupt};
use crate::model::HUB;
use crate::output;
use crate::progress::Progress;
use crate::temporary::TemporaryFolder;

/// Rerun the paper's tables and figures in the tiny world, or on models and problems of your own, and report
/// which of its claims hold.
///
/// Models, samples, labels and evaluations are computed once and cached under names derived from
/// their inputs, so a run that was stopped continues where it was, and experiments share results.
/// The report folder contains `index.html` with everything, a page and a JSON file per experiment,
/// and `report.md`; a summary of the tables and claims goes to stdout.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis reproduce all
  gratis reproduce table1 figure6 --scale full --seeds 3
  gratis reproduce table4 --json | jq '.[0].claims'
  gratis reproduce table1 table4 --cast casts/smollm2.toml --dry-run
  gratis reproduce table1 table4 --cast casts/smollm2.toml
  gratis reproduce tuning --scale full    # beta and learning rate of every row, on validation \
       problems")]
pub(crate) struct ReproduceArgs {
    /// What to reproduce.
    #[arg(required = true, num_args = 1.., value_parser = What::parser())]
    what: Vec<What>,
    /// Run on the models and problems that this file names, instead of the tiny world (`gratis cast init`
    /// writes one, see `docs/reproduce.md`).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scale", "seeds"])]
    cast: Option<PathBuf>,
    /// Print what would be computed on the cast, with tokens, operations, memory and an estimate of the
    /// time, and compute nothing.
    #[arg(long)]
    dry_run: bool,
    /// Size of the reproduction in the tiny world.
    #[arg(long, value_enum, default_value_t)]
    scale: Scale,
    /// Number of seeds in the tiny world [default: 1 if quick, 3 if full].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Report folder.
    #[arg(short, long, default_value = "report", value_name = "FOLDER")]
    output: PathBuf,
    /// Cache folder.
    #[arg(long, default_value = "gratis-cache", value_name = "FOLDER")]
    cache: PathBuf,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

/// A table, a figure, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Every table and figure.
    All,
    /// Beta and learning rate of every row.
    Tuning,
    /// One experiment.
    One(Experiment),
}

impl What {
    /// Parses a name.
    fn parser() -> impl TypedValueParser<Value = Self> {
        let all = PossibleValue::new("all").help("Every table and figure of the paper");
        let tuning = PossibleValue::new("tuning")
            .help("Beta and learning rate of every objective and baseline, on validation problems");
        let all_experiments = Experiment::value_variants().iter();
        let experiments = all_experiments.filter_map(ValueEnum::to_possible_value);
        let names = std::iter::once(all).chain(experiments).chain([tuning]);
        PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
            "all" => Ok(Self::All),
            "tuning" => Ok(Self::Tuning),
            name => Experiment::from_str(name, false).map(Self::One),
        })
    }

    fn experiments(self) -> Vec<Experiment> {
        match self {
            Self::All => Experiment::ALL.to_vec(),
            Self::Tuning => Vec::new(),
            Self::One(experiment) => vec![experiment],
        }
    }
}

pub(crate) fn run(args: &ReproduceArgs, common: &Common) -> Result<()> {
    if let Some(cast) = &args.cast {
        return run_on(cast, args, common);
    }
    if args.dry_run {
        return Err(CliError::Mismatch {
            what: "`--dry-run` plans the work of a cast, and there is no `--cast`".to_owned(),
            hint: "without a cast everything runs in the tiny world: about three minutes per seed at full \
                   scale on two cores, less if quick",
        }
        .into());
    }
    let settings = Settings::new(args.scale, args.seeds, common.threads);
    // Artefacts are cached as soon as they are complete.
    on_interrupt(Continue::SameCommand);
    let mut progress = Progress::new(common);
    if args.what.contains(&What::Tuning) {
        let tuning = gratis_paper::tune(settings, &args.cache, &mut progress)?;
        progress.finish();
        return output::print_json(&json!(tuning));
    }
    let experiments: Vec<Experiment> =
        args.what.iter().flat_map(|what| what.experiments()).collect();
    let folders = Folders { cache: &args.cache, report: &args.output };
    let finished = gratis_paper::reproduce(settings, &experiments, folders, &mut progress)?;
    progress.finish();
    report(args, &finished)
}

/// Runs on a cast of the user's own.
fn run_on(cast: &Path, args: &ReproduceArgs, common: &Common) -> Result<()> {
    let file = CastFile::read(cast)?;
    let mut experiments = Vec::new();
    for what in &args.what {
        match what {
            What::Tuning => {
                return Err(CliError::Mismatch {
                    what: "`tuning` needs the tiny world, because it tries the grids of its rows"
                        .to_owned(),
                    hint: "give several `[[rows]]` with other settings in the cast",
                }
                .into());
            }
            What::One(experiment) => experiments.push(*experiment),
            What::All => {
                for experiment in Experiment::ALL {
                    match experiment.needs_tiny_world() {
                        None => experiments.push(experiment),
                        Some(why) => info!(
                            "left out: `{}` needs the tiny world, because {why}",
                            experiment.name()
                        ),
                    }
                }
            }
        }
    }
    on_interrupt(Continue::SameCommand);
    let scratch = TemporaryFolder::new()?;
    let machine = Machine { n_threads: common.threads, hub: HUB, scratch: scratch.path() };
    let mut progress = Progress::new(common);
    if args.dry_run {
        let plan = gratis_paper::plan_on(&file, machine, &experiments, &args.cache, &mut progress)?;
        progress.finish();
        if args.json {
            return output::print_json(&json!(plan));
        }
        return output::print(&output::summary(&plan.summary()));
    }
    let folders = Folders { cache: &args.cache, report: &args.output };
    let finished =
        gratis_paper::reproduce_on(&file, machine, &experiments, folders, &mut progress)?;
    progress.finish();
    report(args, &finished)
}

fn report(args: &ReproduceArgs, finished: &[Finished]) -> Result<()> {
    if args.json {
        output::print_json(&json!(finished))?;
    } else {
        output::print(&output::summary(&summary(finished)))?;
    }
    info!("the report is in `{}`", args.output.join("index.html").display());
    Ok(())
}
