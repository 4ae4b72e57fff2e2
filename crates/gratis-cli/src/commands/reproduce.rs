//! `gratis reproduce`: the paper's tables and figures in the tiny world.

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use gratis_paper::{Experiment, Folders, Scale, Settings};
use serde_json::json;
use tracing::info;

use crate::Common;
use crate::interrupt::{Continue, on_interrupt};
use crate::output;
use crate::progress::Progress;

/// Rerun the paper's tables and figures in the tiny world and report which of its claims hold.
///
/// Models, samples, labels and evaluations are made once and kept in the cache, named by what they
/// were made from: a run that was stopped continues where it was, and an experiment finds what another
/// has made. The report folder holds `index.html` with everything, a page and a JSON file per
/// experiment, and `report.md`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis reproduce all
  gratis reproduce table1 figure6 --scale full --seeds 3
  gratis reproduce table4 --json | jq '.[0].claims'
  gratis reproduce tuning --scale full    # beta and learning rate of every row, on validation problems")]
pub(crate) struct ReproduceArgs {
    /// What to reproduce.
    #[arg(required = true, num_args = 1.., value_parser = What::parser())]
    what: Vec<What>,
    /// Size of the reproduction.
    #[arg(long, value_enum, default_value_t)]
    scale: Scale,
    /// Number of seeds [default: 1 if quick, 3 if full].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Folder of the report.
    #[arg(short, long, default_value = "report", value_name = "FOLDER")]
    output: PathBuf,
    /// Folder of the cache.
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
    /// One of them.
    One(Experiment),
}

impl What {
    /// Reads a name.
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
    let settings = Settings::new(args.scale, args.seeds, common.threads);
    // Artefacts are kept as soon as they are made.
    on_interrupt(Continue::SameCommand);
    let mut progress = Progress::new(common);
    if args.what.contains(&What::Tuning) {
        let tuning = gratis_paper::tune(settings, &args.cache, &mut progress)?;
        progress.finish();
        let (objectives, baselines) = (tuning.best(), tuning.best_baselines());
        return output::print_json(
            &json!({ "tuning": tuning, "objectives": objectives, "baselines": baselines }),
        );
    }
    let experiments: Vec<Experiment> =
        args.what.iter().flat_map(|what| what.experiments()).collect();
    let folders = Folders { cache: &args.cache, report: &args.output };
    let finished = gratis_paper::reproduce(settings, &experiments, folders, &mut progress)?;
    progress.finish();
    if args.json {
        output::print_json(&json!(finished))?;
    } else {
        output::print(&gratis_paper::markdown(&finished))?;
    }
    info!("the report is in `{}`", args.output.join("index.html").display());
    Ok(())
}
