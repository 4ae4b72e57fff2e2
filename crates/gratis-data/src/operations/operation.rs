//! Operations on rollouts: what goes in, what comes out, and what was kept and dropped.
//!
//! An operation sees each rollout once, or twice if it needs a global count. It holds only the
//! current rollout, so files of any size can be processed; each operation's file documents what it
//! stores. All random choices depend on the operation's seed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::balance::{DatasetBalance, InstructionBalance};
use super::dedup::{self, DedupScope, Deduplication};
use super::group::Grouping;
use super::mix::{MixRule, Mixing};
use super::pairs::Pairing;
use super::replace::Replacement;
use super::scratch::Scratch;
use super::segment::{self, Segmentation, StepText};
use super::split::{Side, SideFilter, Split};
use super::subsample::{InstructionSample, ResponseSample};
use crate::error::{Error, Result};
use crate::named_settings;
use crate::records::rollout::Rollout;
use crate::records::steps::StepSplit;

/// A running operation.
pub(crate) trait Operation {
    /// The first pass; `number` counts the rollouts from 0.
    fn survey(&mut self, number: u64, rollout: &Rollout) -> Result<()> {
        let _ = (number, rollout);
        Ok(())
    }

    /// Between the passes.
    fn decide(&mut self) -> Result<()> {
        Ok(())
    }

    /// The second, or only, pass.
    fn apply(&mut self, number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()>;

    /// After the last rollout.
    fn finish(&mut self, out: &mut Outcome) -> Result<()> {
        let _ = out;
        Ok(())
    }
}

/// The closed set of operations, each with its settings.
///
/// In a configuration: a table with the operation's `name` and its settings,
/// `{ name = "subsample_instructions", share = 0.25, seed = 1 }`; on a command line the same in
/// short, `subsample_instructions,share=0.25,seed=1`. Unknown settings are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum DataOperation {
    /// Drops random responses of the class that has more of them in the whole data set.
    /// Instructions left without a response are dropped. Stores one number per response.
    BalanceDataset {
        /// Seed of the choice.
        #[serde(default)]
        seed: u64,
    },
    /// Keeps, for each instruction, as many random responses of each class as the rarer class has.
    /// Instructions with one class only are dropped; it is an error if none is left.
    BalanceInstructions {
        /// Seed of the choice.
        #[serde(default)]
        seed: u64,
    },
    /// Keeps a share of the instructions; lines with the same prompt stay together. Stores one
    /// number per instruction.
    SubsampleInstructions {
        /// The share to keep, above 0 and at most 1.
        share: f64,
        /// Seed of the choice.
        #[serde(default)]
        seed: u64,
    },
    /// Keeps `n` random responses per instruction, in their order; instructions that have fewer
    /// keep them all.
    SubsampleResponses {
        /// Responses to keep per instruction, at least 1.
        n: usize,
        /// Seed of the choice.
        #[serde(default)]
        seed: u64,
    },
    /// Drops responses that repeat earlier ones; [`DataOperation::deduplicate`] has the defaults.
    Deduplicate {
        /// Words in an n-gram, at least 1.
        #[serde(default = "dedup::default_n")]
        n: usize,
        /// The overlap at or above which a response is dropped, above 0 and at most 1.
        #[serde(default = "dedup::default_threshold")]
        threshold: f64,
        /// Which responses are compared.
        #[serde(default)]
        scope: DedupScope,
        /// Use one n-gram in this many, at least 1: the overlap is then an estimate and needs less
        /// memory.
        #[serde(default = "dedup::default_sample")]
        sample: u64,
    },
    /// Appends the rollouts of another file.
    Mix {
        /// The other file.
        path: PathBuf,
        /// What to take of it.
        #[serde(default)]
        take: MixRule,
        /// Seed of the choice of pairs.
        #[serde(default)]
        seed: u64,
    },
    /// Replaces `n` random responses of each instruction by as many random ones that another file
    /// has for the same prompt. Instructions for which either file has fewer stay as they are.
    /// Stores the responses of the other file in a temporary file, and one position per problem.
    ReplaceResponses {
        /// The other file.
        path: PathBuf,
        /// Responses to replace, at least 1; the paper replaces 4 of 8.
        n: usize,
        /// Seed of both choices.
        #[serde(default)]
        seed: u64,
    },
    /// Makes one rollout of each pair of a correct and an incorrect response, the correct one first.
    /// Instructions with one class only are dropped.
    MakePairs {
        /// Make at most this many pairs per instruction, at least 1; all if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        per_prompt: Option<usize>,
        /// Seed of the choice.
        #[serde(default)]
        seed: u64,
    },
    /// Keeps one side of a split by problem. A problem's side depends on its prompt and the seed
    /// only.
    KeepSide {
        /// The side to keep.
        side: Side,
        /// The expected share of the first side, above 0 and below 1.
        share: f64,
        /// Seed of the split.
        #[serde(default)]
        seed: u64,
    },
    /// Splits every response into steps and writes them to the column `steps`. Stores nothing.
    SegmentSteps {
        /// Where steps end.
        #[serde(default = "segment::default_split")]
        split: StepSplit,
        /// Whether to keep or rewrite the text.
        #[serde(default)]
        text: StepText,
    },
    /// Joins the records of each problem: those with the same prompt, context and reference. A
    /// problem is where its first record was, with the responses in the order of their records.
    /// Columns that differ between the records are dropped.
    GroupResponses {},
}

