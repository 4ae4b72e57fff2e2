//! The best-of-N table (paper section 4.1, table 1): for each generator and each N, the accuracy of
//! every method of selecting one of N candidates.

use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, Interval};
use crate::data::{CandidateScores, ProblemScores, Rollout};
use crate::error::{Error, Result};
use crate::selection::{Aggregation, Candidates, Method, Subsets};

/// The candidates of one problem with their scores, as selection reads them.
#[derive(Debug, Clone, PartialEq)]
pub struct ProblemCandidates {
    answers: Vec<usize>,
    correct: Vec<bool>,
    scores: CandidateScores,
}

/// What needs the labels, for messages.
const LABELS_FOR: &str = "best-of-N";

/// Class of each candidate's final answer.
fn answers_of(rollout: &Rollout) -> Result<Vec<usize>> {
    if rollout.completions.is_empty() {
        return Err(Error::NoCandidates { problem: rollout.name().to_owned() });
    }
    let found: Vec<Option<String>> =
        rollout.texts().map(|text| gratis_grading::extract(text).answer).collect();
    let answers: Vec<&String> = found.iter().flatten().collect();
    let classes = gratis_grading::classes(&answers);
    // Those without an answer come after all others, and stand alone.
    let mut alone = classes.iter().max().map_or(0, |last| last + 1)..;
    let mut given = classes.into_iter();
    let class =
        |answer: &Option<String>| if answer.is_some() { given.next() } else { alone.next() };
    Ok(found.iter().filter_map(class).collect())
}

impl ProblemCandidates {
    /// As [`GeneratorCandidates::add`] for one problem.
    ///
    /// # Errors
    /// As [`GeneratorCandidates::add`].
    pub fn new(rollout: &Rollout, scores: &ProblemScores) -> Result<Self> {
        scores.check(rollout)?;
        Self::of_checked(rollout, CandidateScores::of(scores)?)
    }

    /// As [`Self::new`], of scores that passed [`ProblemScores::check`].
    ///
    /// # Errors
    /// As [`Self::new`], but for [`ScoresDiffer`](crate::data::Error::ScoresDiffer).
    pub fn of_checked(rollout: &Rollout, scores: CandidateScores) -> Result<Self> {
        Ok(Self { answers: answers_of(rollout)?, correct: rollout.labels(LABELS_FOR)?, scores })
    }

    /// As [`Self::of_checked`]; takes the completions and the scores, which are not needed any more.
    ///
    /// # Errors
    /// As [`Self::of_checked`].
    pub fn take(rollout: &mut Rollout, scores: &mut CandidateScores) -> Result<Self> {
        let problem = Self::of_checked(rollout, scores.take());
        rollout.completions = Vec::new();
        problem
    }

    /// The same candidates with other scores.
    ///
    /// # Errors
    /// [`ScoresDiffer`](crate::data::Error::ScoresDiffer) for a candidate with another number of Q
    /// values than of steps.
    pub fn with_scores(&self, scores: &ProblemScores) -> Result<Self> {
        let (answers, correct) = (self.answers.clone(), self.correct.clone());
        Ok(Self { answers, correct, scores: CandidateScores::of(scores)? })
    }

    /// Class of each candidate's final answer: `[n_candidates]`.
    pub fn answers(&self) -> &[usize] {
        &self.answers
    }

    /// Outcome label of each candidate: `[n_candidates]`.
    pub fn correct(&self) -> &[bool] {
        &self.correct
    }

    /// Score of each candidate: `[n_candidates]`.
    pub fn scores(&self, aggregation: Aggregation) -> Vec<f64> {
        self.scores.by(aggregation)
    }

    /// Number of steps of each candidate: `[n_candidates]`.
    pub(super) fn n_steps(&self) -> impl Iterator<Item = usize> {
        self.scores.n_steps()
    }
}

/// All problems with the answers of one generator.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorCandidates {
    /// Names the generator.
    pub name: String,
    /// The problems, the same ones in the same order for every generator.
    #[doc(hidden)]
    pub problems: Vec<ProblemCandidates>,
}

