//! `gratis demo`: the paper in the tiny world.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis_paper::Colours;
use gratis_paper::demo::{self, DemoResult, DemoSettings, StageTime};
use serde_json::json;
use tracing::info;

use crate::Common;
use crate::output;
use crate::progress::Progress;
use crate::usage;

/// Train small models, and an implicit process reward model that scores their solutions.
///
/// A base model and three generators learn to solve small problems. The reward model is trained
/// only on whether the final answers of rollouts are right; it then selects the best of N and finds
/// wrong steps. Models, data and `report.html` are written to the output folder.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis demo
  gratis demo --seed 1 --output demo-1
  gratis demo --json | jq .best_of_n.rows")]
pub(crate) struct DemoArgs {
    /// Folder for models, data and `report.html`.
    #[arg(short, long, default_value = "gratis-demo", value_name = "FOLDER")]
    output: PathBuf,
    /// Seed of all random choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &DemoArgs, common: &Common) -> Result<()> {
    let settings =
        DemoSettings { seed: args.seed, n_threads: common.threads, ..DemoSettings::default() };
    let mut progress = Progress::new(common);
    let mut result = demo::run(&settings, &args.output, &mut progress)?;
    progress.finish();
    let seconds = |stage: &crate::progress::StageTime| StageTime {
        name: stage.name.clone(),
        wall_seconds: stage.wall.as_secs_f64(),
        cpu_seconds: stage.cpu_seconds,
    };
    result.stages = progress.stages().iter().map(seconds).collect();
    let report = args.output.join("report.html");
    gratis_model::atomic::write(&report, demo::page(&result)?.as_bytes())?;
    if args.json {
        output::print_json(&json!(result))?;
    } else {
        output::print_visible(&story(&result))?;
    }
    info!("the report is in `{}`", report.display());
    let model = args.output.join("models").join("reward");
    if model.is_dir() {
        output::next(&["gratis", "inspect", &model.to_string_lossy()]);
    }
    Ok(())
}

fn story(result: &DemoResult) -> String {
    let settings = &result.settings;
    let mut notes = vec![format!(
        "Base model: {} parameters, {} steps; mean probability of the correct solution of a new \
         problem {:.3}.",
        result.n_parameters, result.base.n_steps, result.base_solves
    )];
    notes.extend(result.generators.iter().map(|generator| {
        format!(
            "Generator {}: pass@1 {:.1} % over {} candidates.",
            generator.strength.name(),
            100.0 * generator.pass_at_1,
            generator.n_candidates
        )
    }));
    let verdicts = &result.rollouts.verdicts;
    notes.push(format!(
        "Reward model: {} steps of cross-entropy (beta {}) on {} graded rollouts of the medium \
         generator, {} of them correct.",
        result.reward_model.n_steps,
        settings.beta,
        verdicts.n(),
        verdicts.correct
    ));
    let mut text = output::notes(notes) + "\n";
    text += &best_of_n(result);
    text += &first_errors(result);
    for example in &result.examples {
        let colours = if std::io::stdout().is_terminal() { Colours::Ansi } else { Colours::None };
        let view = example.view(result.first_error_validation.threshold, result.colour_scale());
        let view = output::wrapped(&view.to_terminal(colours));
        let _ = write!(text, "\n{}:\n{view}", example.caption);
    }
    text.push('\n');
    text += &stages(result);
    text
}

/// One row per selection method, one column per generator and N.
fn best_of_n(result: &DemoResult) -> String {
    let settings = &result.settings;
    let table = &result.best_of_n;
    let mut header = vec!["correct, %".to_owned()];
    if let Some(row) = table.rows.first() {
        header.extend(row.cells.iter().map(|cell| format!("{} {}", cell.generator, cell.n)));
    }
    header.push("average".to_owned());
    let rows: Vec<Vec<String>> = result
        .rows()
        .map(|(name, row)| {
            let mut cells = vec![name];
            cells.extend(row.cells.iter().map(|cell| format!("{:.1}", 100.0 * cell.accuracy.mean)));
            let average = &row.average;
            let half = 50.0 * (average.high - average.low);
            cells.push(format!("{:.1} ± {half:.1}", 100.0 * average.mean));
            cells
        })
        .collect();
    let notes = [
        format!(
            "{} problems; the first N of {} candidates, sampled at temperature {}; seed {}.",
            table.n_problems, settings.test.n_samples, settings.test.temperature, settings.seed
        ),
        "Score of a candidate: its lowest step reward, unless the row says otherwise; ties to the \
         first; no threshold."
            .to_owned(),
        format!(
            "±: half of a {:.0} % bootstrap interval over problems.",
            100.0 * table.settings.bootstrap.confidence
        ),
    ];
    output::table(&header, &rows) + &output::notes(notes)
}

fn first_errors(result: &DemoResult) -> String {
    let scores = result.generators.iter().map(|generator| {
        format!("{} {:.1}", generator.strength.name(), 100.0 * generator.first_error.f1)
    });
    let notes = [
        format!("First wrong step, F1: {}.", scores.collect::<Vec<_>>().join(", ")),
        format!(
            "A step is predicted wrong below a reward of {:.3}, tuned on {} separate problems.",
            result.first_error_validation.threshold, result.settings.validation.n_problems,
        ),
    ];
    "\n".to_owned() + &output::notes(notes)
}

fn stages(result: &DemoResult) -> String {
    let seconds = |value: f64| format!("{value:.1}");
    let rows: Vec<Vec<String>> = result
        .stages
        .iter()
        .map(|stage| {
            let cpu = stage.cpu_seconds.map_or("-".to_owned(), seconds);
            vec![stage.name.clone(), seconds(stage.wall_seconds), cpu]
        })
        .collect();
    let wall: f64 = result.stages.iter().map(|stage| stage.wall_seconds).sum();
    let memory = usage::peak_memory_mib().map_or(String::new(), |mib| format!(", {mib:.0} MiB"));
    let n_threads = result.settings.n_threads;
    let note = format!("{wall:.0} s in all on {n_threads} threads{memory} at most.");
    output::table(&["stage", "seconds", "processor seconds"], &rows) + &output::notes([note])
}

#[cfg(test)]
mod tests {
    use gratis::Silent;
    use gratis_paper::{BaseSettings, LearningSettings, SampleSettings};

    use super::*;

    /// A demo that learns nothing but passes through every stage.
    fn small() -> DemoSettings {
        let defaults = DemoSettings::default();
        let learning =
            |settings: LearningSettings| LearningSettings { n_steps: Some(2), ..settings };
        let draw =
            |settings: SampleSettings| SampleSettings { n_problems: 4, n_samples: 4, ..settings };
        DemoSettings {
            base: BaseSettings {
                ascent: learning(defaults.base.ascent),
                descent: learning(defaults.base.descent),
                target: 0.0,
                ..defaults.base
            },
            generators: learning(defaults.generators),
            reward_model: learning(defaults.reward_model),
            train: draw(defaults.train),
            validation: draw(defaults.validation),
            test: draw(defaults.test),
            ns: vec![1, 4],
            ..defaults
        }
    }

    #[test]
    fn the_story_is_told_from_the_first_stage_to_the_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let result = demo::run(&small(), folder.path(), &mut Silent).expect("it runs");
        let story = story(&result);
        for part in ["Base model: ", "Generator strong: pass@1", "majority", "first N of 4", "F1: "]
        {
            assert!(story.contains(part), "`{part}` is missing in\n{story}");
        }
        assert!(!story.contains('\u{1b}'), "no escape sequences off a terminal");
        assert!(story.lines().all(|line| line.chars().count() <= 80), "{story}");
    }
}
