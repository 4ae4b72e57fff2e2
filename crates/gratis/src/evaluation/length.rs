//! Length statistics: whether a reward is only the length of a solution.
//!
//! Two rank correlations (Spearman's), each computed among the candidates of one problem and then
//! averaged over problems: of a candidate's score and its length, and of its lowest step reward and
//! its number of steps. A correlation over all candidates of all problems would also measure that
//! harder problems have longer solutions.

use serde::{Deserialize, Serialize};

use super::best_of_n::ProblemCandidates;
use super::bootstrap::{Bootstrap, Interval};
use crate::data::{Rollout, Scored};
use crate::error::{Error, Result};
use crate::selection::Aggregation;

/// What the length of a solution is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthUnit {
    /// Tokens, as the scores or the rollouts record them.
    Tokens,
    /// Characters, where no tokens are recorded.
    Characters,
}

impl LengthUnit {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Characters => "characters",
        }
    }

    /// The number of tokens of each completion: as the scores record them, else as the rollout does;
    /// `None` if a completion has neither.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) if there are not as many scores as completions.
    pub fn tokens_of(rollout: &Rollout, scores: &[Scored]) -> Result<Option<Vec<usize>>> {
        if scores.len() != rollout.completions.len() {
            let expected = format!("{}, one per completion", rollout.completions.len());
            return Err(Error::setting("scores", expected, scores.len()));
        }
        let recorded = rollout.completions.iter().zip(scores).map(|(completion, score)| {
            let scored = score.tokens.as_ref().map(Vec::len);
            scored.or_else(|| completion.token_ids.as_ref().map(Vec::len))
        });
        Ok(recorded.collect())
    }

    /// The number of characters of each completion.
    pub fn characters_of(rollout: &Rollout) -> Vec<usize> {
        rollout.texts().map(|text| text.chars().count()).collect()
    }
}

/// A correlation within problems.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WithinProblems {
    /// Mean over the problems that have a correlation; `None` without such a problem.
    pub correlation: Option<Interval>,
    /// Problems that have one.
    pub n_problems: usize,
    /// Problems without one: fewer than two scored candidates, or all of them equal in one of the two
    /// measures.
    pub n_left_out: usize,
}

/// The length statistics of one generator's candidates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LengthStatistics {
    /// What lengths are counted in.
    pub unit: LengthUnit,
    /// How the steps become the score.
    pub aggregation: Aggregation,
    /// Score and length.
    pub score_and_length: WithinProblems,
    /// Lowest step reward and number of steps.
    pub lowest_step_and_steps: WithinProblems,
}

impl LengthStatistics {
    /// The statistics of `problems`, whose candidates have these lengths (`[n_problems][n_candidates]`)
    /// and are scored by `aggregation`. Candidates that were not scored are left out.
    pub fn new(
        problems: &[ProblemCandidates],
        lengths: &[Vec<usize>],
        unit: LengthUnit,
        aggregation: Aggregation,
        bootstrap: &Bootstrap,
    ) -> Self {
        let (mut of_score, mut of_lowest) = (Vec::new(), Vec::new());
        for (problem, lengths) in problems.iter().zip(lengths) {
            let scores = problem.scores(aggregation).into_iter();
            let score_and_length: Vec<(f64, f64)> =
                scores.zip(lengths).map(|(score, &length)| (score, length as f64)).collect();
            let lowest = problem.scores(Aggregation::Min).into_iter();
            let lowest_and_steps: Vec<(f64, f64)> =
                lowest.zip(problem.n_steps()).map(|(low, n_steps)| (low, n_steps as f64)).collect();
            of_score.push(rank_correlation(&score_and_length));
            of_lowest.push(rank_correlation(&lowest_and_steps));
        }
        Self {
            unit,
            aggregation,
            score_and_length: WithinProblems::new(&of_score, bootstrap),
            lowest_step_and_steps: WithinProblems::new(&of_lowest, bootstrap),
        }
    }
}

impl WithinProblems {
    fn new(correlations: &[Option<f64>], bootstrap: &Bootstrap) -> Self {
        let known: Vec<f64> = correlations.iter().copied().flatten().collect();
        Self {
            correlation: (!known.is_empty()).then(|| bootstrap.interval(&known)),
            n_problems: known.len(),
            n_left_out: correlations.len() - known.len(),
        }
    }
}

/// Spearman's correlation of pairs, of which those with a value that is not finite are left out;
/// `None` if it is not defined.
fn rank_correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let finite = |(a, b): &&(f64, f64)| a.is_finite() && b.is_finite();
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().filter(finite).copied().unzip();
    correlation(&ranks(&a), &ranks(&b))
}

