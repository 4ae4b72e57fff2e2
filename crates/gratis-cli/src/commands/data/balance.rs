//! `gratis data balance`: as many correct as incorrect responses.

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::data::{BalanceDataset, BalanceInstructions, DataOperation};

use super::FileArgs;
use crate::Common;

/// Drop random responses of the class that has more, until both have as many.
///
/// By `dataset`, classes are equal over the whole file (the paper's dataset-wise balance): reads
/// the file twice and remembers 8 bytes a response. By `instruction`, they are equal for each
/// problem, and problems of one class are dropped (instruction-wise).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data balance graded.jsonl --by dataset -o balanced.jsonl
  gratis data balance graded.jsonl --by instruction --seed 3 --json -o balanced.jsonl")]
pub(crate) struct BalanceArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Over what classes are equal.
    #[arg(long, value_enum)]
    by: Over,
    /// Seed of the choice.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Over {
    Dataset,
    Instruction,
}

impl BalanceArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let seed = self.seed;
        let operation = match self.by {
            Over::Dataset => DataOperation::BalanceDataset(BalanceDataset { seed }),
            Over::Instruction => DataOperation::BalanceInstructions(BalanceInstructions { seed }),
        };
        self.file.apply(&[operation], common)
    }
}
