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
/// `--scope dataset` memory grows with the file: about 18 bytes for each different n-gram, more than
/// the text itself. `--sample M` divides it by M. With `--scope problem` it does not grow.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data dedup graded.jsonl -o distinct.jsonl
  gratis data dedup graded.jsonl --threshold 1 -o no-exact-repetition.jsonl
  gratis data dedup large.parquet --scope dataset --sample 16 -o distinct.parquet")]
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
    /// Look at one n-gram in M: the overlap becomes an estimate.
    #[arg(long, value_name = "M", default_value_t = Deduplicate::default().sample)]
    sample: u64,
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
        let Self { n, threshold, sample, .. } = *self;
        let settings = Deduplicate { n, threshold, scope, sample };
        self.file.apply(&[DataOperation::Deduplicate(settings)], common)
    }
}
