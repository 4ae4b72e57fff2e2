//! `gratis data dedup`: responses that repeat others, dropped.

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::data::{DataOperation, DedupScope, Deduplicate};

use super::FileArgs;
use crate::Common;

/// Drop responses whose word n-grams mostly occur in responses kept before them.
///
/// The overlap of a response is the share of its n-grams that were seen. Only responses with the
/// same label are compared. Nothing is random: of two that repeat each other the first stays. With
/// `--scope dataset` memory grows with the file: about 20 bytes for each different n-gram, which is
/// more than the text itself; with `--scope problem` it does not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data dedup graded.jsonl -o distinct.jsonl
  gratis data dedup graded.jsonl --threshold 1 -o no-exact-repetition.jsonl")]
pub(crate) struct DedupArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Words in an n-gram.
    #[arg(long, value_name = "WORDS", default_value_t = Deduplicate::default().n)]
    n: usize,
    /// Overlap from which on a response is dropped, above 0 and at most 1.
    #[arg(long, default_value_t = Deduplicate::default().threshold)]
    threshold: f64,
    /// Which responses are compared.
    #[arg(long, value_enum, default_value_t = Scope::Problem)]
    scope: Scope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scope {
    /// Those of the same record.
    Problem,
    /// All of the file.
    Dataset,
}

impl DedupArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let scope = match self.scope {
            Scope::Problem => DedupScope::Problem,
            Scope::Dataset => DedupScope::Dataset,
        };
        let settings = Deduplicate { n: self.n, threshold: self.threshold, scope };
        self.file.apply(&[DataOperation::Deduplicate(settings)], common)
    }
}
