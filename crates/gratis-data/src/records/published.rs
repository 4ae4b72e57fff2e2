//! Step-labelled data as others publish it, read as rollouts with labelled steps.
//!
//! - Math-Shepherd (Wang et al. 2023): `input` with the tag `ки` after each step and `label`, the
//!   same text with `+` or `-` in its place;
//! - PRM800K (Lightman et al. 2023): `question` and `label.steps`, each with rated alternatives.
//!   The chosen ones make a solution; every alternative makes one of its own that ends with it and
//!   in which only it is labelled;
//! - flat ratings: `problem`, `steps` and `ratings`.
//!
//! Ratings are 1 good, 0 neutral (label 1/2) and -1 bad. Steps are joined by line breaks.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::completion::Completion;
use super::reader::RecordReader;
use super::record::{Fault, Field, OnInvalid, Record};
use super::rollout::Rollout;
use crate::error::Result;

/// Stands after each step in Math-Shepherd's `input`.
const TAG: &str = "ки";

/// A line of such a file.
#[derive(Debug, Clone)]
struct Published(Rollout);

impl Record for Published {
    type Columns = Value;

    const FIELDS: &'static [Field] = &[];

    fn from_columns(columns: Value) -> Parsed<Self> {
        parse(&columns).map(Self)
    }

    fn number(&mut self, line: u64) {
        self.0.number(line);
    }
}

/// All solutions of a file, and how many lines were skipped.
///
/// # Errors
/// As [`RecordReader`].
pub fn read(path: &Path, on_invalid: OnInvalid) -> Result<(Vec<Rollout>, u64)> {
    let mut reader = RecordReader::<Published>::open(path, on_invalid)?;
    let mut rollouts = Vec::new();
    for record in reader.by_ref() {
        rollouts.push(record?.0);
    }
    Ok((rollouts, reader.n_skipped()))
}

type Parsed<T> = std::result::Result<T, Fault>;

pub(crate) fn parse(value: &Value) -> Parsed<Rollout> {
    if value.get("input").is_some() {
        tagged(value)
    } else if value.get("question").is_some() {
        prm800k(value)
    } else {
        rated(value)
    }
}

fn typed<T: for<'de> Deserialize<'de>>(value: &Value) -> Parsed<T> {
    let expected = "`input` and `label`, `question` and `label`, or `problem`, `steps`, `ratings`";
    T::deserialize(value).map_err(|error| Fault::new("record", expected, error.to_string()))
}

/// A rating in -1, 0, 1 as a label.
fn label_of(rating: i64) -> Parsed<f64> {
    match rating {
        -1 => Ok(0.0),
        0 => Ok(0.5),
        1 => Ok(1.0),
        other => Err(Fault::new("rating", "-1, 0 or 1", other.to_string())),
    }
}

/// One completion per list of steps with their labels.
fn rollout(
    prompt: String,
    reference: String,
    dataset: &str,
    solutions: Vec<Vec<(String, Option<f64>)>>,
) -> Rollout {
    let completion = |solution: Vec<(String, Option<f64>)>| {
        let (steps, labels): (Vec<String>, Vec<_>) = solution.into_iter().unzip();
        let completion = Completion { step_labels: Some(labels), ..steps.join("\n").into() };
        completion.with_steps(steps)
    };
    Rollout {
        prompt,
        reference,
        dataset: dataset.to_owned(),
        completions: solutions.into_iter().map(completion).collect(),
        ..Rollout::default()
    }
}

fn tagged(value: &Value) -> Parsed<Rollout> {
    #[derive(Deserialize)]
    struct Tagged {
        input: String,
        label: String,
        #[serde(default)]
        task: String,
    }
    let Tagged { input, label, task } = typed(value)?;
    // The problem may say it too: the last one before the first tag begins the solution.
    let first_tag = input.find(TAG).unwrap_or(input.len());
    let start = input[..first_tag]
        .rfind("Step 1:")
        .ok_or_else(|| Fault::new("input", "`Step 1:` after the problem", "none"))?;
    let (prompt, mut solution) = input.split_at(start);
    let unlike =
        || Fault::new("label", "the `input` with `+` or `-` for each tag", format!("`{label}`"));
    let mut labels = label.get(start..).filter(|_| label.starts_with(prompt)).ok_or_else(unlike)?;
    let mut steps = Vec::new();
    while let Some((step, rest)) = solution.split_once(TAG) {
        let after = labels.strip_prefix(step).ok_or_else(unlike)?;
        let sign = after.chars().next().ok_or_else(unlike)?;
        let good = match sign {
            '+' => 1.0,
            '-' => 0.0,
            _ => return Err(unlike()),
        };
        steps.push((step.trim().to_owned(), Some(good)));
        (solution, labels) = (rest, &after[sign.len_utf8()..]);
    }
    if steps.is_empty() {
        return Err(Fault::new("input", "the tag `ки` after each step", "none"));
    }
    Ok(rollout(prompt.trim_end().to_owned(), String::new(), &task, vec![steps]))
}

