//! PRMBench (Song et al. 2025, arXiv 2501.03124): classify the steps of a solution as right or
//! wrong.
//!
//! Each entry is a solution into which an error of one of nine kinds was written, and the numbers
//! of the steps that are wrong. A step is predicted wrong if its signal is below a threshold, which
//! belongs to the model and is not tuned on the benchmark. With right steps as the positive class,
//!
//! ```text
//! F1     = 2 TP / (2 TP + FP + FN)        right steps kept
//! F1_neg = 2 TN / (2 TN + FN + FP)        wrong steps found
//! PRMScore = F1 / 2 + F1_neg / 2
//! ```
//!
//! over the steps of all solutions of a category together; of all categories for the overall score.
//! Solutions of `multi_solutions` have no wrong step, so their score is F1 alone. A dimension's
//! score is the mean over its categories.

use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, Interval};
use super::first_error::between;
use super::step_signal::StepSignal;
use crate::data::ProblemScores;
use crate::error::{Error, Result};

pub use crate::data::prm_bench::{Category, Solutions};

/// What a category of the benchmark belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Dimension {
    /// Steps that are superfluous or circular.
    Simplicity,
    /// Steps that are false.
    Soundness,
    /// Traps, missing premises, and other ways to the same end.
    Sensitivity,
}

impl Dimension {
    /// All of them, in the benchmark's order.
    const ALL: [Self; 3] = [Self::Simplicity, Self::Soundness, Self::Sensitivity];

    /// That of a category.
    fn of(category: Category) -> Self {
        match category {
            Category::Redundancy | Category::Circular => Self::Simplicity,
            Category::Counterfactual
            | Category::StepContradiction
            | Category::DomainInconsistency
            | Category::Confidence => Self::Soundness,
            Category::MissingCondition | Category::Deception | Category::MultiSolutions => {
                Self::Sensitivity
            }
        }
    }

    /// In words.
    fn name(self) -> &'static str {
        match self {
            Self::Simplicity => "simplicity",
            Self::Soundness => "soundness",
            Self::Sensitivity => "sensitivity",
        }
    }

    /// Whether the scores are those of one of its categories.
    fn has(self, score: &StepScore) -> bool {
        score.category.is_some_and(|category| Self::of(category) == self)
    }
}

/// A solution's steps: the model's signals and the benchmark's labels.
#[derive(Debug, Clone, PartialEq)]
struct JudgedSteps {
    /// The kind of error.
    category: Category,
    /// Signal of each step, and whether it is wrong: `[n_steps]`.
    steps: Vec<(f64, bool)>,
}

/// Confusion counts of steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StepCounts {
    /// Right steps predicted right (TP).
    right_kept: usize,
    /// Right steps predicted wrong (FN).
    right_refused: usize,
    /// Wrong steps predicted wrong (TN).
    wrong_found: usize,
    /// Wrong steps predicted right (FP).
    wrong_missed: usize,
}

impl StepCounts {
    fn of(steps: &[(f64, bool)], threshold: f64) -> Self {
        let mut counts = Self::default();
        for &(signal, is_wrong) in steps {
            *match (is_wrong, signal < threshold) {
                (false, false) => &mut counts.right_kept,
                (false, true) => &mut counts.right_refused,
                (true, true) => &mut counts.wrong_found,
                (true, false) => &mut counts.wrong_missed,
            } += 1;
        }
        counts
    }

    fn plus(self, other: Self) -> Self {
        Self {
            right_kept: self.right_kept + other.right_kept,
            right_refused: self.right_refused + other.right_refused,
            wrong_found: self.wrong_found + other.wrong_found,
            wrong_missed: self.wrong_missed + other.wrong_missed,
        }
    }

    fn f1_of(hits: usize, misses: usize) -> f64 {
        if hits == 0 { 0.0 } else { 2.0 * hits as f64 / (2 * hits + misses) as f64 }
    }

    /// F1 of right steps; 0 if none is kept.
    fn f1(self) -> f64 {
        Self::f1_of(self.right_kept, self.right_refused + self.wrong_missed)
    }

    /// F1 of wrong steps; 0 if none is found.
    fn negative_f1(self) -> f64 {
        Self::f1_of(self.wrong_found, self.right_refused + self.wrong_missed)
    }

    /// The mean of both.
    fn prm_score(self) -> f64 {
        f64::midpoint(self.f1(), self.negative_f1())
    }
}

