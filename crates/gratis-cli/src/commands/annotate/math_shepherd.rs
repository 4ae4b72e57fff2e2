//! `gratis annotate math-shepherd`: labels by continuing every step prefix.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::AnnotationCounts;
use gratis::Observer;
use gratis::annotate::{LabelKind, MonteCarlo};
use gratis::cost::{Architecture, JobWork};
use gratis::data::{Completion, ReservedOutput, Rollout, StepSplit, StepSplitter};
use gratis::encoding::OnOverlong;
use gratis::reward_model::{PromptSettings, Weights};
use gratis_engine::SamplingSettings;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::rollouts;
use crate::Common;
use crate::commands::InvalidArgs;
use crate::commands::cost::write_cost;
use crate::commands::request::{Request, RequestArgs};
use crate::commands::resumable::{Input, ResumableArgs, Spent, fingerprint};
use crate::commands::sampling::add_sampling;
use crate::model::{self, Remarks};
use crate::progress::Progress;

/// Label steps by Monte Carlo: continue each step prefix, grade the answers.
///
/// Prefixes shared by several solutions of a problem are continued once. The label is the share of
/// correct continuations, or with `--labels hard` 1 if any is correct; the last step gets the
/// solution's outcome label. After an interruption, the same command continues where it stopped.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis annotate math-shepherd graded.jsonl --model my-model -o labelled.jsonl
  gratis train --kind prm-head --model my-model --data labelled.jsonl --run runs/prm-head
  gratis train --objective step_ce --model my-model --data labelled.jsonl --run runs/log-ratio")]
pub(crate) struct MathShepherdArgs {
    /// Rollout file; `-` is standard input.
    #[arg(value_name = "ROLLOUTS", default_value = "-")]
    input: PathBuf,
    #[command(flatten)]
    output: ResumableArgs,
    #[command(flatten)]
    invalid: InvalidArgs,
    #[command(flatten)]
    request: RequestArgs,
    /// Model that continues the prefixes: a folder, or an engine that runs elsewhere
    /// (`docs/engines.md`).
    #[arg(short, long, visible_alias = "engine")]
    model: PathBuf,
    /// Continuations per prefix.
    #[arg(short = 'n', long, default_value_t = 8, value_name = "N")]
    continuations: usize,
    /// Kind of label.
    #[arg(long, value_enum, default_value_t)]
    labels: LabelKind,
    /// How completions without `steps` are split.
    #[arg(long, default_value_t)]
    step_split: StepSplit,
    /// Sampling temperature; 0 means greedy.
    #[arg(long, default_value_t = 1.0)]
    temperature: f32,
    /// Nucleus (top-p) sampling threshold.
    #[arg(long, default_value_t = 1.0)]
    top_p: f32,
    /// Longest continuation in tokens.
    #[arg(long, default_value_t = 512)]
    max_tokens: usize,
    /// Seed of the continuations.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    prompt: PromptSettings,
    /// Problems per chunk.
    #[arg(long, default_value_t = 16)]
    chunk: usize,
}

pub(super) fn run(args: &MathShepherdArgs, common: &Common) -> Result<()> {
    let output = ReservedOutput::<Rollout>::new(args.output.path(), &[&args.input])?;
    let input = Input::prepare(&args.input, &output)?;
    let rollouts = rollouts(&input.path, &args.invalid)?;
    let model = model::load(&args.model, Weights::Loaded, common)?;
    let template = args.prompt.template(&model, &mut Remarks)?;
    let encoder = model.encoder(&template, OnOverlong::Stop)?;
    let architecture = Architecture::from(model.config());
    let mut monte_carlo = MonteCarlo {
        sampling: SamplingSettings {
            temperature: args.temperature,
            top_p: args.top_p,
            top_k: 0,
            max_new_tokens: args.max_tokens,
            stop_tokens: model.stop_tokens()?,
            seed: args.seed,
        },
        engine: model.generate(),
        encoder,
        n_continuations: args.continuations,
        labels: args.labels,
        step_split: args.step_split.clone(),
        grading: gratis_grading::Options::default(),
    };
    // Settings are checked before a file is begun.
    monte_carlo.annotate_counted(&[], 0, &mut gratis::Silent)?;
    let size = args.chunk.max(1);
    args.request.check(&request(args, &rollouts, size, model.config().context_length)?)?;
    let mut lines_of = fingerprint("annotate math-shepherd", common);
    if let Some(hash) = &input.hash {
        let of_model = model.add_to(lines_of.with("input", hash), "model")?;
        lines_of = add_sampling(of_model, &monte_carlo.sampling)
            .with("template", &template)
            .with("step split", args.step_split.to_string())
            .with("`--continuations`", args.continuations)
            .with("`--labels`", args.labels)
            // A continuation does not depend on its chunk.
            .with("`--skip-invalid`", &args.invalid);
    }
    let mut writer = args.output.restart.begin(output, &lines_of)?;
    let mut progress = Progress::new(common);
    args.output.output.on_interrupt();
    let n_done = writer.n_resumed().min(rollouts.len());
    let left = &rollouts[n_done..];
    progress.stage("continuations", Some(rollouts.len() as u64));
    progress.resumed(n_done as u64);
    let Progressed { mut counts, mut spent } = writer.so_far()?;
    for (chunk, first) in left.chunks(size).zip((n_done..).step_by(size)) {
        let (labelled, of_chunk) =
            monte_carlo.annotate_counted(chunk, first as u64, &mut progress)?;
        counts.add(&of_chunk);
        for rollout in labelled {
            writer.write(&rollout)?;
        }
        spent.add(JobWork { as_run: of_chunk.as_run, as_counted: of_chunk.as_counted });
        writer.end_chunk(&Progressed { counts, spent: spent.so_far() })?;
    }
    progress.finish();
    model::report_traffic(&model);
    if let Err(error) = counts.check() {
        writer.discard()?;
        return Err(error.into());
    }
    writer.finish()?;
    info!(
        "{} step prefixes, {} distinct; {} continuations, {} right",
        counts.n_prefixes, counts.n_distinct, counts.n_continuations, counts.n_correct
    );
    write_cost(args.output.path(), "continuations", architecture, &spent)
}

/// The initial state of a run that continues this one.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Progressed {
    counts: AnnotationCounts,
    spent: Spent,
}

/// The number of continuations, with shared prefixes counted once per solution.
fn request(
    args: &MathShepherdArgs,
    rollouts: &[Rollout],
    size: usize,
    context_length: usize,
) -> Result<Request> {
    let splitter = StepSplitter::new(&args.step_split)?;
    let of_completion = |completion: &Completion| match &completion.steps {
        Some(steps) => steps.len(),
        None => splitter.split(&completion.text).len(),
    };
    let of_problem = |rollout: &Rollout| -> usize {
        rollout.completions.iter().map(|c| of_completion(c).saturating_sub(1)).sum()
    };
    let n_prefixes: Vec<usize> = rollouts.iter().map(of_problem).collect();
    Ok(Request {
        of: "step prefixes",
        n_prompts: n_prefixes.iter().sum(),
        n_at_once: n_prefixes.chunks(size).map(|chunk| chunk.iter().sum()).max().unwrap_or(0),
        n_samples: args.continuations,
        max_tokens: args.max_tokens.min(context_length),
        flag: "--continuations",
    })
}
