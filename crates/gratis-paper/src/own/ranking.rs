//! How well scores rank correct responses above incorrect ones: the area under the ROC curve over all
//! candidates, among those of one writer, and among those of one problem.
//!
//! Generators of different strength make the first a measure of who wrote a response. Within a writer it
//! still counts that some problems are easier than others; within a problem only the responses differ.

use gratis::evaluation::{Bootstrap, Interval};

/// A scored and graded candidate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ranked {
    pub(super) score: f64,
    pub(super) is_correct: bool,
    /// Index of its writer.
    pub(super) writer: usize,
}

/// The three areas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Areas {
    /// Over all candidates.
    pub(super) overall: Option<Interval>,
    /// Mean over writers of the area among their candidates.
    pub(super) within_writer: Option<Interval>,
    /// Mean over problems of the area among their candidates.
    pub(super) within_problem: Option<Interval>,
}

/// The areas with intervals over problems; `None` where no correct and incorrect candidate can be
/// compared.
pub(super) fn areas(problems: &[Vec<Ranked>], n_writers: usize, bootstrap: &Bootstrap) -> Areas {
    let over = |statistic: &dyn Fn(&[usize]) -> Option<f64>| {
        let all: Vec<usize> = (0..problems.len()).collect();
        let whole = statistic(&all)?;
        // A resample without a pair to compare counts as the whole.
        let n_units = [problems.len()];
        Some(bootstrap.stratified(&n_units, |drawn| statistic(&drawn[0]).unwrap_or(whole)))
    };
    let overall = |drawn: &[usize]| area(drawn.iter().flat_map(|&idx| &problems[idx]));
    let within_writer = |drawn: &[usize]| {
        let of_writer = |writer: usize| {
            let all = drawn.iter().flat_map(|&idx| &problems[idx]);
            area(all.filter(|of| of.writer == writer))
        };
        mean((0..n_writers).filter_map(of_writer))
    };
    let within_problem =
        |drawn: &[usize]| mean(drawn.iter().filter_map(|&idx| area(problems[idx].iter())));
    Areas {
        overall: over(&overall),
        within_writer: (n_writers > 0).then(|| over(&within_writer)).flatten(),
        within_problem: over(&within_problem),
    }
}

/// The area among the candidates of one writer.
pub(super) fn of_writer(problems: &[Vec<Ranked>], writer: usize) -> Option<f64> {
    area(problems.iter().flatten().filter(|of| of.writer == writer))
}

/// The probability that a correct candidate has a higher score than an incorrect one; equal scores count
/// half. `None` without a candidate of either kind.
fn area<'a>(candidates: impl Iterator<Item = &'a Ranked>) -> Option<f64> {
    let mut all: Vec<(f64, bool)> =
        candidates.filter(|of| of.score.is_finite()).map(|of| (of.score, of.is_correct)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let n_correct = all.iter().filter(|of| of.1).count() as f64;
    let n_wrong = all.len() as f64 - n_correct;
    if n_correct == 0.0 || n_wrong == 0.0 {
        return None;
    }
    let (mut n_wrong_below, mut above) = (0.0, 0.0);
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let correct = equal.iter().filter(|of| of.1).count() as f64;
        let wrong = equal.len() as f64 - correct;
        above += correct * (n_wrong_below + wrong / 2.0);
        n_wrong_below += wrong;
    }
    Some(above / (n_correct * n_wrong))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    (n > 0.0).then(|| sum / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(score: f64, is_correct: bool, writer: usize) -> Ranked {
        Ranked { score, is_correct, writer }
    }

    #[test]
    fn knowing_the_writer_is_not_knowing_the_answer() {
        // Writer 1 is right more often and gets higher scores; within a writer scores are turned round.
        let problems = vec![
            vec![ranked(0.2, false, 0), ranked(0.1, true, 0), ranked(5.1, true, 1)],
            vec![ranked(0.3, false, 0), ranked(5.3, false, 1), ranked(5.2, true, 1)],
        ];
        let found = areas(&problems, 2, &Bootstrap::default());
        assert_eq!(found.within_writer.expect("pairs").mean, 0.0);
        assert_eq!(found.overall.expect("pairs").mean, 4.0 / 9.0);
        // One of two pairs, and one of two.
        assert_eq!(found.within_problem.expect("pairs").mean, 0.5);
        assert_eq!(of_writer(&problems, 1), Some(0.0));
    }

    #[test]
    fn equal_scores_count_half_and_unknown_ones_not() {
        let all = [ranked(1.0, true, 0), ranked(1.0, false, 0), ranked(f64::NAN, false, 0)];
        assert_eq!(area(all.iter()), Some(0.5));
        assert_eq!(area(all[..1].iter()), None);
        let found = areas(&[all[..1].to_vec()], 1, &Bootstrap::default());
        assert_eq!(found, Areas { overall: None, within_writer: None, within_problem: None });
    }
}
