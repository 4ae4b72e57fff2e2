//! Splits: disjoint sets of problems, as ordinary rollouts with or without solutions.
//!
//! The split of a problem is a function of its arithmetic, whatever the names in it and whatever
//! seed it was drawn with. So no problem can leak from one split to another.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::generator::SyntheticGenerator;
use super::hash;
use super::problem::Problem;
use gratis::data::Rollout;

/// The `dataset` column of this world's rollouts.
pub(super) const DATASET: &str = "tiny-world";

/// Numbers of derived people of an ordinary problem.
pub(crate) const N_DERIVED: RangeInclusive<usize> = 3..=6;

/// What problems are used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Split {
    /// The base model's correct solutions.
    Pretrain,
    /// The synthetic generators' solutions, on which the generator models are fine-tuned.
    Generators,
    /// Rollouts a reward model is trained on.
    Train,
    /// Thresholds and other choices.
    Validation,
    /// What is reported.
    Test,
}

impl Split {
    /// The split a problem belongs to.
    pub(crate) fn of(problem: &Problem) -> Self {
        match hash::mix(&problem.skeleton()) % 8 {
            0..=2 => Self::Pretrain,
            3 | 4 => Self::Generators,
            5 => Self::Train,
            6 => Self::Validation,
            _ => Self::Test,
        }
    }

    /// As written in ids and file names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pretrain => "pretrain",
            Self::Generators => "generators",
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// Draws `n` different problems of this split. The first `k` of them do not depend on `n`.
    pub(crate) fn draw(
        self,
        n: usize,
        n_derived: RangeInclusive<usize>,
        seed: u64,
    ) -> Vec<Problem> {
        let mut rng = ChaCha8Rng::seed_from_u64(hash::mix(&[seed, self as u64]));
        let mut seen = HashSet::new();
        std::iter::repeat_with(|| Problem::draw(&n_derived, &mut rng))
            .filter(|problem| Self::of(problem) == self && seen.insert(problem.clone()))
            .take(n)
            .collect()
    }

    /// A problem as a rollout without completions.
    pub(crate) fn rollout(self, problem: &Problem, problem_idx: usize) -> Rollout {
        Rollout {
            id: Some(format!("{}-{problem_idx}", self.name())),
            prompt: problem.prompt(),
            reference: problem.answer().to_string(),
            dataset: DATASET.to_owned(),
            ..Rollout::default()
        }
    }

    /// Problems to be solved: rollouts without completions.
    pub(crate) fn unsolved(self, problems: &[Problem]) -> Vec<Rollout> {
        problems.iter().enumerate().map(|(idx, problem)| self.rollout(problem, idx)).collect()
    }

    /// Each problem with its correct solution.
    pub(crate) fn solved(self, problems: &[Problem]) -> Vec<Rollout> {
        self.with_completions(problems, |_, problem| problem.solution().to_string())
    }

    /// Each problem with a solution by `generator`, whose errors depend on `seed` and the problem's
    /// index only.
    pub(crate) fn written_by(
        self,
        generator: &SyntheticGenerator,
        problems: &[Problem],
        seed: u64,
    ) -> Vec<Rollout> {
        self.with_completions(problems, |idx, problem| {
            let mut rng = ChaCha8Rng::seed_from_u64(hash::mix(&[seed, idx as u64]));
            generator.write(problem, &mut rng).solution.to_string()
        })
    }

    fn with_completions(
        self,
        problems: &[Problem],
        mut completion: impl FnMut(usize, &Problem) -> String,
    ) -> Vec<Rollout> {
        let mut rollouts = self.unsolved(problems);
        for (idx, (rollout, problem)) in rollouts.iter_mut().zip(problems).enumerate() {
            rollout.completions = vec![completion(idx, problem).into()];
        }
        rollouts
    }
}

/// Problems of the validation split without solutions: the first that the demo with this seed
/// would see.
pub fn validation_problems(n_problems: usize, seed: u64) -> Vec<Rollout> {
    Split::Validation.unsolved(&Split::Validation.draw(n_problems, N_DERIVED, seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Strength, check};

    const SPLITS: [Split; 5] =
        [Split::Pretrain, Split::Generators, Split::Train, Split::Validation, Split::Test];

    #[test]
    fn the_same_seed_draws_the_same_problems_and_more_of_them_begin_alike() {
        for split in SPLITS {
            let problems = split.draw(50, N_DERIVED, 3);
            assert_eq!(problems, split.draw(50, N_DERIVED, 3));
            assert_eq!(problems[..20], split.draw(20, N_DERIVED, 3));
            assert_ne!(problems, split.draw(50, N_DERIVED, 4));
        }
    }

    #[test]
    fn no_arithmetic_is_in_two_splits_and_no_problem_twice_in_one() {
        let mut seen = HashSet::new();
        for split in SPLITS {
            // Few derived people, so that the same arithmetic is drawn again and again.
            let problems = split.draw(1500, 1..=2, 3);
            let prompts: HashSet<_> = problems.iter().map(Problem::prompt).collect();
            assert_eq!(prompts.len(), 1500);
            let skeletons: HashSet<_> = problems.iter().map(Problem::skeleton).collect();
            assert!(skeletons.len() < 1500, "the same arithmetic under other names occurs");
            assert!(skeletons.is_disjoint(&seen));
            seen.extend(skeletons);
        }
    }

    #[test]
    fn correct_solutions_are_correct_and_generators_repeat_themselves_by_seed() {
        let problems = Split::Generators.draw(100, N_DERIVED, 0);
        for (problem, rollout) in problems.iter().zip(Split::Generators.solved(&problems)) {
            let verdict = check(problem, &rollout.completions[0].text);
            assert_eq!(verdict.first_error, None);
            assert_eq!(verdict.answer.map(|n| n.to_string()), Some(rollout.reference));
        }
        let generator = SyntheticGenerator::new(Strength::Weak, 5);
        let written = Split::Generators.written_by(&generator, &problems, 1);
        assert_eq!(written, Split::Generators.written_by(&generator, &problems, 1));
        assert_ne!(written, Split::Generators.written_by(&generator, &problems, 2));
    }
}
