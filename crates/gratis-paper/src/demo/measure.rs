//! What the demo measures on scored candidates.

use gratis::data::StepSplitter;
use gratis::data::{ProblemScores, Rollout};
use gratis::evaluation::{
    BestOfNSettings, BestOfNTable, FirstErrorScore, GeneratorCandidates, Selector,
};
use gratis::selection::{self, Aggregation, Method, Subsets, VoteWeight};
use gratis::{FirstErrorCounts, JudgedSolution};

use super::{Candidates, DemoSettings, Example};
use crate::error::{Error, Result};
use crate::trainer;
use crate::truth::{first_errors, judged};
use crate::world::Strength;

/// Weight of a response in the vote: `exp(lowest process reward / temperature)`.
const VOTE_TEMPERATURE: f64 = 0.05;

/// The rows of the best-of-N table.
fn selectors() -> Vec<Selector> {
    let best_of_n = |aggregation| Selector { method: Method::BestOfN, aggregation };
    let weight = VoteWeight::Exponential { temperature: VOTE_TEMPERATURE };
    vec![
        Selector::without_score(Method::Majority),
        best_of_n(Aggregation::Min),
        Selector { method: Method::WeightedVote { weight }, aggregation: Aggregation::Min },
        best_of_n(Aggregation::Mean),
        best_of_n(Aggregation::Outcome),
        Selector::without_score(Method::Random),
        Selector::without_score(Method::Oracle),
    ]
}

/// The best-of-N table of all generators.
pub(super) fn best_of_n(
    settings: &DemoSettings,
    candidates: &[Candidates],
) -> Result<BestOfNTable> {
    let generators = candidates
        .iter()
        .map(|of| {
            let mut generator = GeneratorCandidates::new(of.strength.name());
            for (rollout, scores) in of.rollouts.iter().zip(&of.scores) {
                generator.add(rollout, scores)?;
            }
            Ok(generator)
        })
        .collect::<Result<Vec<_>>>()?;
    let settings = BestOfNSettings {
        ns: settings.ns.clone(),
        selectors: selectors(),
        subsets: Subsets::First,
        bootstrap: settings.bootstrap,
    };
    Ok(BestOfNTable::new(settings, &generators)?)
}

/// Share of correct completions.
pub(super) fn pass_at_1(rollouts: &[Rollout]) -> Result<f64> {
    let mut sum = 0.0;
    for rollout in rollouts {
        sum += selection::mean_pass_at_1(&rollout.labels("pass@1")?);
    }
    Ok(sum / rollouts.len().max(1) as f64)
}

/// Share of the completions with a right answer in which the checker finds a wrong step.
pub(super) fn wrong_step_despite_right_answer(rollouts: &[Rollout]) -> Result<f64> {
    let (mut n_right, mut n_wrong_step) = (0, 0);
    for rollout in rollouts {
        let labels = rollout.labels("the check of steps")?;
        for (first_error, _) in first_errors(rollout).zip(labels).filter(|(_, right)| *right) {
            n_right += 1;
            n_wrong_step += usize::from(first_error.is_some());
        }
    }
    Ok(n_wrong_step as f64 / n_right.max(1) as f64)
}

/// The threshold with the best first-error score.
pub(super) fn tune(rollouts: &[Rollout], scores: &[ProblemScores]) -> Result<FirstErrorScore> {
    JudgedSolution::tune_threshold(&judged(rollouts, scores).concat()).ok_or(Error::NoThreshold)
}

/// The first-error score at a threshold.
pub(super) fn first_error(
    rollouts: &[Rollout],
    scores: &[ProblemScores],
    threshold: f64,
) -> FirstErrorScore {
    FirstErrorCounts::of(&judged(rollouts, scores).concat(), threshold).score(threshold)
}

/// Two candidates of the first problem on which the medium generator's majority is wrong and the
/// reward model's choice is right: a fixed rule, so that none is picked because it looks good.
pub(super) fn examples(candidates: &[Candidates]) -> Result<Vec<Example>> {
    let Some(medium) = candidates.iter().find(|of| of.strength == Strength::Medium) else {
        return Ok(Vec::new());
    };
    let splitter = StepSplitter::new(&trainer::STEP_SPLIT)?;
    for (rollout, score) in medium.rollouts.iter().zip(&medium.scores) {
        if let Some(both) = Example::against_majority(rollout, score, &splitter)? {
            return Ok(both.to_vec());
        }
    }
    Ok(Vec::new())
}
