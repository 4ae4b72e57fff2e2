//! `gratis rollout`: sample solutions from a model.

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::Observer;
use gratis::cost::Architecture;
use gratis::data::{Completion, ReservedOutput, Rollout};
use gratis_engine::FinishReason;
use tracing::warn;

use super::OUTPUT;
use super::cost::write_cost;
use super::request::RequestArgs;
use super::resumable::{Input, ResumableArgs, Spent, fingerprint};
use super::sampling::SamplingArgs;
use crate::Common;
use crate::model;
use crate::progress::Progress;

/// Sample solutions to problems from a model.
///
/// A sample depends only on the seed, the number of its problem and its own number. After an
/// interruption, the same command continues where it stopped.
#[derive(Debug, Args)]
#[command(after_help = "\
Problems are lines of JSON with `prompt` (or `question`, `problem`) and `reference` (or `answer`);
a rollout file will do, its completions are ignored.

Examples:
  gratis rollout --model my-model problems.jsonl --samples 8 -o rollouts.jsonl
  gratis rollout --model vllm://127.0.0.1:8000/policy?tokenizer=my-model problems.jsonl -o rollouts.jsonl
  gratis rollout --model my-model - --temperature 0.7 --top-p 0.95 < problems.jsonl | gratis \
       grade")]
pub(crate) struct RolloutArgs {
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    output: ResumableArgs,
    #[command(flatten)]
    request: RequestArgs,
    /// Solutions per problem.
    #[arg(short = 'k', long, default_value_t = 8, value_name = "K")]
    samples: usize,
    /// Sampling temperature; 0 means greedy.
    #[arg(long, default_value_t = 1.0)]
    temperature: f32,
    /// Token ids of the solutions: `write` puts them into the column `token_ids`, and scoring and
    /// training then use the solutions as they were sampled.
    #[arg(long, value_enum, default_value_t)]
    token_ids: SampledIds,
    /// Problems per chunk [default: 32, or as many as keep the servers of an engine busy].
    #[arg(long, value_name = "N")]
    chunk: Option<usize>,
}

/// Whether sampled completions keep their token ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum SampledIds {
    /// In the column `token_ids`, so that they are scored as they were sampled.
    #[default]
    Write,
    /// Left out.
    Omit,
}

pub(crate) fn run(args: &RolloutArgs, common: &Common) -> Result<()> {
    let output = ReservedOutput::<Rollout>::new(args.output.path(), &[&args.sampling.input])?;
    let input = Input::prepare(&args.sampling.input, &output)?;
    let problems = args.sampling.problems_in_turn(&input.path)?;
    let generator = args.sampling.load(args.temperature, common)?;
    let chunk_size = generator.chunk_size(args.chunk, args.samples);
    let n_problems = problems.len();
    args.request.check(&generator.request(n_problems, chunk_size, args.samples))?;
    let architecture = Architecture::from(generator.model.config());
    let mut lines_of = fingerprint("rollout", common);
    if let Some(hash) = &input.hash {
        // A sample does not depend on its chunk.
        lines_of =
            generator.add_to(lines_of.with("input", hash))?.with("`--samples`", args.samples);
        lines_of = lines_of.with("`--token-ids`", args.token_ids == SampledIds::Write);
    }
    let sampler = generator.sampler(args.samples)?;
    // Settings are checked before a file is begun.
    sampler.sample(&[], 0, &mut gratis::Silent)?;
    let mut writer = args.output.restart.begin(output, &lines_of)?;
    let mut progress = Progress::new(common);
    args.output.output.on_interrupt();
    let n_done = writer.n_resumed().min(n_problems);
    let mut left = problems.after(n_done)?;
    progress.stage("rollout", Some(n_problems as u64));
    progress.resumed(n_done as u64);
    let mut spent: Spent = writer.so_far()?;
    let (mut n_cut, mut n_samples) = (0, 0);
    let is_remote = generator.model.traffic().is_some();
    let mut first = n_done;
    loop {
        let chunk = left.by_ref().take(chunk_size).collect::<Result<Vec<Rollout>, _>>()?;
        if chunk.is_empty() {
            break;
        }
        sampler.sample_each(&chunk, first as u64, &mut progress, &mut |mut rollout, work| {
            spent.add(work);
            if args.token_ids == SampledIds::Omit {
                rollout.completions.iter_mut().for_each(|completion| completion.token_ids = None);
            }
            writer.write(&rollout)?;
            let is_cut = |c: &&Completion| c.finish_reason == Some(FinishReason::Length);
            n_cut += rollout.completions.iter().filter(is_cut).count();
            n_samples += rollout.completions.len();
            // An engine that runs elsewhere finishes problems one by one.
            if is_remote {
                writer.end_chunk(&spent.so_far())?;
            }
            Ok(())
        })?;
        first += chunk.len();
        writer.end_chunk(&spent.so_far())?;
    }
    writer.finish()?;
    progress.finish();
    model::report_traffic(&generator.model);
    if n_cut > 0 {
        warn!(
            "{n_cut} of {n_samples} completions were cut off before they ended; their \
             `finish_reasons` say `length`, and scoring and training add no end token to them"
        );
    }
    args.output.output.next(&["grade", OUTPUT, "-o", "graded.jsonl"]);
    write_cost(args.output.path(), "sampling", architecture, &spent)
}
