//! `gratis select`: best-of-N from scores, beside majority, votes and the oracle.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use gratis::Error;
use gratis::data::{CompletionScore, Rollout, Score};
use gratis::encoding::problem_name;
use gratis::evaluation::{
    BestOfNSettings, BestOfNTable, Bootstrap, GeneratorCandidates, ScoredProblem, Selector,
};
use gratis::rollout::SAMPLING;
use gratis::selection::{Aggregation, Method, Subsets, VoteWeight, best_of_n};
use serde_json::json;

use super::{InvalidArgs, read_records};
use crate::failure::CliError;
use crate::output;

/// Select the best of N candidates by their scores, and say how well that goes.
///
/// The table needs graded rollouts. Ties go to the candidate that comes first.
#[derive(Debug, Args)]
#[command(after_help = "\
Rows: a random candidate (mean pass@1), majority, best-of-N by each `--aggregation`, the weighted
vote by the first, and the oracle (pass@N).

Examples:
  gratis select --rollouts candidates.jsonl --scores scores.jsonl
  gratis select --rollouts candidates.jsonl --scores scores.jsonl -n 16 --aggregation min,mean --json
  gratis select --rollouts candidates.jsonl --scores scores.jsonl -o selected.jsonl")]
pub(crate) struct SelectArgs {
    /// Rollout file; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    rollouts: PathBuf,
    /// Score file of these rollouts.
    #[arg(long, value_name = "FILE")]
    scores: PathBuf,
    /// Numbers of candidates [default: those of 4, 16, 64 that there are, and all].
    #[arg(short, long = "n", value_name = "N", value_delimiter = ',')]
    ns: Vec<usize>,
    #[command(flatten)]
    rules: RuleArgs,
    /// Average over all subsets of N candidates instead of taking the first N.
    #[arg(long)]
    unbiased: bool,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
    /// Write the selected candidate of each problem, by the first aggregation among all.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    invalid: InvalidArgs,
}

/// How candidates are selected.
#[derive(Debug, Args)]
pub(super) struct RuleArgs {
    /// How step rewards become a score.
    #[arg(long, value_delimiter = ',', default_value = "min")]
    pub(super) aggregation: Vec<Aggregation>,
    /// Vote by `exp(score / T)` instead of `sigmoid(score)`.
    #[arg(long, value_name = "T")]
    vote_temperature: Option<f64>,
    /// Seed of the bootstrap and of sampled subsets.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl RuleArgs {
    /// The rows of a table: majority, one at random, best-of-N by each aggregation, the vote weighted
    /// by the first, and the oracle.
    fn selectors(&self) -> Vec<Selector> {
        let weight = match self.vote_temperature {
            Some(temperature) => VoteWeight::Exponential { temperature },
            None => VoteWeight::Sigmoid,
        };
        let by = |method, aggregation| Selector { method, aggregation };
        let mut selectors = vec![
            Selector::without_score(Method::Majority),
            Selector::without_score(Method::Random),
        ];
        let best = self.aggregation.iter().map(|&aggregation| by(Method::BestOfN, aggregation));
        selectors.extend(best);
        selectors.push(by(Method::WeightedVote { weight }, self.aggregation[0]));
        selectors.push(Selector::without_score(Method::Oracle));
        selectors
    }

    /// The settings of a table.
    pub(super) fn settings(&self, ns: Vec<usize>, subsets: Subsets) -> BestOfNSettings {
        BestOfNSettings {
            ns,
            selectors: self.selectors(),
            subsets,
            bootstrap: Bootstrap { seed: self.seed, ..Bootstrap::default() },
        }
    }
}

/// Subsets sampled where a vote has no closed form.
const N_SUBSETS: usize = 100;

pub(crate) fn run(args: &SelectArgs) -> Result<()> {
    let on_invalid = args.invalid.on_invalid();
    let rollouts: Vec<Rollout> = read_records(&args.rollouts, on_invalid)?;
    let scores: Vec<Score> = read_records(&args.scores, on_invalid)?;
    if rollouts.is_empty() {
        return Err(Error::NoExamples { purpose: "select from" }.into());
    }
    check_match(&rollouts, &scores)?;

    if let Some(path) = &args.output {
        write_selected(path, &rollouts, &scores, args.rules.aggregation[0])?;
    }
    if rollouts.iter().all(|rollout| rollout.correctness.is_some()) {
        return print_table(args, &rollouts, &scores);
    }
    if args.output.is_none() {
        let record = args.rollouts.display().to_string();
        return Err(Error::NoCorrectness { needed_by: "the table".to_owned(), record }.into());
    }
    Ok(())
}

