//! `/grade`: final answers compared with the gold answer by gratis' grader.

use gratis_grading::Options;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Failure, FailureKind};
use crate::service::{Outcome, Prepared, Service, Work};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    /// The gold answer of all responses.
    reference: Option<String>,
    /// Bare answers or solutions.
    completions: Option<Vec<String>>,
    /// Pairs, where the gold answers differ.
    cases: Option<Vec<Case>>,
    #[serde(default)]
    strict: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    gold: String,
    pred: String,
}

/// Reads `{"reference", "completions"}` or `{"cases": [{"gold", "pred"}]}`, with `strict`.
pub(super) fn prepare(_: &Service, body: &[u8]) -> Result<Prepared, Failure> {
    let Body { reference, completions, cases, strict } = serde_json::from_slice(body)?;
    let pairs: Vec<(String, String)> = match (reference, completions, cases) {
        (Some(gold), Some(all), None) => all.into_iter().map(|pred| (gold.clone(), pred)).collect(),
        (None, None, Some(cases)) => cases.into_iter().map(|case| (case.gold, case.pred)).collect(),
        _ => {
            let message = "the body should have `reference` and `completions`, or `cases`";
            return Err(Failure::invalid(message));
        }
    };
    if let Some(idx) = pairs.iter().position(|(gold, _)| gold.trim().is_empty()) {
        return Err(Failure::invalid(format!("case {} has no gold answer", idx + 1)));
    }
    let options = if strict { Options::strict() } else { Options::default() };
    Ok(Prepared { work: Work::Grade(pairs, options), deadline: None, shape: Box::new(shape) })
}

fn shape(_: &Service, outcome: Outcome) -> Result<Value, Failure> {
    let Outcome::Graded(grades) = outcome else {
        return Err(Failure::new(FailureKind::Internal, "internal error: scores"));
    };
    let labels: Vec<bool> = grades.iter().map(|grade| grade.verdict.is_correct()).collect();
    Ok(json!({"correctness": labels, "grades": grades}))
}
