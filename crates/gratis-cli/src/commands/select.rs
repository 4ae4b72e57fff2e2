//! `gratis select`: best-of-N from scores, with majority, votes and the oracle.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use gratis::data::{
    CandidateScores, Error as DataError, OnInvalid, ProblemScores, Reading, RecordReader,
    RecordWriter, Rollout, ScoreOrigin, check_output,
};
use gratis::evaluation::{BestOfNSettings, BestOfNTable, Bootstrap, GeneratorCandidates, Selector};
use gratis::rollout::Sampler;
use gratis::selection::{Aggregation, Method, Subsets, VoteWeight, best_of_n};
use gratis::{Error, ProblemCandidates};
use rayon::prelude::*;
use serde_json::{Value, json};
use tracing::info;

use super::{InvalidArgs, warn_skipped};
use crate::failure::CliError;
use crate::output;
use crate::pipeline::{Ahead, in_batches};

/// Select the best of N candidates by their scores, and report the accuracy.
///
/// The table needs graded rollouts. Ties go to the first candidate.
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
    /// Numbers of candidates [default: 4, 16 and 64 where available, and all].
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
    /// Write the selected candidate of each problem, chosen from all candidates by the first
    /// aggregation.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    invalid: InvalidArgs,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a finite number above 0".to_owned()),
    }
}

/// How candidates are selected.
#[derive(Debug, Args)]
pub(super) struct RuleArgs {
    /// How step rewards are aggregated into a score [default: as recorded in the score files, else
    /// `min`].
    #[arg(long, value_delimiter = ',')]
    aggregation: Vec<Aggregation>,
    /// Vote by `exp(score / T)` instead of `sigmoid(score)`.
    #[arg(long, value_name = "T", value_parser = positive)]
    vote_temperature: Option<f64>,
    /// Seed of the bootstrap and of sampled subsets.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl RuleArgs {
    /// The rows of a table: majority, one at random, best-of-N by each aggregation, the vote weighted
    /// by the first, and the oracle.
    fn selectors(&self, aggregations: &[Aggregation]) -> Vec<Selector> {
        let weight = match self.vote_temperature {
            Some(temperature) => VoteWeight::Exponential { temperature },
            None => VoteWeight::Sigmoid,
        };
        let by = |method, aggregation| Selector { method, aggregation };
        let mut selectors = vec![
            Selector::without_score(Method::Majority),
            Selector::without_score(Method::Random),
        ];
        let best = aggregations.iter().map(|&aggregation| by(Method::BestOfN, aggregation));
        selectors.extend(best);
        selectors.push(by(Method::WeightedVote { weight }, aggregations[0]));
        selectors.push(Selector::without_score(Method::Oracle));
        selectors
    }

    /// The aggregation, before any score has been read.
    pub(super) fn aggregation(&self) -> AggregationRule<'_> {
        AggregationRule { asked: &self.aggregation, first: None }
    }

    /// The settings of a table.
    pub(super) fn settings(
        &self,
        ns: Vec<usize>,
        subsets: Subsets,
        aggregations: &[Aggregation],
    ) -> BestOfNSettings {
        BestOfNSettings {
            ns,
            selectors: self.selectors(aggregations),
            subsets,
            bootstrap: Bootstrap { seed: self.seed, ..Bootstrap::default() },
        }
    }
}

/// The aggregation: as given, or as recorded in the score files.
pub(super) struct AggregationRule<'a> {
    asked: &'a [Aggregation],
    /// The aggregation recorded in the first scores.
    first: Option<Recorded>,
}

/// The aggregation recorded in the scores; none in files of version 1.
struct Recorded(Option<ScoreOrigin>);

impl AggregationRule<'_> {
    /// Notes the recorded aggregation, which must be the same for all scores unless one is given.
    pub(super) fn see(&mut self, id: &str, origin: Option<&ScoreOrigin>) -> Result<()> {
        let Recorded(recorded) = self.first.get_or_insert_with(|| Recorded(origin.cloned()));
        let of = |origin: Option<&ScoreOrigin>| origin.and_then(|origin| origin.aggregation);
        let (first, own) = (of(recorded.as_ref()), of(origin));
        if self.asked.is_empty() && first != own {
            let name = |by: Option<Aggregation>| by.map_or("none".to_owned(), |by| by.to_string());
            return Err(CliError::Mismatch {
                what: format!(
                    "the scores of problem `{id}` record the aggregation `{}`, those before it `{}`",
                    name(own),
                    name(first)
                ),
                hint: "choose one for all with `--aggregation`",
            }
            .into());
        }
        Ok(())
    }

    fn recorded(&self) -> Option<(&ScoreOrigin, Aggregation)> {
        let origin = self.first.as_ref()?.0.as_ref()?;
        Some((origin, origin.aggregation?))
    }

    /// The aggregations, at least one.
    pub(super) fn aggregations(&self) -> Vec<Aggregation> {
        if !self.asked.is_empty() {
            return self.asked.to_vec();
        }
        vec![self.recorded().map(|(_, aggregation)| aggregation).unwrap_or_default()]
    }

    /// Reports which aggregation is used and why.
    pub(super) fn note(&self) -> String {
        let names: Vec<String> = self.aggregations().iter().map(ToString::to_string).collect();
        let why = match self.recorded() {
            _ if !self.asked.is_empty() => "as asked for".to_owned(),
            Some((ScoreOrigin { model, kind, .. }, _)) => {
                format!("recorded in the scores (`{model}`, {kind})")
            }
            None => "the default: the scores record none".to_owned(),
        };
        format!("Aggregation: {}, {why}.", names.join(", "))
    }
}

