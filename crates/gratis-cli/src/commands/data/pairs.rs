//! `gratis data pairs`: a correct and an incorrect response of one problem together.

use anyhow::Result;
use clap::Args;
use gratis::data::{DataOperation, MakePairs};

use super::FileArgs;
use crate::Common;

/// Make a record of each pair of a correct and an incorrect response of a problem.
///
/// The correct response comes first. Problems of one class are dropped. Objectives on pairs (`dpo`,
/// `nca`, `ipo`, `sppo`) make all pairs by themselves: this chooses fewer, or shows them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data pairs graded.jsonl -o pairs.jsonl
  gratis data pairs graded.jsonl --per-prompt 1 --seed 7 -o one-each.parquet")]
pub(crate) struct PairsArgs {
    #[command(flatten)]
    file: FileArgs,
    /// At most this many pairs of each problem, drawn at random [default: all].
    #[arg(short = 'k', long, value_name = "K")]
    per_prompt: Option<usize>,
    /// Seed of the choice.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl PairsArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let settings = MakePairs { per_prompt: self.per_prompt, seed: self.seed };
        self.file.apply(&[DataOperation::MakePairs(settings)], common)
    }
}
