//! Grading cases: one gold answer and one prediction per line; other fields are kept.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::exact::{self, NotFinite};
use crate::records::record::{Fault, Field, Record};

/// One line of a case file, with all of its fields in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Case {
    /// The fields as they were read.
    pub fields: Map<String, Value>,
}

impl Case {
    /// The gold answer; empty if absent.
    pub fn gold(&self) -> Cow<'_, str> {
        self.text("gold")
    }

    /// The prediction, a bare answer or a whole solution; empty if absent.
    pub fn pred(&self) -> Cow<'_, str> {
        self.text("pred")
    }

    /// Whether it has a gold answer and a prediction. An empty prediction is one.
    pub fn is_complete(&self) -> bool {
        let has_pred = self.fields.get("pred").is_some_and(|pred| !pred.is_null());
        has_pred && !self.gold().trim().is_empty()
    }

    /// The fields it has, for messages.
    pub fn field_names(&self) -> String {
        let names = self.fields.keys().map(|name| format!("`{name}`"));
        names.collect::<Vec<_>>().join(", ")
    }

    /// A field as text: a number stands for its digits as they were
    /// written, null for nothing.
    fn text(&self, name: &str) -> Cow<'_, str> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Cow::Borrowed(""),
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(other) => Cow::Owned(exact::to_json(other, NotFinite::Named)),
        }
    }
}

impl Record for Case {
    type Columns = Self;

    const FIELDS: &'static [Field] = &[];

    fn from_columns(columns: Self) -> Result<Self, Fault> {
        Ok(columns)
    }
}
