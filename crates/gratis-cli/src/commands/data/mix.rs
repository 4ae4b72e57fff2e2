//! `gratis data mix`: another data set besides.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::data::{DataOperation, Mix, MixRule};

use super::FileArgs;
use crate::Common;

/// Append the problems of another file, whole or with one pair of each.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data mix math.jsonl --with code.jsonl -o both.jsonl
  gratis data mix math.jsonl --with chat.parquet --take one-pair --seed 1 -o both.jsonl.zst")]
pub(crate) struct MixArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The other file.
    #[arg(long, value_name = "FILE")]
    with: PathBuf,
    /// What to take of it.
    #[arg(long, value_enum, default_value_t = Take::All)]
    take: Take,
    /// Seed of the choice of pairs.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Take {
    /// Everything.
    All,
    /// A random pair of a correct and an incorrect response of each problem.
    OnePair,
}

impl MixArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let take = match self.take {
            Take::All => MixRule::All,
            Take::OnePair => MixRule::OnePair,
        };
        let settings = Mix { path: self.with.clone(), take, seed: self.seed };
        self.file.apply(&[DataOperation::Mix(settings)], common)
    }
}
