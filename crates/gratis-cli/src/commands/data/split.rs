//! `gratis data split`: two files that share no problem.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::data::split_file;
use serde_json::json;
use tracing::info;

use super::ReportArgs;
use crate::Common;
use crate::commands::{InvalidArgs, warn_skipped};
use crate::failure::CliError;
use crate::progress::Progress;

/// Split a file into two that share no problem.
///
/// The side of a problem depends only on its prompt (ignoring white space) and the seed: it is the
/// same in every file and does not change when data are added. The share is met in expectation.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data split graded.jsonl --share 0.9 -o train.jsonl --rest held-out.jsonl
  gratis data split other-model.jsonl --share 0.9 -o train-2.jsonl --rest held-out-2.jsonl

The second command holds out the same problems as the first.")]
pub(crate) struct SplitArgs {
    /// Rollout file; `-` is standard input.
    #[arg(value_name = "ROLLOUTS", default_value = "-")]
    input: PathBuf,
    /// Share of the problems that go to the first file, above 0 and below 1.
    #[arg(long)]
    share: f64,
    /// First file.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// File of the other problems.
    #[arg(long, value_name = "FILE")]
    rest: PathBuf,
    /// Seed of the split.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    invalid: InvalidArgs,
}

impl SplitArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        self.report.check(&[&self.output, &self.rest])?;
        if self.output == self.rest {
            let what = format!("both outputs are `{}`", self.output.display());
            return Err(CliError::Mismatch { what, hint: "give two different files" }.into());
        }
        let outputs = [self.output.as_path(), self.rest.as_path()];
        let mut progress = Progress::new(common);
        let reading = self.invalid.reading();
        let (share, seed) = (self.share, self.seed);
        let [first, second] =
            split_file(share, seed, &self.input, reading, outputs, &mut progress)?;
        progress.finish();
        warn_skipped(first.n_skipped, "malformed lines");
        for (output, report) in outputs.iter().zip([&first, &second]) {
            info!("`{}`: {}", output.display(), report.written);
        }
        self.report.print(&json!({
            "n_skipped": first.n_skipped,
            "first": first.written,
            "second": second.written,
        }))
    }
}
