//! `gratis annotate autopsv`: labels from the relative change of a verifier's confidence.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::Observer;
use gratis::annotate::autopsv;
use gratis::baseline::BaselineForm;
use gratis::cost::Architecture;
use gratis::data::RolloutWriter;
use gratis::encoding::{Encoder, OnOverlong};
use gratis::scoring::{ScoringSettings, TokenRewards};
use gratis_engine::Score as _;

use super::FileArgs;
use crate::Common;
use crate::commands::cost::write_cost;
use crate::commands::resumable::Spent;
use crate::commands::reward_model::{By, reward_model};
use crate::failure::CliError;
use crate::model::Model;
use crate::progress::Progress;

/// Label steps by an outcome verifier's loss of confidence (AutoPSV).
///
/// A step is bad where the confidence changes by less than the threshold, relative to what it was
/// before, and so is everything after it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis train --kind orm --value-loss every-token --model my-model --data graded.jsonl --run runs/osv
  gratis annotate autopsv graded.jsonl --model runs/osv -o labelled.jsonl
  gratis train --kind prm-head --model runs/osv --data labelled.jsonl --run runs/autopsv")]
pub(crate) struct AutopsvArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The verifier: a model with a scalar head, or the folder of its run.
    #[arg(short, long)]
    model: PathBuf,
    /// Relative change of confidence below which a step is bad.
    #[arg(long, default_value_t = autopsv::THRESHOLD, allow_negative_numbers = true)]
    threshold: f64,
    /// Tokens in a batch.
    #[arg(long, default_value_t = 8192)]
    batch_tokens: usize,
}

pub(super) fn run(args: &AutopsvArgs, common: &Common) -> Result<()> {
    args.file.output.check(&[&args.file.input])?;
    let rollouts = args.file.rollouts()?;
    let mut writer = RolloutWriter::create(&args.file.output.output)?;
    let mut model = Model::load(&args.model, common.threads)?;
    let manifest = model.manifest.clone();
    let manifest = manifest
        .filter(|manifest| matches!(manifest.baseline, Some(BaselineForm::Head { .. })))
        .ok_or_else(|| CliError::Mismatch {
            what: format!("`{}` is a model without a scalar head", args.model.display()),
            hint: "train an outcome verifier first (`gratis train --kind orm --value-loss \
                   every-token`)",
        })?;
    let settings = ScoringSettings {
        beta: manifest.beta,
        step_split: manifest.step_split.clone(),
        batch_tokens: args.batch_tokens,
        tokens: TokenRewards::Omit,
    };
    let (template, tokenizer) = (manifest.template.clone(), model.tokenizer.clone());
    let description = model.engine.describe();
    let encoder = Encoder::new(&tokenizer, &template, description, OnOverlong::Stop)?;
    let architecture = Architecture::from(model.engine.config()).with_scalar_head();
    let mut progress = Progress::new(common);
    let n_completions: usize = rollouts.iter().map(|rollout| rollout.completions.len()).sum();
    progress.stage("confidence", Some(n_completions as u64));
    let mut scorer = reward_model(&mut model, None, encoder, settings, By::Reward)?;
    let scores = scorer.score(&rollouts, &mut progress)?;
    let mut spent = Spent::default();
    spent.add(scorer.work(&rollouts)?);
    progress.finish();
    let labelled = autopsv::annotate(&rollouts, &scores, &manifest.step_split, args.threshold)?;
    labelled.iter().try_for_each(|rollout| writer.write(rollout))?;
    writer.finish()?;
    write_cost(&args.file.output.output, "confidence", architecture, &spent)
}