/// Number of subsets sampled for votes, which have no closed form.
const N_SUBSETS: usize = 100;

pub(crate) fn run(args: &SelectArgs) -> Result<()> {
    if let Some(output) = &args.output {
        check_output(output, &[&args.rollouts, &args.scores])?;
    }
    let mut selected = args.output.as_deref().map(RecordWriter::<Value>::create).transpose()?;
    // No table if any rollout is not graded.
    let mut problems = Some(Vec::new());
    let mut sampling = None;
    let mut rule = args.rules.aggregation();
    let pairs = Matched::open(&args.rollouts, &args.scores, args.invalid.reading())?;
    // They are checked on the compute threads.
    let mut pairs = Matched { check: Check::Later, ..pairs };
    let has_output = selected.is_some();
    let size =
        |(rollout, scores): &(Rollout, CandidateScores)| rollout.n_text_bytes() + scores.n_bytes();
    let work = |batch: &mut [(Rollout, CandidateScores)]| -> Vec<Result<_, gratis::Error>> {
        let problem = |(rollout, scores): &mut (Rollout, CandidateScores)| {
            scores.check(rollout)?;
            let is_graded = || rollout.completions.iter().all(|c| c.label.is_some());
            Ok(match has_output {
                false => Some(ProblemCandidates::take(rollout, scores)),
                true if is_graded() => Some(ProblemCandidates::of_checked(rollout, scores.clone())),
                true => None,
            })
        };
        batch.par_iter_mut().map(problem).collect()
    };
    in_batches(pairs.by_ref(), Ahead::Batch, size, work, |batch, found| {
        for ((rollout, scores), problem) in batch.iter().zip(found) {
            let problem = problem?;
            rule.see(&scores.id, scores.origin.as_ref())?;
            if let Some(writer) = &mut selected
                && let Some(line) = selected_line(rollout, scores, rule.aggregations()[0])
            {
                writer.write(line)?;
            }
            match (problem, &mut problems) {
                (Some(problem), Some(problems)) => problems.push(problem?),
                (None, _) => problems = None,
                (Some(_), None) => {}
            }
            sampling.get_or_insert_with(|| sampling_of(rollout));
        }
        Ok(())
    })?;
    let Some(sampling) = sampling else {
        let n_left_out = pairs.rollouts.n_skipped();
        return Err(Error::NoExamples { purpose: "select from", n_left_out }.into());
    };
    if let Some(writer) = selected {
        writer.finish()?;
    }
    if let Some(problems) = problems {
        return print_table(args, problems, &sampling, &rule);
    }
    info!("{}", rule.note());
    Ok(())
}

/// How the completions of a rollout were sampled, if recorded.
pub(super) fn sampling_of(rollout: &Rollout) -> Value {
    rollout.extra.get(Sampler::COLUMN).cloned().unwrap_or_else(|| json!("not recorded"))
}

/// Rollouts and their scores, one problem at a time.
pub(super) struct Matched<S = ProblemScores> {
    rollouts: RecordReader<Rollout>,
    scores: RecordReader<S>,
    check: Check,
}

/// The scores of a problem, in one of their two forms.
pub(super) trait Scores: Sized {
    fn open(path: &Path, on_invalid: OnInvalid) -> Result<RecordReader<Self>, DataError>;

    fn id(&self) -> &str;

    fn check(&self, rollout: &Rollout) -> Result<(), DataError>;
}

impl Scores for ProblemScores {
    fn open(path: &Path, on_invalid: OnInvalid) -> Result<RecordReader<Self>, DataError> {
        RecordReader::open(path, on_invalid)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn check(&self, rollout: &Rollout) -> Result<(), DataError> {
        self.check(rollout)
    }
}

impl Scores for CandidateScores {
    fn open(path: &Path, on_invalid: OnInvalid) -> Result<RecordReader<Self>, DataError> {
        RecordReader::open(path, on_invalid)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn check(&self, rollout: &Rollout) -> Result<(), DataError> {
        self.check(rollout)
    }
}

/// When it is checked that scores belong to their rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    WhenRead,
    /// By whoever takes the pair.
    Later,
}

impl<S: Scores> Matched<S> {
    /// Opens both files.
    pub(super) fn open(
        rollouts: &Path,
        scores: &Path,
        reading: impl Into<Reading>,
    ) -> Result<Self> {
        let reading = reading.into();
        Ok(Self {
            rollouts: RecordReader::bare(rollouts, reading.clone())?,
            scores: S::open(scores, reading.on_invalid)?,
            check: Check::WhenRead,
        })
    }

