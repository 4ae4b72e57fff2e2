//! `gratis rollout`: solutions drawn from a model.

use anyhow::Result;
use clap::Args;
use gratis::Observer;
use gratis::cost::{Architecture, Work};
use gratis::data::{ResumableWriter, Rollout};
use gratis::encoding::Encoder;
use gratis_model::End;

use super::cost::write_cost;
use super::sampling::SamplingArgs;
use super::{OUTPUT, OutputArgs};
use crate::Common;
use crate::progress::Progress;

/// Draw solutions of problems from a model.
///
/// A sample depends on the seed, its problem's number and its own number only. A file that was not
/// finished is taken up where it stopped.
#[derive(Debug, Args)]
#[command(after_help = "\
Problems are lines of JSON with `prompt` (or `question`, `problem`) and `reference` (or `answer`);
a rollout file will do, its completions are ignored.

Examples:
  gratis rollout --model my-model problems.jsonl --samples 8 -o rollouts.jsonl
  gratis rollout --model my-model - --temperature 0.7 --top-p 0.95 < problems.jsonl | gratis grade")]
pub(crate) struct RolloutArgs {
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Solutions of each problem.
    #[arg(short = 'k', long, default_value_t = 8, value_name = "K")]
    samples: usize,
    /// Sampling temperature; 0 means greedy.
    #[arg(long, default_value_t = 1.0)]
    temperature: f32,
    /// Problems drawn together.
    #[arg(long, default_value_t = 32)]
    chunk: usize,
}

pub(crate) fn run(args: &RolloutArgs, common: &Common) -> Result<()> {
    let problems = args.sampling.problems()?;
    let (mut writer, n_done) = ResumableWriter::resume(&args.output.output)?;
    let generator = args.sampling.load(args.temperature, common)?;
    let architecture = Architecture::from(generator.model.config());
    let mut sampler = generator.sampler(args.samples)?;
    let mut progress = Progress::new(common);
    args.output.on_interrupt();
    let n_done = n_done.min(problems.len());
    let left = &problems[n_done..];
    progress.stage("rollout", Some(problems.len() as u64));
    progress.resumed(n_done as u64);
    let mut work = (Work::default(), Work::default());
    for (chunk, first) in left.chunks(args.chunk.max(1)).zip((n_done..).step_by(args.chunk.max(1)))
    {
        for rollout in sampler.sample(chunk, first as u64, &mut progress)? {
            writer.write(&rollout)?;
            count(&sampler.encoder, &rollout, &mut work)?;
        }
    }
    writer.finish()?;
    progress.finish();
    args.output.next(&["grade", OUTPUT, "-o", "graded.jsonl"]);
    write_cost(&args.output.output, "sampling", architecture, work)
}

/// Adds what a rollout took, as run and as counted: its completions' tokens and the one that ended
/// each.
fn count(encoder: &Encoder, rollout: &Rollout, work: &mut (Work, Work)) -> Result<()> {
    let n_prompt = encoder.prompt(&rollout.prompt)?.len();
    let mut lengths = Vec::with_capacity(rollout.completions.len());
    for text in rollout.texts() {
        let n_tokens = encoder.tokenizer().encode_completion(text, End::Eos)?.ids.len();
        work.1 += Work::of_samples(n_prompt, &[n_tokens]);
        lengths.push(n_tokens);
    }
    work.0 += Work::of_samples(n_prompt, &lengths);
    Ok(())
}