/// The rank of each value, from 0; equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count() as f64;
        let equal = values.iter().filter(|other| *other == value).count() as f64;
        below + (equal - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

/// Pearson's correlation; `None` for fewer than two values or constant ones.
fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let n = a.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut both, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        both += (a - mean_a) * (b - mean_b);
        of_a += (a - mean_a).powi(2);
        of_b += (b - mean_b).powi(2);
    }
    (a.len() >= 2 && of_a > 0.0 && of_b > 0.0).then(|| both / (of_a * of_b).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Completion, ProblemScores};

    /// A problem whose candidates have these step rewards.
    fn problem(steps: &[&[f64]]) -> ProblemCandidates {
        let scored = |steps: &&[f64]| Scored {
            outcome: steps.iter().sum(),
            steps: steps.to_vec(),
            q_values: steps.to_vec(),
            ..Scored::default()
        };
        let rollout = Rollout {
            id: Some("a".to_owned()),
            completions: vec![Completion::graded("4", true); steps.len()],
            ..Rollout::default()
        };
        let scores = ProblemScores::new("a", steps.iter().map(scored).collect());
        ProblemCandidates::new(&rollout, &scores).expect("its scores")
    }

    fn statistics(problems: &[ProblemCandidates], lengths: &[Vec<usize>]) -> LengthStatistics {
        let by = Aggregation::Outcome;
        LengthStatistics::new(problems, lengths, LengthUnit::Tokens, by, &Bootstrap::default())
    }

    #[test]
    fn a_score_that_is_the_length_has_correlation_one_and_its_negation_minus_one() {
        // Outcomes rise with the length; the lowest step falls with the number of steps.
        let problems = [
            problem(&[&[1.0], &[0.5, 3.0], &[0.2, 1.0, 9.0]]),
            problem(&[&[0.0], &[-0.5, 3.0], &[-0.8, 1.0, 9.0]]),
        ];
        let lengths = [vec![10, 20, 500], vec![3, 4, 5]];
        let found = statistics(&problems, &lengths);
        let exactly = |value| Some(Interval { mean: value, low: value, high: value });
        assert_eq!(found.score_and_length.correlation, exactly(1.0));
        assert_eq!(found.lowest_step_and_steps.correlation, exactly(-1.0));
        assert_eq!(found.score_and_length.n_problems, 2);
    }

    #[test]
    fn the_level_of_a_problem_does_not_count() {
        // Over all candidates score and length rise together; within each problem they fall.
        let problems = [problem(&[&[2.0], &[1.0]]), problem(&[&[12.0], &[11.0]])];
        let found = statistics(&problems, &[vec![1, 2], vec![101, 102]]);
        assert_eq!(found.score_and_length.correlation.expect("two problems").mean, -1.0);
        // All have one step: no problem tells anything about their number.
        assert_eq!(
            found.lowest_step_and_steps,
            WithinProblems { correlation: None, n_problems: 0, n_left_out: 2 }
        );
    }

    #[test]
    fn ties_share_ranks_and_unscored_candidates_are_left_out() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 7.0]), [1.5, 0.0, 1.5, 3.0]);
        // By hand: ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3.
        let pairs = [(1.0, 1.0), (2.0, 2.0), (2.0, 3.0), (4.0, 4.0), (f64::NAN, 9.0)];
        let found = rank_correlation(&pairs).expect("defined");
        assert!((found - 4.5 / (4.5_f64 * 5.0).sqrt()).abs() < 1e-15, "{found}");
        assert_eq!(rank_correlation(&[(1.0, 1.0), (f64::NAN, 2.0)]), None);
        assert_eq!(rank_correlation(&[(1.0, 1.0), (1.0, 2.0)]), None);
    }

    #[test]
    fn tokens_come_from_the_scores_or_the_rollout() {
        let with_ids = Completion { token_ids: Some(vec![1, 2]), ..Completion::from("ab") };
        let mut rollout =
            Rollout { completions: vec![with_ids, "äbc".into()], ..Rollout::default() };
        let plain = vec![Scored::default(); 2];
        assert_eq!(LengthUnit::tokens_of(&rollout, &plain).expect("as many"), None);
        let mut scores = plain.clone();
        scores[1].tokens = Some(vec![0.1; 7]);
        assert_eq!(LengthUnit::tokens_of(&rollout, &scores).expect("as many"), Some(vec![2, 7]));
        assert_eq!(LengthUnit::characters_of(&rollout), [2, 3]);
        rollout.completions.pop();
        assert!(LengthUnit::tokens_of(&rollout, &plain).is_err());
    }
}