/// The score of some solutions at one threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepScore {
    /// The category of the solutions; `None` for all categories together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Solutions.
    pub n_solutions: usize,
    counts: StepCounts,
    /// F1 of right steps.
    pub f1: f64,
    /// F1 of wrong steps.
    pub negative_f1: f64,
    /// PRMScore; F1 alone where no step can be wrong. With its interval over solutions.
    pub score: Interval,
}

impl StepScore {
    /// Number of steps that the benchmark labels right.
    pub fn n_right_steps(&self) -> usize {
        self.counts.right_kept + self.counts.right_refused
    }

    /// Number of steps that the benchmark labels wrong.
    pub fn n_wrong_steps(&self) -> usize {
        self.counts.wrong_found + self.counts.wrong_missed
    }
}

/// A dimension's score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct DimensionScore {
    dimension: Dimension,
    mean: Option<f64>,
}

/// The highest overall score and its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct TunedScore {
    /// The threshold; the lowest of equally good ones.
    threshold: f64,
    /// PRMScore over all steps.
    score: f64,
}

/// The benchmark's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrmBench {
    /// A step with a signal below this is predicted wrong.
    pub threshold: f64,
    /// Over the steps of all categories.
    pub overall: StepScore,
    /// The available categories.
    pub categories: Vec<StepScore>,
    dimensions: Vec<DimensionScore>,
    tuned_on_itself: TunedScore,
    /// Missing categories of the benchmark.
    pub missing: Vec<Category>,
    /// How intervals were computed: resamples of the solutions within each category.
    pub bootstrap: Bootstrap,
}

impl PrmBench {
    /// The dimensions in the benchmark's order: the name of each, its score, which is the mean over its
    /// available categories, and the scores of these. Without a category it has no score.
    pub fn dimensions(&self) -> impl Iterator<Item = (&'static str, Option<f64>, Vec<&StepScore>)> {
        self.dimensions.iter().map(|&DimensionScore { dimension, mean }| {
            let own = self.categories.iter().filter(|score| dimension.has(score));
            (dimension.name(), mean, own.collect())
        })
    }

    /// The threshold with the highest overall score on the same solutions; the lowest of equally good
    /// ones.
    pub fn oracle_threshold(&self) -> f64 {
        self.tuned_on_itself.threshold
    }

    /// The overall PRMScore at [`Self::oracle_threshold`]: an optimistic upper bound.
    pub fn oracle_score(&self) -> f64 {
        self.tuned_on_itself.score
    }

    /// The result of a model that gave the solutions these scores: a step with a signal below
    /// `threshold` is predicted wrong.
    ///
    /// # Errors
    /// Those of [`StepSignal::of_single`]; [`Error::NoExamples`] if there is no solution.
    pub fn of(
        solutions: &Solutions,
        scores: &[ProblemScores],
        signal: StepSignal,
        threshold: f64,
        bootstrap: Bootstrap,
    ) -> Result<Self> {
        Self::new(&judged(solutions, scores, signal)?, threshold, bootstrap)
    }

    /// Evaluates solutions at a threshold.
    fn new(solutions: &[JudgedSteps], threshold: f64, bootstrap: Bootstrap) -> Result<Self> {
        if solutions.is_empty() {
            return Err(Error::NoExamples { purpose: "judge", n_left_out: 0 });
        }
        let of_category = |category: Category| -> Vec<StepCounts> {
            let own = solutions.iter().filter(|solution| solution.category == category);
            own.map(|solution| StepCounts::of(&solution.steps, threshold)).collect()
        };
        let counts = Category::ALL.map(of_category);
        let mut categories = Vec::new();
        let mut missing = Vec::new();
        for (category, counts) in Category::ALL.into_iter().zip(&counts) {
            if counts.is_empty() {
                missing.push(category);
                continue;
            }
            let score = match category {
                Category::MultiSolutions => StepCounts::f1,
                _ => StepCounts::prm_score,
            };
            let own = std::slice::from_ref(counts);
            categories.push(step_score(Some(category), own, score, &bootstrap));
        }
        let mean = |dimension: Dimension| {
            let own = categories.iter().filter(|score| dimension.has(score));
            let scores: Vec<f64> = own.map(|of: &StepScore| of.score.mean).collect();
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            DimensionScore { dimension, mean: (!scores.is_empty()).then_some(mean) }
        };
        Ok(Self {
            threshold,
            overall: step_score(None, &counts, StepCounts::prm_score, &bootstrap),
            dimensions: Dimension::ALL.map(mean).to_vec(),
            categories,
            tuned_on_itself: tune(solutions),
            missing,
            bootstrap,
        })
    }
}

