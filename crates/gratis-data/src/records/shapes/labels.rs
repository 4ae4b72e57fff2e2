//! Labels as others write them: booleans, 0 and 1, numbers between them as soft labels, and numbers
//! against a threshold.

use std::borrow::Cow;

use serde_json::Value;

use super::super::completion::Completion;
use super::super::reading::FileReading;
use super::super::record::Fault;
use super::{Parsed, shown};
use crate::exact;

/// The label of a response.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Label {
    Hard(bool),
    /// Strictly between 0 and 1.
    Soft(f64),
}

impl Label {
    /// The label as a number.
    pub(super) fn target(self) -> f64 {
        match self {
            Self::Hard(label) => f64::from(label),
            Self::Soft(label) => label,
        }
    }

    /// The label, unless it is soft.
    pub(super) fn hard(self) -> Option<bool> {
        match self {
            Self::Hard(label) => Some(label),
            Self::Soft(_) => None,
        }
    }

    /// The label, if it is soft.
    pub(super) fn soft(self) -> Option<f64> {
        match self {
            Self::Hard(_) => None,
            Self::Soft(label) => Some(label),
        }
    }
}

/// Gives a completion its label.
pub(super) fn put(completion: &mut Completion, label: Option<Label>) {
    completion.label = label.and_then(Label::hard);
    completion.soft_label = label.and_then(Label::soft);
}

/// A label in words.
fn word(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "correct" | "right" => Some(true),
        "false" | "no" | "incorrect" | "wrong" => Some(false),
        _ => None,
    }
}

/// The number or label in an object of scores, such as `{"score": 1.0, "acc": true}`, or in each
/// object of a list.
pub(super) fn inner(value: &Value) -> Cow<'_, Value> {
    const NAMES: [&str; 6] = ["correct", "is_correct", "acc", "accuracy", "label", "score"];
    let of = |value: &Value| {
        let fields = value.as_object().filter(|_| exact::text_of(value).is_none())?;
        let found = NAMES.iter().find_map(|name| fields.get(*name).filter(|v| !v.is_null()));
        found.cloned()
    };
    if let Some(found) = of(value) {
        return Cow::Owned(found);
    }
    let items = value.as_array().filter(|items| items.iter().any(|item| of(item).is_some()));
    match items {
        Some(items) => Cow::Owned(items.iter().map(|item| of(item).unwrap_or_default()).collect()),
        None => Cow::Borrowed(value),
    }
}

/// A label; `None` for null. Words such as `true` are labels as well (CSV has nothing else).
pub(super) fn label(name: &str, value: &Value, reading: &FileReading) -> Parsed<Option<Label>> {
    let value = match value {
        Value::Null => return Ok(None),
        Value::Bool(label) => return Ok(Some(Label::Hard(*label))),
        Value::String(text) => match text.trim() {
            "" => return Ok(None),
            text => match word(text) {
                Some(label) => return Ok(Some(Label::Hard(label))),
                None => text.parse::<f64>().map_err(|_| fault(name, value))?,
            },
        },
        value => exact::as_f64(value).ok_or_else(|| fault(name, value))?,
    };
    match reading.shape.label_threshold {
        Some(_) if value.is_nan() => Err(Fault::new(name, "a number", "`NaN`")),
        Some(threshold) => Ok(Some(Label::Hard(value >= threshold))),
        None if value == 0.0 || value == 1.0 => Ok(Some(Label::Hard(value == 1.0))),
        None if value > 0.0 && value < 1.0 => Ok(Some(Label::Soft(value))),
        None => Err(Fault::new(
            name,
            "a label: `true`, `false`, a number from 0 to 1 or null (other numbers need \
             `--label-threshold`, from which on a response counts as correct)",
            format!("`{value}`"),
        )),
    }
}

/// Labels, one for each of `n` responses; a single label is that of a single response.
pub(super) fn labels(
    name: &str,
    value: &Value,
    n: usize,
    reading: &FileReading,
) -> Parsed<Vec<Option<Label>>> {
    let items = match value {
        Value::Null => return Ok(vec![None; n]),
        Value::Array(items) => items.as_slice(),
        value => std::slice::from_ref(value),
    };
    if items.len() != n {
        let expected = format!("one entry for each of {n} responses");
        return Err(Fault::new(name, expected, items.len().to_string()));
    }
    let item = |(idx, item)| label(&format!("{name}[{idx}]"), item, reading);
    items.iter().enumerate().map(item).collect()
}

/// Whether a value can only be a label or a list of labels, whatever its column is called.
pub(super) fn are_certain(value: &Value) -> bool {
    match value {
        Value::Array(items) => {
            !items.is_empty() && items.iter().all(|item| item.is_null() || is_certain(item))
        }
        value => is_certain(value),
    }
}

/// Whether a value is a list of labels, hard or soft.
pub(super) fn are_shares(value: &Value) -> bool {
    let is_share = |item: &Value| {
        item.is_null()
            || item.is_boolean()
            || item.as_f64().is_some_and(|number| (0.0..=1.0).contains(&number))
    };
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(is_share))
}

fn is_certain(value: &Value) -> bool {
    value.is_boolean() || value.as_f64().is_some_and(|number| number == 0.0 || number == 1.0)
}

fn fault(name: &str, value: &Value) -> Fault {
    let is_list = value.as_str().is_some_and(|text| text.starts_with('['));
    let expected = if is_list {
        "`true`, `false`, a number from 0 to 1 or null (a list written as text, as NumPy prints it, loses its parts: \
         write JSON lines or Parquet instead of CSV)"
    } else {
        "`true`, `false`, a number from 0 to 1 or null"
    };
    Fault::new(name, expected, shown(value))
}
