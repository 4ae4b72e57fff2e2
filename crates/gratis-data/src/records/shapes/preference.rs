//! Preference pairs: `chosen` and `rejected` as texts or messages, with the prompt in `prompt`, in
//! `trajectory` (UltraInteract) or as the beginning that both conversations share; a conversation may
//! be one text of `Human:` and `Assistant:` turns.

use gratis_model::chat_template::Message;
use serde_json::{Map, Value};

use super::super::completion::Completion;
use super::super::reading::FileReading;
use super::super::record::Fault;
use super::super::rollout::Rollout;
use super::{Parsed, Prompt, messages, named, shown, take, text};

/// A problem with a correct response and an incorrect one.
pub(super) fn pair(mut record: Map<String, Value>, reading: &FileReading) -> Parsed<Rollout> {
    let mut side = |name: &str| record.shift_remove(name).unwrap_or_default();
    let (chosen, rejected) = (side("chosen"), side("rejected"));
    let given = take(&mut record, &["trajectory"]);
    let prompt = match given.or_else(|| take(&mut record, named::PROMPT)) {
        Some((name, value)) => Some(named::prompt(&name, &value)?),
        None => None,
    };
    let is_whole = |value: &Value| {
        messages::are_messages(value) && value.as_array().is_some_and(|items| items.len() > 1)
    };
    let (prompt, chosen, rejected) = match prompt {
        Some(prompt) if is_whole(&chosen) && is_whole(&rejected) => {
            let (shared, chosen, rejected) = shared(&chosen, &rejected)?;
            if shared.text.trim() != prompt.text.trim() {
                let expected = "a conversation that repeats `prompt` before the response";
                return Err(Fault::new("chosen", expected, shown(&shared.text.as_str().into())));
            }
            (shared, chosen, rejected)
        }
        Some(prompt) => (prompt, response("chosen", &chosen)?, response("rejected", &rejected)?),
        None => shared(&chosen, &rejected)?,
    };
    let completions = vec![Completion::graded(chosen, true), Completion::graded(rejected, false)];
    named::rollout(record, prompt, completions, reading)
}

fn response(name: &str, value: &Value) -> Parsed<String> {
    if messages::are_messages(value) {
        messages::response(name, &messages::messages(name, value)?)
    } else {
        text(name, value)
    }
}

/// The prompt that two conversations share, and their last messages.
fn shared(chosen: &Value, rejected: &Value) -> Parsed<(Prompt, String, String)> {
    let list = |name: &str, value: &Value| {
        if messages::are_messages(value) {
            return messages::messages(name, value);
        }
        let turns = value.as_str().and_then(turns);
        turns
            .ok_or_else(|| Fault::new("prompt", "the prompt of `chosen` and `rejected`", "nothing"))
    };
    let (mut chosen, mut rejected) = (list("chosen", chosen)?, list("rejected", rejected)?);
    let last = (chosen.pop(), rejected.pop());
    if chosen != rejected {
        let expected = "the messages of `chosen` but for the last";
        return Err(Fault::new("rejected", expected, "other messages"));
    }
    let (Some(good), Some(bad)) = last else {
        return Err(Fault::new("chosen", "at least two messages", "fewer"));
    };
    let prompt = messages::prompt("chosen", chosen)?;
    Ok((prompt, messages::response("chosen", &[good])?, messages::response("rejected", &[bad])?))
}

/// A conversation as one text: turns after `Human:` and `Assistant:`, each on a paragraph of its own.
fn turns(text: &str) -> Option<Vec<Message>> {
    const TURNS: [(&str, &str); 2] = [("\n\nHuman:", "user"), ("\n\nAssistant:", "assistant")];
    let next = |text: &str| {
        let found = TURNS.iter().filter_map(|(tag, role)| Some((text.find(tag)?, *tag, *role)));
        found.min()
    };
    let text = format!("\n\n{}", text.trim_start());
    let mut rest = text.as_str();
    let mut messages = Vec::new();
    while let Some((at, tag, role)) = next(rest) {
        if !rest[..at].trim().is_empty() && messages.is_empty() {
            return None;
        }
        rest = &rest[at + tag.len()..];
        let end = next(rest).map_or(rest.len(), |(at, ..)| at);
        messages.push(Message::new(role, rest[..end].trim()));
        rest = &rest[end..];
    }
    (messages.len() > 1).then_some(messages)
}
