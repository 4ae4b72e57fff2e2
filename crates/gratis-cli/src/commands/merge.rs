//! `gratis merge`: merges an adapter into the weights of its base, or writes a GGUF file as a folder.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::reward_model::Weights;
use gratis_model::WeightType;
use gratis_model::atomic::Published;
use tracing::info;

use super::refuse_file_name;
use crate::Common;
use crate::model;

/// Merge an adapter into its base model, or convert a GGUF file to a model folder.
///
/// Every adapted matrix becomes `W + s B A`, so the result needs neither the adapter nor the base.
/// `gratis.json` is copied; its reference is still the base. Quantised weights of a GGUF file are
/// dequantised; with the default data type the folder gives the same scores as the file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis merge runs/prm -o merged
  gratis merge my-adapter -o merged --dtype bf16
  gratis merge model.gguf -o model")]
pub(crate) struct MergeArgs {
    /// Adapter folder, the run folder that contains it, or a GGUF file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Folder of the new model.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Data type of the stored weights.
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dtype {
    /// As computed.
    F32,
    /// Rounded, half the size.
    Bf16,
}

pub(crate) fn run(args: &MergeArgs, common: &Common) -> Result<()> {
    refuse_file_name(&args.output)?;
    let model = model::load(&args.model, Weights::Loaded, common)?;
    let weights = match args.dtype {
        Dtype::F32 => WeightType::F32,
        Dtype::Bf16 => WeightType::Bf16,
    };
    let (n_parameters, published) = model.write_merged(&args.output, weights)?;
    if published == Published::WasThere {
        info!("`{}` already contained the same model", args.output.display());
    }
    info!("`{}`: {n_parameters} parameters", args.output.display());
    Ok(())
}
