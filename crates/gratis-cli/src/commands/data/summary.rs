//! `gratis data summary`: the contents of a rollout file.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::data::{RecordReader, Rollout, Summary};
use gratis::{Error, Observer};
use serde_json::json;

use crate::Common;
use crate::commands::{InvalidArgs, warn_skipped};
use crate::output;
use crate::progress::Progress;

/// Summarise a rollout file: problems, responses, labels, pairs, duplicates.
///
/// Stores 8 bytes per distinct prompt.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data summary graded.jsonl
  gratis data summary rollouts.parquet --json | jq .n_pairs")]
pub(crate) struct SummaryArgs {
    /// Rollout file; `-` is standard input.
    #[arg(value_name = "ROLLOUTS", default_value = "-")]
    input: PathBuf,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    invalid: InvalidArgs,
}

impl SummaryArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let mut progress = Progress::new(common);
        progress.stage("summary", None);
        let mut reader = RecordReader::<Rollout>::open(&self.input, self.invalid.reading())?;
        let mut summary = Summary::default();
        for rollout in reader.by_ref() {
            summary.add(&rollout?);
            if summary.counts.n_problems.is_multiple_of(256) {
                progress.advance(256, &[]);
            }
        }
        progress.finish();
        if summary.counts.n_problems == 0 {
            let n_left_out = reader.n_skipped();
            return Err(Error::NoExamples { purpose: "count", n_left_out }.into());
        }
        warn_skipped(reader.n_skipped(), "malformed lines");
        if self.json {
            return output::print_json(&json!(summary));
        }
        output::print(&table(&summary))
    }
}

fn table(summary: &Summary) -> String {
    let counts = &summary.counts;
    let n_unlabelled = counts.n_responses - counts.n_correct - counts.n_incorrect;
    let mean_bytes = summary.n_response_bytes as f64 / counts.n_responses.max(1) as f64;
    let (fewest, most) = summary.responses_per_problem.unwrap_or_default();
    let mut rows = vec![
        ("problems", counts.n_problems.to_string()),
        ("different prompts", summary.n_distinct_prompts.to_string()),
        ("with correct and incorrect responses", summary.n_mixed.to_string()),
        ("with correct ones only", summary.n_all_correct.to_string()),
        ("with incorrect ones only", summary.n_all_incorrect.to_string()),
        ("responses", counts.n_responses.to_string()),
        ("correct", counts.n_correct.to_string()),
        ("incorrect", counts.n_incorrect.to_string()),
        ("without a label", n_unlabelled.to_string()),
        ("copies of another of the same problem", summary.n_copies.to_string()),
        ("with steps", summary.n_with_steps.to_string()),
        ("pairs", summary.n_pairs.to_string()),
        ("responses of a problem", format!("{fewest} to {most}")),
        ("bytes of a response, mean", format!("{mean_bytes:.0}")),
        ("bytes of a response, most", summary.longest_response_bytes.to_string()),
    ];
    let datasets: Vec<(String, String)> = summary
        .datasets
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, n)| (format!("problems of `{name}`"), n.to_string()))
        .collect();
    rows.extend(datasets.iter().map(|(name, n)| (name.as_str(), n.clone())));
    let rows: Vec<_> = rows.into_iter().map(|(what, n)| vec![what.to_owned(), n]).collect();
    output::table(&["", "count"], &rows)
}
