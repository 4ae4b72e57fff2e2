//! `gratis evaluate bon`: the paper's best-of-N table from scored rollouts of several generators.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use gratis::data::{CandidateScores, OnInvalid, ProblemScores};
use gratis::evaluation::{BestOfNTable, GeneratorCandidates};
use gratis::selection::Subsets;
use gratis::{LengthStatistics, LengthUnit, ProblemCandidates, WithinProblems};
use serde_json::json;

use super::percent;
use crate::commands::select::{Matched, RuleArgs, interval_note, name_of, sampling_of};
use crate::output;

/// Print the best-of-N table of several generators: one row per selection method, one column per
/// generator and N. A second table shows whether the reward is only the length of a solution.
#[derive(Debug, Args)]
#[command(after_help = "\
Length statistics: rank correlations among the candidates of a problem, averaged over problems, of the
score (by the first aggregation) and the number of tokens, and of the lowest step reward and the number
of steps. Tokens are counted if the scores have them (`gratis score --tokens`) or the rollouts have
token ids; else characters.

Examples:
  gratis evaluate bon weak=weak.jsonl,weak-scores.jsonl strong=strong.jsonl,strong-scores.jsonl
  gratis evaluate bon g=candidates.jsonl,scores.jsonl -n 4,16 --vote-temperature 0.1 --json")]
pub(super) struct BestOfNArgs {
    /// A generator: its name, its graded rollout file and the score file of these rollouts.
    #[arg(value_name = "NAME=ROLLOUTS,SCORES", required = true, value_parser = parse)]
    generators: Vec<Generator>,
    /// Numbers of candidates [default: 4, 16 and 64 as far as every problem has more, and the fewest
    /// candidates of a problem].
    #[arg(short, long = "n", value_name = "N", value_delimiter = ',')]
    ns: Vec<usize>,
    #[command(flatten)]
    rules: RuleArgs,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
}

/// The input files of a generator.
#[derive(Debug, Clone)]
struct Generator {
    name: String,
    rollouts: PathBuf,
    scores: PathBuf,
}

fn parse(text: &str) -> Result<Generator> {
    let parts = text.split_once('=').and_then(|(name, files)| Some((name, files.split_once(',')?)));
    let (name, (rollouts, scores)) =
        parts.ok_or_else(|| anyhow!("expected `NAME=ROLLOUTS,SCORES`"))?;
    Ok(Generator { name: name.to_owned(), rollouts: rollouts.into(), scores: scores.into() })
}

