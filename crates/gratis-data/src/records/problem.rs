//! Problems to solve: rollouts without completions, whose columns may go by other usual names.

use gratis_model::chat_template::Message;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::record::{Fault, Field, Record, Shape};
use super::rollout::{Rollout, text_or_integer};

/// A line of a problem file, or of a rollout file whose completions are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Problem {
    /// Names the problem; its line number where absent.
    #[serde(default, deserialize_with = "text_or_integer")]
    id: Option<String>,
    /// The problem as the model reads it.
    #[serde(alias = "question", alias = "problem")]
    prompt: String,
    /// The gold answer.
    #[serde(default, alias = "answer", alias = "gold")]
    reference: String,
    /// Where the problem comes from.
    #[serde(default)]
    dataset: String,
    /// What was said before the prompt.
    #[serde(default)]
    context: Vec<Message>,
    /// Further columns, carried along unchanged.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl Record for Problem {
    type Columns = Self;

    const FIELDS: &'static [Field] = &[
        Field::optional("id", &Shape::TextOrInteger),
        Field::required("prompt", &Shape::Text).or(&["question", "problem"]),
        Field::optional("reference", &Shape::Text).or(&["answer", "gold"]),
        Field::optional("dataset", &Shape::Text),
    ];

    const IS_ROLLOUT: bool = true;

    fn from_rollout(rollout: Rollout) -> Result<Self, Fault> {
        let Rollout { id, prompt, reference, dataset, context, extra, .. } = rollout;
        Ok(Self { id, prompt, reference, dataset, context, extra })
    }

    fn from_columns(columns: Self) -> Result<Self, Fault> {
        if columns.prompt.trim().is_empty() {
            return Err(Fault::new("prompt", "a problem", "empty text"));
        }
        Ok(columns)
    }

    fn number(&mut self, line: u64) {
        self.id.get_or_insert_with(|| line.to_string());
    }
}

impl From<Problem> for Rollout {
    fn from(problem: Problem) -> Self {
        let Problem { id, prompt, reference, dataset, context, extra } = problem;
        Self { id, prompt, reference, dataset, context, completions: Vec::new(), extra }
    }
}
