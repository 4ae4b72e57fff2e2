//! `gratis annotate math-shepherd`: labels by continuing every step prefix.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::Observer;
use gratis::annotate::{AnnotationCounts, LabelKind, MonteCarlo};
use gratis::cost::Architecture;
use gratis::data::{ResumableWriter, StepSplit};
use gratis::encoding::OnOverlong;
use gratis::reward_model::{PromptSettings, Weights};
use gratis_engine::SamplingSettings;
use tracing::info;

use super::FileArgs;
use crate::Common;
use crate::commands::cost::write_cost;
use crate::model::{self, Remarks};
use crate::progress::Progress;

/// Label steps by Monte Carlo: continue each step prefix, grade the answers.
///
/// Prefixes that solutions of a problem share are continued once. The label is the share of right
/// continuations, or with `--labels hard` 1 if any is right; that of the last step is the solution's
/// outcome label. A file that was not finished is taken up where it stopped.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis annotate math-shepherd graded.jsonl --model my-model -o labelled.jsonl
  gratis train --kind prm-head --model my-model --data labelled.jsonl --run runs/prm-head
  gratis train --objective step_ce --model my-model --data labelled.jsonl --run runs/log-ratio")]
pub(crate) struct MathShepherdArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The generator that continues.
    #[arg(short, long)]
    model: PathBuf,
    /// Continuations of each prefix.
    #[arg(short = 'n', long, default_value_t = 8, value_name = "N")]
    continuations: usize,
    /// What a label is.
    #[arg(long, value_enum, default_value_t)]
    labels: LabelKind,
    /// How completions without `steps` are split.
    #[arg(long, default_value_t)]
    step_split: StepSplit,
    /// Divides the logits; 0 takes the most probable token.
    #[arg(long, default_value_t = 1.0)]
    temperature: f32,
    /// Keep the most probable tokens up to this mass.
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
    /// Problems continued together.
    #[arg(long, default_value_t = 16)]
    chunk: usize,
}

pub(super) fn run(args: &MathShepherdArgs, common: &Common) -> Result<()> {
    let rollouts = args.file.rollouts()?;
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
    monte_carlo.annotate(&[], 0, &mut gratis::Silent)?;
    let (mut writer, n_done) = ResumableWriter::resume(&args.file.output.output)?;
    let mut progress = Progress::new(common);
    args.file.output.on_interrupt();
    let n_done = n_done.min(rollouts.len());
    let left = &rollouts[n_done..];
    progress.stage("continuations", Some(rollouts.len() as u64));
    progress.resumed(n_done as u64);
    let size = args.chunk.max(1);
    let mut counts = AnnotationCounts::default();
    for (chunk, first) in left.chunks(size).zip((n_done..).step_by(size)) {
        let (labelled, of_chunk) = monte_carlo.annotate(chunk, first as u64, &mut progress)?;
        counts.add(&of_chunk);
        for rollout in labelled {
            writer.write(&rollout)?;
        }
    }
    progress.finish();
    if let Err(error) = counts.check() {
        writer.discard()?;
        return Err(error.into());
    }
    writer.finish()?;
    info!(
        "{} step prefixes, {} distinct; {} continuations, {} right",
        counts.n_prefixes, counts.n_distinct, counts.n_continuations, counts.n_correct
    );
    let work = (counts.as_run, counts.as_counted);
    write_cost(&args.file.output.output, "continuations", architecture, work)
}