pub(super) fn run(args: &BestOfNArgs) -> Result<()> {
    let mut generators = Vec::new();
    let mut lengths = Vec::new();
    let mut sampling = serde_json::Map::new();
    let mut rule = args.rules.aggregation();
    for Generator { name, rollouts, scores } in &args.generators {
        let (mut problems, mut own, mut own_lengths) = (Vec::new(), None, Lengths::default());
        for pair in Matched::<ProblemScores>::open(rollouts, scores, OnInvalid::Stop)? {
            let (rollout, scores) = pair?;
            rule.see(&scores.id, scores.origin.as_ref())?;
            own.get_or_insert_with(|| sampling_of(&rollout));
            let candidates = CandidateScores::of(&scores)?;
            problems.push(ProblemCandidates::of_checked(&rollout, candidates)?);
            own_lengths.tokens.push(LengthUnit::tokens_of(&rollout, &scores.scores)?);
            own_lengths.characters.push(LengthUnit::characters_of(&rollout));
        }
        lengths.push(own_lengths);
        sampling.insert(name.clone(), own.unwrap_or_else(|| json!("not recorded")));
        generators.push(GeneratorCandidates { name: name.clone(), problems });
    }
    let ns = match &args.ns[..] {
        [] => BestOfNTable::usual_ns(&generators),
        given => given.to_vec(),
    };
    let settings = args.rules.settings(ns, Subsets::First, &rule.aggregations());
    let table = BestOfNTable::new(settings, &generators)?;
    let aggregation = rule.aggregations()[0];
    let mut statistics = Vec::new();
    for (generator, lengths) in generators.iter().zip(lengths) {
        let (unit, lengths) = lengths.counted();
        let bootstrap = &table.settings.bootstrap;
        let of = LengthStatistics::new(&generator.problems, &lengths, unit, aggregation, bootstrap);
        statistics.push((generator.name.clone(), of));
    }
    if args.json {
        let of = |(generator, of): &(String, LengthStatistics)| json!({ "generator": generator, "statistics": of });
        let lengths: Vec<_> = statistics.iter().map(of).collect();
        return output::print_json(
            &json!({ "sampling": sampling, "table": table, "lengths": lengths }),
        );
    }
    let mut header = vec!["correct, %".to_owned()];
    let selectors = &table.settings.selectors;
    header.extend(
        table.accuracies(selectors[0]).map(|(generator, n, _)| format!("{generator} @{n}")),
    );
    header.extend(["average", "over majority"].map(str::to_owned));
    let rows: Vec<Vec<String>> = selectors
        .iter()
        .map(|&selector| {
            let mut cells = vec![name_of(selector)];
            let accuracies = table.accuracies(selector);
            cells.extend(accuracies.map(|(_, _, of)| format!("{:.1}", 100.0 * of.mean)));
            let sums = [table.average(selector), table.gain(selector)];
            cells.extend(sums.iter().flatten().map(percent));
            cells
        })
        .collect();
    let n_problems = table.n_problems;
    let mut notes = vec![format!(
        "{n_problems} problems; the first N candidates; ties to the first; no threshold."
    )];
    notes.extend(sampling.iter().map(|(name, how)| format!("Sampling of {name}: {how}")));
    notes.push(rule.note());
    notes.push(interval_note(&table.settings.bootstrap, "problems"));
    let lengths = length_table(&statistics) + &output::notes([length_note(&statistics)]);
    output::print(&(output::table(&header, &rows) + "\n" + &lengths + &output::notes(notes)))
}

/// The lengths of a generator's candidates, problem by problem.
#[derive(Debug, Default)]
struct Lengths {
    tokens: Vec<Option<Vec<usize>>>,
    characters: Vec<Vec<usize>>,
}

impl Lengths {
    /// In tokens if they are recorded for all, else in characters.
    fn counted(self) -> (LengthUnit, Vec<Vec<usize>>) {
        match self.tokens.into_iter().collect::<Option<Vec<_>>>() {
            Some(tokens) => (LengthUnit::Tokens, tokens),
            None => (LengthUnit::Characters, self.characters),
        }
    }
}

fn length_table(statistics: &[(String, LengthStatistics)]) -> String {
    let shown = |of: &WithinProblems| {
        let correlation = of.correlation.map_or_else(
            || "-".to_owned(),
            |of| format!("{:+.2} ({:+.2} to {:+.2})", of.mean, of.low, of.high),
        );
        [correlation, of.n_problems.to_string()]
    };
    let row = |(generator, of): &(String, LengthStatistics)| {
        let [score, n_score] = shown(&of.score_and_length);
        let [lowest, n_lowest] = shown(&of.lowest_step_and_steps);
        vec![format!("{generator}, {}", of.unit.name()), score, n_score, lowest, n_lowest]
    };
    let header = ["correlation", "score, length", "problems", "lowest step, steps", "problems"];
    output::table(&header, &statistics.iter().map(row).collect::<Vec<_>>())
}

/// What the correlations are of.
fn length_note(statistics: &[(String, LengthStatistics)]) -> String {
    let by = statistics.first().map_or_else(String::new, |(_, of)| of.aggregation.to_string());
    let in_characters = statistics.iter().any(|(_, of)| of.unit == LengthUnit::Characters);
    let why = if in_characters {
        " Characters, because neither the scores nor the rollouts record tokens (`gratis score \
         --tokens`)."
    } else {
        ""
    };
    format!(
        "Rank correlations among the candidates of a problem, mean over the problems that have one, \
         with the interval over problems; score by {by}.{why}"
    )
}
