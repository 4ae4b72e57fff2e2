//! How a row is tuned on validation problems and measured on test problems.

use serde::{Deserialize, Serialize};

use super::Stage;
use super::recipe::{Configuration, Recipe};
use super::train::Model;
use crate::data::{Rollout, Score, StepLabels};
use crate::error::{Error, Result};
use crate::evaluation::{
    FirstErrorScore, JudgedSolution, ScoredProblem, first_error_score, tune_threshold,
};
use crate::observer::Observer;
use crate::selection::{self, Aggregation, Candidates, Method, Subsets, VoteWeight};
use crate::world::{Problem, check};

/// Aggregations that every row may choose from.
const AGGREGATIONS: [Aggregation; 4] =
    [Aggregation::Min, Aggregation::QMin, Aggregation::Mean, Aggregation::Outcome];
/// Temperatures of the weighted vote that every row may choose from.
const TEMPERATURES: [f64; 4] = [0.05, 0.3, 1.0, 3.0];
/// N on validation problems.
const VALIDATION_NS: [usize; 2] = [4, 16];

/// What a threshold is held against to find the first error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The process reward of a step.
    Reward,
    /// The Q value at its end.
    QValue,
}

/// Choices made on validation problems and figures of test problems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// How steps became a score.
    pub aggregation: Aggregation,
    /// Temperature of the vote.
    pub temperature: f64,
    /// What told first errors.
    pub signal: Signal,
    /// Best-of-N on the validation problems, the mean that the choices were made by.
    pub validation: f64,
    /// Best-of-N accuracy of each test problem, the mean over generators and values of N.
    pub best_of_n: Vec<f64>,
    /// The same with the paper's aggregation, the lowest process reward.
    pub by_min: Vec<f64>,
    /// The same by a vote weighted with `exp(score / temperature)`.
    pub weighted_vote: Vec<f64>,
    /// Best-of-N accuracy by generator and N.
    pub cells: Vec<Vec<f64>>,
    /// First errors in the test candidates of each generator.
    pub first_error: Vec<FirstErrorScore>,
}

impl Measured {
    /// A line for a log.
    pub fn summary(&self) -> String {
        let mean = |values: &[f64]| 100.0 * values.iter().sum::<f64>() / values.len() as f64;
        let f1: Vec<String> =
            self.first_error.iter().map(|score| format!("{:.0}", 100.0 * score.f1)).collect();
        format!(
            "best of N {:.1} (by {}; lowest step {:.1}), vote {:.1}, first error {}",
            mean(&self.best_of_n),
            self.aggregation,
            mean(&self.by_min),
            mean(&self.weighted_vote),
            f1.join("/"),
        )
    }
}

/// Trains a row in each configuration, or in the one that was chosen before, keeps the best on
/// validation problems, and measures that one on test problems.
pub(super) fn judge(
    stage: &Stage,
    recipe: &Recipe,
    chosen: Option<Configuration>,
    observer: &mut dyn Observer,
) -> Result<(Configuration, Measured)> {
    let configurations = chosen.map_or_else(|| recipe.configurations(), |chosen| vec![chosen]);
    let mut best: Option<(f64, Aggregation, Configuration, Model)> = None;
    for configuration in configurations {
        let mut model = Model::train(stage, recipe, configuration)?;
        let problems = problems_of(&scored(&mut model, &stage.validation)?)?;
        let (accuracy, aggregation) = best_aggregation(&problems)?;
        observer.note(&format!("{configuration:?}: {:.1} by {aggregation}", 100.0 * accuracy));
        if best.as_ref().is_none_or(|(known, ..)| accuracy > *known) {
            best = Some((accuracy, aggregation, configuration, model));
        }
    }
    let nothing = Error::NoExamples { purpose: "tune on" };
    let (validation, aggregation, configuration, mut model) = best.ok_or(nothing)?;
    let measured = measure(stage, &mut model, aggregation, validation)?;
    Ok((configuration, measured))
}

