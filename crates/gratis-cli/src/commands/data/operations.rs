//! The commands of `gratis data` that take a rollout file and write another: each makes one data
//! operation, or several, of its arguments.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::data::{
    BalanceDataset, BalanceInstructions, DataOperation, DedupScope, Deduplicate, MakePairs, Mix,
    MixRule, ReplaceResponses, SegmentSteps, StepSplit, StepText, SubsampleInstructions,
    SubsampleResponses,
};

use super::FileArgs;
use crate::Common;

/// Make a record of each pair of a correct and an incorrect response of a problem.
///
/// The correct response comes first. Problems of one class are dropped. Objectives on pairs (`dpo`,
/// `nca`, `ipo`, `sppo`) make all pairs by themselves: this chooses fewer, or shows them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis data pairs graded.jsonl -o pairs.jsonl
  gratis data pairs graded.jsonl --per-prompt 1 --seed 7 -o one-each.parquet")]
pub(crate) struct PairsArgs {
    #[command(flatten)]
    file: FileArgs,
    /// At most this many pairs of each problem, drawn at random [default: all].
    #[arg(short = 'k', long, value_name = "K")]
    per_prompt: Option<usize>,
    /// Seed of the choice.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl PairsArgs {
    pub(super) fn run(&self, common: &Common) -> Result<()> {
        let settings = MakePairs { per_prompt: self.per_prompt, seed: self.seed };
        self.file.apply(&[DataOperation::MakePairs(settings)], common)
    }
}

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
