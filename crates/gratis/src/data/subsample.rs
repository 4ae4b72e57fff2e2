//! Subsampling of instructions or of responses per instruction, for the scaling experiments
//! (section 5.1).
//!
//! With the same seed, a smaller sample is a subset of a larger one.

use serde::{Deserialize, Serialize};

use super::balance::keep_some;
use super::operation::{Operation, Outcome, Start};
use super::rollout::Rollout;
use super::scratch::Scratch;
use super::seeding::{rank_of, threshold_of};
use crate::error::{Error, Result};

/// Keeps a share of the instructions; lines with the same prompt stay together. Stores one number
/// per instruction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubsampleInstructions {
    /// The share to keep, above 0 and at most 1.
    pub share: f64,
    /// Seed of the choice.
    #[serde(default)]
    pub seed: u64,
}

impl Start for SubsampleInstructions {
    fn surveys(&self) -> bool {
        true
    }

    fn start(&self, _scratch: Option<&Scratch>) -> Result<Box<dyn Operation>> {
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(Error::setting("share", "above 0 and at most 1", self.share));
        }
        Ok(Box::new(InstructionSample { settings: *self, ranks: Vec::new(), limit: None }))
    }
}

struct InstructionSample {
    settings: SubsampleInstructions,
    ranks: Vec<u64>,
    limit: Option<u64>,
}

impl Operation for InstructionSample {
    fn survey(&mut self, _number: u64, rollout: &Rollout) -> Result<()> {
        self.ranks.push(rank_of(self.settings.seed, &[&rollout.prompt]));
        Ok(())
    }

    fn decide(&mut self) -> Result<()> {
        let mut ranks = std::mem::take(&mut self.ranks);
        ranks.sort_unstable();
        ranks.dedup();
        let n = (self.settings.share * ranks.len() as f64).round().max(1.0) as usize;
        self.limit = threshold_of(ranks, n);
        Ok(())
    }

    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        if Some(rank_of(self.settings.seed, &[&rollout.prompt])) <= self.limit {
            out.keep(rollout)
        } else {
            out.remark("problems dropped", 1);
            Ok(())
        }
    }
}

/// Keeps `n` random responses of each instruction, in their order; instructions that have fewer
/// keep them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubsampleResponses {
    /// Responses to keep of each instruction, at least 1.
    pub n: usize,
    /// Seed of the choice.
    #[serde(default)]
    pub seed: u64,
}

impl Start for SubsampleResponses {
    fn start(&self, _scratch: Option<&Scratch>) -> Result<Box<dyn Operation>> {
        if self.n == 0 {
            return Err(Error::setting("n", "at least 1", self.n));
        }
        Ok(Box::new(ResponseSample { settings: *self }))
    }
}

struct ResponseSample {
    settings: SubsampleResponses,
}

impl Operation for ResponseSample {
    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        let SubsampleResponses { n, seed } = self.settings;
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
