//! `/score`: problems with their candidates, as lines of a rollout file, to lines of a score file.

use std::time::Duration;

use gratis::data::{ProblemScores, Rollout};
use gratis::selection::{Aggregation, best_of_n};
use serde_json::{Map, Value, json};

use super::{object, reward, scored};
use crate::answers::Answers;
use crate::error::Failure;
use crate::service::{Outcome, Prepared, Service, Work};

/// How a request is answered.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    has_tokens: bool,
    has_answers: bool,
    aggregation: Aggregation,
}

/// Reads `{"prompt", "completions", ..}` or `{"problems": [..]}`, with `tokens`, `answers`,
/// `aggregation` and `deadline_ms`.
pub(super) fn prepare(service: &Service, body: &[u8]) -> Result<Prepared, Failure> {
    let mut fields = object(body)?;
    let has_tokens = flag(&mut fields, "tokens")?;
    let has_answers = flag(&mut fields, "answers")?;
    let aggregation = match fields.remove("aggregation") {
        None | Some(Value::Null) => service.about.aggregation,
        Some(Value::String(name)) => name.parse()?,
        Some(_) => return Err(Failure::invalid("`aggregation` should be a string")),
    };
    let deadline = match fields.remove("deadline_ms") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_u64() {
            Some(milliseconds) => Some(Duration::from_millis(milliseconds)),
            None => return Err(Failure::invalid("`deadline_ms` should be a whole number")),
        },
    };
    let rollouts = rollouts(fields)?;
    let wanted = Wanted { has_tokens, has_answers, aggregation };
    let shape = move |service: &Service, outcome| shape(service, outcome, wanted);
    Ok(Prepared { work: Work::Score(rollouts), deadline, shape: Box::new(shape) })
}

fn flag(fields: &mut Map<String, Value>, name: &str) -> Result<bool, Failure> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(is_set)) => Ok(is_set),
        Some(_) => Err(Failure::invalid(format!("`{name}` should be `true` or `false`"))),
    }
}

fn rollouts(mut fields: Map<String, Value>) -> Result<Vec<Rollout>, Failure> {
    let mut rollouts = Vec::new();
    match fields.remove("problems") {
        Some(Value::Array(problems)) => {
            if let Some(name) = fields.keys().next() {
                return Err(Failure::invalid(format!("unknown field `{name}` beside `problems`")));
            }
            for (idx, problem) in problems.into_iter().enumerate() {
                let named =
                    |reason: String| Failure::invalid(format!("`problems[{idx}]`: {reason}"));
                let rollout = rollout(problem).map_err(named)?;
                rollouts.push(rollout);
            }
        }
        Some(_) => return Err(Failure::invalid("`problems` should be a list")),
        None => {
            let rollout = rollout(Value::Object(fields)).map_err(Failure::invalid)?;
            if let Some(name) = rollout.extra.keys().next() {
                return Err(Failure::invalid(format!("unknown field `{name}`"))
                    .hinted("problems with further columns go into the list `problems`"));
            }
            rollouts.push(rollout);
        }
    }
    for (number, rollout) in (1..).zip(&mut rollouts) {
        // As the lines of a file are.
        rollout.id.get_or_insert_with(|| format!("{number}"));
    }
    Ok(rollouts)
}

fn rollout(problem: Value) -> Result<Rollout, String> {
    let has_completions = problem.get("completions").is_some_and(Value::is_array);
    let rollout: Rollout = serde_json::from_value(problem).map_err(|error| error.to_string())?;
    if has_completions {
        Ok(rollout)
    } else {
        Err("requires `completions`, a list of texts".to_owned())
    }
}

fn shape(service: &Service, outcome: Outcome, wanted: Wanted) -> Result<Value, Failure> {
    let Wanted { has_tokens, has_answers, aggregation } = wanted;
    let (rollouts, scores, n_tokens) = scored(outcome)?;
    let mut problems = Vec::new();
    for (rollout, mut line) in rollouts.iter().zip(scores) {
        let rewards: Vec<f64> =
            line.scores.iter().map(|scored| reward(aggregation, scored)).collect();
        let best = best_of_n(&rewards);
        let starts = if has_tokens { Some(token_starts(service, rollout, &line)?) } else { None };
        if !has_tokens {
            for scored in &mut line.scores {
                (scored.tokens, scored.masked_tokens) = (None, None);
                (scored.token_ids, scored.token_step_ends) = (None, None);
            }
        }
        let mut problem = json!({"id": line.id, "rewards": rewards, "best": best, "scores": line});
        if let Some(starts) = starts {
            problem["token_starts"] = starts;
        }
        if has_answers {
            problem["answers"] = json!(Answers::of(rollout.texts(), &rewards));
        }
        problems.push(problem);
    }
    Ok(json!({
        "model": service.about.origin.model,
        "aggregation": aggregation.name(),
        "problems": problems,
        "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens},
    }))
}

/// The characters at which the tokens of each completion begin; `null` for a completion without
/// token rewards.
fn token_starts(
    service: &Service,
    rollout: &Rollout,
    line: &ProblemScores,
) -> Result<Value, Failure> {
    let mut all = Vec::new();
    for (idx, scored) in line.scores.iter().enumerate() {
        let starts = service.scorer.token_starts(rollout, idx)?;
        let Some(starts) = starts.filter(|_| scored.tokens.is_some()) else {
            all.push(Value::Null);
            continue;
        };
        let text = &rollout.completions[idx].text;
        all.push(json!(chars_at(text, &starts)));
    }
    Ok(Value::Array(all))
}

/// Rising byte offsets of a text as numbers of characters.
fn chars_at(text: &str, bytes: &[usize]) -> Vec<usize> {
    let (mut n_chars, mut at) = (0, 0);
    let mut count = |&byte: &usize| {
        let byte = byte.min(text.len());
        if byte >= at {
            n_chars +=
                text.as_bytes()[at..byte].iter().filter(|byte| (**byte as i8) >= -0x40).count();
            at = byte;
        }
        n_chars
    };
    bytes.iter().map(&mut count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_characters() {
        assert_eq!(chars_at("aé€b", &[0, 1, 3, 6, 7, 9]), [0, 1, 2, 3, 4, 4]);
    }

    #[test]
    fn bodies_are_problems() {
        let read = |body: Value| rollouts(body.as_object().expect("an object").clone());
        let one = read(json!({"prompt": "p", "completions": ["a", "b"]})).expect("valid");
        assert_eq!((one.len(), one[0].completions.len(), one[0].id.as_deref()), (1, 2, Some("1")));
        let two = read(json!({"problems": [
            {"id": 7, "prompt": "p", "completions": ["a"], "source": "x"},
            {"prompt": "q", "completions": []},
        ]}));
        let ids: Vec<_> = two.expect("valid").into_iter().map(|rollout| rollout.id).collect();
        assert_eq!(ids, [Some("7".to_owned()), Some("2".to_owned())]);
        for (body, said) in [
            (json!({"prompt": "p"}), "completions"),
            (json!({"prompt": "p", "completions": ["a"], "agregation": "min"}), "`agregation`"),
            (json!({"problems": [], "x": 1}), "`x`"),
            (json!({"problems": {}}), "a list"),
            (json!({"problems": [{"prompt": "p", "completions": [1]}]}), "problems[0]"),
            (json!({"prompt": " ", "completions": ["a"]}), "prompt"),
            (json!({"prompt": "p", "completions": ["a"], "steps": []}), "steps"),
        ] {
            let message = read(body).expect_err(said).to_string();
            assert!(message.contains(said), "{said} in {message}");
        }
    }
}
