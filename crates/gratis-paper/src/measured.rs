//! A reward model over several seeds: results with intervals over seeds and problems, and paired
//! comparisons.

use gratis::FirstErrorCounts;
use gratis::evaluation::{Bootstrap, Interval};

use crate::cast::Cast;
use crate::error::Result;
use crate::outcome::{Chosen, Column, ComparedRow, Comparison};
use crate::rows::RewardModel;

/// What is measured on each problem of each seed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    /// Best-of-N: `[n_seeds][n_cells][n_problems]`.
    best_of_n: Vec<Vec<Vec<f64>>>,
    /// The weighted vote, as best-of-N; empty where there is none.
    weighted_vote: Vec<Vec<Vec<f64>>>,
    /// `[n_seeds][n_generators][n_problems]`; empty where there is none.
    first_error: Vec<Vec<Vec<FirstErrorCounts>>>,
    /// What was chosen on validation problems; empty where there was nothing to choose.
    chosen: Vec<Chosen>,
}

/// How candidates are selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    BestOfN,
    WeightedVote,
}

/// Selectors that need no reward model.
pub(crate) struct MeasuredControls {
    pub(crate) majority: Measured,
    pub(crate) random: Measured,
    pub(crate) oracle: Measured,
}

impl MeasuredControls {
    /// On every seed.
    pub(crate) fn evaluate(cast: &mut dyn Cast) -> Result<Self> {
        let [mut majority, mut random, mut oracle] = [(); 3].map(|()| Measured::default());
        for seed in cast.seeds() {
            cast.begin_row("controls", seed);
            let controls = cast.controls(seed)?;
            majority.best_of_n.push(controls.majority.cells);
            random.best_of_n.push(controls.random.cells);
            oracle.best_of_n.push(controls.oracle.cells);
        }
        Ok(Self { majority, random, oracle })
    }
}

impl Measured {
    /// Evaluates a reward model on every seed; `name` is its row's, for progress.
    pub(crate) fn evaluate(
        cast: &mut dyn Cast,
        name: &str,
        model: impl Into<RewardModel>,
    ) -> Result<Self> {
        let seeds = cast.seeds();
        Self::evaluate_on(cast, &seeds, name, model)
    }

    /// Evaluates a reward model on some seeds.
    pub(crate) fn evaluate_on(
        cast: &mut dyn Cast,
        seeds: &[u64],
        name: &str,
        model: impl Into<RewardModel>,
    ) -> Result<Self> {
        let model = model.into();
        let mut measured = Self::default();
        for &seed in seeds {
            cast.begin_row(name, seed);
            let evaluation = cast.evaluate(seed, &model)?;
            measured.chosen.push(Chosen {
                seed,
                aggregation: evaluation.aggregation,
                value_rule: evaluation.value_rule,
                signal: evaluation.signal,
                signal_rule: evaluation.signal_rule,
                threshold: evaluation.threshold,
                vote_temperature: evaluation.vote_temperature,
            });
            measured.best_of_n.push(evaluation.best_of_n.cells);
            measured.weighted_vote.push(evaluation.weighted_vote.cells);
            measured.first_error.push(evaluation.first_error_counts);
        }
        Ok(measured)
    }

    fn n_problems(&self) -> Vec<usize> {
        self.best_of_n.iter().map(|cells| cells.first().map_or(0, Vec::len)).collect()
    }

    fn cells(&self, by: By) -> &[Vec<Vec<f64>>] {
        match by {
            By::BestOfN => &self.best_of_n,
            By::WeightedVote => &self.weighted_vote,
        }
    }

    /// Mean over cells on each problem: `[n_seeds][n_problems]`.
    fn averages(&self, by: By) -> Vec<Vec<f64>> {
        let of_seed = |cells: &Vec<Vec<f64>>| {
            let n_problems = cells.first().map_or(0, Vec::len);
            let mean = |p: usize| cells.iter().map(|c| c[p]).sum::<f64>() / cells.len() as f64;
            (0..n_problems).map(mean).collect()
        };
        self.cells(by).iter().map(of_seed).collect()
    }

    /// The mean over generators and N.
    pub(crate) fn average(&self, by: By, bootstrap: &Bootstrap) -> Interval {
        interval(bootstrap, &self.averages(by))
    }

