//! Synthetic generators: programs that write solutions with systematic errors, a weak, a medium and a
//! strong one.
//!
//! A model whose training merely stopped early makes too uniform errors: its outcomes carry no
//! information about single steps. A synthetic generator makes errors by *context* (operator,
//! operand, third of the range the left operand lies in): often in some contexts, rarely in all
//! others, and always with the same wrong result. It then continues from its own error. Contexts
//! are ranked by a hash that all generators of a world share: a weaker generator makes the errors
//! of a stronger one, and others.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::hash;
use super::problem::{Derivation, MODULUS, Operand, Operator, Problem};
use super::solution::{Solution, Step};

/// Strength of a synthetic generator, and of the model that is trained on its solutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Strength {
    /// Errs most.
    Weak,
    /// In between; reward models are trained on the rollouts of its model.
    Medium,
    /// Errs least.
    Strong,
}

impl Strength {
    /// All strengths, the weakest first.
    pub(crate) const ALL: [Self; 3] = [Self::Weak, Self::Medium, Self::Strong];

    /// As written in tables and folder names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Weak => "weak",
            Self::Medium => "medium",
            Self::Strong => "strong",
        }
    }

    /// As written in headings.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Weak => "Weak",
            Self::Medium => "Medium",
            Self::Strong => "Strong",
        }
    }

    /// How often the synthetic generator errs.
    fn error_rates(self) -> ErrorRates {
        let [most, some, few, elsewhere, wrong_person] = match self {
            Self::Weak => [0.40, 0.10, 0.15, 0.04, 0.45],
            Self::Medium => [0.18, 0.07, 0.10, 0.02, 0.30],
            Self::Strong => [0.10, 0.05, 0.08, 0.01, 0.15],
        };
        ErrorRates { most, some, few, elsewhere, wrong_person }
    }
}

/// How often a synthetic generator errs.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ErrorRates {
    /// Share of the contexts in which three out of four computations go wrong.
    most: f64,
    /// Share of the contexts in which two out of five go wrong.
    some: f64,
    /// Share of the contexts in which 15 % go wrong.
    few: f64,
    /// Error rate in all other contexts.
    elsewhere: f64,
    /// Rate at which the value of another person than the base is looked up.
    wrong_person: f64,
}

impl ErrorRates {
    /// Error rate in a context whose hash is `u`, uniform in `0..1`.
    fn in_context(&self, u: f64) -> f64 {
        let shares = [(self.most, 0.75), (self.some, 0.40), (self.few, 0.15)];
        let mut end = 0.0;
        for (share, rate) in shares {
            end += share;
            if u < end {
                return rate;
            }
        }
        self.elsewhere
    }
}

/// A program that writes solutions with systematic errors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SyntheticGenerator {
    rates: ErrorRates,
    contexts_seed: u64,
}

/// A written solution with the place of its first error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// The solution, its errors included.
    pub solution: Solution,
    /// Index of the first wrong step.
    pub first_error: Option<usize>,
}

impl SyntheticGenerator {
    /// The synthetic generator of this strength. All generators of a world share `contexts_seed`.
    pub(crate) fn new(strength: Strength, contexts_seed: u64) -> Self {
        Self { rates: strength.error_rates(), contexts_seed }
    }

    /// Writes a solution.
    pub(crate) fn write(&self, problem: &Problem, rng: &mut impl Rng) -> Written {
        let mut steps: Vec<Step> = Vec::with_capacity(problem.derivations.len());
        let mut first_error = None;
        for (idx, &Derivation { person, operator, operand }) in
            problem.derivations.iter().enumerate()
        {
            let left = steps.last().map_or(problem.start, |step| step.result);
            let right = match operand {
                Operand::Constant(n) => n,
                Operand::BasePerson => self.look_up_base(problem.start, &steps, rng),
            };
            let context = Context { operator, right, third: left * 3 / MODULUS };
            let errs = rng.random_bool(self.error_rate(&context));
            let result = if errs {
                context.wrong_result(left, self.contexts_seed)
            } else {
                operator.apply(left, right)
            };
            let wrong_person = operand == Operand::BasePerson && right != problem.start;
            if errs || wrong_person {
                first_error = first_error.or(Some(idx));
            }
            steps.push(Step { person, left, operator, right, result });
        }
        Written { solution: Solution { steps }, first_error }
    }

