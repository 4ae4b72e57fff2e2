//! `gratis evaluate policy`: pass@1 of a model on a problem file.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::encoding::{Encoder, OnOverlong};
use gratis::evaluation::Bootstrap;
use gratis::rollout::{GradeCounts, Problem, Sampler, grade};
use gratis::selection::mean_pass_at_1;
use gratis::{Error, Observer};
use gratis_engine::{Engine, SamplingSettings};
use serde_json::json;

use super::percent;
use crate::Common;
use crate::commands::{InvalidArgs, read_records};
use crate::model::{Model, Weights};
use crate::output;
use crate::progress::Progress;
use crate::prompt::PromptSettings;

/// Sample solutions, grade them, and report pass@1 (paper section 5.2).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis evaluate policy --model runs/prm problems.jsonl --samples 8
  gratis evaluate policy --model my-model problems.jsonl --temperature 0 --json")]
pub(super) struct PolicyArgs {
    /// Problem file; `-` is standard input.
    #[arg(value_name = "PROBLEMS", default_value = "-")]
    input: PathBuf,
    /// Model: a folder, a run, a GGUF file, or `org/name` on a hub.
    #[arg(short, long)]
    model: PathBuf,
    /// Where the weights are; every token reads all of them.
    #[arg(long, value_enum, default_value_t)]
    weights: Weights,
    /// Solutions of each problem.
    #[arg(short = 'k', long, default_value_t = 4, value_name = "K")]
    samples: usize,
    /// Divides the logits; 0 takes the most probable token.
    #[arg(long, default_value_t = 0.7)]
    temperature: f32,
    /// Longest solution in tokens.
    #[arg(long, default_value_t = 512)]
    max_tokens: usize,
    /// Seed of the samples and of the bootstrap.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    prompt: PromptSettings,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    invalid: InvalidArgs,
}

/// Problems drawn together.
const CHUNK: usize = 32;

pub(super) fn run(args: &PolicyArgs, common: &Common) -> Result<()> {
    let problems: Vec<Problem> = read_records(&args.input, args.invalid.on_invalid())?;
    if problems.is_empty() {
        return Err(Error::NoExamples { purpose: "solve" }.into());
    }
    let mut model = Model::load_as(&args.model, common.threads, args.weights)?;
    let stop_tokens = model.stop_tokens()?;
    let template = args.prompt.template(&model)?;
    let tokenizer = model.tokenizer.clone();
    let description = model.engine.describe();
    let encoder = Encoder::new(&tokenizer, &template, &description, OnOverlong::Stop)?;
    let sampling = json!({ "samples": args.samples, "temperature": args.temperature,
                           "max_tokens": args.max_tokens, "seed": args.seed });
    let mut sampler = Sampler {
        settings: SamplingSettings {
            temperature: args.temperature,
            top_p: 1.0,
            top_k: 0,
            max_new_tokens: args.max_tokens,
            stop_tokens,
            seed: args.seed,
        },
        engine: &mut model.engine,
        encoder,
        n_samples: args.samples,
        provenance: sampling.clone(),
    };
    let mut progress = Progress::new(common);
    progress.stage("policy", Some(problems.len() as u64));
    let mut counts = GradeCounts::default();
    let mut accuracies = Vec::with_capacity(problems.len());
    for (chunk, first) in problems.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
        for mut rollout in sampler.sample(chunk, first, &mut progress)? {
            grade(&mut rollout, &gratis_grading::Options::default(), &mut counts);
            accuracies.push(mean_pass_at_1(rollout.labels("pass@1")?));
        }
    }
    progress.finish();
    let bootstrap = Bootstrap { seed: args.seed, ..Bootstrap::default() };
    let pass_at_1 = bootstrap.interval(&accuracies);
    if args.json {
        return output::print_json(&json!({
            "model": args.model, "pass_at_1": pass_at_1, "n_problems": problems.len(),
            "verdicts": counts, "sampling": sampling, "bootstrap": bootstrap,
        }));
    }
    output::print(&format!(
        "pass@1 {} %: {} problems; sampling {sampling}; ± half of a {:.0} % bootstrap interval over \
         problems.\n",
        percent(&pass_at_1),
        problems.len(),
        100.0 * bootstrap.confidence,
    ))
}
