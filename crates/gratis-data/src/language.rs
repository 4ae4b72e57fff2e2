//! What a language model is trained on: texts, or prompts with completions.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::records::record::{Fault, Field, Record, Shape, shown};

/// A line to learn a language from: a `text`, or a prompt with completions as in a rollout file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LanguageExample {
    /// A text of any length; cut into pieces as long as the context.
    #[serde(default)]
    pub text: Option<String>,
    /// The rollout, where there is no text.
    #[serde(default)]
    pub prompt: String,
    /// Completions of the prompt.
    pub completions: Option<Vec<String>>,
    /// Further columns, ignored.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
    /// Where it was read, from 1: its name.
    #[serde(skip)]
    pub line: u64,
}

impl Record for LanguageExample {
    type Columns = Self;

    const FIELDS: &'static [Field] = &[
        Field::optional("text", &Shape::Text),
        Field::optional("prompt", &Shape::Text),
        Field::optional("completions", &Shape::List(&Shape::Text)),
    ];

    fn from_columns(columns: Self) -> std::result::Result<Self, Fault> {
        let is_mask = |name: &&str| columns.extra.get(*name).is_some_and(|mask| !mask.is_null());
        match ["masks", "loss_mask"].iter().find(|name| is_mask(name)) {
            None => Ok(columns),
            Some(name) => {
                let expected = "absent: a language model is trained on all of a completion";
                Err(Fault::new(*name, expected, shown(&columns.extra[*name])))
            }
        }
    }

    fn number(&mut self, line: u64) {
        self.line = line;
    }
}
