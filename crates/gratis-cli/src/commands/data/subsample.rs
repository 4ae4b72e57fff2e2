//! `gratis data subsample`: fewer problems, fewer responses of each.

use anyhow::Result;
use clap::Args;
use gratis::data::{DataOperation, SubsampleInstructions, SubsampleResponses};

use super::FileArgs;
use crate::Common;

/// Keep a share of the problems, some responses of each, or both.
///
/// Smaller samples of one seed are part of larger ones. `--share` reads the file twice and
/// remembers 8 bytes a problem.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)), after_help = "\
Examples:
  gratis data subsample graded.jsonl --share 0.25 -o quarter.jsonl
  gratis data subsample graded.jsonl --responses 2 --seed 1 -o two-each.jsonl
  gratis data subsample graded.jsonl --share 0.5 --responses 4 -o smaller.jsonl")]
pub(crate) struct SubsampleArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Share of the problems to keep, above 0 and at most 1.
    #[arg(long, group = "what")]
    share: Option<f64>,
    /// Responses to keep of each problem.
    #[arg(long, value_name = "K", group = "what")]
    responses: Option<usize>,
    /// Seed of both choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl SubsampleArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let seed = self.seed;
        let instructions = self.share.map(|share| {
            DataOperation::SubsampleInstructions(SubsampleInstructions { share, seed })
        });
        let responses = self
            .responses
            .map(|n| DataOperation::SubsampleResponses(SubsampleResponses { n, seed }));
        let operations: Vec<_> = instructions.into_iter().chain(responses).collect();
        self.file.apply(&operations, common)
    }
}