    /// The base person's value, or in error that of somebody who has another one.
    fn look_up_base(&self, start: u32, steps: &[Step], rng: &mut impl Rng) -> u32 {
        let others: Vec<u32> =
            steps.iter().map(|step| step.result).filter(|&value| value != start).collect();
        if !others.is_empty() && rng.random_bool(self.rates.wrong_person) {
            others[rng.random_range(0..others.len())]
        } else {
            start
        }
    }

    fn error_rate(&self, context: &Context) -> f64 {
        self.rates.in_context(hash::unit(&context.words(self.contexts_seed, 0)))
    }
}

/// What decides whether and how a computation goes wrong.
#[derive(Debug, Clone, Copy)]
struct Context {
    operator: Operator,
    right: u32,
    /// Third of the range the left operand lies in: 0, 1 or 2.
    third: u32,
}

impl Context {
    fn words(self, seed: u64, purpose: u64) -> [u64; 5] {
        [seed, purpose, self.operator as u64, self.right.into(), self.third.into()]
    }

    /// The wrong result this context leads to: never the right one.
    fn wrong_result(self, left: u32, seed: u64) -> u32 {
        let right_result = self.operator.apply(left, self.right);
        let upward = hash::mix(&self.words(seed, 1)) & 1 == 0;
        let shifted = |n: u32, by: u32| if upward { n + by } else { n + MODULUS - by } % MODULUS;
        match self.operator {
            // `|a - b|`, where that is not the same.
            Operator::Subtract if left < self.right => self.right - left,
            // The neighbouring entry of the times table.
            Operator::Multiply if left != 0 => shifted(right_result, left),
            // One too many or too few, as when the wrap is miscounted.
            _ => shifted(right_result, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::world::check;

    proptest! {
        #[test]
        fn the_checker_finds_the_error_that_was_logged(seed: u64, strength_idx in 0..3usize) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let problem = Problem::draw(&(1..=9), &mut rng);
            let generator = SyntheticGenerator::new(Strength::ALL[strength_idx], 7);
            let written = generator.write(&problem, &mut rng);
            let verdict = check(&problem, &written.solution.to_string());
            prop_assert_eq!(verdict.first_error, written.first_error);
            prop_assert_eq!(verdict.answer, written.solution.answer());
        }

        #[test]
        fn a_wrong_result_is_a_number_of_the_world_and_wrong(left in 0..23u32, right in 0..23u32, seed: u64) {
            for operator in Operator::ALL {
                let context = Context { operator, right, third: left * 3 / MODULUS };
                let result = context.wrong_result(left, seed);
                prop_assert!(result < MODULUS);
                prop_assert_ne!(result, operator.apply(left, right));
            }
        }
    }

    #[test]
    fn generators_reach_the_designed_share_of_faultless_solutions() {
        // Observed 0.106, 0.329 and 0.537; a sampler at a temperature below 1 errs less.
        for (strength, range) in [
            (Strength::Weak, 0.08..0.13),
            (Strength::Medium, 0.29..0.37),
            (Strength::Strong, 0.50..0.58),
        ] {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let mut n_faultless = 0;
            for contexts_seed in 0..20 {
                let generator = SyntheticGenerator::new(strength, contexts_seed);
                n_faultless += (0..200)
                    .filter(|_| {
                        let problem = Problem::draw(&(3..=6), &mut rng);
                        generator.write(&problem, &mut rng).first_error.is_none()
                    })
                    .count();
            }
            let share = n_faultless as f64 / 4000.0;
            assert!(range.contains(&share), "{strength:?}: {share}");
        }
    }
}
