//! `gratis cast`: write and check the file of a cast, which `gratis reproduce --cast` runs on.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use gratis_model::atomic;
use gratis_paper::{CAST_TEMPLATE, CastFile, Machine, check_cast};
use serde_json::json;
use tracing::info;

use crate::Common;
use crate::failure::CliError;
use crate::model::HUB;
use crate::output;
use crate::progress::Progress;
use crate::temporary::TemporaryFolder;

/// Write and check a cast: the models and problems of your own on which `gratis reproduce --cast` runs the
/// paper's experiments.
#[derive(Debug, Args)]
pub(crate) struct CastArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Init(InitArgs),
    Check(CheckArgs),
}

/// Write a commented file to start from.
#[derive(Debug, Args)]
struct InitArgs {
    /// File to write; it must not exist.
    #[arg(default_value = "cast.toml", value_name = "FILE")]
    file: PathBuf,
}

/// Load every model and file of a cast, sample one response per engine and grade it, and show the prompt
/// as the model reads it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis cast init my-cast.toml
  gratis cast check my-cast.toml
  gratis reproduce table1 --cast my-cast.toml --dry-run")]
struct CheckArgs {
    /// The cast.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Cache folder.
    #[arg(long, default_value = "gratis-cache", value_name = "FOLDER")]
    cache: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CastArgs, common: &Common) -> Result<()> {
    match &args.what {
        What::Init(args) => init(&args.file),
        What::Check(args) => check(args, common),
    }
}

fn init(file: &Path) -> Result<()> {
    if file.exists() {
        return Err(CliError::Mismatch {
            what: format!("`{}` exists", file.display()),
            hint: "name another file",
        }
        .into());
    }
    atomic::write(file, CAST_TEMPLATE.as_bytes()).map_err(gratis::Error::from)?;
    info!("wrote `{}`", file.display());
    output::next(&["gratis", "cast", "check", &file.to_string_lossy()]);
    Ok(())
}

fn check(args: &CheckArgs, common: &Common) -> Result<()> {
    let file = CastFile::read(&args.file)?;
    let scratch = TemporaryFolder::new()?;
    let machine = Machine { n_threads: common.threads, hub: HUB, scratch: scratch.path() };
    let mut progress = Progress::new(common);
    let checked = check_cast(&file, machine, &args.cache, &mut progress)?;
    progress.finish();
    if args.json {
        return output::print_json(&json!(checked));
    }
    output::print(&output::summary(&checked.summary()))
}
