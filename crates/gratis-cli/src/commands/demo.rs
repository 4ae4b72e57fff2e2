//! `gratis demo`: the paper in the tiny world.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis_paper::Colours;
use gratis_paper::demo::{self, DemoSettings, StageTime};
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
    let settings = DemoSettings::new(args.seed, common.threads);
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
        let colours = if std::io::stdout().is_terminal() { Colours::Ansi } else { Colours::None };
        let summary = output::summary(&result.summary(colours));
        let stages = stages(&result.stages, common.threads);
        output::print_visible(&format!("{summary}\n{stages}"))?;
    }
    info!("the report is in `{}`", report.display());
    let model = args.output.join("models").join("reward");
    if model.is_dir() {
        output::next(&["gratis", "inspect", &model.to_string_lossy()]);
    }
    Ok(())
}

/// The time of each stage.
fn stages(stages: &[StageTime], n_threads: usize) -> String {
    let seconds = |value: f64| format!("{value:.1}");
    let rows: Vec<Vec<String>> = stages
        .iter()
        .map(|stage| {
            let cpu = stage.cpu_seconds.map_or("-".to_owned(), seconds);
            vec![stage.name.clone(), seconds(stage.wall_seconds), cpu]
        })
        .collect();
    let wall: f64 = stages.iter().map(|stage| stage.wall_seconds).sum();
    let memory = usage::peak_memory_mib().map_or(String::new(), |mib| format!(", {mib:.0} MiB"));
    let note = format!("{wall:.0} s in all on {n_threads} threads{memory} at most.");
    output::table(&["stage", "seconds", "processor seconds"], &rows) + &output::notes([note])
}
