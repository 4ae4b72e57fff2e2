//! `gratis rollout`: solutions drawn from a model.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::cost::{Architecture, Work};
use gratis::data::{ResumableWriter, Rollout};
use gratis::encoding::{Encoder, OnOverlong};
use gratis::rollout::{Problem, Sampler};
use gratis::{Error, Observer};
use gratis_engine::{End, Engine, SamplingSettings};

use super::annotate::write_cost;
use super::{InvalidArgs, OutputArgs, read_records};
use crate::Common;
use crate::model::{Model, Weights};
use crate::progress::Progress;
use crate::prompt::PromptSettings;

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
    /// Problem file; `-` is standard input.
    #[arg(value_name = "PROBLEMS", default_value = "-")]
    input: PathBuf,
    /// Model: a folder, a GGUF file, or `org/name` on a hub.
    #[arg(short, long)]
    model: PathBuf,
    /// Where the weights are; every token reads all of them.
    #[arg(long, value_enum, default_value_t)]
    weights: Weights,
    #[command(flatten)]
    output: OutputArgs,
    /// Solutions of each problem.
    #[arg(short = 'k', long, default_value_t = 8, value_name = "K")]
    samples: usize,
    /// Divides the logits; 0 takes the most probable token.
    #[arg(long, default_value_t = 1.0)]
    temperature: f32,
    /// Keep the most probable tokens up to this mass.
    #[arg(long, default_value_t = 1.0)]
    top_p: f32,
    /// Keep this many most probable tokens; 0 keeps all.
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Longest solution in tokens.
    #[arg(long, default_value_t = 512)]
    max_tokens: usize,
    /// Seed of the samples.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    prompt: PromptSettings,
    /// Problems drawn together.
    #[arg(long, default_value_t = 32)]
    chunk: usize,
    #[command(flatten)]
    invalid: InvalidArgs,
}

pub(crate) fn run(args: &RolloutArgs, common: &Common) -> Result<()> {
    let problems: Vec<Problem> = read_records(&args.input, args.invalid.on_invalid())?;
    if problems.is_empty() {
        return Err(Error::NoExamples { purpose: "solve" }.into());
    }
    let (mut writer, n_done) = ResumableWriter::resume(&args.output.output)?;
    let mut model = Model::load_as(&args.model, common.threads, args.weights)?;
    let stop_tokens = model.stop_tokens()?;
    let template = args.prompt.template(&model)?;
    let tokenizer = model.tokenizer.clone();
    let description = model.engine.describe();
    let architecture = Architecture::from(model.engine.config());
    let encoder = Encoder::new(&tokenizer, &template, &description, OnOverlong::Stop)?;
    let mut sampler = Sampler {
        settings: SamplingSettings {
            temperature: args.temperature,
            top_p: args.top_p,
            top_k: args.top_k,
            max_new_tokens: args.max_tokens,
            stop_tokens,
            seed: args.seed,
        },
        engine: &mut model.engine,
        encoder,
        n_samples: args.samples,
        provenance: serde_json::json!({
            "model": args.model,
            "temperature": args.temperature,
            "top_p": args.top_p,
            "top_k": args.top_k,
            "max_tokens": args.max_tokens,
            "seed": args.seed,
        }),
    };
    let mut progress = Progress::new(common);
    let left = &problems[n_done.min(problems.len())..];
    if n_done > 0 {
        progress.note(&format!("{n_done} problems were solved before"));
    }
    progress.stage("rollout", Some(left.len() as u64));
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
    write_cost(&args.output.output, "sampling", architecture, work)
}

/// Adds what a rollout took, as run and as counted: its completions' tokens and the one that ended
/// each.
fn count(encoder: &Encoder, rollout: &Rollout, work: &mut (Work, Work)) -> Result<()> {
    let n_prompt = encoder.prompt(&rollout.prompt)?.len();
    let mut lengths = Vec::with_capacity(rollout.completions.len());
    for text in &rollout.completions {
        let n_tokens = encoder.tokenizer().encode_completion(text, End::Eos)?.ids.len();
        work.1 += Work::of_samples(n_prompt, &[n_tokens]);
        lengths.push(n_tokens);
    }
    work.0 += Work::of_samples(n_prompt, &lengths);
    Ok(())
}
