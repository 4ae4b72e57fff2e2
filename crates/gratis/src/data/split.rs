//! Splitting a data set by problem, so that no problem is on both sides.
//!
//! A problem's side depends only on its text and the seed: the same prompt is on the same side in
//! every file, however often it occurs, also after data are added. The share is therefore met in
//! expectation only. White space in prompts is ignored.

use serde::{Deserialize, Serialize};

use super::operation::{Operation, Outcome, Start};
use super::rollout::Rollout;
use super::scratch::Scratch;
use super::seeding::rank_of;
use crate::error::{Error, Result};

/// A side of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The side that gets the share.
    First,
    /// The other one.
    Second,
}

/// A split of problems in two.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The expected share of the first side, above 0 and below 1.
    pub share: f64,
    /// Seed of the split.
    #[serde(default)]
    pub seed: u64,
}

impl Split {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] if the share is not between 0 and 1.
    pub fn validate(&self) -> Result<()> {
        if self.share > 0.0 && self.share < 1.0 {
            return Ok(());
        }
        Err(Error::setting("share", "above 0 and below 1", self.share))
    }

    /// The side of a prompt.
    pub fn side(&self, prompt: &str) -> Side {
        let text = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
        let place = rank_of(self.seed, &["split", &text]) as f64 / 2_f64.powi(64);
        if place < self.share { Side::First } else { Side::Second }
    }
}

/// Keeps one side of a split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepSide {
    /// The side to keep.
    pub side: Side,
    /// The expected share of the first side, above 0 and below 1.
    pub share: f64,
    /// Seed of the split.
    #[serde(default)]
    pub seed: u64,
}

impl Start for KeepSide {
    fn start(&self, _scratch: Option<&Scratch>) -> Result<Box<dyn Operation>> {
        let split = Split { share: self.share, seed: self.seed };
        split.validate()?;
        Ok(Box::new(SideFilter { side: self.side, split }))
    }
}

struct SideFilter {
    side: Side,
    split: Split,
}

impl Operation for SideFilter {
    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        if self.split.side(&rollout.prompt) == self.side {
            return out.keep(rollout);
        }
        out.remark("problems on the other side", 1);
        Ok(())
    }
}