impl GeneratorCandidates {
    /// A generator without problems.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), problems: Vec::new() }
    }

    /// Adds a problem: a labelled rollout and its scores. Every generator needs the same problems in
    /// the same order. Completions with equivalent final answers share a class; one without an answer
    /// stands alone.
    ///
    /// # Errors
    /// [`NoCorrectness`](crate::data::Error::NoCorrectness) if the rollout was not graded;
    /// [`ScoresDiffer`](crate::data::Error::ScoresDiffer) if the scores are not those of its completions;
    /// [`Error::NoCandidates`] if it has none.
    pub fn add(&mut self, rollout: &Rollout, scores: &ProblemScores) -> Result<()> {
        self.problems.push(ProblemCandidates::new(rollout, scores)?);
        Ok(())
    }

    /// The accuracy of a selector with `n` candidates on each problem: `[n_problems]`.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) if some problem has fewer candidates, or
    /// the selector's settings are out of range.
    pub fn accuracies(&self, selector: Selector, n: usize, subsets: Subsets) -> Result<Vec<f64>> {
        let by = selector.method.needs_scores().then_some(selector.aggregation);
        self.accuracies_by(&self.scores(by), selector.method, n, subsets)
    }

    /// The scores of the candidates; 0 where none are needed.
    fn scores(&self, aggregation: Option<Aggregation>) -> Scores {
        let of = |problem: &ProblemCandidates| match aggregation {
            Some(aggregation) => problem.scores(aggregation),
            None => vec![0.0; problem.correct.len()],
        };
        self.problems.iter().map(of).collect()
    }

    fn accuracies_by(
        &self,
        scores: &Scores,
        method: Method,
        n: usize,
        subsets: Subsets,
    ) -> Result<Vec<f64>> {
        let one = |(problem, scores): (&ProblemCandidates, &Vec<f64>)| {
            let ProblemCandidates { answers, correct, .. } = problem;
            Candidates { scores, answers, correct }.accuracy(method, n, subsets)
        };
        self.problems.iter().zip(scores).map(one).collect()
    }
}

/// The scores of all problems of a generator: `[n_problems][n_candidates]`.
type Scores = Vec<Vec<f64>>;

/// One selection method: a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// How one of N is chosen.
    pub method: Method,
    /// How a candidate's step rewards are aggregated; without effect if the method needs no score.
    pub aggregation: Aggregation,
}

impl Selector {
    /// A method that needs no score.
    pub fn without_score(method: Method) -> Self {
        Self { method, aggregation: Aggregation::default() }
    }
}

/// Settings of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestOfNSettings {
    /// Values of N.
    pub ns: Vec<usize>,
    /// The rows. The first is the one all others are compared with.
    pub selectors: Vec<Selector>,
    /// Which N of the candidates are taken.
    pub subsets: Subsets,
    /// Intervals over problems.
    pub bootstrap: Bootstrap,
}

/// The accuracy of one selector with N candidates of one generator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Cell {
    generator: String,
    n: usize,
    accuracy: Interval,
}

/// All accuracies of one selector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    selector: Selector,
    /// One cell for each generator and each N, in this order.
    cells: Vec<Cell>,
    /// Mean over all cells.
    average: Interval,
    /// How much the average is above that of the first row, with the problems resampled together.
    gain: Interval,
}

/// The whole table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestOfNTable {
    /// The settings.
    pub settings: BestOfNSettings,
    /// Number of problems, the same for all generators.
    pub n_problems: usize,
    /// One row per selector, in the order of the settings.
    rows: Vec<Row>,
}