/// Chooses temperature, signal and threshold on validation problems and measures on test problems.
pub(super) fn measure(
    stage: &Stage,
    model: &mut Model,
    aggregation: Aggregation,
    validation: f64,
) -> Result<Measured> {
    let known = scored(model, &stage.validation)?;
    let problems = problems_of(&known)?;
    let vote =
        |temperature| Method::WeightedVote { weight: VoteWeight::Exponential { temperature } };
    let mut temperature = (TEMPERATURES[0], f64::NEG_INFINITY);
    for candidate in TEMPERATURES {
        let of_candidate = accuracies(&problems, vote(candidate), aggregation, &VALIDATION_NS)?;
        if mean(&of_candidate) > temperature.1 {
            temperature = (candidate, mean(&of_candidate));
        }
    }
    let temperature = temperature.0;
    let tuned = |signal| {
        let all: Vec<JudgedSolution> = known.iter().flat_map(|of| judged(of, signal)).collect();
        tune_threshold(&all).map(|score| (signal, score))
    };
    let tuned = [Signal::Reward, Signal::QValue].into_iter().filter_map(tuned);
    let (signal, threshold) = tuned
        .reduce(|best, next| if next.1.f1 > best.1.f1 { next } else { best })
        .map(|(signal, score)| (signal, score.threshold))
        .ok_or(Error::NoExamples { purpose: "tune the threshold on" })?;

    let test = scored(model, &stage.test)?;
    let problems = problems_of(&test)?;
    let ns = &stage.settings.ns;
    let best_of_n = |aggregation| accuracies(&problems, Method::BestOfN, aggregation, ns);
    let cells = problems.iter().map(|of_generator| {
        let one = std::slice::from_ref(of_generator);
        let cell = |n: &usize| Ok(mean(&accuracies(one, Method::BestOfN, aggregation, &[*n])?));
        ns.iter().map(cell).collect::<Result<Vec<f64>>>()
    });
    Ok(Measured {
        aggregation,
        temperature,
        signal,
        validation,
        best_of_n: best_of_n(aggregation)?,
        by_min: best_of_n(Aggregation::Min)?,
        weighted_vote: accuracies(&problems, vote(temperature), aggregation, ns)?,
        cells: cells.collect::<Result<_>>()?,
        first_error: test
            .iter()
            .map(|of| first_error_score(&judged(of, signal), threshold))
            .collect(),
    })
}

/// Rollouts of a generator with their scores.
type Scored<'a> = (&'a [Rollout], Vec<Score>);

fn scored<'a>(model: &mut Model, candidates: &'a [Vec<Rollout>]) -> Result<Vec<Scored<'a>>> {
    candidates.iter().map(|rollouts| Ok((&rollouts[..], model.score(rollouts)?))).collect()
}

fn problems_of(scored: &[Scored]) -> Result<Vec<Vec<ScoredProblem>>> {
    let of_generator = |(rollouts, scores): &Scored| {
        let pairs = rollouts.iter().zip(scores);
        pairs.map(|(rollout, score)| ScoredProblem::new(rollout, score)).collect()
    };
    scored.iter().map(of_generator).collect()
}

fn best_aggregation(problems: &[Vec<ScoredProblem>]) -> Result<(f64, Aggregation)> {
    let mut best = (f64::NEG_INFINITY, Aggregation::default());
    for aggregation in AGGREGATIONS {
        let of_one = accuracies(problems, Method::BestOfN, aggregation, &VALIDATION_NS)?;
        if mean(&of_one) > best.0 {
            best = (mean(&of_one), aggregation);
        }
    }
    Ok(best)
}