    /// The next problem, after checking that the scores belong to it.
    fn next_pair(&mut self) -> Result<Option<(Rollout, S)>> {
        let next = (self.rollouts.next().transpose()?, self.scores.next().transpose()?);
        check_pair(next.0.as_ref(), next.1.as_ref(), self.check)?;
        let (Some(rollout), Some(scores)) = next else {
            warn_skipped(self.rollouts.n_skipped(), "malformed lines of the rollouts");
            warn_skipped(self.scores.n_skipped(), "malformed lines of the scores");
            return Ok(None);
        };
        Ok(Some((rollout, scores)))
    }
}

/// Whether the scores belong to the rollouts.
pub(super) fn check_match(rollouts: &[Rollout], scores: &[ProblemScores]) -> Result<()> {
    if rollouts.len() != scores.len() {
        let what = format!("{} problems, but scores of {}", rollouts.len(), scores.len());
        return Err(mismatch(what));
    }
    let mut pairs = rollouts.iter().zip(scores);
    pairs.try_for_each(|(rollout, scores)| Ok(scores.check(rollout)?))
}

/// Whether the scores belong to the rollout; both files must end together.
fn check_pair<S: Scores>(
    rollout: Option<&Rollout>,
    scores: Option<&S>,
    check: Check,
) -> Result<()> {
    let what = match (rollout, scores) {
        (None, None) => return Ok(()),
        (Some(_), Some(_)) if check == Check::Later => return Ok(()),
        (Some(rollout), None) => {
            format!("the scores end before problem `{}`", rollout.name().to_owned())
        }
        (None, Some(scores)) => format!("the rollouts end before the scores of `{}`", scores.id()),
        (Some(rollout), Some(scores)) => return Ok(scores.check(rollout)?),
    };
    Err(mismatch(what))
}

fn mismatch(what: String) -> anyhow::Error {
    let hint = "scores must be in the order of their rollouts";
    CliError::Mismatch { what, hint }.into()
}

impl<S: Scores> Iterator for Matched<S> {
    type Item = Result<(Rollout, S)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_pair().transpose()
    }
}

/// The selected candidate of a problem; none if there are no candidates.
fn selected_line(
    rollout: &Rollout,
    scores: &CandidateScores,
    aggregation: Aggregation,
) -> Option<Value> {
    let by = scores.by(aggregation);
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

fn print_table(
    args: &SelectArgs,
    problems: Vec<ProblemCandidates>,
    sampling: &Value,
    rule: &AggregationRule<'_>,
) -> Result<()> {
    let generators = [GeneratorCandidates { name: args.rollouts.display().to_string(), problems }];
    let ns = match &args.ns[..] {
        [] => BestOfNTable::usual_ns(&generators),
        given => given.to_vec(),
    };
    let subsets = if args.unbiased {
        Subsets::Unbiased { n_samples: N_SUBSETS, seed: args.rules.seed }
    } else {
        Subsets::First
    };
    let settings = args.rules.settings(ns, subsets, &rule.aggregations());
    let table = BestOfNTable::new(settings, &generators)?;
    if args.json {
        return output::print_json(&json!({ "sampling": sampling, "table": table }));
    }
    let mut header = vec!["correct, %".to_owned()];
    header.extend(table.settings.ns.iter().map(|n| format!("N = {n}")));
    let row = |&selector: &Selector| {
        let mut cells = vec![name_of(selector)];
        cells.extend(table.accuracies(selector).map(|(_, _, accuracy)| {
            let half = (accuracy.high - accuracy.low) / 2.0;
            format!("{:.1} ± {:.1}", 100.0 * accuracy.mean, 100.0 * half)
        }));
        cells
    };
    let rows: Vec<Vec<String>> = table.settings.selectors.iter().map(row).collect();
    let candidates = match subsets {
        Subsets::First => "the first N candidates".to_owned(),
        Subsets::Unbiased { n_samples, seed } => {
            format!("all subsets of N candidates (votes: {n_samples} sampled, seed {seed})")
        }
    };
    let notes = [
        format!("{} problems; {candidates}; ties to the first; no threshold.", table.n_problems),
        rule.note(),
        format!("Sampling: {sampling}"),
        interval_note(&table.settings.bootstrap, "problems"),
    ];
    output::print(&(output::table(&header, &rows) + &output::notes(notes)))
}

/// Explains `±`.
pub(super) fn interval_note(bootstrap: &Bootstrap, over: &str) -> String {
    let Bootstrap { confidence, n_resamples, seed, .. } = bootstrap;
    format!(
        "±: half of a {:.0} % bootstrap interval over {over} ({n_resamples} resamples, seed \
         {seed}).",
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