fn prm800k(value: &Value) -> Parsed<Rollout> {
    #[derive(Deserialize)]
    struct Sample {
        question: Question,
        label: Label,
    }
    #[derive(Deserialize)]
    struct Question {
        problem: String,
        #[serde(default)]
        ground_truth_answer: Option<String>,
    }
    #[derive(Deserialize)]
    struct Label {
        steps: Vec<Step>,
    }
    #[derive(Deserialize)]
    struct Step {
        #[serde(default)]
        completions: Option<Vec<Alternative>>,
        #[serde(default)]
        human_completion: Option<Alternative>,
        #[serde(default)]
        chosen_completion: Option<usize>,
    }
    #[derive(Deserialize)]
    struct Alternative {
        text: String,
        rating: Option<i64>,
    }
    let Sample { question, label } = typed(value)?;
    let mut chain: Vec<(String, Option<f64>)> = Vec::new();
    let mut solutions = Vec::new();
    for step in label.steps {
        let alternatives = step.completions.unwrap_or_default();
        for (idx, alternative) in alternatives.iter().enumerate() {
            if step.chosen_completion == Some(idx) {
                continue;
            }
            if let Some(rating) = alternative.rating {
                let unlabelled = chain.iter().map(|(text, _)| (text.clone(), None));
                let own = (alternative.text.clone(), Some(label_of(rating)?));
                solutions.push(unlabelled.chain([own]).collect());
            }
        }
        let chosen = match step.chosen_completion {
            Some(idx) => alternatives.into_iter().nth(idx),
            None => step.human_completion,
        };
        match chosen {
            Some(Alternative { text, rating }) => {
                chain.push((text, rating.map(label_of).transpose()?));
            }
            None => break,
        }
    }
    if chain.iter().any(|(_, label)| label.is_some()) {
        solutions.insert(0, chain);
    }
    let reference = question.ground_truth_answer.unwrap_or_default();
    Ok(rollout(question.problem, reference, "PRM800K", solutions))
}

fn rated(value: &Value) -> Parsed<Rollout> {
    #[derive(Deserialize)]
    struct Rated {
        #[serde(default)]
        id: Option<String>,
        problem: Option<String>,
        steps: Vec<String>,
        ratings: Vec<i64>,
        #[serde(default)]
        answer: Option<String>,
    }
    let Rated { id, problem, steps, ratings, answer } = typed(value)?;
    let problem = problem.ok_or_else(|| Fault::new("problem", "a text", "null"))?;
    if steps.len() != ratings.len() || steps.is_empty() {
        let got = format!("{} for {} steps", ratings.len(), steps.len());
        return Err(Fault::new("ratings", "one for each step", got));
    }
    let labels = ratings.into_iter().map(label_of).collect::<Parsed<Vec<_>>>()?;
    let solution = steps.into_iter().zip(labels.into_iter().map(Some)).collect();
    let of_file = rollout(problem, answer.unwrap_or_default(), "PRM800K", vec![solution]);
    Ok(Rollout { id, ..of_file })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(rollout: &Rollout) -> Vec<Vec<Option<f64>>> {
        rollout.completions.iter().map(|c| c.step_labels.clone().expect("labels")).collect()
    }

    fn texts(rollout: &Rollout) -> Vec<&str> {
        rollout.texts().collect()
    }

    #[test]
    fn tags_and_signs() {
        let line = serde_json::json!({
            "input": "How many? Step 1: 2 - 1 = 1 ки\nStep 2: The answer is: 3 ки",
            "label": "How many? Step 1: 2 - 1 = 1 +\nStep 2: The answer is: 3 -",
            "task": "GSM8K",
        });
        let rollout = parse(&line).expect("valid");
        assert_eq!(rollout.prompt, "How many?");
        assert_eq!(texts(&rollout), ["Step 1: 2 - 1 = 1\nStep 2: The answer is: 3"]);
        assert_eq!(labels(&rollout), [[Some(1.0), Some(0.0)]]);
        let unlike = serde_json::json!({"input": "a Step 1: b ки", "label": "a Step 1: c +"});
        let fault =
            Fault::new("label", "the `input` with `+` or `-` for each tag", "`a Step 1: c +`");
        assert_eq!(parse(&unlike).expect_err("unlike"), fault);
    }

    #[test]
    fn chosen_and_other_alternatives() {
        let line = serde_json::json!({
            "question": {"problem": "p", "ground_truth_answer": "4"},
            "label": {"steps": [
                {"completions": [{"text": "a", "rating": 1}, {"text": "b", "rating": -1}],
                 "human_completion": null, "chosen_completion": 0},
                {"completions": [{"text": "c", "rating": 0}],
                 "human_completion": {"text": "h", "rating": null}, "chosen_completion": null},
                {"completions": [{"text": "d", "rating": -1}],
                 "human_completion": null, "chosen_completion": null},
            ]},
        });
        let rollout = parse(&line).expect("valid");
        assert_eq!(texts(&rollout), ["a\nh", "b", "a\nc", "a\nh\nd"]);
        let expected = [
            vec![Some(1.0), None],
            vec![Some(0.0)],
            vec![None, Some(0.5)],
            vec![None, None, Some(0.0)],
        ];
        assert_eq!(labels(&rollout), expected);
    }

    #[test]
    fn flat_ratings_and_what_is_none_of_them() {
        let line = serde_json::json!({"problem": "p", "steps": ["a", "b"], "ratings": [0, -1]});
        assert_eq!(labels(&parse(&line).expect("valid")), [[Some(0.5), Some(0.0)]]);
        let short = serde_json::json!({"problem": "p", "steps": ["a", "b"], "ratings": [0]});
        let fault = Fault::new("ratings", "one for each step", "1 for 2 steps");
        assert_eq!(parse(&short).expect_err("short"), fault);
        assert!(
            parse(&serde_json::json!({"problem": "p", "steps": ["a"], "ratings": [2]})).is_err()
        );
        assert!(parse(&serde_json::json!({"x": 1})).is_err());
    }
}
