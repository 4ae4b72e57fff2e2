//! `gratis reproduce`: the paper's tables and figures in the tiny world, or on a cast of the user's own.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use gratis::evaluation::Interval;
use gratis_paper::outcome::{Claim, ComparedRow};
use gratis_paper::{CastFile, Experiment, Finished, Folders, Machine, Scale, Settings};
use serde_json::json;
use tracing::info;

use super::evaluate::percent;
use crate::Common;
use crate::failure::CliError;
use crate::interrupt::{Continue, on_interrupt};
use crate::model::HUB;
use crate::output;
use crate::progress::Progress;
use crate::temporary::TemporaryFolder;

/// Rerun the paper's tables and figures in the tiny world, or on models and problems of your own, and report
/// which of its claims hold.
///
/// Models, samples, labels and evaluations are computed once and cached under names derived from
/// their inputs, so a run that was stopped continues where it was, and experiments share results.
/// The report folder contains `index.html` with everything, a page and a JSON file per experiment,
/// and `report.md`; a summary of the tables and claims goes to stdout.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis reproduce all
  gratis reproduce table1 figure6 --scale full --seeds 3
  gratis reproduce table4 --json | jq '.[0].claims'
  gratis reproduce table1 table4 --cast casts/smollm2.toml --dry-run
  gratis reproduce table1 table4 --cast casts/smollm2.toml
  gratis reproduce tuning --scale full    # beta and learning rate of every row, on validation \
       problems")]
pub(crate) struct ReproduceArgs {
    /// What to reproduce.
    #[arg(required = true, num_args = 1.., value_parser = What::parser())]
    what: Vec<What>,
    /// Run on the models and problems that this file names, instead of the tiny world (`gratis cast init`
    /// writes one, see `docs/reproduce.md`).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scale", "seeds"])]
    cast: Option<PathBuf>,
    /// Print what would be computed on the cast, with tokens, operations, memory and an estimate of the
    /// time, and compute nothing.
    #[arg(long)]
    dry_run: bool,
    /// Size of the reproduction in the tiny world.
    #[arg(long, value_enum, default_value_t)]
    scale: Scale,
    /// Number of seeds in the tiny world [default: 1 if quick, 3 if full].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Report folder.
    #[arg(short, long, default_value = "report", value_name = "FOLDER")]
    output: PathBuf,
    /// Cache folder.
    #[arg(long, default_value = "gratis-cache", value_name = "FOLDER")]
    cache: PathBuf,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

/// A table, a figure, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Every table and figure.
    All,
    /// Beta and learning rate of every row.
    Tuning,
    /// One experiment.
    One(Experiment),
}

impl What {
    /// Parses a name.
    fn parser() -> impl TypedValueParser<Value = Self> {
        let all = PossibleValue::new("all").help("Every table and figure of the paper");
        let tuning = PossibleValue::new("tuning")
            .help("Beta and learning rate of every objective and baseline, on validation problems");
        let all_experiments = Experiment::value_variants().iter();
        let experiments = all_experiments.filter_map(ValueEnum::to_possible_value);
        let names = std::iter::once(all).chain(experiments).chain([tuning]);
        PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
            "all" => Ok(Self::All),
            "tuning" => Ok(Self::Tuning),
            name => Experiment::from_str(name, false).map(Self::One),
        })
    }

    fn experiments(self) -> Vec<Experiment> {
        match self {
            Self::All => Experiment::ALL.to_vec(),
            Self::Tuning => Vec::new(),
            Self::One(experiment) => vec![experiment],
        }
    }
}

pub(crate) fn run(args: &ReproduceArgs, common: &Common) -> Result<()> {
    if let Some(cast) = &args.cast {
        return run_on(cast, args, common);
    }
    if args.dry_run {
        return Err(CliError::Mismatch {
            what: "`--dry-run` plans the work of a cast, and there is no `--cast`".to_owned(),
            hint: "without a cast everything runs in the tiny world: about three minutes per seed at full \
                   scale on two cores, less if quick",
        }
        .into());
    }
    let settings = Settings::new(args.scale, args.seeds, common.threads);
    // Artefacts are cached as soon as they are complete.
    on_interrupt(Continue::SameCommand);
    let mut progress = Progress::new(common);
    if args.what.contains(&What::Tuning) {
        let tuning = gratis_paper::tune(settings, &args.cache, &mut progress)?;
        progress.finish();
        let (objectives, baselines) = (tuning.best(), tuning.best_baselines());
        return output::print_json(
            &json!({ "tuning": tuning, "objectives": objectives, "baselines": baselines }),
        );
    }
    let experiments: Vec<Experiment> =
        args.what.iter().flat_map(|what| what.experiments()).collect();
    let folders = Folders { cache: &args.cache, report: &args.output };
    let finished = gratis_paper::reproduce(settings, &experiments, folders, &mut progress)?;
    progress.finish();
    report(args, &finished)
}

/// Runs on a cast of the user's own.
fn run_on(cast: &Path, args: &ReproduceArgs, common: &Common) -> Result<()> {
    let file = CastFile::read(cast)?;
    let mut experiments = Vec::new();
    for what in &args.what {
        match what {
            What::Tuning => {
                return Err(CliError::Mismatch {
                    what: "`tuning` needs the tiny world, because it tries the grids of its rows"
                        .to_owned(),
                    hint: "give several `[[rows]]` with other settings in the cast",
                }
                .into());
            }
            What::One(experiment) => experiments.push(*experiment),
            What::All => {
                for experiment in Experiment::ALL {
                    match experiment.needs_tiny_world() {
                        None => experiments.push(experiment),
                        Some(why) => info!(
                            "left out: `{}` needs the tiny world, because {why}",
                            experiment.name()
                        ),
                    }
                }
            }
        }
    }
    on_interrupt(Continue::SameCommand);
    let scratch = TemporaryFolder::new()?;
    let machine = Machine { n_threads: common.threads, hub: HUB, scratch: scratch.path() };
    let mut progress = Progress::new(common);
    if args.dry_run {
        let plan = gratis_paper::plan_on(&file, machine, &experiments, &args.cache, &mut progress)?;
        progress.finish();
        if args.json {
            return output::print_json(&json!(plan));
        }
        return output::print(&super::cast::plan(&plan));
    }
    let folders = Folders { cache: &args.cache, report: &args.output };
    let finished =
        gratis_paper::reproduce_on(&file, machine, &experiments, folders, &mut progress)?;
    progress.finish();
    report(args, &finished)
}