impl DataOperation {
    /// [`DataOperation::Deduplicate`] with the default settings.
    pub fn deduplicate() -> Self {
        Self::Deduplicate {
            n: dedup::default_n(),
            threshold: dedup::default_threshold(),
            scope: DedupScope::default(),
            sample: dedup::default_sample(),
        }
    }

    /// Whether the operation must see all rollouts before it can decide on the first.
    pub(crate) fn surveys(&self) -> bool {
        matches!(self, Self::BalanceDataset { .. } | Self::SubsampleInstructions { .. })
    }

    /// Checks the settings and starts the operation. It stores intermediate data in files in
    /// `scratch`, or in memory.
    pub(crate) fn start(&self, scratch: Option<&Scratch>) -> Result<Box<dyn Operation>> {
        Ok(match *self {
            Self::BalanceDataset { seed } => Box::new(DatasetBalance::new(seed)),
            Self::BalanceInstructions { seed } => Box::new(InstructionBalance::new(seed)),
            Self::SubsampleInstructions { share, seed } => {
                Box::new(InstructionSample::new(share, seed)?)
            }
            Self::SubsampleResponses { n, seed } => Box::new(ResponseSample::new(n, seed)?),
            Self::Deduplicate { n, threshold, scope, sample } => {
                Box::new(Deduplication::new(n, threshold, scope, sample)?)
            }
            Self::Mix { ref path, take, seed } => Box::new(Mixing::new(path, take, seed)),
            Self::ReplaceResponses { ref path, n, seed } => {
                Box::new(Replacement::new(path, n, seed, scratch)?)
            }
            Self::MakePairs { per_prompt, seed } => Box::new(Pairing::new(per_prompt, seed)?),
            Self::KeepSide { side, share, seed } => {
                Box::new(SideFilter::new(side, Split { share, seed })?)
            }
            Self::SegmentSteps { ref split, text } => Box::new(Segmentation::new(split, text)?),
            Self::GroupResponses {} => Box::new(Grouping::new(scratch)?),
        })
    }
}

impl FromStr for DataOperation {
    type Err = Error;

    /// `NAME` or `NAME,KEY=VALUE,...`, see [`named_settings`].
    fn from_str(text: &str) -> Result<Self> {
        named_settings::parse("operation", text)
    }
}

impl fmt::Display for DataOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&named_settings::display(self)?)
    }
}

/// How much data there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rollout records.
    pub n_problems: u64,
    /// Responses in them.
    pub n_responses: u64,
    /// Responses labelled correct.
    pub n_correct: u64,
    /// Responses labelled incorrect; what is neither, nor has a soft label, has no label.
    pub n_incorrect: u64,
    /// Responses with a label between 0 and 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n_soft: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Counts {
    pub(crate) fn add(&mut self, rollout: &Rollout) {
        self.n_problems += 1;
        self.n_responses += rollout.completions.len() as u64;
        let soft = rollout.completions.iter().filter(|completion| completion.soft_label.is_some());
        self.n_soft += soft.count() as u64;
        for correct in rollout.completions.iter().filter_map(|completion| completion.label) {
            *(if correct { &mut self.n_correct } else { &mut self.n_incorrect }) += 1;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_problems, n_responses, n_correct, n_incorrect, n_soft } = self;
        write!(f, "{n_problems} problems, {n_responses} responses")?;
        if *n_soft > 0 {
            let n = n_responses - n_correct - n_incorrect - n_soft;
            return write!(
                f,
                " ({n_correct} correct, {n_incorrect} incorrect, {n_soft} with a soft label, {n} \
                 without a label)"
            );
        }
        match n_responses - n_correct - n_incorrect {
            0 => write!(f, " ({n_correct} correct, {n_incorrect} incorrect)"),
            n if n == *n_responses => f.write_str(" (no labels)"),
            n => write!(f, " ({n_correct} correct, {n_incorrect} incorrect, {n} without a label)"),
        }
    }
}

/// What an operation kept and dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationReport {
    /// The operation with its settings.
    pub operation: DataOperation,
    /// Counts of the input.
    pub before: Counts,
    /// Counts of the output.
    pub after: Counts,
    /// Counts of notable events by description: `problems of one class dropped`.
    pub remarks: BTreeMap<String, u64>,
}

/// Receives and counts the output of an operation.
pub(crate) struct Outcome<'a> {
    pub(crate) emit: &'a mut dyn FnMut(Rollout) -> Result<()>,
    pub(crate) after: Counts,
    pub(crate) remarks: BTreeMap<String, u64>,
}

impl Outcome<'_> {
    /// Passes a rollout on.
    pub(crate) fn keep(&mut self, rollout: Rollout) -> Result<()> {
        self.after.add(&rollout);
        (self.emit)(rollout)
    }

    /// Counts an event.
    pub(crate) fn remark(&mut self, what: &str, n: u64) {
        if n > 0 {
            *self.remarks.entry(what.to_owned()).or_default() += n;
        }
    }
}
