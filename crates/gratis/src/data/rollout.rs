//! Rollouts: a problem, its gold answer, and candidate solutions with their outcome labels.
//!
//! The columns are those of the authors' published data set, so that it loads as it is.

use serde::{Deserialize, Deserializer, Serialize};

use super::record::{Fault, Field, Record, Shape};
use crate::error::{Error, Result};

/// One line of a rollout file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Names the problem; readers fill in the line number where it is absent.
    #[serde(
        default,
        deserialize_with = "text_or_integer",
        skip_serializing_if = "Option::is_none"
    )]
    pub id: Option<String>,
    /// The problem as the model reads it.
    pub prompt: String,
    /// The gold answer.
    #[serde(default, deserialize_with = "null_as_default")]
    pub reference: String,
    /// Where the problem comes from.
    #[serde(default, deserialize_with = "null_as_default")]
    pub dataset: String,
    /// Candidate solutions; none before sampling.
    #[serde(default, deserialize_with = "null_as_default")]
    pub completions: Vec<String>,
    /// Outcome label of each completion; absent before grading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correctness: Option<Vec<bool>>,
    /// Steps of each completion, where they are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Vec<String>>>,
    /// Further columns, carried along unchanged.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Rollout {
    /// The outcome labels, one for each completion.
    ///
    /// # Errors
    /// [`Error::NoCorrectness`] if the rollouts were not graded; `needed_by` says for whom.
    pub fn labels(&self, needed_by: &str) -> Result<&[bool]> {
        self.correctness.as_deref().ok_or_else(|| Error::NoCorrectness {
            needed_by: needed_by.to_owned(),
            record: match &self.id {
                Some(id) => format!("problem `{id}`"),
                None => format!("problem `{}`", self.prompt.lines().next().unwrap_or_default()),
            },
        })
    }

    /// The same problem with the completions of these indices, in this order, and whatever the
    /// record holds for each completion.
    #[must_use]
    pub fn with_completions(&self, indices: &[usize]) -> Self {
        let n = self.completions.len();
        let mut extra = self.extra.clone();
        for value in extra.values_mut() {
            // A further column of one value a completion follows the completions.
            if let Some(items) = value.as_array().filter(|items| items.len() == n) {
                *value = indices.iter().map(|&idx| items[idx].clone()).collect();
            }
        }
        Self {
            completions: pick(&self.completions, indices),
            correctness: self.correctness.as_ref().map(|labels| pick(labels, indices)),
            steps: self.steps.as_ref().map(|steps| pick(steps, indices)),
            extra,
            ..self.clone_problem()
        }
    }

    fn clone_problem(&self) -> Self {
        Self {
            id: self.id.clone(),
            prompt: self.prompt.clone(),
            reference: self.reference.clone(),
            dataset: self.dataset.clone(),
            ..Self::default()
        }
    }
}

fn pick<T: Clone>(items: &[T], indices: &[usize]) -> Vec<T> {
    indices.iter().map(|&idx| items[idx].clone()).collect()
}

impl Record for Rollout {
    const FIELDS: &'static [Field] = &[
        Field::optional("id", &Shape::TextOrInteger),
        Field::required("prompt", &Shape::Text),
        Field::optional("reference", &Shape::Text),
        Field::optional("dataset", &Shape::Text),
        Field::optional("completions", &Shape::List(&Shape::Text)),
        Field::optional("correctness", &Shape::List(&Shape::Bool)),
        Field::optional("steps", &Shape::List(&Shape::List(&Shape::Text))),
    ];

    fn fault(&self) -> Option<Fault> {
        let n = self.completions.len();
        if self.prompt.trim().is_empty() {
            return Some(Fault::new("prompt", "a problem", "empty text"));
        }
        if let Some(idx) = self.completions.iter().position(|text| text.trim().is_empty()) {
            return Some(Fault::new(format!("completions[{idx}]"), "a response", "empty text"));
        }
        let expected = format!("one entry for each of {n} `completions`");
        if let Some(labels) = self.correctness.as_ref().filter(|labels| labels.len() != n) {
            return Some(Fault::new("correctness", expected, labels.len().to_string()));
        }
        let steps = self.steps.as_ref()?;
        if steps.len() != n {
            return Some(Fault::new("steps", expected, steps.len().to_string()));
        }
        let is_blank = |step: &String| step.trim().is_empty();
        steps.iter().enumerate().find_map(|(idx, steps)| {
            let field = format!("steps[{idx}]");
            if steps.is_empty() {
                return Some(Fault::new(field, "at least one step", "none"));
            }
            let blank = steps.iter().position(is_blank)?;
            Some(Fault::new(format!("{field}[{blank}]"), "a step", "empty text"))
        })
    }

    fn number(&mut self, line: u64) {
        self.id.get_or_insert_with(|| line.to_string());
    }
}

/// Identifiers are often written as numbers.
pub(crate) fn text_or_integer<'de, D: Deserializer<'de>>(
    source: D,
) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Integer(i64),
    }
    Ok(Option::<Id>::deserialize(source)?.map(|id| match id {
        Id::Text(text) => text,
        Id::Integer(number) => number.to_string(),
    }))
}

/// Columnar files write an absent text as null.
fn null_as_default<'de, T, D>(source: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(source)?.unwrap_or_default())
}
