//! `gratis evaluate prmbench`: classify steps as right or wrong, by kind of error.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::evaluation::prm_bench::{Category, Solutions, StepScore};
use gratis::evaluation::{PrmBench, StepSignal};
use serde_json::json;
use tracing::info;

use super::judging::JudgingArgs;
use super::{percent, share};
use crate::Common;
use crate::commands::select::interval_note;
use crate::output;

/// Score every step of PRMBench and classify it as right or wrong.
///
/// A step is predicted wrong if its process reward is below the threshold. The threshold belongs to
/// the model and is not tuned on the benchmark; the default is 0, the neutral process reward of an
/// implicit model. PRMScore is the mean of the F1 of right steps and the F1 of wrong steps, over
/// all steps of a category; solutions of `multi_solutions` have no wrong step, so their score is
/// the F1 of right steps. A dimension is the mean of its categories, `overall` is computed over all
/// steps. The output also has the overall score with the threshold that is best on the benchmark
/// itself, an optimistic upper bound.
#[derive(Debug, Args)]
#[command(after_help = "\
Files are lines of JSON with `idx`, `modified_question`, `modified_process`, `error_steps` (numbers
from 1) and `classification`, as the benchmark publishes them; several are taken together.

Examples:
  gratis evaluate prmbench prmbench_preview.jsonl --model runs/prm
  gratis evaluate prmbench prmbench_preview.jsonl --model runs/prm --threshold -0.2 --json
  gratis evaluate prmbench prmbench_preview.jsonl --scores scores.jsonl --signal q-value")]
pub(super) struct PrmBenchArgs {
    /// The benchmark's files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    judging: JudgingArgs,
    /// A step is predicted wrong below this threshold.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    threshold: f64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &PrmBenchArgs, common: &Common) -> Result<()> {
    let solutions = Solutions::read(&args.files)?;
    let Solutions { n_repeated, n_beyond, .. } = solutions;
    if n_repeated > 0 || n_beyond > 0 {
        info!(
            "{n_repeated} repeated entries are left out, {n_beyond} numbers of wrong steps name no \
             step"
        );
    }
    let by = args.judging.judge("prmbench", &solutions.rollouts, &args.files, common)?;
    let bootstrap = args.judging.bootstrap();
    let result = PrmBench::of(&solutions, &by.scores, by.signal, args.threshold, bootstrap)?;
    if args.json {
        return output::print_json(&json!({
            "by": by.origin, "signal": by.signal, "n_repeated": n_repeated, "n_beyond": n_beyond,
            "result": result,
        }));
    }
    output::print(&table(&result, by.signal, &by.words))
}

fn table(result: &PrmBench, signal: StepSignal, by: &str) -> String {
    let mut rows = Vec::new();
    for (name, mean, categories) in result.dimensions() {
        rows.extend(categories.into_iter().map(row));
        if let Some(mean) = mean {
            let empty = String::new;
            rows.push(vec![name.to_owned(), empty(), empty(), empty(), empty(), share(mean)]);
        }
    }
    rows.push(row(&result.overall));
    let header = ["%", "solutions", "wrong steps", "F1 right", "F1 wrong", "PRMScore"];
    let mut notes = vec![
        format!("A step is predicted wrong below a {} of {}.", signal.name(), result.threshold),
        format!(
            "Oracle threshold {:.4}, tuned on the same solutions: overall {}, an optimistic upper \
             bound.",
            result.oracle_threshold(),
            share(result.oracle_score())
        ),
        format!("Scored with {by}."),
        interval_note(&result.bootstrap, "the solutions of each category"),
    ];
    if !result.missing.is_empty() {
        let missing: Vec<_> = result.missing.iter().map(|&category| named(category)).collect();
        notes.push(format!("Missing categories: {}.", missing.join(", ")));
    }
    output::table(&header, &rows) + &output::notes(notes)
}

fn named(category: Category) -> String {
    format!("{} {}", category.short(), category.name())
}

fn row(score: &StepScore) -> Vec<String> {
    vec![
        score.category.map_or_else(|| "overall".to_owned(), named),
        score.n_solutions.to_string(),
        score.n_wrong_steps().to_string(),
        share(score.f1),
        share(score.negative_f1),
        percent(&score.score),
    ]
}
