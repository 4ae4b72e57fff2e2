//! Operations on rollouts: what goes in, what comes out, and what was kept and dropped.
//!
//! An operation sees each rollout once, or twice if it needs a global count. It holds only the
//! current rollout, so files of any size can be processed; each operation's file documents what it
//! stores. All random choices depend on the operation's seed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::balance::{BalanceDataset, BalanceInstructions};
use super::dedup::Deduplicate;
use super::group::GroupResponses;
use super::mix::Mix;
use super::pairs::MakePairs;
use super::replace::ReplaceResponses;
use super::rollout::Rollout;
use super::scratch::Scratch;
use super::segment::SegmentSteps;
use super::split::KeepSide;
use super::subsample::{SubsampleInstructions, SubsampleResponses};
use crate::error::{Error, Result};
use crate::named_settings;

/// The settings of an operation.
pub(super) trait Start {
    /// Whether the operation must see all rollouts before it can decide on the first.
    fn surveys(&self) -> bool {
        false
    }

    /// Checks the settings and starts the operation. It stores intermediate data in files in
    /// `scratch`, or in memory.
    fn start(&self, scratch: Option<&Scratch>) -> Result<Box<dyn Operation>>;
}

/// A running operation.
pub(super) trait Operation {
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

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// The closed set of operations, each with its settings.
        ///
        /// In a configuration: a table with the operation's `name` and its settings,
        /// `{ name = "subsample_instructions", share = 0.25, seed = 1 }`; on a command line the
        /// same in short, `subsample_instructions,share=0.25,seed=1`. Unknown settings are errors.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", rename_all = "snake_case")]
        pub enum DataOperation {
            $($(#[$doc])* $variant($variant),)*
        }

        impl DataOperation {
            pub(super) fn surveys(&self) -> bool {
                match self {
                    $(Self::$variant(settings) => settings.surveys(),)*
                }
            }

            pub(super) fn start(&self, scratch: Option<&Scratch>) -> Result<Box<dyn Operation>> {
                match self {
                    $(Self::$variant(settings) => settings.start(scratch),)*
                }
            }
        }
    };
}

operations! {
    /// As many correct as incorrect responses in the whole data set.
    BalanceDataset,
    /// As many correct as incorrect responses of each instruction.
    BalanceInstructions,
    /// A share of the instructions.
    SubsampleInstructions,
    /// Some responses of each instruction.
    SubsampleResponses,
    /// No response that repeats an earlier one.
    Deduplicate,
    /// The rollouts of another file besides.
    Mix,
    /// Some responses from another file instead.
    ReplaceResponses,
    /// One rollout for each pair of a correct and an incorrect response.
    MakePairs,
    /// One side of a split by problem.
    KeepSide,
    /// The `steps` column written.
    SegmentSteps,
    /// The records of a problem as one.
    GroupResponses,
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
    pub(super) fn add(&mut self, rollout: &Rollout) {
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
pub(super) struct Outcome<'a> {
    pub(super) emit: &'a mut dyn FnMut(Rollout) -> Result<()>,
    pub(super) after: Counts,
    pub(super) remarks: BTreeMap<String, u64>,
}

impl Outcome<'_> {
    /// Passes a rollout on.
    pub(super) fn keep(&mut self, rollout: Rollout) -> Result<()> {
        self.after.add(&rollout);
        (self.emit)(rollout)
    }

    /// Counts an event.
    pub(super) fn remark(&mut self, what: &str, n: u64) {
        if n > 0 {
            *self.remarks.entry(what.to_owned()).or_default() += n;
        }
    }
}
