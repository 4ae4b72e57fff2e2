//! A completion: one candidate solution of a problem, with everything that is known about it.

use gratis_engine::FinishReason;
use serde_json::{Map, Value};

use super::mask::Mask;
use super::record::Fault;

/// One candidate solution of a problem.
///
/// A rollout file holds these as parallel columns, see [`Rollout`](crate::Rollout).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// Whether its final answer is correct; absent before grading.
    pub label: Option<bool>,
    /// A label strictly between 0 and 1, in place of `label`: how likely its final answer is correct.
    pub soft_label: Option<f64>,
    /// Its steps in order, where they are given.
    pub steps: Option<Vec<String>>,
    /// A label per step in `0..=1`, or `None` where a step has none: see [`Rollout::step_labels`](crate::Rollout::step_labels).
    pub step_labels: Option<Vec<Option<f64>>>,
    /// The tokens as they were sampled.
    pub token_ids: Option<Vec<u32>>,
    /// Why sampling ended; absent where that is not known.
    pub finish_reason: Option<FinishReason>,
    /// Parts without rewards and without a training signal.
    pub mask: Option<Mask>,
    /// Further columns with one entry per completion, by name: those that grading adds.
    pub extra: Map<String, Value>,
}

/// Columns that grading adds. They have one entry per completion and follow it, as `correctness`
/// and the other fields of [`Completion`] do. Other columns belong to the problem, whatever their
/// length.
pub(crate) const PER_COMPLETION: [&str; 2] = [Completion::EXTRACTED, Completion::HOW];

impl<T: Into<String>> From<T> for Completion {
    fn from(text: T) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

impl Completion {
    /// Column that holds the final answer found in each completion.
    pub const EXTRACTED: &str = "extracted";
    /// Column that says how each final answer was found.
    pub const HOW: &str = "how";

    /// A graded completion.
    pub fn graded(text: impl Into<String>, is_correct: bool) -> Self {
        Self { label: Some(is_correct), ..text.into().into() }
    }

    /// Whether it has a label of either kind.
    pub fn is_labelled(&self) -> bool {
        self.label.is_some() || self.soft_label.is_some()
    }

    /// The same completion with its steps.
    #[must_use]
    pub fn with_steps(self, steps: Vec<String>) -> Self {
        Self { steps: Some(steps), ..self }
    }
}

/// The name of a finish reason in files.
pub(crate) fn finish_name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

/// The finish reason as inference servers give it: one of many names, or an object with its `type`. What
/// stopped a response before its end, such as a filter, counts as a limit.
pub(crate) fn any_finish_reason(field: &str, value: &Value) -> Result<Option<FinishReason>, Fault> {
    const ENDED: [&str; 11] = [
        "stop",
        "eos",
        "eos_token",
        "stop_sequence",
        "stop_token",
        "end_turn",
        "completed",
        "finished",
        "tool_calls",
        "tool_use",
        "function_call",
    ];
    const CUT_OFF: [&str; 10] = [
        "length",
        "max_tokens",
        "max_length",
        "max_new_tokens",
        "model_length",
        "abort",
        "aborted",
        "cancelled",
        "content_filter",
        "error",
    ];
    let fault = |got: String| {
        let expected = "a finish reason such as `stop` or `length`, or null";
        Err(Fault::new(field, expected, got))
    };
    match value {
        Value::Null => Ok(None),
        Value::String(name) if name.is_empty() => Ok(None),
        Value::String(name) => match name.to_ascii_lowercase().as_str() {
            name if ENDED.contains(&name) => Ok(Some(FinishReason::Stop)),
            name if CUT_OFF.contains(&name) => Ok(Some(FinishReason::Length)),
            _ => fault(format!("`{name}`")),
        },
        Value::Object(fields) if fields.contains_key("type") => {
            any_finish_reason(field, &fields["type"])
        }
        other => fault(super::record::shown(other)),
    }
}

/// The finish reason of this name.
pub(crate) fn finish_reason(name: &str) -> Result<FinishReason, Fault> {
    match name {
        "stop" => Ok(FinishReason::Stop),
        "length" => Ok(FinishReason::Length),
        other => {
            Err(Fault::new("finish_reasons", "`stop`, `length` or null", format!("`{other}`")))
        }
    }
}
