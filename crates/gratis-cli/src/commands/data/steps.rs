//! `gratis data steps`: the steps of every response written down.

use anyhow::Result;
use clap::Args;
use gratis::data::{DataOperation, SegmentSteps, StepSplit, StepText};

use super::FileArgs;
use crate::Common;

/// Cut every response into steps and write them into the column `steps`.
///
/// Commands that need steps take that column where it is there and cut by themselves
/// (`--step-split`) where it is not; written down, they can be looked at and corrected. The text of a
/// step goes from its beginning to the next one's, white space included, so that nothing is lost.
/// With `--text renumbered` responses are rewritten as the authors of the paper do before scoring:
/// `Step 1: ...`, a blank line, `Step 2: ...`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data steps candidates.jsonl --split paragraphs -o stepped.jsonl
  gratis data steps candidates.jsonl --split numbered --text renumbered -o as-the-authors.jsonl
  gratis data steps candidates.jsonl --split 'pattern:;\\s*' -o stepped.jsonl")]
pub(crate) struct StepsArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Where steps end: `numbered` (at `Step i:`), `paragraphs`, `lines`, `sentences`, `whole`, or
    /// `pattern:` and a regular expression.
    #[arg(long, default_value_t = SegmentSteps::default().split)]
    split: StepSplit,
    /// What becomes of the text.
    #[arg(long, value_enum, default_value_t)]
    text: StepText,
}

impl StepsArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let settings = SegmentSteps { split: self.split.clone(), text: self.text };
        self.file.apply(&[DataOperation::SegmentSteps(settings)], common)
    }
}