fn report(args: &ReproduceArgs, finished: &[Finished]) -> Result<()> {
    if args.json {
        output::print_json(&json!(finished))?;
    } else {
        output::print(&summary(finished))?;
    }
    info!("the report is in `{}`", args.output.join("index.html").display());
    Ok(())
}

/// The averages of the comparisons, the other tables, and the claims with their verdicts; the cells
/// of each generator and N are in the report.
fn summary(finished: &[Finished]) -> String {
    let mut text = String::new();
    for Finished { outcome, .. } in finished {
        let title = format!("{}: {}. {}", outcome.name, outcome.title, outcome.question);
        text.extend([if text.is_empty() { "" } else { "\n" }, &output::notes([title])]);
        for comparison in &outcome.comparisons {
            text += "\n";
            text += &output::notes([format!("{}:", comparison.caption.trim_end_matches('.'))]);
            text += &output::table(
                &["%", "average", "weighted vote", "first-error F1", "paper's average"],
                &in_groups(&comparison.rows),
            );
        }
        for table in &outcome.tables {
            text += "\n";
            text += &output::notes([format!("{}:", table.caption.trim_end_matches('.'))]);
            text += &output::table(&table.header, &table.rows);
        }
        if !outcome.claims.is_empty() {
            text += "\n";
            text += &output::notes(outcome.claims.iter().map(verdict));
        }
    }
    text
}

/// The averages of all rows; each group opens with its name, unless there is only one.
fn in_groups(rows: &[ComparedRow]) -> Vec<Vec<String>> {
    let has_groups = rows.windows(2).any(|pair| pair[0].group != pair[1].group);
    if !has_groups {
        return rows.iter().map(averages).collect();
    }
    let group = |rows: &[ComparedRow]| {
        let mut lines = vec![vec![rows[0].group.clone()]];
        lines[0].resize(averages(&rows[0]).len(), String::new());
        lines.extend(rows.iter().map(|row| {
            let mut line = averages(row);
            line[0].insert_str(0, "  ");
            line
        }));
        lines
    };
    rows.chunk_by(|a, b| a.group == b.group).flat_map(group).collect()
}

fn averages(row: &ComparedRow) -> Vec<String> {
    let optional = |value: &Option<Interval>| value.as_ref().map_or(String::new(), percent);
    vec![
        row.name.clone(),
        percent(&row.average),
        optional(&row.weighted_vote),
        optional(&row.first_error),
        row.paper.map_or(String::new(), |paper| format!("{paper:.1}")),
    ]
}

fn verdict(claim: &Claim) -> String {
    let show = |value| claim.unit.show(value);
    let (mark, name) = (claim.verdict.mark(), claim.verdict.name());
    let [ours, low, high] = [claim.ours.mean, claim.ours.low, claim.ours.high].map(show);
    let Claim { statement, measure, source, .. } = claim;
    let caveat = claim.caveat.as_ref().map_or(String::new(), |why| format!(" Not counted: {why}"));
    format!(
        "{mark} {name}: {statement} ({source}). {measure}: {ours}, interval {low} to \
         {high}.{caveat}"
    )
}

#[cfg(test)]
mod tests {
    use gratis_paper::outcome::{ClaimUnit, Comparison, Outcome, Side, Verdict};

    use super::*;

    #[test]
    fn the_summary_fits_eighty_columns() {
        let interval = |mean| Interval { mean, low: mean - 0.02, high: mean + 0.04 };
        let row = |group: &str, name: &str| ComparedRow {
            group: group.to_owned(),
            name: name.to_owned(),
            detail: "beta 0.3".to_owned(),
            cells: vec![interval(0.5); 9],
            average: interval(0.688),
            weighted_vote: Some(interval(0.7)),
            first_error: None,
            paper: Some(49.2),
            chosen: Vec::new(),
        };
        let outcome = Outcome {
            name: "Table 1".to_owned(),
            title: "best-of-N".to_owned(),
            question: "Which reward model selects best, and at what cost of labels? ".repeat(3),
            comparisons: vec![Comparison {
                caption: "Best of N.".to_owned(),
                columns: Vec::new(),
                rows: vec![
                    row("baselines", "majority"),
                    row("explicit", "Math-Shepherd, hard labels, with a fair head"),
                ],
            }],
            claims: vec![Claim {
                statement: "implicit models beat Math-Shepherd".to_owned(),
                source: "Table 1".to_owned(),
                measure: "difference of averages".to_owned(),
                ours: interval(0.1),
                unit: ClaimUnit::Points,
                bound: 0.0,
                side: Side::Above,
                verdict: Verdict::Holds,
                caveat: None,
            }],
            ..Outcome::default()
        };
        let text = summary(&[Finished { experiment: Experiment::ALL[0], outcome }]);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for part in [
            "\n explicit\n",
            "68.8 ± 3.0",
            "49.2",
            "✓ holds: implicit",
            "+10.0, interval +8.0 to +14.0",
        ] {
            assert!(text.contains(part), "`{part}` is missing in\n{text}");
        }
    }
}
