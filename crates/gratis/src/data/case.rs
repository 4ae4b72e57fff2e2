//! Grading cases: a gold answer and a prediction a line, whatever else stands beside them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::record::{Fault, Field, Record};

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

    /// A field as text: a number stands for its digits, null for nothing.
    fn text(&self, name: &str) -> Cow<'_, str> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Cow::Borrowed(""),
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(other) => Cow::Owned(other.to_string()),
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
