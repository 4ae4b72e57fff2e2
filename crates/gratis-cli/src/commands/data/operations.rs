//! The commands of `gratis data` that convert one rollout file into another: each turns its
//! arguments into one or several data operations.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::data::{DataOperation, DedupScope, MixRule, StepSplit, StepText};

use super::FileArgs;
use crate::Common;

/// Write one record per pair of a correct and an incorrect response to a problem.
///
/// The correct response comes first. Problems with one class only are dropped. Pairwise objectives
/// (`dpo`, `nca`, `ipo`, `sppo`) form all pairs themselves; use this command to select fewer or to
/// inspect them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data pairs graded.jsonl -o pairs.jsonl
  gratis data pairs graded.jsonl --per-prompt 1 --seed 7 -o one-each.parquet")]
pub(crate) struct PairsArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Maximum number of pairs per problem, chosen at random [default: all].
    #[arg(short = 'k', long, value_name = "K")]
    per_prompt: Option<usize>,
    /// Seed of the random choice.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl PairsArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let Self { per_prompt, seed, .. } = *self;
        self.file.apply(&[DataOperation::MakePairs { per_prompt, seed }], common)
    }
}

/// Drop random responses of the majority class until both classes have the same size.
///
/// With `--by dataset`, the classes are equal over the whole file (the paper's dataset-wise
/// balance); this reads the file twice and stores 8 bytes per response. With `--by instruction`,
/// they are equal within each problem, and problems with one class only are dropped
/// (instruction-wise).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data balance graded.jsonl --by dataset -o balanced.jsonl
  gratis data balance graded.jsonl --by instruction --seed 3 --json -o balanced.jsonl")]
pub(crate) struct BalanceArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Scope within which classes are balanced.
    #[arg(long, value_enum)]
    by: Over,
    /// Seed of the random choice.
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
            Over::Dataset => DataOperation::BalanceDataset { seed },
            Over::Instruction => DataOperation::BalanceInstructions { seed },
        };
        self.file.apply(&[operation], common)
    }
}

/// Keep a share of the problems, some responses of each, or both.
///
/// With the same seed, a smaller sample is a subset of a larger one. `--share` reads the file twice
/// and stores 8 bytes per problem.
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
    /// Responses to keep per problem.
    #[arg(long, value_name = "K", group = "what")]
    responses: Option<usize>,
    /// Seed of the random choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl SubsampleArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let seed = self.seed;
        let instructions =
            self.share.map(|share| DataOperation::SubsampleInstructions { share, seed });
        let responses = self.responses.map(|n| DataOperation::SubsampleResponses { n, seed });
        let operations: Vec<_> = instructions.into_iter().chain(responses).collect();
        self.file.apply(&operations, common)
    }
}

/// Drop responses whose word n-grams mostly occur in responses kept before them.
///
/// The overlap of a response is the share of its n-grams that occurred before. Only responses with
/// the same label are compared. Nothing is random: the first of two duplicates is kept. With
/// `--scope dataset` memory grows with the file: about 18 bytes per distinct n-gram, more than the
/// text itself. `--sample M` divides it by M. With `--scope problem` it does not grow.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data dedup graded.jsonl -o distinct.jsonl
  gratis data dedup graded.jsonl --threshold 1 -o no-exact-repetition.jsonl
  gratis data dedup large.parquet --scope dataset --sample 16 -o distinct.parquet")]
pub(crate) struct DedupArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Words per n-gram.
    #[arg(long, value_name = "WORDS", default_value_t = 8)]
    n: usize,
    /// Overlap at or above which a response is dropped, above 0 and at most 1.
    #[arg(long, default_value_t = 0.5)]
    threshold: f64,
    /// Which responses are compared.
    #[arg(long, value_enum, default_value_t = DedupScope::Problem)]
    scope: DedupScope,
    /// Use one n-gram in M; the overlap is then an estimate.
    #[arg(long, value_name = "M", default_value_t = 1)]
    sample: u64,
}

impl DedupArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        self.file.apply(&[self.operation()], common)
    }

    fn operation(&self) -> DataOperation {
        let Self { n, threshold, scope, sample, .. } = *self;
        DataOperation::Deduplicate { n, threshold, scope, sample }
    }
}

/// Append the problems of another file, in full or with one pair per problem.
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
    /// What to take from it.
    #[arg(long, value_enum, default_value_t = MixRule::All)]
    take: MixRule,
    /// Seed of the random choice of pairs.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl MixArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let Self { take, seed, .. } = *self;
        let path = self.with.clone();
        self.file.apply(&[DataOperation::Mix { path, take, seed }], common)
    }
}

/// Replace random responses of each problem with random responses from another file.
///
/// Problems with too few responses in either file stay unchanged and are counted. The chosen
/// responses of the other file are stored in a hidden folder beside the output until the end;
/// memory grows by about 40 bytes per problem of that file.
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
    /// Responses to replace per problem.
    #[arg(short = 'k', long, value_name = "K", default_value_t = 4)]
    responses: usize,
    /// Seed of the random choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl ReplaceArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let Self { responses: n, seed, .. } = *self;
        let path = self.with.clone();
        self.file.apply(&[DataOperation::ReplaceResponses { path, n, seed }], common)
    }
}

/// Split every response into steps and write them to the column `steps`.
///
/// Commands that need steps use this column if it exists and split responses themselves
/// (`--step-split`) otherwise; in a file, steps can be inspected and corrected. A step extends from
/// its beginning to the beginning of the next one, including white space, so no text is lost. With
/// `--text renumbered` responses are rewritten as the authors of the paper do before scoring: `Step
/// 1: ...`, a blank line, `Step 2: ...`.
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
    #[arg(long, default_value_t = StepSplit::Numbered)]
    split: StepSplit,
    /// Whether to keep or rewrite the text.
    #[arg(long, value_enum, default_value_t)]
    text: StepText,
}

impl StepsArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let (split, text) = (self.split.clone(), self.text);
        self.file.apply(&[DataOperation::SegmentSteps { split, text }], common)
    }
}

/// Convert a rollout file to another format, given by the file names.
///
/// Every line is checked; `--skip-invalid` skips malformed lines.
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

/// Join the records of each problem, wherever they are in the file.
///
/// Records with the same prompt, context and reference become one problem with the responses of all,
/// so that pairwise objectives find their pairs. Consecutive records are joined in reading already;
/// this command also joins those that are apart. A problem is where its first record was. The
/// records are spread over temporary files beside the output by a hash of their problem, so memory does
/// not grow with the file, only with the largest problem.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data group one-response-per-line.jsonl -o grouped.jsonl
  gratis data group shuffled.parquet --shape responses -o grouped.parquet")]
pub(crate) struct GroupArgs {
    #[command(flatten)]
    file: FileArgs,
}

impl GroupArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        self.file.apply(&[DataOperation::GroupResponses {}], common)
    }
}

/// Apply operations in order, in the syntax of `gratis train --operation`.
///
/// Intermediate results between operations are stored in a hidden folder beside the output until
/// the end.
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
  group_responses

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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        dedup: DedupArgs,
    }

    #[test]
    fn the_defaults_of_a_command_are_those_of_its_operation() {
        let dedup = Command::try_parse_from(["dedup"]).expect("parses").dedup;
        assert_eq!(dedup.operation(), DataOperation::deduplicate());
    }
}
