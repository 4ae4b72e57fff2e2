//! A second family of problems, about another task: everybody's coins are added up one after the
//! other. It tests the paper's question whether unrelated instructions help (appendix C.2, table
//! 5); as there, its graded responses come with the data set.

use std::fmt::Write as _;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::hash;
use super::problem::{MODULUS, Operator, PEOPLE, QUESTION};
use super::solution::{Solution, Step};
use gratis::data::{Completion, Rollout};

/// Name of the data set.
pub(crate) const DATASET: &str = "tiny-pool";

/// How often a step of a response is wrong.
const ERROR_RATE: f64 = 0.15;

/// `n_problems` problems with `n_responses` graded responses each, a function of the seed.
pub(crate) fn rollouts(n_problems: usize, n_responses: usize, seed: u64) -> Vec<Rollout> {
    let mut rng = ChaCha8Rng::seed_from_u64(hash::mix(&[seed, 0x9001]));
    (0..n_problems).map(|idx| rollout(idx, n_responses, &mut rng)).collect()
}

fn rollout(idx: usize, n_responses: usize, rng: &mut impl Rng) -> Rollout {
    let n_people = rng.random_range(4..=7);
    let people = rand::seq::index::sample(rng, PEOPLE.len(), n_people).into_vec();
    let coins: Vec<u32> = people.iter().map(|_| rng.random_range(0..MODULUS)).collect();
    let mut prompt = String::new();
    for (&person, coins) in people.iter().zip(&coins) {
        // Writing to a string does not fail.
        let _ = write!(prompt, "{} has {coins} coins. ", PEOPLE[person]);
    }
    prompt += QUESTION;
    prompt.push('\n');
    let reference = coins.iter().sum::<u32>() % MODULUS;
    let solutions: Vec<Solution> =
        (0..n_responses).map(|_| solve(&people, &coins, ERROR_RATE, rng)).collect();
    Rollout {
        id: Some(format!("pool-{idx}")),
        prompt,
        reference: reference.to_string(),
        dataset: DATASET.to_owned(),
        completions: solutions
            .iter()
            .map(|s| Completion::graded(s.to_string(), s.answer() == Some(reference)))
            .collect(),
        ..Rollout::default()
    }
}

/// Adds up; with probability `error_rate` a step's result is off by 1 to 22.
fn solve(people: &[usize], coins: &[u32], error_rate: f64, rng: &mut impl Rng) -> Solution {
    let mut left = coins[0];
    let steps = people.iter().zip(coins).skip(1).map(|(&person, &right)| {
        let offset = if rng.random_bool(error_rate) { rng.random_range(1..MODULUS) } else { 0 };
        let result = (Operator::Add.apply(left, right) + offset) % MODULUS;
        let step = Step { person, left, operator: Operator::Add, right, result };
        left = result;
        step
    });
    Solution { steps: steps.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Problem;

    #[test]
    fn responses_are_graded_and_the_problems_are_no_chains() {
        let rollouts = rollouts(50, 8, 1);
        assert_eq!(rollouts, super::rollouts(50, 8, 1));
        let mut n_correct = 0;
        for rollout in &rollouts {
            assert_eq!(Problem::parse(&rollout.prompt), None, "another family");
            let labels = rollout.labels("the test").expect("graded");
            for (completion, label) in rollout.texts().zip(labels) {
                let said = completion.lines().last().and_then(|line| line.strip_prefix("Answer: "));
                assert_eq!(said == Some(rollout.reference.as_str()), label, "{completion}");
                n_correct += usize::from(label);
            }
        }
        // 3 to 6 steps, each right with 0.85: about 0.5 of the responses.
        assert!((120..=280).contains(&n_correct), "{n_correct} of 400");
    }
}
