//! Mixing in another data set (appendix C.2: general and coding instructions).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::operation::{Operation, Outcome};
use super::pairs::pairs;
use crate::error::Result;
use crate::records::reader::RecordReader;
use crate::records::record::OnInvalid;
use crate::records::rollout::Rollout;

/// What to take of the other data set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum MixRule {
    /// Everything.
    #[default]
    All,
    /// One random pair of a correct and an incorrect response per problem.
    OnePair,
}

/// [`DataOperation::Mix`](crate::DataOperation) at work.
pub(crate) struct Mixing {
    path: PathBuf,
    take: MixRule,
    seed: u64,
}

impl Mixing {
    pub(crate) fn new(path: &Path, take: MixRule, seed: u64) -> Self {
        Self { path: path.to_owned(), take, seed }
    }
}

impl Operation for Mixing {
    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        out.keep(rollout)
    }

    fn finish(&mut self, out: &mut Outcome) -> Result<()> {
        for rollout in RecordReader::<Rollout>::open(&self.path, OnInvalid::Stop)? {
            let rollout = rollout?;
            out.remark("problems mixed in", 1);
            match self.take {
                MixRule::All => out.keep(rollout)?,
                MixRule::OnePair => {
                    let labels = rollout.labels("taking one pair of each instruction")?;
                    match pairs(&labels, Some(1), &rollout.prompt, self.seed).first() {
                        Some(&(correct, incorrect)) => {
                            out.keep(rollout.with_completions(&[correct, incorrect]))?;
                        }
                        None => out.remark("problems of one class dropped", 1),
                    }
                }
            }
        }
        Ok(())
    }
}