impl BestOfNTable {
    /// Evaluates every selector on the candidates of every generator.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) if the generators do not answer equally many problems, or if some
    /// problem has fewer candidates than N.
    pub fn new(settings: BestOfNSettings, generators: &[GeneratorCandidates]) -> Result<Self> {
        let n_problems = generators.first().map_or(0, |generator| generator.problems.len());
        for generator in generators {
            let n = generator.problems.len();
            if n != n_problems {
                let expected = format!("{n_problems} problems, as for the first generator");
                return Err(Error::setting("generators", expected, n));
            }
        }
        // For every selector its cells, its averages and its gains, in this order.
        let mut measures: Vec<Vec<f64>> = Vec::new();
        let mut first_averages: Option<Vec<f64>> = None;
        // Several rows have the same scores. Methods without scores have none.
        let mut known: Vec<(Option<Aggregation>, Vec<Scores>)> = Vec::new();
        for &selector in &settings.selectors {
            let mut averages = vec![0.0; n_problems];
            let n_cells = (generators.len() * settings.ns.len()).max(1) as f64;
            let by = selector.method.needs_scores().then_some(selector.aggregation);
            let idx = known.iter().position(|(other, _)| *other == by).unwrap_or_else(|| {
                known.push((by, generators.iter().map(|of| of.scores(by)).collect()));
                known.len() - 1
            });
            for (generator, scores) in generators.iter().zip(&known[idx].1) {
                for &n in &settings.ns {
                    let method = selector.method;
                    let accuracies =
                        generator.accuracies_by(scores, method, n, settings.subsets)?;
                    for (average, accuracy) in averages.iter_mut().zip(&accuracies) {
                        *average += accuracy / n_cells;
                    }
                    measures.push(accuracies);
                }
            }
            let first = first_averages.get_or_insert_with(|| averages.clone());
            let gains: Vec<f64> = averages.iter().zip(&*first).map(|(a, b)| a - b).collect();
            measures.extend([averages, gains]);
        }
        let cells_of = || {
            generators.iter().flat_map(|generator| settings.ns.iter().map(move |&n| (generator, n)))
        };
        let mut intervals = settings.bootstrap.intervals(&measures).into_iter();
        let mut next = || intervals.next().unwrap_or(Interval { mean: 0.0, low: 0.0, high: 0.0 });
        let row = |&selector: &Selector| Row {
            selector,
            cells: cells_of()
                .map(|(generator, n)| Cell {
                    generator: generator.name.clone(),
                    n,
                    accuracy: next(),
                })
                .collect(),
            average: next(),
            gain: next(),
        };
        let rows = settings.selectors.iter().map(row).collect();
        Ok(Self { settings, n_problems, rows })
    }

    /// The numbers of candidates of a table where none are asked for: those of 4, 16 and 64 that are
    /// below the fewest candidates of any problem, and that number itself.
    pub fn usual_ns(generators: &[GeneratorCandidates]) -> Vec<usize> {
        let problems = generators.iter().flat_map(|generator| &generator.problems);
        let n_least = problems.map(|problem| problem.answers.len()).min().unwrap_or_default();
        let mut ns: Vec<usize> = [4, 16, 64].into_iter().filter(|&n| n < n_least).collect();
        ns.push(n_least);
        ns
    }

    /// The accuracies of a selector: for each generator and each N, in this order, the generator's name,
    /// N, and the share of problems for which a correct candidate is selected. None for a selector that
    /// the settings do not have.
    pub fn accuracies(&self, selector: Selector) -> impl Iterator<Item = (&str, usize, Interval)> {
        let cells = self.row(selector).into_iter().flat_map(|row| &row.cells);
        cells.map(|cell| (&*cell.generator, cell.n, cell.accuracy))
    }

    /// The mean of a selector's accuracies over generators and N.
    pub fn average(&self, selector: Selector) -> Option<Interval> {
        self.row(selector).map(|row| row.average)
    }

    /// How much the average of a selector is above that of the first one, with the problems resampled
    /// together.
    pub fn gain(&self, selector: Selector) -> Option<Interval> {
        self.row(selector).map(|row| row.gain)
    }

