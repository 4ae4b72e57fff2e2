//! Subsampling of instructions or of responses per instruction, for the scaling experiments
//! (section 5.1).
//!
//! With the same seed, a smaller sample is a subset of a larger one.

use super::balance::keep_some;
use super::operation::{Operation, Outcome};
use crate::error::{Error, Result};
use crate::records::rollout::Rollout;
use crate::seeding::{rank_of, threshold_of};

/// [`DataOperation::SubsampleInstructions`](crate::DataOperation) at work.
pub(crate) struct InstructionSample {
    share: f64,
    seed: u64,
    ranks: Vec<u64>,
    limit: Option<u64>,
}

impl InstructionSample {
    pub(crate) fn new(share: f64, seed: u64) -> Result<Self> {
        if share > 0.0 && share <= 1.0 {
            return Ok(Self { share, seed, ranks: Vec::new(), limit: None });
        }
        Err(Error::setting("share", "above 0 and at most 1", share))
    }
}

impl Operation for InstructionSample {
    fn survey(&mut self, _number: u64, rollout: &Rollout) -> Result<()> {
        self.ranks.push(rank_of(self.seed, &[&rollout.prompt]));
        Ok(())
    }

    fn decide(&mut self) -> Result<()> {
        let mut ranks = std::mem::take(&mut self.ranks);
        ranks.sort_unstable();
        ranks.dedup();
        let n = (self.share * ranks.len() as f64).round().max(1.0) as usize;
        self.limit = threshold_of(ranks, n);
        Ok(())
    }

    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        if Some(rank_of(self.seed, &[&rollout.prompt])) <= self.limit {
            out.keep(rollout)
        } else {
            out.remark("problems dropped", 1);
            Ok(())
        }
    }
}

/// [`DataOperation::SubsampleResponses`](crate::DataOperation) at work.
pub(crate) struct ResponseSample {
    n: usize,
    seed: u64,
}

impl ResponseSample {
    pub(crate) fn new(n: usize, seed: u64) -> Result<Self> {
        if n == 0 { Err(Error::setting("n", "at least 1", n)) } else { Ok(Self { n, seed }) }
    }
}

impl Operation for ResponseSample {
    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        let Self { n, seed } = *self;
        let mut order: Vec<usize> = (0..rollout.completions.len()).collect();
        order.sort_by_key(|idx| rank_of(seed, &[&rollout.prompt, &idx.to_string()]));
        order.truncate(n);
        order.sort_unstable();
        if rollout.completions.len() < n {
            out.remark("problems with fewer responses than asked for", 1);
        }
        keep_some(rollout, &order, out)
    }
}
