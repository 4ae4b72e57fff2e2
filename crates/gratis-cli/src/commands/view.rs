//! `gratis view`: a page with the scores of a file, or with the metrics of a training run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use gratis::data::Error as DataError;
use gratis::data::{OnInvalid, ProblemScores, RecordReader, Rollout};
use gratis::selection::Aggregation;
use gratis_model::atomic;
use gratis_serve::{Answers, page, training_page};
use serde_json::{Value, json};
use tracing::info;

use super::select::Matched;
use crate::failure::CliError;

/// Write a page that shows the scores of a file, or a training run, in a browser.
///
/// The page is one file without external resources. For scores: every step in a colour by its reward, the
/// Q values over the steps, candidates side by side in the order of their rewards, and the vote. For
/// a run folder: loss, accuracy, margins, learning rate, and histograms of the rewards of correct and of
/// incorrect responses.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis view scores.jsonl --rollouts candidates.jsonl
  gratis view scores.jsonl --rollouts candidates.jsonl --aggregation q_last -o page.html
  gratis view runs/prm")]
pub(crate) struct ViewArgs {
    /// Score file, or the folder of a training run.
    #[arg(value_name = "SCORES|RUN")]
    scores: PathBuf,
    /// The rollouts that were scored: the texts of problems and candidates.
    #[arg(long, value_name = "FILE")]
    rollouts: Option<PathBuf>,
    /// How the steps become a candidate's reward [default: the one recorded in the scores].
    #[arg(long, value_name = "NAME")]
    aggregation: Option<Aggregation>,
    /// Problems shown, from the first.
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: usize,
    /// Page to write [default: beside the scores with the ending `html`, or `training.html` in the run
    /// folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &ViewArgs) -> Result<()> {
    if args.scores.is_dir() {
        return training(args, &args.scores);
    }
    let output = args.output.clone().unwrap_or_else(|| args.scores.with_extension("html"));
    let mut aggregation = args.aggregation;
    let mut problems = Vec::new();
    let mut add = |rollout: Option<&Rollout>, line: &ProblemScores| {
        let recorded = line.origin.as_ref().and_then(|origin| origin.aggregation);
        let aggregation = *aggregation.get_or_insert(recorded.unwrap_or_default());
        problems.push(problem(rollout, line, aggregation));
    };
    if let Some(rollouts) = &args.rollouts {
        let pairs = Matched::<ProblemScores>::open(rollouts, &args.scores, OnInvalid::Stop)?;
        for pair in pairs.take(args.limit) {
            let (rollout, line) = pair?;
            add(Some(&rollout), &line);
        }
    } else {
        let lines: RecordReader<ProblemScores> = RecordReader::open(&args.scores, OnInvalid::Stop)?;
        for line in lines.take(args.limit) {
            add(None, &line?);
        }
    }
    let aggregation = aggregation.unwrap_or_default();
    let n_problems = problems.len();
    let data = json!({"aggregation": aggregation.name(), "problems": problems});
    atomic::write(&output, page(&data).as_bytes())?;
    info!("{n_problems} problems in `{}`", output.display());
    Ok(())
}

/// Writes the page of a training run.
fn training(args: &ViewArgs, run: &Path) -> Result<()> {
    if args.rollouts.is_some() || args.aggregation.is_some() {
        return Err(CliError::Mismatch {
            what: format!("`{}` is a folder, not a score file", run.display()),
            hint: "leave `--rollouts` and `--aggregation` out to view a training run",
        }
        .into());
    }
    let read = |name: &str| {
        let path = run.join(name);
        let text = fs::read_to_string(&path);
        text.map_err(|source| DataError::Io { action: "read", path, source })
    };
    let metrics = read("metrics.jsonl")?;
    // The last line of a run that is being written may be torn.
    let whole = metrics.rfind('\n').map_or("", |end| &metrics[..end]);
    let lines: Result<Vec<Value>, _> = whole.lines().map(serde_json::from_str).collect();
    let lines = lines.map_err(|error| DataError::InvalidFile {
        path: run.join("metrics.jsonl"),
        expected: "metrics, one JSON object per line".to_owned(),
        got: error.to_string(),
    })?;
    let name = run.to_string_lossy();
    let data = json!({"name": name, "config": read("config.toml")?, "lines": lines});
    let output = args.output.clone().unwrap_or_else(|| run.join("training.html"));
    atomic::write(&output, training_page(&data).as_bytes())?;
    info!("{} lines of metrics in `{}`", lines.len(), output.display());
    Ok(())
}

fn problem(rollout: Option<&Rollout>, line: &ProblemScores, aggregation: Aggregation) -> Value {
    let reward = |scored: &gratis::data::Scored| {
        aggregation.score(&scored.steps, &scored.q_values, scored.outcome)
    };
    let rewards: Vec<f64> = line.scores.iter().map(reward).collect();
    let mut problem = json!({"line": line, "rewards": rewards});
    if let Some(rollout) = rollout {
        let labels: Vec<Option<bool>> = rollout.completions.iter().map(|c| c.label).collect();
        problem["prompt"] = json!(rollout.prompt);
        problem["texts"] = json!(rollout.texts().collect::<Vec<_>>());
        problem["labels"] = json!(labels);
        problem["answers"] = json!(Answers::of(rollout.texts(), &rewards));
    }
    problem
}
