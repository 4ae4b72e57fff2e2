//! Balancing: as many correct as incorrect responses, in the data set or per instruction (section
//! 4.1).

use std::mem;

use super::operation::{Counts, Operation, Outcome};
use super::pairs::no_pairs;
use crate::error::{Error, Result};
use crate::records::rollout::Rollout;
use crate::seeding::{rank_of, rng_of, threshold_of};

const BALANCE: &str = "balancing";

/// [`DataOperation::BalanceDataset`](crate::DataOperation) at work.
pub(crate) struct DatasetBalance {
    seed: u64,
    /// Ranks of the incorrect and of the correct responses.
    ranks: [Vec<u64>; 2],
    /// The largest rank that is kept per class.
    limits: [Option<u64>; 2],
}

impl DatasetBalance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ranks: [Vec::new(), Vec::new()], limits: [None; 2] }
    }

    /// The record's number is part of a rank so no two responses share one.
    fn rank(&self, number: u64, response: usize) -> u64 {
        rank_of(self.seed, &[&number.to_string(), &response.to_string()])
    }
}

impl Operation for DatasetBalance {
    fn survey(&mut self, number: u64, rollout: &Rollout) -> Result<()> {
        for (idx, correct) in rollout.labels(BALANCE)?.into_iter().enumerate() {
            let rank = self.rank(number, idx);
            self.ranks[usize::from(correct)].push(rank);
        }
        Ok(())
    }

    fn decide(&mut self) -> Result<()> {
        let [incorrect, correct] = std::mem::take(&mut self.ranks);
        let n = incorrect.len().min(correct.len());
        if n == 0 {
            return Err(Error::OneClass {
                needed_by: BALANCE.to_owned(),
                n_correct: correct.len() as u64,
                n_incorrect: incorrect.len() as u64,
            });
        }
        self.limits = [threshold_of(incorrect, n), threshold_of(correct, n)];
        Ok(())
    }

    fn apply(&mut self, number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        let labels = rollout.labels(BALANCE)?;
        let kept: Vec<usize> = (0..labels.len())
            .filter(|&idx| Some(self.rank(number, idx)) <= self.limits[usize::from(labels[idx])])
            .collect();
        keep_some(rollout, &kept, out)
    }
}

/// [`DataOperation::BalanceInstructions`](crate::DataOperation) at work.
pub(crate) struct InstructionBalance {
    seed: u64,
    seen: Counts,
    n_kept: usize,
}

impl InstructionBalance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, seen: Counts::default(), n_kept: 0 }
    }
}

impl Operation for InstructionBalance {
    fn apply(&mut self, _number: u64, rollout: Rollout, out: &mut Outcome) -> Result<()> {
        self.seen.add(&rollout);
        let mut rng = rng_of(self.seed, &rollout.prompt);
        let (correct, incorrect): (Vec<usize>, Vec<usize>) = {
            let labels = rollout.labels(BALANCE)?;
            (0..labels.len()).partition(|&idx| labels[idx])
        };
        let n = correct.len().min(incorrect.len());
        let mut kept = Vec::with_capacity(2 * n);
        for class in [correct, incorrect] {
            let chosen = rand::seq::index::sample(&mut rng, class.len(), n);
            kept.extend(chosen.iter().map(|idx| class[idx]));
        }
        kept.sort_unstable();
        self.n_kept += kept.len();
        keep_some(rollout, &kept, out)
    }

    fn finish(&mut self, _out: &mut Outcome) -> Result<()> {
        if self.n_kept == 0 { Err(no_pairs(BALANCE, self.seen)) } else { Ok(()) }
    }
}

/// Passes the rollout on with the responses `kept`, each named once, if there are any.
pub(crate) fn keep_some(mut rollout: Rollout, kept: &[usize], out: &mut Outcome) -> Result<()> {
    out.remark("responses dropped", (rollout.completions.len() - kept.len()) as u64);
    if kept.is_empty() {
        out.remark("problems dropped", 1);
        return Ok(());
    }
    let mut all = mem::take(&mut rollout.completions);
    rollout.completions = kept.iter().map(|&idx| mem::take(&mut all[idx])).collect();
    out.keep(rollout)
}