/// The solutions with the signal that a model gave their steps.
fn judged(
    solutions: &Solutions,
    scores: &[ProblemScores],
    signal: StepSignal,
) -> Result<Vec<JudgedSteps>> {
    let signals = signal.of_single(&solutions.rollouts, scores)?;
    let judge = |((category, is_wrong), signal): (&(Category, Vec<bool>), Vec<f64>)| {
        let steps = signal.into_iter().zip(is_wrong.iter().copied()).collect();
        JudgedSteps { category: *category, steps }
    };
    Ok(solutions.labels.iter().zip(signals).map(judge).collect())
}

/// The score of solutions in groups: `[n_groups][n_solutions]`.
fn step_score(
    category: Option<Category>,
    groups: &[Vec<StepCounts>],
    score: fn(StepCounts) -> f64,
    bootstrap: &Bootstrap,
) -> StepScore {
    let n_solutions: Vec<usize> = groups.iter().map(Vec::len).collect();
    let sum = |drawn: &[Vec<usize>]| {
        let own =
            groups.iter().zip(drawn).flat_map(|(group, drawn)| drawn.iter().map(|&i| group[i]));
        own.fold(StepCounts::default(), StepCounts::plus)
    };
    let all = groups.iter().flatten().copied().fold(StepCounts::default(), StepCounts::plus);
    StepScore {
        category,
        n_solutions: n_solutions.iter().sum(),
        counts: all,
        f1: all.f1(),
        negative_f1: all.negative_f1(),
        score: bootstrap.stratified(&n_solutions, |drawn| score(sum(drawn))),
    }
}

