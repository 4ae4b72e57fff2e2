//! Pairs of a correct and an incorrect response of one prompt, for objectives that need them.

use rand::seq::index;

use super::operation::{Counts, Operation, Outcome};
use crate::error::{Error, Result};
use crate::records::rollout::Rollout;
use crate::seeding::rng_of;

/// The pairs `(correct, incorrect)` of the responses of a prompt with these labels; none if they are
/// of one class. All pairs are the full cross product, as in the authors' code; `per_prompt` is the
/// largest number of different ones drawn from it. The choice depends on the seed and the prompt
/// only.
pub(crate) fn pairs(
    labels: &[bool],
    per_prompt: Option<usize>,
    prompt: &str,
    seed: u64,
) -> Vec<(usize, usize)> {
    let (correct, incorrect): (Vec<usize>, Vec<usize>) =
        (0..labels.len()).partition(|&idx| labels[idx]);
    let n_all = correct.len() * incorrect.len();
    let pair = |idx: usize| (correct[idx / incorrect.len()], incorrect[idx % incorrect.len()]);
    match per_prompt {
        Some(n) if n < n_all => {
            let mut chosen = index::sample(&mut rng_of(seed, prompt), n_all, n).into_vec();
            chosen.sort_unstable();
            chosen.into_iter().map(pair).collect()
        }
        _ => (0..n_all).map(pair).collect(),
    }
}

const MAKING_PAIRS: &str = "making pairs";

/// The error of data in which no problem has both classes.
pub(crate) fn no_pairs(needed_by: &str, counts: Counts) -> Error {
    let Counts { n_correct, n_incorrect, .. } = counts;
    Error::NoPairs { needed_by: needed_by.to_owned(), n_correct, n_incorrect }
}

/// [`DataOperation::MakePairs`](crate::DataOperation) at work.
pub(crate) struct Pairing {
    per_prompt: Option<usize>,
    seed: u64,
    seen: Counts,
    n_pairs: u64,
}

impl Pairing {
    pub(crate) fn new(per_prompt: Option<usize>, seed: u64) -> Result<Self> {
        if per_prompt == Some(0) {
            return Err(Error::setting("per_prompt", "at least 1", 0));
        }
        Ok(Self { per_prompt, seed, seen: Counts::default(), n_pairs: 0 })
    }
}

impl Operation for Pairing {
    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        self.seen.add(&rollout);
        let labels = rollout.labels(MAKING_PAIRS)?;
        let pairs = pairs(&labels, self.per_prompt, &rollout.prompt, self.seed);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::pairs;

    #[test]
    fn pairs_are_all_or_some_different_ones_of_them() {
        let labels = [true, false, true, false, false];
        let pairs = |per_prompt, seed| pairs(&labels, per_prompt, "p", seed);
        let all = pairs(None, 0);
        assert_eq!(all, [(0, 1), (0, 3), (0, 4), (2, 1), (2, 3), (2, 4)]);
        let some = pairs(Some(4), 0);
        assert_eq!(some.len(), 4);
        assert!(some.iter().all(|pair| all.contains(pair)));
        assert_eq!(some, pairs(Some(4), 0));
        assert_eq!(pairs(Some(9), 0), all);
        assert_eq!(super::pairs(&[true, true], None, "p", 0), []);
        let of_seeds: BTreeSet<_> = (0..20).flat_map(|seed| pairs(Some(1), seed)).collect();
        assert!(of_seeds.len() > 3, "{of_seeds:?}");
    }
}
