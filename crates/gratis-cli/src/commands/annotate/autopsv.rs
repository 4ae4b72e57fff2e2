//! `gratis annotate autopsv`: labels from the relative change of a verifier's confidence.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::Observer;
use gratis::annotate::autopsv;
use gratis::data::RecordWriter;
use gratis::encoding::OnOverlong;
use gratis::manifest::Kind;
use gratis::reward_model::{OpenOptions, Weights, open};

use super::FileArgs;
use crate::Common;
use crate::commands::cost::write_cost;
use crate::commands::resumable::Spent;
use crate::failure::CliError;
use crate::model::{HUB, Remarks, load_options};
use crate::progress::Progress;

/// Label steps by an outcome verifier's loss of confidence (AutoPSV).
///
/// A step is bad if the relative change of the confidence is below the threshold; all steps after
/// it are bad too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis train --kind orm --value-loss every-token --model my-model --data graded.jsonl --run runs/osv
  gratis annotate autopsv graded.jsonl --model runs/osv -o labelled.jsonl
  gratis train --kind prm-head --model runs/osv --data labelled.jsonl --run runs/autopsv")]
pub(crate) struct AutopsvArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The verifier: a model with a scalar head, or its run folder.
    #[arg(short, long)]
    model: PathBuf,
    /// Relative change of confidence below which a step is bad.
    #[arg(long, default_value_t = autopsv::THRESHOLD, allow_negative_numbers = true)]
    threshold: f64,
    /// Tokens per batch.
    #[arg(long, default_value_t = 8192)]
    batch_tokens: usize,
}

pub(super) fn run(args: &AutopsvArgs, common: &Common) -> Result<()> {
    args.file.output.check(&[&args.file.input])?;
    let rollouts = args.file.rollouts()?;
    let mut writer = RecordWriter::create(&args.file.output.output)?;
    let options = OpenOptions {
        load: load_options(Weights::Loaded, common),
        on_overlong: OnOverlong::Stop,
        batch_tokens: args.batch_tokens,
        ..OpenOptions::default()
    };
    let verifier = open(&args.model, &options, HUB, &mut Remarks)?;
    if !matches!(verifier.kind(), Some(Kind::Head { .. })) {
        return Err(CliError::Mismatch {
            what: format!("`{}` is a model without a scalar head", args.model.display()),
            hint: "train an outcome verifier first (`gratis train --kind orm --value-loss \
                   every-token`)",
        }
        .into());
    }
    let architecture = verifier.architectures()[0];
    let mut progress = Progress::new(common);
    let n_completions: usize = rollouts.iter().map(|rollout| rollout.completions.len()).sum();
    progress.stage("confidence", Some(n_completions as u64));
    let (scores, work) = verifier.score_counted(&rollouts, &mut progress)?;
    let mut spent = Spent::default();
    spent.add(work);
    progress.finish();
    let labelled = autopsv::annotate(&rollouts, &scores, verifier.step_split(), args.threshold)?;
    writer.write_all(labelled)?;
    writer.finish()?;
    write_cost(&args.file.output.output, "confidence", architecture, &spent)
}
