//! Mixing in another data set (appendix C.2: general and coding instructions).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::operation::{Operation, Outcome, Start};
use super::pairs::PairRule;
use super::reader::RecordReader;
use super::record::OnInvalid;
use super::rollout::Rollout;
use super::scratch::Scratch;
use crate::error::Result;

/// What to take of the other data set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MixRule {
    /// Everything.
    #[default]
    All,
    /// One random pair of a correct and an incorrect response of each instruction.
    OnePair,
}

/// Appends the rollouts of another file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// The other file.
    pub path: PathBuf,
    /// What to take of it.
    #[serde(default)]
    pub take: MixRule,
    /// Seed of the choice of pairs.
    #[serde(default)]
    pub seed: u64,
}

impl Start for Mix {
    fn start(&self, _scratch: Option<&Scratch>) -> Result<Box<dyn Operation>> {
        Ok(Box::new(Mixing { settings: self.clone() }))
    }
}

struct Mixing {
    settings: Mix,
}

impl Operation for Mixing {
    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        out.keep(rollout)
    }

    fn finish(&mut self, out: &mut Outcome) -> Result<()> {
        for rollout in RecordReader::<Rollout>::open(&self.settings.path, OnInvalid::Stop)? {
            let rollout = rollout?;
            out.remark("problems mixed in", 1);
            match self.settings.take {
                MixRule::All => out.keep(rollout)?,
                MixRule::OnePair => {
                    let labels = rollout.labels("taking one pair of each instruction")?;
                    let rule = PairRule::PerPrompt { n: 1 };
                    match rule.pairs(&labels, &rollout.prompt, self.settings.seed).first() {
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
