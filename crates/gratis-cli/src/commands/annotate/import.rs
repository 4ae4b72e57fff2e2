//! `gratis annotate import`: published step labels as a label file.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::Error;
use gratis::data::{RecordWriter, published};
use tracing::info;

use crate::commands::{InvalidArgs, OutputArgs, warn_skipped};

/// Convert published step labels into a label file.
///
/// Supported formats: Math-Shepherd's (`input` with a `ки` after each step, `label` with `+` or
/// `-`), PRM800K's (`question`, `label.steps` with rated alternatives) and flat ratings (`problem`,
/// `steps`, `ratings`). Ratings 1, 0 and -1 become 1, 1/2 and 0.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis annotate import math-shepherd.jsonl -o labelled.jsonl
  gratis train --kind prm-token --model my-model --data labelled.jsonl --run runs/prm")]
pub(crate) struct ImportArgs {
    /// File in one of these formats.
    #[arg(value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    invalid: InvalidArgs,
}

pub(super) fn run(args: &ImportArgs) -> Result<()> {
    args.output.check(&[&args.input])?;
    let (rollouts, n_skipped) = published::read(&args.input, args.invalid.reading().on_invalid)?;
    if rollouts.is_empty() {
        return Err(Error::NoExamples { purpose: "import", n_left_out: n_skipped }.into());
    }
    warn_skipped(n_skipped, "malformed lines");
    let mut writer = RecordWriter::create(&args.output.output)?;
    let n_problems = rollouts.len();
    let n: usize = rollouts.iter().map(|rollout| rollout.completions.len()).sum();
    writer.write_all(rollouts)?;
    writer.finish()?;
    info!("{n} solutions of {n_problems} problems");
    Ok(())
}
