//! Conversations: lists of messages as `role` and `content`, or `from` and `value` (ShareGPT).

use gratis_model::chat_template::Message;
use serde_json::{Map, Value};

use super::super::reading::FileReading;
use super::super::record::Fault;
use super::super::rollout::Rollout;
use super::{Parsed, Prompt, named, shown};

/// Columns that hold a conversation.
const COLUMNS: [&str; 3] = ["messages", "conversations", "conversation"];

/// The conversation of a record, if it has one.
pub(super) fn conversation(record: &Map<String, Value>) -> Option<&Value> {
    COLUMNS.iter().find_map(|name| record.get(*name).filter(|value| are_messages(value)))
}

/// Whether a value is a list of messages.
pub(super) fn are_messages(value: &Value) -> bool {
    let is_message = |item: &Value| {
        (item.get("role").is_some() && item.get("content").is_some())
            || (item.get("from").is_some() && item.get("value").is_some())
    };
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(is_message))
}

/// The messages of a list.
pub(super) fn messages(name: &str, value: &Value) -> Parsed<Vec<Message>> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let message = |(idx, item): (usize, &Value)| {
        let field = format!("{name}[{idx}]");
        let get = |names: [&str; 2]| names.iter().find_map(|name| item.get(*name));
        let role = get(["role", "from"]).and_then(Value::as_str);
        let role = role.ok_or_else(|| Fault::new(&field, "a message with a role", shown(item)))?;
        let role = match role {
            "human" => "user",
            "gpt" | "bot" | "model" => "assistant",
            other => other,
        };
        for calls in ["tool_calls", "function_call"] {
            let calls_something = |value: &&Value| match value {
                Value::Null => false,
                Value::Array(calls) => !calls.is_empty(),
                _ => true,
            };
            if let Some(value) = item.get(calls).filter(calls_something) {
                let expected = "absent: calls of tools are not rendered (write them into `content`, \
                                as the model writes them)";
                return Err(Fault::new(format!("{field}.{calls}"), expected, shown(value)));
            }
        }
        let content = get(["content", "value"]).unwrap_or(&Value::Null);
        let content = content_text(content).ok_or_else(|| {
            let expected = "text (images and other parts are not read)";
            Fault::new(format!("{field}.content"), expected, shown(content))
        })?;
        Ok(Message::new(role, with_thought(item, content)))
    };
    items.iter().enumerate().map(message).collect()
}

/// A text after the thought that an inference server has separated from it.
pub(super) fn with_thought(fields: &Value, text: String) -> String {
    let thought = ["reasoning_content", "reasoning"].iter().find_map(|name| fields[*name].as_str());
    match thought.map(str::trim).filter(|thought| !thought.is_empty()) {
        Some(thought) => format!("<think>\n{thought}\n</think>\n\n{text}"),
        None => text,
    }
}

/// The text of a message: a string, or a list of parts that are all text.
fn content_text(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) if parts.is_empty() => None,
        Value::Array(parts) => {
            let part = |part: &Value| part.get("text").and_then(Value::as_str).map(str::to_owned);
            parts.iter().map(part).collect()
        }
        _ => None,
    }
}

/// A prompt that ends with what the user said.
pub(super) fn prompt(name: &str, mut messages: Vec<Message>) -> Parsed<Prompt> {
    match messages.pop() {
        Some(last) if last.role == "user" => Ok(Prompt { context: messages, text: last.content }),
        last => {
            let got = last.map_or("nothing".to_owned(), |last| format!("`{}`", last.role));
            let expected = "messages of which the last before the response is the user's (a response \
                            that calls tools is read as one text, its outputs under `masks`)";
            Err(Fault::new(name, expected, got))
        }
    }
}

/// The text of a response given as messages: one assistant message.
pub(super) fn response(name: &str, messages: &[Message]) -> Parsed<String> {
    match messages {
        [only] if only.role == "assistant" => Ok(only.content.clone()),
        others => {
            let roles: Vec<_> = others.iter().map(|message| message.role.as_str()).collect();
            let got = format!("`{}`", roles.join(", "));
            Err(Fault::new(name, "one message of the assistant", got))
        }
    }
}

/// A conversation: the last assistant message is the response, what comes before it the prompt. One
/// that ends with the user's message is a problem without a response.
pub(super) fn record(mut record: Map<String, Value>, reading: &FileReading) -> Parsed<Rollout> {
    let name = COLUMNS.into_iter().find(|name| record.get(*name).is_some_and(are_messages));
    let name = name.ok_or_else(|| Fault::new("messages", "a list of messages", "none"))?;
    let value = record.shift_remove(name).unwrap_or_default();
    let mut messages = messages(name, &value)?;
    let last = messages.pop_if(|last| last.role == "assistant");
    let prompt = prompt(name, messages)?;
    record.shift_remove("prompt");
    let completions = last.map(|last| vec![last.content.into()]).unwrap_or_default();
    named::rollout(record, prompt, completions, reading)
}
