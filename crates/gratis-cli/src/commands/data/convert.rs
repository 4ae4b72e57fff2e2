//! `gratis data convert`: between the file formats.

use anyhow::Result;
use clap::Args;

use super::FileArgs;
use crate::Common;

/// Copy a rollout file into another format, by the names of the files.
///
/// Every line is checked on its way; `--skip-invalid` leaves malformed ones out.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data convert rollouts.parquet -o rollouts.jsonl
  gratis data convert rollouts.jsonl --skip-invalid -o rollouts.jsonl.zst")]
pub(crate) struct ConvertArgs {
    #[command(flatten)]
    file: FileArgs,
}

impl ConvertArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        self.file.apply(&[], common)
    }
}
