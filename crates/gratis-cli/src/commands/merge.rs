//! `gratis merge`: an adapter becomes a part of its base's weights.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::reward_model::Weights;
use gratis_model::WeightType;
use tracing::info;

use crate::Common;
use crate::failure::CliError;
use crate::model;

/// Write the model that an adapter and its base make together.
///
/// Every adapted matrix becomes `W + s B A`, so that the result needs neither the adapter nor the
/// base. `gratis.json` goes with it: its reference is still the base.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis merge runs/prm -o merged
  gratis merge my-adapter -o merged --dtype bf16")]
pub(crate) struct MergeArgs {
    /// Folder of the adapter, or of the run that trained it.
    #[arg(value_name = "ADAPTER")]
    adapter: PathBuf,
    /// Folder of the new model.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// How the weights are stored.
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dtype {
    /// As they were computed.
    F32,
    /// Rounded to half the size.
    Bf16,
}

pub(crate) fn run(args: &MergeArgs, common: &Common) -> Result<()> {
    if args.output.join("config.json").exists() {
        return Err(CliError::Mismatch {
            what: format!("`{}` holds a model already", args.output.display()),
            hint: "name another folder",
        }
        .into());
    }
    let model = model::load(&args.adapter, Weights::Loaded, common)?;
    let weights = match args.dtype {
        Dtype::F32 => WeightType::F32,
        Dtype::Bf16 => WeightType::Bf16,
    };
    let n_parameters = model.write_merged(&args.output, weights)?;
    info!("`{}`: {n_parameters} parameters", args.output.display());
    Ok(())
}
