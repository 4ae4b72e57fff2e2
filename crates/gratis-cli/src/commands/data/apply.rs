//! `gratis data apply`: several operations in a row, as a training would.

use anyhow::Result;
use clap::Args;
use gratis::data::DataOperation;

use super::FileArgs;
use crate::Common;

/// Apply operations in order, written as `gratis train --operation` takes them.
///
/// What passes between two operations stands in a hidden folder beside the output until the end.
#[derive(Debug, Args)]
#[command(after_help = "\
Operations, with their settings (and `seed=N` where something is chosen at random):
  balance_dataset
  balance_instructions
  subsample_instructions,share=0.25
  subsample_responses,n=4
  deduplicate,n=8,threshold=0.5,scope=problem
  make_pairs,per_prompt=1
  mix,path=other.jsonl,take=one_pair
  replace_responses,path=other.jsonl,n=4
  keep_side,side=first,share=0.9

Examples:
  gratis data apply graded.jsonl --operation deduplicate \\
    --operation balance_instructions,seed=1 -o clean.jsonl")]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    file: FileArgs,
    /// An operation with its settings; may be repeated.
    #[arg(long = "operation", value_name = "OPERATION", required = true)]
    operations: Vec<DataOperation>,
}

impl ApplyArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        self.file.apply(&self.operations, common)
    }
}
