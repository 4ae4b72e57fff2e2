//! `gratis evaluate processbench`: find the first wrong step of published solutions.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::data::Rollout;
use gratis::evaluation::process_bench::{self, ProcessBench};
use gratis::evaluation::{FirstErrorScore, StepSignal};
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
/// upper bound, for comparison with numbers published in this way.
#[derive(Debug, Args)]
#[command(after_help = "\
The folder holds the benchmark's files as they are: gsm8k.json and any of math.json,
olympiadbench.json, omnimath.json; or the same as .jsonl or .parquet.

Examples:
  gratis evaluate processbench ProcessBench --model runs/prm
  gratis evaluate processbench ProcessBench --model runs/prm --reference none --json
  gratis evaluate processbench ProcessBench --model runs/prm --save-scores pb.jsonl
  gratis evaluate processbench ProcessBench --scores pb.jsonl --signal q-value")]
pub(super) struct ProcessBenchArgs {
    /// Folder with the benchmark's files.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
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
    let mut judged = Vec::new();
    for subset in &subsets {
        let (own, others) = scores.split_at(subset.rollouts.len());
        judged.push((subset.name.clone(), subset.judged(own, by.signal)?));
        scores = others;
    }
    let result = ProcessBench::new(&judged, args.judging.bootstrap())?;
    if args.json {
        return output::print_json(
            &json!({ "by": by.origin, "signal": by.signal, "result": result }),
        );
    }
    output::print(&table(&result, by.signal, &by.words))
}

fn table(result: &ProcessBench, signal: StepSignal, by: &str) -> String {
    let mut rows: Vec<Vec<String>> = result
        .subsets
        .iter()
        .map(|subset| {
            let FirstErrorScore { n_erroneous, n_correct, accuracy_erroneous, .. } = subset.score;
            vec![
                subset.name.clone(),
                (n_erroneous + n_correct).to_string(),
                share(accuracy_erroneous),
                share(subset.score.accuracy_correct),
                percent(&subset.f1),
                share(subset.tuned_on_itself.f1),
            ]
        })
        .collect();
    let empty = String::new;
    rows.push(vec![
        "mean".to_owned(),
        empty(),
        empty(),
        empty(),
        percent(&result.mean_f1),
        share(result.mean_f1_tuned_on_itself),
    ]);
    rows.push(vec![
        "by chance".to_owned(),
        empty(),
        empty(),
        empty(),
        share(result.mean_f1_by_chance),
        empty(),
    ]);
    let header = ["%", "solutions", "error found", "none claimed", "F1", "F1, own threshold (!)"];
    let mut notes = vec![
        format!(
            "A step is predicted wrong below a {} of {:.4} (tuned on {} only).",
            signal.name(),
            result.threshold,
            process_bench::TUNED_ON
        ),
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
