//! Selection among candidates, and grading of their final answers.

use gratis::selection::{self, VoteWeight};
use gratis_grading::{Extraction, Options, Verdict};
use pyo3::prelude::*;

/// The index of the highest score; the first of equals, `None` for no score.
#[pyfunction]
pub(crate) fn best_of_n(scores: Vec<f64>) -> Option<usize> {
    selection::best_of_n(&scores)
}

/// The index of the first completion with the answer of the greatest weight. Weights are
/// `sigmoid(score)`; all are 1 without scores.
#[pyfunction]
#[pyo3(signature = (completions, scores=None))]
pub(crate) fn vote(
    py: Python<'_>,
    completions: Vec<String>,
    scores: Option<Vec<f64>>,
) -> Option<usize> {
    py.detach(|| {
        let answers: Vec<Option<String>> =
            completions.iter().map(|text| gratis_grading::extract(text).answer).collect();
        let known: Vec<&str> = answers.iter().flatten().map(String::as_str).collect();
        let mut classes = gratis_grading::classes(&known).into_iter();
        // A completion without an answer has a class of its own, above those of the answers.
        let class = |(idx, answer): (usize, &Option<String>)| match answer {
            Some(_) => classes.next().unwrap_or(idx),
            None => answers.len() + idx,
        };
        let classes: Vec<usize> = answers.iter().enumerate().map(class).collect();
        match scores {
            Some(scores) => {
                selection::weighted_vote(&classes, &VoteWeight::Sigmoid.weights(&scores))
            }
            None => selection::majority(&classes),
        }
    })
}

/// The grade of one final answer.
#[pyclass(module = "gratis", frozen, get_all, eq)]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grade {
    /// `correct`, `incorrect`, `no_answer` or `malformed`.
    verdict: &'static str,
    /// Whether the verdict is `correct`.
    correct: bool,
    /// The answer that was found.
    extracted: Option<String>,
    /// How it was found: `boxed`, `phrase`, `whole`, `last_number`, `not_found` or `malformed`.
    how: &'static str,
}

#[pymethods]
impl Grade {
    fn __repr__(&self) -> String {
        let Self { verdict, extracted, how, .. } = self;
        let extracted = extracted.as_deref().map_or("None".to_owned(), |text| format!("{text:?}"));
        format!("Grade(verdict={verdict:?}, extracted={extracted}, how={how:?})")
    }

    fn __bool__(&self) -> bool {
        self.correct
    }
}

fn graded(reference: &str, completion: &str, options: &Options) -> Grade {
    let grade = gratis_grading::grade(reference, completion, options);
    Grade {
        verdict: match grade.verdict {
            Verdict::Correct => "correct",
            Verdict::Incorrect => "incorrect",
            Verdict::NoAnswer => "no_answer",
            Verdict::Malformed => "malformed",
        },
        correct: grade.verdict.is_correct(),
        extracted: grade.extracted,
        how: match grade.how {
            Extraction::Boxed => "boxed",
            Extraction::Phrase => "phrase",
            Extraction::Whole => "whole",
            Extraction::LastNumber => "last_number",
            Extraction::NotFound => "not_found",
            Extraction::Malformed => "malformed",
        },
    }
}

fn options(strict: bool) -> Options {
    if strict { Options::strict() } else { Options::default() }
}

/// Grades one completion against the gold answer.
#[pyfunction]
#[pyo3(signature = (reference, completion, strict=false))]
pub(crate) fn grade(py: Python<'_>, reference: &str, completion: &str, strict: bool) -> Grade {
    py.detach(|| graded(reference, completion, &options(strict)))
}

/// Grades completions, each against the gold answer at its place.
#[pyfunction]
#[pyo3(signature = (references, completions, strict=false))]
pub(crate) fn grade_all(
    py: Python<'_>,
    references: Vec<String>,
    completions: Vec<String>,
    strict: bool,
) -> PyResult<Vec<Grade>> {
    let (n, n_completions) = (references.len(), completions.len());
    if n != n_completions {
        let message = format!("{n} gold answers for {n_completions} completions");
        return Err(pyo3::exceptions::PyValueError::new_err(message));
    }
    let options = options(strict);
    Ok(py.detach(|| {
        let pairs = references.iter().zip(&completions);
        pairs.map(|(reference, completion)| graded(reference, completion, &options)).collect()
    }))
}