/// Accuracy on each problem, the mean over generators and values of N.
pub(super) fn accuracies(
    generators: &[Vec<ScoredProblem>],
    method: Method,
    aggregation: Aggregation,
    ns: &[usize],
) -> Result<Vec<f64>> {
    let n_problems = generators.first().map_or(0, Vec::len);
    let n_cells = (generators.len() * ns.len()) as f64;
    let mut sums = vec![0.0; n_problems];
    for problems in generators {
        for (sum, problem) in sums.iter_mut().zip(problems) {
            let score = |rewards: &crate::reward::Rewards| {
                aggregation.score(&rewards.steps, &rewards.q_values, rewards.outcome)
            };
            let scores: Vec<f64> = problem.rewards.iter().map(score).collect();
            let candidates = Candidates {
                scores: &scores,
                answers: &problem.answers,
                correct: &problem.correct,
            };
            for &n in ns {
                *sum += selection::accuracy(method, &candidates, n, Subsets::First)? / n_cells;
            }
        }
    }
    Ok(sums)
}

fn judged(scored: &Scored, signal: Signal) -> Vec<JudgedSolution> {
    let (rollouts, scores) = scored;
    let mut all = Vec::new();
    for (rollout, score) in rollouts.iter().zip(scores) {
        let problem = Problem::parse(&rollout.prompt);
        for (text, score) in rollout.completions.iter().zip(&score.scores) {
            all.push(JudgedSolution {
                process_rewards: match signal {
                    Signal::Reward => score.steps.clone(),
                    Signal::QValue => score.q_values.clone(),
                },
                first_error: problem.as_ref().and_then(|problem| check(problem, text).first_error),
            });
        }
    }
    all
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Labels of steps held against the truth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelQuality {
    /// Steps before any error.
    pub n_good: u64,
    /// Share of them labelled at least the limit.
    pub good_kept: f64,
    /// First wrong steps.
    pub n_bad: u64,
    /// Share of them labelled below the limit.
    pub bad_caught: f64,
}

/// The quality of the `step_labels` of `rollouts` of the tiny world: a label of at least `limit`
/// says that a step is good. Steps after a first error are left out: whether they are wrong is a
/// matter of taste.
///
/// # Errors
/// Those of [`StepLabels::of`].
pub fn label_quality(rollouts: &[Rollout], limit: f64) -> Result<LabelQuality> {
    let (mut good, mut kept, mut bad, mut caught) = (0, 0, 0, 0);
    for rollout in rollouts {
        let Some(problem) = Problem::parse(&rollout.prompt) else { continue };
        let labels = StepLabels::of(rollout)?.unwrap_or_default();
        for (text, labels) in rollout.completions.iter().zip(&labels.0) {
            let first_error = check(&problem, text).first_error;
            for (step, label) in labels.iter().enumerate() {
                let Some(label) = label else { continue };
                if first_error.is_none_or(|error| step < error) {
                    good += 1;
                    kept += u64::from(*label >= limit);
                } else if first_error == Some(step) {
                    bad += 1;
                    caught += u64::from(*label < limit);
                }
            }
        }
    }
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let (good_kept, bad_caught) = (share(kept, good), share(caught, bad));
    Ok(LabelQuality { n_good: good, good_kept, n_bad: bad, bad_caught })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_held_against_the_checker() {
        let mut rollout = Rollout {
            prompt: "Eve has 20 coins. Cal has 4 times as many. Dan has that plus Eve's. \
                     How many does the last one have, counting modulo 23?\n"
                .to_owned(),
            completions: vec![
                "Cal: 20 * 4 = 11\nDan: 11 + 20 = 8\nAnswer: 8".to_owned(),
                "Cal: 20 * 4 = 11\nDan: 11 + 20 = 9\nAnswer: 9".to_owned(),
            ],
            ..Rollout::default()
        };
        let steps = vec![vec!["a".to_owned(); 3]; 2];
        let labels =
            vec![vec![Some(1.0), Some(0.25), None], vec![Some(0.5), Some(0.125), Some(1.0)]];
        StepLabels(labels).write(&mut rollout, steps);
        let hard = label_quality(&[rollout.clone()], 1e-9).expect("valid");
        let kept = LabelQuality { n_good: 3, good_kept: 1.0, n_bad: 1, bad_caught: 0.0 };
        assert_eq!(hard, kept);
        let half = label_quality(&[rollout], 0.5).expect("valid");
        assert_eq!((half.good_kept, half.bad_caught), (2.0 / 3.0, 1.0));
    }
}