/// The threshold with the highest overall score, found in one sweep over the sorted signals.
fn tune(solutions: &[JudgedSteps]) -> TunedScore {
    let mut steps: Vec<(f64, bool)> =
        solutions.iter().flat_map(|solution| solution.steps.iter().copied()).collect();
    steps.sort_by(|a, b| a.0.total_cmp(&b.0));
    // No step is below the lowest signal.
    let mut counts = StepCounts::of(&steps, f64::NEG_INFINITY);
    let lowest = steps.first().map_or(0.0, |step| step.0);
    let mut best = TunedScore { threshold: lowest, score: counts.prm_score() };
    for (idx, &(signal, is_wrong)) in steps.iter().enumerate() {
        let (from, to) = if is_wrong {
            (&mut counts.wrong_missed, &mut counts.wrong_found)
        } else {
            (&mut counts.right_kept, &mut counts.right_refused)
        };
        *from -= 1;
        *to += 1;
        let next = steps.get(idx + 1).map(|step| step.0);
        if next == Some(signal) {
            continue;
        }
        if counts.prm_score() > best.score {
            let threshold = next.map_or(signal.next_up(), |next| between(signal, next));
            best = TunedScore { threshold, score: counts.prm_score() };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Completion, Rollout, Scored};

    fn judged(category: Category, steps: &[(f64, bool)]) -> JudgedSteps {
        JudgedSteps { category, steps: steps.to_vec() }
    }

    fn score(solutions: &[JudgedSteps], threshold: f64) -> PrmBench {
        PrmBench::new(solutions, threshold, Bootstrap { n_resamples: 20, ..Bootstrap::default() })
            .expect("judged")
    }

    #[test]
    fn scores_are_those_counted_by_hand() {
        let solutions = [
            // Kept, refused, missed, found.
            judged(Category::Circular, &[(1.0, false), (-1.0, false), (0.5, true), (-2.0, true)]),
            // Kept, kept, found.
            judged(Category::Confidence, &[(1.0, false), (0.0, false), (-0.1, true)]),
            // Three kept, one refused: nothing can be found.
            judged(
                Category::MultiSolutions,
                &[(1.0, false), (1.0, false), (1.0, false), (-1.0, false)],
            ),
        ];
        let result = score(&solutions, 0.0);
        let of = |category| {
            let found = result.categories.iter().find(|of| of.category == Some(category));
            found.expect("there").clone()
        };
        // TP 1, FN 1, FP 1, TN 1.
        let circular = of(Category::Circular);
        assert_eq!((circular.f1, circular.negative_f1), (0.5, 0.5));
        // TP 2, TN 1.
        assert_eq!(of(Category::Confidence).score.mean, 1.0);
        // TP 3, FN 1: F1 = 6 / 7, alone.
        assert!((of(Category::MultiSolutions).score.mean - 6.0 / 7.0).abs() < 1e-15);
        // TP 6, FN 2, FP 1, TN 2: F1 = 12 / 15, F1_neg = 4 / 7, over all steps.
        let counts =
            StepCounts { right_kept: 6, right_refused: 2, wrong_found: 2, wrong_missed: 1 };
        assert_eq!(result.overall.counts, counts);
        assert!((result.overall.score.mean - f64::midpoint(0.8, 4.0 / 7.0)).abs() < 1e-15);
        assert_eq!((result.overall.n_right_steps(), result.overall.n_wrong_steps()), (8, 3));
        let dimensions = result.dimensions().map(|(name, mean, own)| (name, mean, own.len()));
        let expected = [
            ("simplicity", Some(0.5), 1),
            ("soundness", Some(1.0), 1),
            ("sensitivity", Some(6.0 / 7.0), 1),
        ];
        assert_eq!(dimensions.collect::<Vec<_>>(), expected);
        assert_eq!(result.missing.len(), 6);
    }

    #[test]
    fn a_model_that_calls_every_step_right_has_half_a_score() {
        let steps = [(1.0, false), (1.0, true)];
        let result = score(&[judged(Category::Deception, &steps)], 0.0);
        assert_eq!((result.overall.f1, result.overall.negative_f1), (2.0 / 3.0, 0.0));
        assert_eq!(result.overall.score.mean, 1.0 / 3.0);
        assert!(PrmBench::new(&[], 0.0, Bootstrap::default()).is_err());
    }

    #[test]
    fn the_sweep_finds_what_trying_every_threshold_finds() {
        // Signals in no order, with equal ones among them.
        let signal = |idx: usize| ((idx * 37) % 11) as f64 - 5.0;
        let steps: Vec<(f64, bool)> =
            (0..60).map(|idx| (signal(idx), (idx * 13) % 7 < 3 && signal(idx) < 3.0)).collect();
        let solutions = [judged(Category::Circular, &steps)];
        let tried = (-14..14).map(|t| score(&solutions, f64::from(t) / 2.0).overall.score.mean);
        let best = tune(&solutions);
        assert_eq!(best.score, tried.fold(0.0, f64::max));
        assert_eq!(score(&solutions, best.threshold).overall.score.mean, best.score);
    }

    #[test]
    fn the_signals_are_those_of_the_scores_that_belong_to_the_solutions() {
        let rollout = |id: &str| Rollout {
            id: Some(id.to_owned()),
            completions: vec![
                Completion::from("1. a\n\n2. b")
                    .with_steps(["1. a", "2. b"].map(str::to_owned).to_vec()),
            ],
            ..Rollout::default()
        };
        let solutions = Solutions {
            rollouts: vec![rollout("redundency/p1_0"), rollout("multi_solutions/p1_0")],
            labels: vec![
                (Category::Redundancy, vec![false, true]),
                (Category::MultiSolutions, vec![false, false]),
            ],
            ..Solutions::default()
        };
        let score = |of: usize, n| {
            let score = Scored { steps: vec![1.0; n], q_values: vec![2.0; n], ..Scored::default() };
            ProblemScores::new(solutions.rollouts[of].name(), vec![score])
        };
        let judged = super::judged(&solutions, &[score(0, 2), score(1, 2)], StepSignal::QValue)
            .expect("judged");
        assert_eq!(judged[0].steps, [(2.0, false), (2.0, true)]);
        let error = super::judged(&solutions, &[score(0, 2), score(1, 3)], StepSignal::Reward)
            .expect_err("3");
        assert!(error.to_string().contains("`multi_solutions/p1_0`"), "{error}");
        assert!(
            super::judged(&solutions, &[score(0, 2)], StepSignal::Reward).is_err(),
            "one too few"
        );

        // A Q value of 2 is not below 1: the wrong step is missed.
        let scores = [score(0, 2), score(1, 2)];
        let bootstrap = Bootstrap { n_resamples: 20, ..Bootstrap::default() };
        let evaluated =
            |threshold| PrmBench::of(&solutions, &scores, StepSignal::QValue, threshold, bootstrap);
        assert_eq!(evaluated(1.0).expect("scored").overall.negative_f1, 0.0);
        assert_eq!(evaluated(3.0).expect("scored").overall.f1, 0.0);
    }
}
