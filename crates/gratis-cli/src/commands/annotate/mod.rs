//! `gratis annotate`: step labels for explicit process reward models.

mod autopsv;
mod import;
mod math_shepherd;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use gratis::data::{RecordReader, Rollout};

use super::{InvalidArgs, OutputArgs, read_some};
use crate::Common;

/// Label the steps of graded solutions, to train an explicit process reward model.
///
/// A label file is a rollout file with two additional columns: `steps`, the texts of each
/// completion's steps, and `step_labels`, one number from 0 (bad) to 1 (good) per step, null if
/// unknown.
#[derive(Debug, Args)]
pub(crate) struct AnnotateArgs {
    #[command(subcommand)]
    command: AnnotateCommand,
}

#[derive(Debug, Subcommand)]
enum AnnotateCommand {
    MathShepherd(math_shepherd::MathShepherdArgs),
    Autopsv(autopsv::AutopsvArgs),
    Import(import::ImportArgs),
}

pub(crate) fn run(args: &AnnotateArgs, common: &Common) -> Result<()> {
    match &args.command {
        AnnotateCommand::MathShepherd(args) => math_shepherd::run(args, common),
        AnnotateCommand::Autopsv(args) => autopsv::run(args, common),
        AnnotateCommand::Import(args) => import::run(args),
    }
}

/// Graded rollouts in, labelled rollouts out.
#[derive(Debug, Args)]
struct FileArgs {
    /// Rollout file; `-` is standard input.
    #[arg(value_name = "ROLLOUTS", default_value = "-")]
    input: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    invalid: InvalidArgs,
}

impl FileArgs {
    /// The rollouts.
    fn rollouts(&self) -> Result<Vec<Rollout>> {
        rollouts(&self.input, &self.invalid)
    }
}

/// The rollouts of a file.
///
/// # Errors
/// [`gratis::Error::NoExamples`] if there are none.
fn rollouts(input: &Path, invalid: &InvalidArgs) -> Result<Vec<Rollout>> {
    read_some(RecordReader::answered(input, invalid.reading())?, "label")
}
