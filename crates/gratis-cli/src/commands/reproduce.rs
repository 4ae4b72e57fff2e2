//! `gratis reproduce`: the paper's tables and figures in the tiny world.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::experiment::lab::{Lab, LabSettings, Scale};
use gratis::experiment::tuning;
use serde_json::json;

use crate::Common;
use crate::output;
use crate::progress::Progress;

/// Re-run the paper's experiments in the tiny world.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis reproduce tuning")]
pub(crate) struct ReproduceArgs {
    /// What to reproduce.
    #[arg(value_enum)]
    what: What,
    /// How large everything is.
    #[arg(long, value_enum, default_value_t)]
    scale: Scale,
    /// Number of seeds [default: the scale's].
    #[arg(long)]
    seeds: Option<u64>,
    /// Folder for what is made once: models, samples, judgements.
    #[arg(long, default_value = "gratis-cache", value_name = "FOLDER")]
    cache: PathBuf,
}

/// A table, a figure, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Beta and learning rate of each objective.
    Tuning,
}

pub(crate) fn run(args: &ReproduceArgs, common: &Common) -> Result<()> {
    let settings = LabSettings::new(args.scale, args.seeds, common.threads);
    let mut progress = Progress::new(common);
    let mut lab = Lab::new(settings, &args.cache, &mut progress)?;
    match args.what {
        What::Tuning => {
            let trials = tuning::run(&mut lab, 0)?;
            output::print_json(&json!({ "trials": trials, "best": tuning::best(&trials) }))
        }
    }
}
