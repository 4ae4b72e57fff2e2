//! Score files as Parquet: one row per candidate, with list columns of fixed types, as a training job
//! reads them. On reading, the rows of a problem are put together again.
//!
//! The columns are those of a candidate in a line of JSON, and `id`, `version` and `origin` of its
//! problem; `candidate` counts from 0. A problem without candidates is a row without `candidate`.

use serde_json::{Map, Value, json};

use super::record::Fault;
use super::rows::Values;
use crate::columns::Shape;
use crate::error::Result;

/// The column that numbers the candidates of a problem.
pub(crate) const CANDIDATE: &str = "candidate";
const SCORES: &str = "scores";
/// Columns of the problem.
const OF_PROBLEM: [&str; 3] = ["id", "version", "origin"];

/// Whether records of this shape are the scores of problems.
pub(crate) fn holds_scores(shape: &Shape) -> bool {
    let Shape::Object(fields) = shape else { return false };
    let has = |name: &str| fields.iter().any(|(known, _)| known == name);
    has("version") && has("id") && has(SCORES)
}

/// The columns of a table of such scores.
pub(crate) fn columns(shape: &Shape) -> Vec<(String, Shape)> {
    let Shape::Object(fields) = shape else { return Vec::new() };
    let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, shape)| shape);
    let of_candidate = match field(SCORES) {
        Some(Shape::List(element)) => match &**element {
            Shape::Object(fields) => fields.as_slice(),
            _ => &[],
        },
        _ => &[],
    };
    let list = |element: Shape| Shape::List(Box::new(element));
    let always = ["hash", "outcome", "steps", "q_values", "step_ends"];
    let all = [
        ("hash", Shape::Text),
        ("extent", Shape::Text),
        ("outcome", Shape::Number),
        ("steps", list(Shape::Number)),
        ("q_values", list(Shape::Number)),
        ("step_ends", list(Shape::Small)),
        ("tokens", list(Shape::Number)),
        ("token_ids", list(Shape::Small)),
        ("token_step_ends", list(Shape::Small)),
        ("masked_tokens", list(list(Shape::Small))),
    ];
    let mut columns = vec![
        ("id".to_owned(), Shape::Text),
        (CANDIDATE.to_owned(), Shape::Small),
        ("version".to_owned(), Shape::Small),
    ];
    if let Some(origin) = field("origin") {
        columns.push(("origin".to_owned(), origin.clone()));
    }
    let is_there =
        |name: &str| always.contains(&name) || of_candidate.iter().any(|(known, _)| known == name);
    let there = all.into_iter().filter(|(name, _)| is_there(name));
    columns.extend(there.map(|(name, shape)| (name.to_owned(), shape)));
    columns
}

/// The rows of a problem.
pub(crate) fn rows_of(mut record: Map<String, Value>) -> Vec<Map<String, Value>> {
    let candidates = match record.shift_remove(SCORES) {
        Some(Value::Array(candidates)) => candidates,
        _ => Vec::new(),
    };
    if candidates.is_empty() {
        return vec![record];
    }
    let row = |(idx, candidate): (usize, Value)| {
        let mut row = record.clone();
        row.insert(CANDIDATE.to_owned(), idx.into());
        if let Value::Object(fields) = candidate {
            row.extend(fields);
        }
        row
    };
    candidates.into_iter().enumerate().map(row).collect()
}

/// Puts the rows of each problem together; rows that hold whole problems stay as they are.
pub(crate) fn joined(mut rows: Values) -> Values {
    let mut held: Option<(u64, Map<String, Value>)> = None;
    let mut is_over = false;
    Box::new(move || {
        loop {
            if is_over {
                return Ok(held.take().map(|(number, problem)| (number, Ok(problem.into()))));
            }
            let Some((number, row)) = rows()? else {
                is_over = true;
                continue;
            };
            let fields = match row {
                Ok(Value::Object(fields)) if !fields.contains_key(SCORES) => fields,
                row => return Ok(Some((number, row))),
            };
            match add(held.take(), number, fields) {
                Ok(Added::Same(problem)) => held = Some(problem),
                Ok(Added::Next { done, problem }) => {
                    held = Some(problem);
                    if let Some((number, done)) = done {
                        return Ok(Some((number, Ok(done.into()))));
                    }
                }
                Err(fault) => return Ok(Some((number, Err(fault)))),
            }
        }
    })
}

/// A problem with the row at which it begins.
type Problem = (u64, Map<String, Value>);

enum Added {
    /// The row belongs to the problem.
    Same(Problem),
    /// The row begins another one.
    Next { done: Option<Problem>, problem: Problem },
}

fn add(held: Option<Problem>, number: u64, mut row: Map<String, Value>) -> Result<Added, Fault> {
    let candidate = row.shift_remove(CANDIDATE).filter(|candidate| !candidate.is_null());
    let mut problem = Map::new();
    for name in OF_PROBLEM {
        if let Some(value) = row.shift_remove(name).filter(|value| !value.is_null()) {
            problem.insert(name.to_owned(), value);
        }
    }
    let Some(candidate) = candidate else {
        problem.insert(SCORES.to_owned(), json!([]));
        return Ok(Added::Next { done: held, problem: (number, problem) });
    };
    // What may be null within a candidate, and is not simply absent.
    row.retain(|name, value| name == "outcome" || !value.is_null());
    for name in ["steps", "q_values", "step_ends"] {
        row.entry(name).or_insert_with(|| json!([]));
    }
    let idx = candidate.as_u64();
    if idx == Some(0) {
        problem.insert(SCORES.to_owned(), json!([row]));
        return Ok(Added::Next { done: held, problem: (number, problem) });
    }
    let expected = |n: usize| format!("0, or {n} as the next candidate of the problem before");
    let (first, mut known) =
        held.ok_or_else(|| Fault::new(CANDIDATE, "0 in the first row", candidate.to_string()))?;
    let is_same = known.get("id") == problem.get("id");
    let n = match known.get_mut(SCORES) {
        Some(Value::Array(scores)) if is_same && idx == Some(scores.len() as u64) => {
            scores.push(Value::Object(row));
            return Ok(Added::Same((first, known)));
        }
        Some(Value::Array(scores)) => scores.len(),
        _ => 0,
    };
    Err(Fault::new(CANDIDATE, expected(n), candidate.to_string()))
}
