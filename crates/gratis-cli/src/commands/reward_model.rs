//! The flags shared by all commands that score with a reward model.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use gratis::data::{ModelFormat, Precision, ScorePart, StepSplit};
use gratis::encoding::{OnOverlong, TokenIds};
use gratis::numeric::check_positive;
use gratis::reward::ValueRule;
use gratis::reward_model::{
    LoadOptions, OpenOptions, PromptSettings, ReferenceCheck, ReferenceChoice, RewardModel,
    ScoreBy, Weights, open,
};
use gratis::scoring::TokenRewards;
use gratis::selection::Aggregation;

use crate::Common;
use crate::model::{HUB, Remarks, load_options};

/// How a reward model is used.
#[derive(Debug, Args)]
pub(crate) struct RewardModelArgs {
    /// Format of a published reward model [default: recognised by its files, see
    /// `docs/reward-models.md`].
    #[arg(long, value_enum, value_name = "NAME")]
    kind: Option<ModelFormat>,
    /// Text after each step, for formats that use a step tag [default: the format's].
    #[arg(long, value_name = "TEXT")]
    step_tag: Option<String>,
    /// Reference model, or `none` [default: the reference used in training].
    #[arg(short, long)]
    reference: Option<PathBuf>,
    /// Accept a reference whose weights differ from those used in training.
    #[arg(long)]
    accept_reference: bool,
    /// How weights are held in memory; the scores have the same bits.
    #[arg(long, value_enum, default_value_t = Weights::Auto)]
    weights: Weights,
    /// How products with the weights are rounded: `bf16` is faster on processors with `avx512_bf16`, and
    /// less exact (see `docs/performance.md`). Recorded with the scores.
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// Factor of the log-ratio [default: the model's].
    #[arg(long)]
    beta: Option<f64>,
    /// How the log-ratios of a prefix make its Q value: their sum, or the mean over the tokens so far,
    /// which `prefix_ce` trains [default: the model's].
    #[arg(long, value_enum, value_name = "RULE")]
    value_rule: Option<ValueRule>,
    #[command(flatten)]
    prompt: PromptSettings,
    /// Token ids that completions bring (`token_ids`): `use` scores them as they are, `ignore`
    /// tokenizes the texts.
    #[arg(long, value_enum, default_value_t)]
    token_ids: TokenIds,
    /// Tokens per batch.
    #[arg(long, default_value_t = 8192)]
    batch_tokens: usize,
}

/// Settings that the command adds to the flags.
#[derive(Debug, Clone)]
pub(crate) struct Scoring {
    /// The source of the rewards.
    pub(crate) by: ScoreBy,
    /// How completions without steps are split, if given.
    pub(crate) step_split: Option<StepSplit>,
    /// What to do with completions longer than the context.
    pub(crate) on_overlong: OnOverlong,
    /// Whether token rewards are included.
    pub(crate) tokens: TokenRewards,
    /// Which part of a completion is scored.
    pub(crate) part: ScorePart,
    /// The aggregation, if given.
    pub(crate) aggregation: Option<Aggregation>,
}

/// The reference that a flag names.
pub(super) fn reference_choice(given: Option<&Path>) -> ReferenceChoice {
    match given {
        None => ReferenceChoice::Own,
        Some(path) if path == Path::new("none") => ReferenceChoice::Absent,
        Some(path) => ReferenceChoice::At(path.to_owned()),
    }
}

impl RewardModelArgs {
    /// Checks the flags before any work.
    pub(super) fn check(&self) -> Result<()> {
        Ok(self.beta.map_or(Ok(()), |beta| check_positive("beta", beta))?)
    }

    /// Tokens per batch.
    #[cfg(feature = "serve")]
    pub(super) fn batch_tokens(&self) -> usize {
        self.batch_tokens
    }

    /// Opens the reward model at `path`.
    pub(super) fn open(
        &self,
        path: &Path,
        scoring: Scoring,
        common: &Common,
    ) -> Result<RewardModel> {
        let options = OpenOptions {
            load: LoadOptions { precision: self.precision, ..load_options(self.weights, common) },
            format: self.kind,
            step_tag: self.step_tag.clone(),
            by: scoring.by,
            reference: reference_choice(self.reference.as_deref()),
            reference_check: if self.accept_reference {
                ReferenceCheck::Accept
            } else {
                ReferenceCheck::Require
            },
            beta: self.beta,
            value_rule: self.value_rule,
            step_split: scoring.step_split,
            prompt: self.prompt.clone(),
            on_overlong: scoring.on_overlong,
            token_ids: self.token_ids,
            batch_tokens: self.batch_tokens,
            tokens: scoring.tokens,
            part: scoring.part,
            aggregation: scoring.aggregation,
        };
        Ok(open(path, &options, HUB, &mut Remarks)?)
    }
}