/// Whether the scores are those of the rollouts.
pub(super) fn check_match(rollouts: &[Rollout], scores: &[Score]) -> Result<()> {
    let mismatch = |what: String| CliError::Mismatch {
        what,
        hint: "scores stand in the order of the rollouts they were made from",
    };
    if rollouts.len() != scores.len() {
        let what = format!("{} problems, but scores of {}", rollouts.len(), scores.len());
        return Err(mismatch(what).into());
    }
    for (rollout, score) in rollouts.iter().zip(scores) {
        let (name, n) = (problem_name(rollout), rollout.completions.len());
        if name != score.id || n != score.scores.len() {
            let what = format!(
                "the rollouts have problem `{name}` with {n} completions where the scores have \
                 `{}` with {}",
                score.id,
                score.scores.len()
            );
            return Err(mismatch(what).into());
        }
    }
    Ok(())
}

fn scores_by(aggregation: Aggregation, scores: &Score) -> Vec<f64> {
    let score =
        |score: &CompletionScore| aggregation.score(&score.steps, &score.q_values, score.outcome);
    scores.scores.iter().map(score).collect()
}

fn write_selected(
    path: &Path,
    rollouts: &[Rollout],
    scores: &[Score],
    aggregation: Aggregation,
) -> Result<()> {
    let mut lines = Vec::new();
    for (rollout, scores) in rollouts.iter().zip(scores) {
        let by = scores_by(aggregation, scores);
        let Some(idx) = best_of_n(&by) else { continue };
        let correctness = rollout.correctness.as_ref();
        lines.push(json!({
            "id": scores.id,
            "prompt": rollout.prompt,
            "reference": rollout.reference,
            "completion": rollout.completions[idx],
            "completion_idx": idx,
            "score": by[idx],
            "correct": correctness.map(|labels| labels[idx]),
        }));
    }
    let text: String = lines.iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect();
    if path == Path::new("-") {
        return output::print(&text);
    }
    Ok(gratis_engine::atomic::write(path, text.as_bytes())?)
}

fn print_table(args: &SelectArgs, rollouts: &[Rollout], scores: &[Score]) -> Result<()> {
    let n_least =
        rollouts.iter().map(|rollout| rollout.completions.len()).min().unwrap_or_default();
    let ns = if args.ns.is_empty() {
        let mut ns: Vec<usize> = [4, 16, 64].into_iter().filter(|&n| n < n_least).collect();
        ns.push(n_least);
        ns
    } else {
        args.ns.clone()
    };
    let subsets = if args.unbiased {
        Subsets::Unbiased { n_samples: N_SUBSETS, seed: args.rules.seed }
    } else {
        Subsets::First
    };
    let problems =
        rollouts.iter().zip(scores).map(|(rollout, score)| ScoredProblem::new(rollout, score));
    let generator = GeneratorCandidates {
        name: args.rollouts.display().to_string(),
        problems: problems.collect::<gratis::Result<_>>()?,
    };
    let table = BestOfNTable::new(args.rules.settings(ns, subsets), &[generator])?;
    let sampling = rollouts[0].extra.get(SAMPLING).cloned().unwrap_or(json!("not recorded"));
    if args.json {
        return output::print_json(&json!({ "sampling": sampling, "table": table }));
    }
    let mut header = vec!["correct, %".to_owned()];
    header.extend(table.settings.ns.iter().map(|n| format!("N = {n}")));
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| {
            let mut cells = vec![name_of(row.selector)];
            cells.extend(row.cells.iter().map(|cell| {
                let half = (cell.accuracy.high - cell.accuracy.low) / 2.0;
                format!("{:.1} ± {:.1}", 100.0 * cell.accuracy.mean, 100.0 * half)
            }));
            cells
        })
        .collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rule = match subsets {
        Subsets::First => "the first N candidates".to_owned(),
        Subsets::Unbiased { n_samples, seed } => {
            format!("all subsets of N candidates (votes: {n_samples} sampled, seed {seed})")
        }
    };
    output::print(&format!(
        "{}{} problems; {rule}; ties to the first; no threshold; sampling: {sampling}; ± half of a \
         {:.0} % bootstrap interval over problems ({} resamples, seed {}).\n",
        output::table(&header, &rows),
        table.n_problems,
        100.0 * table.settings.bootstrap.confidence,
        table.settings.bootstrap.n_resamples,
        table.settings.bootstrap.seed,
    ))
}

pub(super) fn name_of(selector: Selector) -> String {
    let by = selector.aggregation;
    match selector.method {
        Method::BestOfN => format!("best of N by {by}"),
        Method::Majority => "majority".to_owned(),
        Method::WeightedVote { weight: VoteWeight::Sigmoid } => format!("vote by sigmoid({by})"),
        Method::WeightedVote { weight: VoteWeight::Exponential { temperature } } => {
            format!("vote by exp({by} / {temperature})")
        }
        Method::Oracle => "oracle".to_owned(),
        Method::Random => "one at random".to_owned(),
    }
}
