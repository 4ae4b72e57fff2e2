//! True labels from the checker of the tiny world: the first wrong step of every solution. They are
//! used for evaluation, and for the rows with true labels, which are upper bounds, not methods.

use gratis::JudgedSolution;
use gratis::data::{ProblemScores, Rollout, Scored};

use crate::world::{Problem, check};

/// The true first error of each completion; `None` for all if the prompt is no problem of this world.
pub(crate) fn first_errors(rollout: &Rollout) -> impl Iterator<Item = Option<usize>> {
    let problem = Problem::parse(&rollout.prompt);
    let check = move |text| problem.as_ref().and_then(|problem| check(problem, text).first_error);
    rollout.texts().map(check)
}

/// Process rewards with the true labels, per problem: `[n_problems][n_completions]`.
pub(crate) fn judged(rollouts: &[Rollout], scores: &[ProblemScores]) -> Vec<Vec<JudgedSolution>> {
    let of_problem = |(rollout, score): (&Rollout, &ProblemScores)| {
        let solutions = first_errors(rollout).zip(&score.scores);
        let judge = |(first_error, score): (_, &Scored)| JudgedSolution {
            process_rewards: score.steps.clone(),
            first_error,
        };
        solutions.map(judge).collect()
    };
    rollouts.iter().zip(scores).map(of_problem).collect()
}
