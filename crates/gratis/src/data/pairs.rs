//! Pairs of a correct and an incorrect response of one prompt, for objectives that need them.

use rand::seq::index;
use serde::{Deserialize, Serialize};

use super::operation::{Counts, Operation, Outcome, Start};
use super::rollout::Rollout;
use super::scratch::Scratch;
use super::seeding::rng_of;
use crate::error::{Error, Result};

/// Which pairs of a prompt are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PairRule {
    /// The full cross product of correct and incorrect responses, as the authors' code does.
    #[default]
    All,
    /// At most this many different ones, drawn from the cross product; `n = 1` is one per prompt.
    PerPrompt {
        /// Pairs of a prompt, at least 1.
        n: usize,
    },
}

impl PairRule {
    /// The pairs `(correct, incorrect)` of the responses of a prompt with these labels; none where
    /// they are of one class. The choice depends on the seed and the prompt only.
    pub fn pairs(self, labels: &[bool], prompt: &str, seed: u64) -> Vec<(usize, usize)> {
        let (correct, incorrect): (Vec<usize>, Vec<usize>) =
            (0..labels.len()).partition(|&idx| labels[idx]);
        let n_all = correct.len() * incorrect.len();
        let pair = |idx: usize| (correct[idx / incorrect.len()], incorrect[idx % incorrect.len()]);
        match self {
            Self::PerPrompt { n } if n < n_all => {
                let mut chosen = index::sample(&mut rng_of(seed, prompt), n_all, n).into_vec();
                chosen.sort_unstable();
                chosen.into_iter().map(pair).collect()
            }
            _ => (0..n_all).map(pair).collect(),
        }
    }
}

/// The pairs `(correct, incorrect)` of each rollout: `[n_problems][n_pairs]`.
///
/// # Errors
/// [`Error::NoCorrectness`] without labels, [`Error::NoPairs`] if no rollout gives a pair.
pub fn pairs_of(
    rollouts: &[Rollout],
    rule: PairRule,
    seed: u64,
) -> Result<Vec<Vec<(usize, usize)>>> {
    let mut counts = Counts::default();
    let mut pairs = Vec::with_capacity(rollouts.len());
    for rollout in rollouts {
        counts.add(rollout);
        pairs.push(rule.pairs(&rollout.labels(MAKING_PAIRS)?, &rollout.prompt, seed));
    }
    if pairs.iter().all(Vec::is_empty) { Err(no_pairs(MAKING_PAIRS, counts)) } else { Ok(pairs) }
}

const MAKING_PAIRS: &str = "making pairs";

/// The error of data in which no problem has both classes.
pub(super) fn no_pairs(needed_by: &str, counts: Counts) -> Error {
    let Counts { n_correct, n_incorrect, .. } = counts;
    Error::NoPairs { needed_by: needed_by.to_owned(), n_correct, n_incorrect }
}

/// Makes one rollout of each pair, the correct response first. Prompts of one class are dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MakePairs {
    /// Make at most this many pairs of each prompt, at least 1; all where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_prompt: Option<usize>,
    /// Seed of the choice.
    pub seed: u64,
}

impl Start for MakePairs {
    fn start(&self, _scratch: Option<&Scratch>) -> Result<Box<dyn Operation>> {
        if self.per_prompt == Some(0) {
            return Err(Error::setting("per_prompt", "at least 1", 0));
        }
        Ok(Box::new(Pairing { settings: *self, seen: Counts::default(), n_pairs: 0 }))
    }
}

struct Pairing {
    settings: MakePairs,
    seen: Counts,
    n_pairs: u64,
}

impl Operation for Pairing {
    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        self.seen.add(&rollout);
        let MakePairs { per_prompt, seed } = self.settings;
        let rule = per_prompt.map_or(PairRule::All, |n| PairRule::PerPrompt { n });
        let pairs = rule.pairs(&rollout.labels(MAKING_PAIRS)?, &rollout.prompt, seed);
        if pairs.is_empty() {
            out.remark("problems of one class dropped", 1);
        }
        self.n_pairs += pairs.len() as u64;
        for (correct, incorrect) in pairs {
            out.keep(rollout.with_completions(&[correct, incorrect]))?;
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Outcome) -> Result<()> {
        if self.n_pairs == 0 { Err(no_pairs(MAKING_PAIRS, self.seen)) } else { Ok(()) }
    }
}
