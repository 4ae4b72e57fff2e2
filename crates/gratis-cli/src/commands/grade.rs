//! `gratis grade`: outcome labels from final answers.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::data::{RolloutReader, RolloutWriter};
use gratis::rollout::{GradeCounts, grade};
use gratis::{Error, Observer};
use gratis_grading::Options;
use tracing::info;

use super::{InvalidArgs, OutputArgs, warn_skipped};
use crate::Common;
use crate::progress::Progress;

/// Label each completion by comparing its final answer with the problem's.
///
/// Reads rollouts with `reference` and writes them with `correctness`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis grade rollouts.jsonl -o graded.jsonl
  gratis rollout --model m problems.jsonl | gratis grade - > graded.jsonl")]
pub(crate) struct GradeArgs {
    /// Rollout file; `-` is standard input.
    #[arg(value_name = "ROLLOUTS", default_value = "-")]
    input: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
    /// Compare answers as they are written: no tolerance, no units, no percent.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    invalid: InvalidArgs,
}

pub(crate) fn run(args: &GradeArgs, common: &Common) -> Result<()> {
    let options = if args.strict { Options::strict() } else { Options::default() };
    let mut progress = Progress::new(common);
    let mut counts = GradeCounts::default();
    let mut rollouts = RolloutReader::open(&args.input, args.invalid.on_invalid())?;
    let mut writer = RolloutWriter::create(&args.output.output)?;
    progress.stage("grade", None);
    for rollout in rollouts.by_ref() {
        let mut rollout = rollout?;
        grade(&mut rollout, &options, &mut counts);
        writer.write(&rollout)?;
        progress.advance(1, &[]);
    }
    if counts.n() == 0 {
        return Err(Error::NoExamples { purpose: "grade" }.into());
    }
    writer.finish()?;
    progress.finish();
    warn_skipped(rollouts.n_skipped(), "malformed lines");
    let share = 100.0 * counts.correct as f64 / counts.n() as f64;
    info!(
        "{} completions: {} correct ({share:.1} %), {} incorrect, {} without an answer, {} malformed",
        counts.n(),
        counts.correct,
        counts.incorrect,
        counts.no_answer,
        counts.malformed
    );
    Ok(())
}
