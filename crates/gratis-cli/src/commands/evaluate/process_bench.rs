//! `gratis evaluate processbench`: find the first wrong step of published solutions.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::data::Rollout;
use gratis::evaluation::StepSignal;
use gratis::evaluation::process_bench::{self, ProcessBench, Subset};
use serde_json::json;

use super::judging::JudgingArgs;
use super::{percent, share};
use crate::Common;
use crate::commands::select::interval_note;
use crate::output;

/// Score every step of ProcessBench and find the first wrong one.
///
/// The benchmark's protocol: the threshold below which a step is predicted wrong is tuned on the
/// GSM8K subset only; a subset's F1 is the harmonic mean of the accuracies on solutions with an
/// error (exactly the first wrong step must be predicted) and without; the result is the mean over
/// the subsets. The last column has the F1 with each subset's own best threshold: an optimistic
/// upper bound, for comparison with numbers published in this way. With --threshold nothing is
/// tuned. Without the GSM8K subset and without --threshold only the last column is filled.
#[derive(Debug, Args)]
#[command(after_help = "\
The folder holds the benchmark's files as they are: any of gsm8k.json, math.json,
olympiadbench.json, omnimath.json; or the same as .jsonl or .parquet.

Examples:
  gratis evaluate processbench ProcessBench --model runs/prm
  gratis evaluate processbench ProcessBench --model runs/prm --reference none --json
  gratis evaluate processbench ProcessBench --model runs/prm --save-scores pb.jsonl
  gratis evaluate processbench ProcessBench --scores pb.jsonl --signal q-value
  gratis evaluate processbench ProcessBench --scores pb.jsonl --threshold 0.5")]
pub(super) struct ProcessBenchArgs {
    /// Folder with the benchmark's files.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Fixed threshold: a step is predicted wrong below it [default: tuned on GSM8K].
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    threshold: Option<f64>,
    #[command(flatten)]
    judging: JudgingArgs,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ProcessBenchArgs, common: &Common) -> Result<()> {
    let subsets = process_bench::read(&args.folder)?;
    let solutions: Vec<Rollout> =
        subsets.iter().flat_map(|subset| subset.rollouts.iter().cloned()).collect();
    let files: Vec<PathBuf> = std::fs::read_dir(&args.folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    let by = args.judging.judge("processbench", &solutions, &files, common)?;
    let mut scores = &by.scores[..];
    let mut scored = Vec::new();
    for subset in &subsets {
        let (own, others) = scores.split_at(subset.rollouts.len());
        scored.push((subset, own));
        scores = others;
    }
    let result = ProcessBench::of(&scored, by.signal, args.threshold, args.judging.bootstrap())?;
    if args.json {
        return output::print_json(
            &json!({ "by": by.origin, "signal": by.signal, "result": result }),
        );
    }
    output::print(&table(&result, args.threshold, by.signal, &by.words))
}

/// In place of a number that needs a threshold.
fn or_dash<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

fn table(result: &ProcessBench, fixed: Option<f64>, signal: StepSignal, by: &str) -> String {
    let mut rows: Vec<Vec<String>> = result
        .subsets
        .iter()
        .map(|subset| {
            let own = &subset.tuned_on_itself;
            vec![
                subset.name.clone(),
                (own.n_erroneous + own.n_correct).to_string(),
                or_dash(subset.score, |score| share(score.accuracy_erroneous)),
                or_dash(subset.score, |score| share(score.accuracy_correct)),
                or_dash(subset.f1.as_ref(), percent),
                share(own.f1),
            ]
        })
        .collect();
    let empty = String::new;
    rows.push(vec![
        "mean".to_owned(),
        empty(),
        empty(),
        empty(),
        or_dash(result.mean_f1.as_ref(), percent),
        share(result.mean_f1_tuned_on_itself),
    ]);
    rows.push(vec![
        "by chance".to_owned(),
        empty(),
        empty(),
        empty(),
        or_dash(result.mean_f1_by_chance, share),
        empty(),
    ]);
    let header = ["%", "solutions", "error found", "none claimed", "F1", "F1, own threshold (!)"];
    let mut notes = vec![
        threshold_note(result, fixed, signal),
        "(!) Oracle threshold, tuned on the same solutions: an optimistic upper bound.".to_owned(),
        "By chance: steps scored at random, 20 draws.".to_owned(),
        format!("Scored with {by}."),
        interval_note(&result.bootstrap, "solutions"),
    ];
    if !result.missing.is_empty() {
        notes.push(format!("Missing subsets: {}.", result.missing.join(", ")));
    }
    output::table(&header, &rows) + &output::notes(notes)
}

/// The threshold and where it comes from, or why there is none.
fn threshold_note(result: &ProcessBench, fixed: Option<f64>, signal: StepSignal) -> String {
    let (name, tuned_on) = (signal.name(), Subset::TUNED_ON);
    match (result.threshold, fixed) {
        (Some(threshold), None) => {
            format!(
                "A step is predicted wrong below a {name} of {threshold:.4} (tuned on {tuned_on} only)."
            )
        }
        (Some(threshold), Some(_)) => {
            format!(
                "A step is predicted wrong below a {name} of {threshold:.4} (fixed, not tuned)."
            )
        }
        (None, _) => format!(
            "No threshold: it is tuned on {tuned_on}, which is missing. Give `--threshold` to fill the \
             columns marked `-`."
        ),
    }
}
