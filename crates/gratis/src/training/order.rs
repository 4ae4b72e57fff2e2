//! The order of the data: which units make each optimizer batch.
//!
//! It is a function of the seed and the epoch alone, so that a run can go on from any step. With
//! [`DataOrder::Problems`] the responses of one problem share a batch and thereby their prompt: of
//! four responses to a prompt of their own length, a batch computes 0.63 times the tokens.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::settings::{DataOrder, OptimizationSettings};
use super::units::Units;

/// The least number of problems in a full batch, where there are as many.
const N_PROBLEMS: usize = 16;

/// The order of the units in every epoch of a run.
#[derive(Debug, Clone)]
pub(super) struct Order {
    seed: u64,
    batch_size: usize,
    n_units: usize,
    epochs: usize,
    n_steps: u64,
    /// The units that stay together.
    groups: Vec<Vec<usize>>,
}

impl Order {
    pub(super) fn new(settings: &OptimizationSettings, units: &Units) -> Self {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        match settings.order {
            DataOrder::Problems => {
                let mut at = std::collections::HashMap::new();
                for unit in 0..units.len() {
                    match units.group_of(unit) {
                        None => groups.push(vec![unit]),
                        Some(group) => {
                            let at = *at.entry(group).or_insert_with(|| {
                                groups.push(Vec::new());
                                groups.len() - 1
                            });
                            groups[at].push(unit);
                        }
                    }
                }
            }
            DataOrder::Responses => groups.extend((0..units.len()).map(|unit| vec![unit])),
        }
        Self {
            seed: settings.seed,
            batch_size: settings.batch_size,
            n_units: units.len(),
            epochs: settings.epochs,
            n_steps: settings.n_steps(units.len()),
            groups,
        }
    }

    pub(super) fn n_steps(&self) -> u64 {
        self.n_steps
    }

    pub(super) fn batches_per_epoch(&self) -> usize {
        self.n_units.div_ceil(self.batch_size)
    }

    /// The optimizer batches of an epoch. Groups are cut into equal parts of at most a sixteenth
    /// of a batch; the units of a part are in random order, and so are the parts.
    pub(super) fn epoch(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch as u64);
        let largest = (self.batch_size / N_PROBLEMS).max(1);
        let mut parts = Vec::new();
        for group in &self.groups {
            let mut group = group.clone();
            group.shuffle(&mut rng);
            let n_parts = group.len().div_ceil(largest);
            parts.extend(group.chunks(group.len().div_ceil(n_parts)).map(<[usize]>::to_vec));
        }
        parts.shuffle(&mut rng);
        parts.concat().chunks(self.batch_size).map(<[usize]>::to_vec).collect()
    }

    /// Every optimizer batch of a run, in order.
    pub(super) fn batches(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        self.all_epochs().take(self.n_steps as usize)
    }

    /// The same without regard to a limit of steps.
    pub(super) fn all_epochs(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        (0..self.epochs).flat_map(|epoch| self.epoch(epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::{Corpus, Item};

    /// `n_problems` problems with `n_responses` responses each.
    fn units(n_problems: u32, n_responses: u32) -> Units {
        let mut corpus = Corpus::default();
        let mut items = Vec::new();
        for problem in 0..n_problems {
            let prompt = corpus.prompt(&[problem]);
            for response in 0..n_responses {
                items.push((Item::Response(corpus.response(prompt, &[response])), prompt));
            }
        }
        let mut units = Units::new(corpus);
        for (item, prompt) in items {
            units.push_grouped(item, "p", prompt);
        }
        units
    }

    fn order(order: DataOrder, batch_size: usize, seed: u64, units: &Units) -> Order {
        let settings = OptimizationSettings {
            order,
            batch_size,
            seed,
            epochs: 3,
            ..OptimizationSettings::default()
        };
        Order::new(&settings, units)
    }

    #[test]
    fn an_epoch_is_a_permutation_of_its_own() {
        let units = units(10, 5);
        for kind in [DataOrder::Problems, DataOrder::Responses] {
            let orders = [(0, 0), (0, 1), (1, 0)]
                .map(|(seed, epoch)| order(kind, 7, seed, &units).epoch(epoch).concat());
            for order in &orders {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..50).collect::<Vec<_>>());
            }
            assert!(orders[0] != orders[1] && orders[0] != orders[2]);
        }
    }

    #[test]
    fn the_responses_of_a_problem_share_a_batch_of_several_problems() {
        let units = units(16, 8);
        let problems = |batch: &[usize]| {
            let mut problems: Vec<usize> = batch.iter().map(|unit| unit / 8).collect();
            problems.dedup();
            problems
        };
        let whole = order(DataOrder::Problems, 128, 0, &units);
        for batch in whole.batches() {
            assert_eq!(problems(&batch).len(), 16, "{batch:?}");
        }
        // Parts of four responses each, of which two may be neighbours of one problem.
        let parts = order(DataOrder::Problems, 64, 0, &units);
        let n_runs: usize = parts.epoch(0).iter().map(|batch| problems(batch).len()).sum();
        assert!((30..=32).contains(&n_runs), "{n_runs}");
        // No problem is kept together in a small batch.
        let alone = order(DataOrder::Problems, 3, 0, &units).epoch(0);
        assert!(alone.iter().filter(|batch| problems(batch).len() == 3).count() > 30);
    }

    #[test]
    fn a_limit_of_steps_shortens_the_batches_and_changes_none() {
        let units = units(6, 4);
        let all: Vec<_> = order(DataOrder::Problems, 5, 0, &units).batches().collect();
        assert_eq!(all.len(), 15);
        let settings = OptimizationSettings {
            batch_size: 5,
            epochs: 3,
            max_steps: 7,
            ..OptimizationSettings::default()
        };
        let limited = Order::new(&settings, &units);
        assert_eq!(limited.batches().collect::<Vec<_>>(), all[..7]);
        assert_eq!(limited.all_epochs().collect::<Vec<_>>(), all);
    }
}
