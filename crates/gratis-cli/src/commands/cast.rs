//! `gratis cast`: write and check the file of a cast, which `gratis reproduce --cast` runs on.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use gratis_model::atomic;
use gratis_paper::{CAST_TEMPLATE, CastFile, Checked, Job, Machine, Plan, check_cast};
use serde_json::json;
use tracing::info;

use crate::Common;
use crate::failure::CliError;
use crate::model::HUB;
use crate::output;
use crate::progress::Progress;
use crate::temporary::TemporaryFolder;

/// Write and check a cast: the models and problems of your own on which `gratis reproduce --cast` runs the
/// paper's experiments.
#[derive(Debug, Args)]
pub(crate) struct CastArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Init(InitArgs),
    Check(CheckArgs),
}

/// Write a commented file to start from.
#[derive(Debug, Args)]
struct InitArgs {
    /// File to write; it must not exist.
    #[arg(default_value = "cast.toml", value_name = "FILE")]
    file: PathBuf,
}

/// Load every model and file of a cast, sample one response per engine and grade it, and show the prompt
/// as the model reads it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis cast init my-cast.toml
  gratis cast check my-cast.toml
  gratis reproduce table1 --cast my-cast.toml --dry-run")]
struct CheckArgs {
    /// The cast.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Cache folder.
    #[arg(long, default_value = "gratis-cache", value_name = "FOLDER")]
    cache: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CastArgs, common: &Common) -> Result<()> {
    match &args.what {
        What::Init(args) => init(&args.file),
        What::Check(args) => check(args, common),
    }
}

fn init(file: &Path) -> Result<()> {
    if file.exists() {
        return Err(CliError::Mismatch {
            what: format!("`{}` exists", file.display()),
            hint: "name another file",
        }
        .into());
    }
    atomic::write(file, CAST_TEMPLATE.as_bytes()).map_err(gratis::Error::from)?;
    info!("wrote `{}`", file.display());
    output::next(&["gratis", "cast", "check", &file.to_string_lossy()]);
    Ok(())
}

fn check(args: &CheckArgs, common: &Common) -> Result<()> {
    let file = CastFile::read(&args.file)?;
    let scratch = TemporaryFolder::new()?;
    let machine = Machine { n_threads: common.threads, hub: HUB, scratch: scratch.path() };
    let mut progress = Progress::new(common);
    let checked = check_cast(&file, machine, &args.cache, &mut progress)?;
    progress.finish();
    if args.json {
        return output::print_json(&json!(checked));
    }
    output::print(&shown(&checked))
}

fn shown(checked: &Checked) -> String {
    let mut text = output::notes([format!("Start: {}", checked.start)]);
    text += &output::notes([format!("Training: {}", checked.train)]);
    text += &output::notes(&checked.splits);
    // Writing to a string does not fail.
    let _ =
        write!(text, "\nThe first training problem as the start reads it:\n{}\n", checked.prompt);
    for generator in &checked.generators {
        let how = if generator.is_sampled { "sampled" } else { "from its file" };
        let grade = match generator.is_correct {
            Some(true) => "correct",
            Some(false) => "incorrect",
            None => "not graded",
        };
        let response = generator.response.trim_end();
        let _ = write!(text, "\n{} ({how}, {grade}):\n{response}\n", generator.name);
    }
    text += "\n";
    text += &output::notes(checked.rows.iter().map(|row| format!("Row: {row}")));
    text += &left_out(&checked.left_out);
    text
}

/// What is left out, and why.
fn left_out(lines: &[[String; 2]]) -> String {
    output::notes(lines.iter().map(|[what, why]| format!("Left out: {what}, because {why}.")))
}

/// The plan as a table.
pub(super) fn plan(plan: &Plan) -> String {
    if plan.jobs.is_empty() {
        let done = "Everything is in the cache: nothing would be computed.".to_owned();
        return output::notes([done]) + &left_out(&plan.left_out);
    }
    let seconds = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), duration);
    let mut rows: Vec<Vec<String>> = plan
        .jobs
        .iter()
        .map(|job| {
            vec![
                format!("{} {}", job.job.name(), job.row),
                job.n_responses.to_string(),
                job.n_tokens.to_string(),
                format!("{:.1e}", job.flops),
                format!("{:.1}", job.bytes / 1e9),
                seconds(job.seconds),
            ]
        })
        .collect();
    let sum = |of: fn(&gratis_paper::PlannedJob) -> f64| plan.jobs.iter().map(of).sum::<f64>();
    let known = plan.jobs.iter().filter_map(|job| job.seconds).sum::<f64>();
    rows.push(vec![
        "all".to_owned(),
        format!("{:.0}", sum(|job| job.n_responses as f64)),
        format!("{:.0}", sum(|job| job.n_tokens as f64)),
        format!("{:.1e}", sum(|job| job.flops)),
        String::new(),
        seconds(plan.flops_per_second.map(|_| known)),
    ]);
    let header = ["job", "responses", "tokens", "operations", "GB", "time"];
    let mut notes = vec![match plan.flops_per_second {
        Some(rate) => format!(
            "Times are operations over the rate of one measured pass of the start: {:.1} billion per \
             second, {} tokens. A training is taken for three such passes and one of the reference; \
             optimizer steps come on top.",
            rate / 1e9,
            plan.n_probe_tokens
        ),
        None => "No time: the rate was not measured.".to_owned(),
    }];
    notes.push(
        "GB: weights, gradients and optimizer state of the model; activations come on top. What is in \
         the cache is not listed."
            .to_owned(),
    );
    if plan.jobs.iter().any(|job| job.job == Job::Sample) {
        notes.push(
            "Responses that do not exist yet are taken for the longest that may be sampled, so their \
             tokens are an upper bound. The time of samples is these tokens over the rate of four short \
             ones, asked for at once: a server that answers many requests side by side takes less."
                .to_owned(),
        );
    }
    output::table(&header, &rows) + &output::notes(notes) + &left_out(&plan.left_out)
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
