//! `gratis data`: operations on rollout files.
//!
//! Every command streams JSON lines, zstd and Parquet and reports what it kept and dropped.

mod operations;
mod split;
mod summary;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use gratis::data::{DataOperation, FileReport, OperationReport, apply_to_file};
use serde::Serialize;
use serde_json::json;
use tracing::info;

use super::{InvalidArgs, OutputArgs, warn_skipped};
use crate::Common;
use crate::failure::CliError;
use crate::output;
use crate::progress::Progress;

/// Pair, balance, sample, clean, mix, split, group and convert rollout files.
///
/// The file name determines the format: `.jsonl`, `.jsonl.zst` or `.parquet`; `-` is standard input
/// or output as JSON lines. Memory does not grow with the file unless a command's help says so.
#[derive(Debug, Args)]
#[command(after_help = "\
What is chosen at random depends on the seed and on the problem, not on the order of the file
(`balance --by dataset` alone goes by the line). The same operations can be given to `gratis train`
with `--operation`; `gratis data apply` applies several in a row.

Examples:
  gratis data summary graded.jsonl
  gratis data balance graded.jsonl --by instruction -o balanced.jsonl
  gratis data split graded.jsonl --share 0.9 -o train.jsonl --rest held-out.jsonl
  gratis data convert rollouts.parquet -o rollouts.jsonl.zst")]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    Summary(summary::SummaryArgs),
    Pairs(operations::PairsArgs),
    Balance(operations::BalanceArgs),
    Subsample(operations::SubsampleArgs),
    Dedup(operations::DedupArgs),
    Mix(operations::MixArgs),
    Replace(operations::ReplaceArgs),
    Split(split::SplitArgs),
    Steps(operations::StepsArgs),
    Group(operations::GroupArgs),
    Convert(operations::ConvertArgs),
    Apply(operations::ApplyArgs),
}

pub(crate) fn run(args: &DataArgs, common: &Common) -> Result<()> {
    match &args.command {
        DataCommand::Summary(args) => args.run(common),
        DataCommand::Pairs(args) => args.run(common),
        DataCommand::Balance(args) => args.run(common),
        DataCommand::Subsample(args) => args.run(common),
        DataCommand::Dedup(args) => args.run(common),
        DataCommand::Mix(args) => args.run(common),
        DataCommand::Replace(args) => args.run(common),
        DataCommand::Split(args) => args.run(common),
        DataCommand::Steps(args) => args.run(common),
        DataCommand::Group(args) => args.run(common),
        DataCommand::Convert(args) => args.run(common),
        DataCommand::Apply(args) => args.run(common),
    }
}

/// A rollout file in, a rollout file out.
#[derive(Debug, Args)]
struct FileArgs {
    /// Rollout file; `-` is standard input.
    #[arg(value_name = "ROLLOUTS", default_value = "-")]
    input: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    invalid: InvalidArgs,
}

impl FileArgs {
    /// Applies the operations in order and reports what they did.
    fn apply(&self, operations: &[DataOperation], common: &Common) -> Result<()> {
        let Self { input, output, report, invalid } = self;
        report.check(&[&output.output])?;
        let mut progress = Progress::new(common);
        let reading = invalid.reading();
        let FileReport { n_skipped, operations, written } =
            apply_to_file(operations, input, reading, &output.output, &mut progress)?;
        progress.finish();
        warn_skipped(n_skipped, "malformed lines");
        operations.iter().for_each(log_operation);
        info!("`{}`: {written}", output.output.display());
        report.print(&json!(FileReport { n_skipped, operations, written }))
    }
}

/// How the report is printed in addition to its lines on stderr.
#[derive(Debug, Clone, Copy, Args)]
struct ReportArgs {
    /// Print the report as JSON on stdout; requires `-o` with a file.
    #[arg(long)]
    json: bool,
}

impl ReportArgs {
    /// Checks that the report and the data do not both go to stdout.
    fn check(self, outputs: &[&PathBuf]) -> Result<()> {
        if self.json && outputs.iter().any(|output| output.as_os_str() == "-") {
            let what = "the report of `--json` and the data would both go to stdout".to_owned();
            return Err(CliError::Mismatch { what, hint: "write the data to a file (`-o`)" }.into());
        }
        Ok(())
    }

    fn print(self, report: &impl Serialize) -> Result<()> {
        if self.json { output::print_json(&json!(report)) } else { Ok(()) }
    }
}

/// Logs what an operation did: one line in total and one per remark.
pub(crate) fn log_operation(report: &OperationReport) {
    info!("{}: {} -> {}", report.operation, report.before, report.after);
    for (what, n) in &report.remarks {
        info!("  {what}: {n}");
    }
}
