//! `gratis data replace`: some responses by those of another model.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::data::{DataOperation, ReplaceResponses};

use super::FileArgs;
use crate::Common;

/// Replace random responses of each problem by random ones that another file has for it.
///
/// Problems for which either file has too few stay as they are and are counted. The drawn responses
/// of the other file stand in a hidden folder beside the output until the end; memory grows by about
/// 40 bytes for each of its problems.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data replace graded.jsonl --with base-model.jsonl -k 4 -o diverse.jsonl")]
pub(crate) struct ReplaceArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The other file, with the same prompts.
    #[arg(long, value_name = "FILE")]
    with: PathBuf,
    /// Responses to replace of each problem.
    #[arg(short = 'k', long, value_name = "K", default_value_t = 4)]
    responses: usize,
    /// Seed of both choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl ReplaceArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let settings =
            ReplaceResponses { path: self.with.clone(), n: self.responses, seed: self.seed };
        self.file.apply(&[DataOperation::ReplaceResponses(settings)], common)
    }
}