    fn row(&self, selector: Selector) -> Option<&Row> {
        self.rows.iter().find(|row| row.selector == selector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Completion, Scored};
    use crate::reward::Rewards;

    const BEST: Selector = Selector { method: Method::BestOfN, aggregation: Aggregation::Min };

    fn problem(candidates: &[(usize, bool, &[f64])]) -> ProblemCandidates {
        let scored = |steps: &[f64]| {
            let ends: Vec<usize> = (1..=steps.len()).collect();
            let Rewards { steps, q_values, outcome, .. } =
                Rewards::new(steps, 1.0, &ends).expect("valid");
            Scored { outcome, steps, q_values, ..Scored::default() }
        };
        let scores = ProblemScores::new("a", candidates.iter().map(|c| scored(c.2)).collect());
        ProblemCandidates {
            answers: candidates.iter().map(|c| c.0).collect(),
            correct: candidates.iter().map(|c| c.1).collect(),
            scores: CandidateScores::of(&scores).expect("as many values as steps"),
        }
    }

    fn generator(name: &str) -> GeneratorCandidates {
        let problems = vec![
            // The majority is wrong, the lowest step tells.
            problem(&[(0, false, &[3.0, -2.0]), (0, false, &[-1.0, 4.0]), (1, true, &[0.5, 0.5])]),
            // The majority is right, the sum of the rewards is wrong.
            problem(&[(0, true, &[0.1, 0.2]), (0, true, &[0.1, 0.1]), (1, false, &[-1.0, 9.0])]),
        ];
        GeneratorCandidates { name: name.to_owned(), problems }
    }

    fn settings(ns: &[usize]) -> BestOfNSettings {
        BestOfNSettings {
            ns: ns.to_vec(),
            selectors: vec![
                Selector::without_score(Method::Majority),
                Selector::without_score(Method::Random),
                Selector::without_score(Method::Oracle),
                BEST,
                Selector { aggregation: Aggregation::Sum, ..BEST },
            ],
            subsets: Subsets::First,
            bootstrap: Bootstrap { n_resamples: 50, ..Bootstrap::default() },
        }
    }

    #[test]
    fn each_selector_is_right_where_it_should() {
        let table = BestOfNTable::new(settings(&[3]), &[generator("a")]).expect("valid");
        let selectors = &table.settings.selectors;
        let cells = selectors.iter().flat_map(|&selector| table.accuracies(selector));
        let (names, means): (Vec<(&str, usize)>, Vec<f64>) =
            cells.map(|(name, n, accuracy)| ((name, n), accuracy.mean)).unzip();
        assert_eq!(names, [("a", 3); 5]);
        assert_eq!(means, [0.5, 0.5, 1.0, 1.0, 0.0]);
        assert_eq!(table.gain(BEST).expect("a row").mean, 0.5);
        assert_eq!(table.gain(selectors[0]), Some(Interval { mean: 0.0, low: 0.0, high: 0.0 }));
        let other = Selector { aggregation: Aggregation::Prod, ..BEST };
        assert_eq!((table.average(other), table.accuracies(other).count()), (None, 0));
    }

    #[test]
    fn a_problem_is_made_of_its_rollout_and_scores() {
        let rollout = Rollout {
            id: Some("a".to_owned()),
            completions: [
                ("Answer: 4", true),
                ("no idea", false),
                ("the answer is 4.0", true),
                ("never mind", false),
                ("Answer: none 1", false),
            ]
            .map(|(text, is_correct)| Completion::graded(text, is_correct))
            .to_vec(),
            ..Rollout::default()
        };
        let score =
            |n| ProblemScores::new("a", vec![Scored { outcome: 1.5, ..Default::default() }; n]);
        let problem = ProblemCandidates::new(&rollout, &score(5)).expect("valid");
        assert_eq!(problem.answers, [0, 2, 0, 3, 1]);
        assert_eq!(problem.scores(Aggregation::Outcome), [1.5; 5]);
        let error = ProblemCandidates::new(&rollout, &score(3)).expect_err("one is missing");
        assert_eq!(
            error.to_string(),
            "the scores of problem `a` do not belong to its completions: it has 5 completions, and 3 are scored"
        );
        let mut ungraded = rollout;
        ungraded.completions[3].label = None;
        assert!(ProblemCandidates::new(&ungraded, &score(5)).is_err());
    }

    #[test]
    fn the_average_is_over_generators_and_n() {
        let generators = [generator("a"), generator("b")];
        let table = BestOfNTable::new(settings(&[1, 3]), &generators).expect("valid");
        assert_eq!(table.accuracies(BEST).count(), 4);
        let mean = table.accuracies(BEST).map(|(_, _, of)| of.mean).sum::<f64>() / 4.0;
        assert_eq!((table.average(BEST).expect("a row").mean, mean), (0.75, 0.75));
    }

    #[test]
    fn too_few_candidates_and_unequal_problems_are_errors() {
        assert!(BestOfNTable::new(settings(&[4]), &[generator("a")]).is_err());
        let mut shorter = generator("b");
        shorter.problems.pop();
        assert!(BestOfNTable::new(settings(&[1]), &[generator("a"), shorter]).is_err());
    }
}