    /// The mean over some cells.
    pub(crate) fn mean_of_cells(&self, by: By, cells: &[usize], bootstrap: &Bootstrap) -> Interval {
        let of_seed = |all: &Vec<Vec<f64>>| {
            let mean = |p: usize| {
                cells.iter().map(|&idx| all[idx][p]).sum::<f64>() / cells.len().max(1) as f64
            };
            (0..all.first().map_or(0, Vec::len)).map(mean).collect()
        };
        let values: Vec<Vec<f64>> = self.cells(by).iter().map(of_seed).collect();
        interval(bootstrap, &values)
    }

    /// The accuracy of one cell.
    pub(crate) fn cell(&self, by: By, cell_idx: usize, bootstrap: &Bootstrap) -> Interval {
        let cells: Vec<Vec<f64>> =
            self.cells(by).iter().map(|cells| cells[cell_idx].clone()).collect();
        interval(bootstrap, &cells)
    }

    /// How much this average is above another's, with seeds and problems resampled together.
    pub(crate) fn gain(&self, by: By, over: (&Self, By), bootstrap: &Bootstrap) -> Interval {
        let (own, other) = (self.averages(by), over.0.averages(over.1));
        let difference = |(a, b): (&Vec<f64>, &Vec<f64>)| {
            a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>()
        };
        let differences: Vec<Vec<f64>> = own.iter().zip(&other).map(difference).collect();
        interval(bootstrap, &differences)
    }

    /// First-error F1, mean over generators; `None` if no step was evaluated.
    pub(crate) fn first_error(&self, bootstrap: &Bootstrap) -> Option<Interval> {
        self.first_error
            .iter()
            .any(|of_seed| !of_seed.is_empty())
            .then(|| bootstrap.nested(&self.n_problems(), |drawn| self.f1(drawn)))
    }

    /// How much the first-error F1 is above another's.
    pub(crate) fn first_error_gain(&self, over: &Self, bootstrap: &Bootstrap) -> Interval {
        bootstrap.nested(&self.n_problems(), |drawn| self.f1(drawn) - over.f1(drawn))
    }

    fn f1(&self, drawn: &[(usize, Vec<usize>)]) -> f64 {
        let n_generators = self.first_error.first().map_or(0, Vec::len);
        let of_generator = |generator: usize| {
            let mut counts = FirstErrorCounts::default();
            for (seed, problems) in drawn {
                for &problem in problems {
                    counts = counts.plus(self.first_error[*seed][generator][problem]);
                }
            }
            counts.score(0.0).f1
        };
        (0..n_generators).map(of_generator).sum::<f64>() / n_generators.max(1) as f64
    }

    /// The row of a comparison.
    pub(crate) fn row(&self, row: RowHeading<'_>, bootstrap: &Bootstrap) -> ComparedRow {
        let n_cells = self.best_of_n.first().map_or(0, Vec::len);
        ComparedRow {
            group: row.group.to_owned(),
            name: row.name.to_owned(),
            detail: row.detail,
            cells: (0..n_cells).map(|idx| self.cell(By::BestOfN, idx, bootstrap)).collect(),
            average: self.average(By::BestOfN, bootstrap),
            weighted_vote: (!self.weighted_vote.is_empty())
                .then(|| self.average(By::WeightedVote, bootstrap)),
            first_error: self.first_error(bootstrap),
            paper: row.paper,
            chosen: self.chosen.clone(),
        }
    }
}

/// The heading of a row.
pub(crate) struct RowHeading<'n> {
    pub(crate) group: &'n str,
    pub(crate) name: &'n str,
    pub(crate) detail: String,
    /// The paper's average in percent.
    pub(crate) paper: Option<f64>,
}

/// Mean over seeds of the mean over problems, with its interval.
pub(crate) fn interval(bootstrap: &Bootstrap, values: &[Vec<f64>]) -> Interval {
    let n_problems: Vec<usize> = values.iter().map(Vec::len).collect();
    bootstrap.nested(&n_problems, |drawn| {
        let of_seed = |(seed, problems): &(usize, Vec<usize>)| {
            let sum = problems.iter().map(|&problem| values[*seed][problem]).sum::<f64>();
            sum / problems.len().max(1) as f64
        };
        drawn.iter().map(of_seed).sum::<f64>() / drawn.len().max(1) as f64
    })
}

/// An empty comparison with a column per generator and N.
pub(crate) fn comparison(cast: &dyn Cast, caption: &str) -> Comparison {
    let ns = cast.ns();
    let columns = cast.generators().into_iter().flat_map(|generator| {
        ns.iter().map(move |&n| Column { generator: generator.clone(), n }).collect::<Vec<_>>()
    });
    Comparison { caption: caption.to_owned(), columns: columns.collect(), rows: Vec::new() }
}
