//! `gratis evaluate policy`: pass@1 of a model on a problem file.

use anyhow::Result;
use clap::Args;
use gratis::Observer;
use gratis::evaluation::Bootstrap;
use gratis::rollout::{GradeCounts, grade};
use gratis::selection::mean_pass_at_1;
use serde_json::json;

use super::percent;
use crate::Common;
use crate::commands::request::RequestArgs;
use crate::commands::sampling::SamplingArgs;
use crate::commands::select::interval_note;
use crate::model;
use crate::output;
use crate::progress::Progress;

/// Sample solutions, grade them, and report pass@1 (paper section 5.2).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis evaluate policy --model runs/prm problems.jsonl --samples 8
  gratis evaluate policy --model my-model problems.jsonl --temperature 0 --json")]
pub(super) struct PolicyArgs {
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    request: RequestArgs,
    /// Solutions per problem.
    #[arg(short = 'k', long, default_value_t = 4, value_name = "K")]
    samples: usize,
    /// Sampling temperature; 0 means greedy.
    #[arg(long, default_value_t = 0.7)]
    temperature: f32,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &PolicyArgs, common: &Common) -> Result<()> {
    let problems = args.sampling.problems(&args.sampling.input)?;
    let generator = args.sampling.load(args.temperature, common)?;
    let chunk_size = generator.chunk_size(None, args.samples);
    args.request.check(&generator.request(problems.len(), chunk_size, args.samples))?;
    let sampling = generator.provenance.clone();
    let sampler = generator.sampler(args.samples)?;
    let mut progress = Progress::new(common);
    progress.stage("policy", Some(problems.len() as u64));
    let mut counts = GradeCounts::default();
    let mut accuracies = Vec::with_capacity(problems.len());
    for (chunk, first) in problems.chunks(chunk_size).zip((0..).step_by(chunk_size)) {
        for mut rollout in sampler.sample(chunk, first, &mut progress)? {
            grade(&mut rollout, &gratis_grading::Options::default(), &mut counts);
            accuracies.push(mean_pass_at_1(&rollout.labels("pass@1")?));
        }
    }
    progress.finish();
    model::report_traffic(&generator.model);
    let bootstrap = Bootstrap { seed: args.sampling.seed, ..Bootstrap::default() };
    let pass_at_1 = bootstrap.interval(&accuracies);
    if args.json {
        return output::print_json(&json!({
            "pass_at_1": pass_at_1, "n_problems": problems.len(), "n_samples": args.samples,
            "verdicts": counts, "sampling": sampling, "bootstrap": bootstrap,
        }));
    }
    let (n_problems, n_samples) = (problems.len(), args.samples);
    output::print(&output::notes([
        format!(
            "pass@1 {} %: {n_problems} problems, {n_samples} solutions each.",
            percent(&pass_at_1)
        ),
        format!("Sampling: {sampling}"),
        interval_note(&bootstrap, "problems"),
    ]))
}
