//! Splitting a data set by problem, so that no problem is on both sides.
//!
//! A problem's side depends only on its text and the seed: the same prompt is on the same side in
//! every file, however often it occurs, also after data are added. The share is therefore met in
//! expectation only. White space in prompts is ignored.

use serde::{Deserialize, Serialize};

use super::operation::{Operation, Outcome};
use crate::error::{Error, Result};
use crate::records::rollout::Rollout;
use crate::seeding::rank_of;

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
#[derive(Debug, Clone, Copy)]
pub(crate) struct Split {
    /// The expected share of the first side, above 0 and below 1.
    pub(crate) share: f64,
    /// Seed of the split.
    pub(crate) seed: u64,
}

impl Split {
    /// Checks the settings.
    pub(crate) fn validate(self) -> Result<()> {
        if self.share > 0.0 && self.share < 1.0 {
            return Ok(());
        }
        Err(Error::setting("share", "above 0 and below 1", self.share))
    }

    /// The side of a prompt.
    pub(crate) fn side(self, prompt: &str) -> Side {
        let text = prompt.split_whitespace().collect::<Vec<_>>().join(" ");
        let place = rank_of(self.seed, &["split", &text]) as f64 / 2_f64.powi(64);
        if place < self.share { Side::First } else { Side::Second }
    }
}

/// What reports call the problems that are not kept.
pub(crate) const OTHER_SIDE: &str = "problems on the other side";

/// [`DataOperation::KeepSide`](crate::DataOperation) at work.
pub(crate) struct SideFilter {
    side: Side,
    split: Split,
}

impl SideFilter {
    pub(crate) fn new(side: Side, split: Split) -> Result<Self> {
        split.validate()?;
        Ok(Self { side, split })
    }
}

impl Operation for SideFilter {
    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        if self.split.side(&rollout.prompt) == self.side {
            return out.keep(rollout);
        }
        out.remark(OTHER_SIDE, 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_meets_its_share_and_ignores_white_space() {
        let split = Split { share: 0.3, seed: 5 };
        let prompts = (0..4000).map(|i| format!("Problem {i}?"));
        let n_first = prompts.filter(|prompt| split.side(prompt) == Side::First).count();
        assert!((1100..1300).contains(&n_first), "{n_first} of 4000 at a share of 0.3");
        assert_eq!(split.side("a b"), split.side(" a\n b "), "white space tells no prompts apart");
    }
}
