//! `gratis evaluate bon`: the paper's best-of-N table from scored rollouts of several generators.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use gratis::data::OnInvalid;
use gratis::evaluation::{BestOfNTable, GeneratorCandidates, ScoredProblem};
use gratis::selection::Subsets;
use serde_json::json;

use super::percent;
use crate::commands::select::{Matched, RuleArgs, interval_note, name_of, sampling_of};
use crate::output;

/// Print the best-of-N table of several generators: one row per selection method, one column per
/// generator and N.
#[derive(Debug, Args)]
#[command(after_help = "\
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
    let mut sampling = serde_json::Map::new();
    let mut rule = args.rules.aggregation();
    for Generator { name, rollouts, scores } in &args.generators {
        let (mut problems, mut own) = (Vec::new(), None);
        for pair in Matched::open(rollouts, scores, OnInvalid::Stop)? {
            let (rollout, scores) = pair?;
            rule.see(&scores)?;
            own.get_or_insert_with(|| sampling_of(&rollout));
            problems.push(ScoredProblem::new(&rollout, &scores)?);
        }
        sampling.insert(name.clone(), own.unwrap_or_else(|| json!("not recorded")));
        generators.push(GeneratorCandidates { name: name.clone(), problems });
    }
    let ns = match &args.ns[..] {
        [] => BestOfNTable::usual_ns(&generators),
        given => given.to_vec(),
    };
    let settings = args.rules.settings(ns, Subsets::First, &rule.aggregations());
    let table = BestOfNTable::new(settings, &generators)?;
    if args.json {
        return output::print_json(&json!({ "sampling": sampling, "table": table }));
    }
    let mut header = vec!["correct, %".to_owned()];
    header.extend(table.rows[0].cells.iter().map(|cell| format!("{} @{}", cell.generator, cell.n)));
    header.extend(["average", "over majority"].map(str::to_owned));
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| {
            let mut cells = vec![name_of(row.selector)];
            cells.extend(row.cells.iter().map(|c| format!("{:.1}", 100.0 * c.accuracy.mean)));
            cells.extend([percent(&row.average), percent(&row.gain)]);
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
    output::print(&(output::table(&header, &rows) + &output::notes(notes)))
}
