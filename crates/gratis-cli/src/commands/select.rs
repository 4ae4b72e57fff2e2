//! `gratis select`: best-of-N from scores, beside majority, votes and the oracle.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use gratis::Error;
use gratis::data::{
    LineWriter, OnInvalid, ProblemScores, RecordReader, Rollout, RolloutReader, ScoreReader, Scored,
};
use gratis::encoding::problem_name;
use gratis::evaluation::{
    BestOfNSettings, BestOfNTable, Bootstrap, GeneratorCandidates, ScoredProblem, Selector,
};
use gratis::rollout::SAMPLING;
use gratis::selection::{Aggregation, Method, Subsets, VoteWeight, best_of_n};
use serde_json::{Value, json};

use super::{InvalidArgs, warn_skipped};
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
    let mut selected = args.output.as_deref().map(LineWriter::create).transpose()?;
    // No table once a rollout is not graded.
    let mut problems = Some(Vec::new());
    let mut sampling = None;
    for pair in Matched::open(&args.rollouts, &args.scores, args.invalid.on_invalid())? {
        let (rollout, scores) = pair?;
        if let Some(writer) = &mut selected
            && let Some(line) = selected_line(&rollout, &scores, args.rules.aggregation[0])
        {
            writer.write(&line)?;
        }
        if selected.is_some() && rollout.completions.iter().any(|c| c.label.is_none()) {
            problems = None;
        }
        if let Some(problems) = &mut problems {
            problems.push(ScoredProblem::new(&rollout, &scores)?);
        }
        sampling.get_or_insert_with(|| sampling_of(&rollout));
    }
    let Some(sampling) = sampling else {
        return Err(Error::NoExamples { purpose: "select from" }.into());
    };
    if let Some(writer) = selected {
        writer.finish()?;
    }
    problems.map_or(Ok(()), |problems| print_table(args, problems, &sampling))
}

/// How the completions of a rollout were drawn, as far as it says.
pub(super) fn sampling_of(rollout: &Rollout) -> Value {
    rollout.extra.get(SAMPLING).cloned().unwrap_or_else(|| json!("not recorded"))
}

/// Rollouts and their scores, a problem at a time.
pub(super) struct Matched {
    rollouts: RolloutReader,
    scores: ScoreReader,
}

impl Matched {
    /// Opens both files.
    pub(super) fn open(rollouts: &Path, scores: &Path, on_invalid: OnInvalid) -> Result<Self> {
        Ok(Self {
            rollouts: RecordReader::open(rollouts, on_invalid)?,
            scores: RecordReader::open(scores, on_invalid)?,
        })
    }

    /// The next problem, if its scores are its own.
    fn next_pair(&mut self) -> Result<Option<(Rollout, ProblemScores)>> {
        let next = (self.rollouts.next().transpose()?, self.scores.next().transpose()?);
        check_pair(next.0.as_ref(), next.1.as_ref())?;
        let (Some(rollout), Some(scores)) = next else {
            warn_skipped(self.rollouts.n_skipped(), "malformed lines of the rollouts");
            warn_skipped(self.scores.n_skipped(), "malformed lines of the scores");
            return Ok(None);
        };
        Ok(Some((rollout, scores)))
    }
}

/// Whether the scores are those of the rollouts.
pub(super) fn check_match(rollouts: &[Rollout], scores: &[ProblemScores]) -> Result<()> {
    if rollouts.len() != scores.len() {
        let what = format!("{} problems, but scores of {}", rollouts.len(), scores.len());
        return Err(mismatch(what));
    }
    let mut pairs = rollouts.iter().zip(scores);
    pairs.try_for_each(|(rollout, scores)| check_pair(Some(rollout), Some(scores)))
}

/// Whether the scores are those of the rollout; both files must come to their ends together.
fn check_pair(rollout: Option<&Rollout>, scores: Option<&ProblemScores>) -> Result<()> {
    let what = match (rollout, scores) {
        (None, None) => return Ok(()),
        (Some(rollout), None) => {
            format!("the scores end before problem `{}`", problem_name(rollout))
        }
        (None, Some(scores)) => format!("the rollouts end before the scores of `{}`", scores.id),
        (Some(rollout), Some(scores)) => {
            let (name, n_completions) = (problem_name(rollout), rollout.completions.len());
            let n_scores = scores.scores.len();
            if name == scores.id && n_completions == n_scores {
                return Ok(());
            }
            format!(
                "the rollouts have problem `{name}` with {n_completions} completions where the \
                 scores have `{}` with {n_scores}",
                scores.id
            )
        }
    };
    Err(mismatch(what))
}

fn mismatch(what: String) -> anyhow::Error {
    let hint = "scores stand in the order of the rollouts they were made from";
    CliError::Mismatch { what, hint }.into()
}

impl Iterator for Matched {
    type Item = Result<(Rollout, ProblemScores)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_pair().transpose()
    }
}

fn scores_by(aggregation: Aggregation, scores: &ProblemScores) -> Vec<f64> {
    let score = |score: &Scored| aggregation.score(&score.steps, &score.q_values, score.outcome);
    scores.scores.iter().map(score).collect()
}

/// The selected candidate of a problem; none where there are no candidates.
fn selected_line(
    rollout: &Rollout,
    scores: &ProblemScores,
    aggregation: Aggregation,
) -> Option<Value> {
    let by = scores_by(aggregation, scores);
    let idx = best_of_n(&by)?;
    Some(json!({
        "id": scores.id,
        "prompt": rollout.prompt,
        "reference": rollout.reference,
        "completion": rollout.completions[idx].text,
        "completion_idx": idx,
        "score": by[idx],
        "correct": rollout.completions[idx].label,
    }))
}

fn print_table(args: &SelectArgs, problems: Vec<ScoredProblem>, sampling: &Value) -> Result<()> {
    let n_least = problems.iter().map(|problem| problem.answers.len()).min().unwrap_or_default();
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
    let generator = GeneratorCandidates { name: args.rollouts.display().to_string(), problems };
    let table = BestOfNTable::new(args.rules.settings(ns, subsets), &[generator])?;
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
    let rule = match subsets {
        Subsets::First => "the first N candidates".to_owned(),
        Subsets::Unbiased { n_samples, seed } => {
            format!("all subsets of N candidates (votes: {n_samples} sampled, seed {seed})")
        }
    };
    let notes = [
        format!("{} problems; {rule}; ties to the first; no threshold.", table.n_problems),
        format!("Sampling: {sampling}"),
        interval_note(&table.settings.bootstrap, "problems"),
    ];
    output::print(&(output::table(&header, &rows) + &output::notes(notes)))
}

/// What `±` stands for.
pub(super) fn interval_note(bootstrap: &Bootstrap, over: &str) -> String {
    let Bootstrap { confidence, n_resamples, seed, .. } = bootstrap;
    format!(
        "±: half of a {:.0} % bootstrap interval over {over} ({n_resamples} resamples, seed {seed}).",
        100.0 * confidence
    )
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
