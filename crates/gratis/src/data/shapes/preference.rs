//! Preference pairs: `chosen` and `rejected` as texts or messages, with the prompt in `prompt`, in
//! `trajectory` (UltraInteract) or as the beginning that both conversations share.

use serde_json::{Map, Value};

use super::super::completion::Completion;
use super::super::reading::Reading;
use super::super::record::Fault;
use super::super::rollout::Rollout;
use super::{Parsed, Prompt, messages, named, take, text};

/// A problem with a correct response and an incorrect one.
pub(super) fn pair(mut record: Map<String, Value>, reading: &Reading) -> Parsed<Rollout> {
    let mut side = |name: &str| record.shift_remove(name).unwrap_or_default();
    let (chosen, rejected) = (side("chosen"), side("rejected"));
    let given = take(&mut record, &["trajectory"]);
    let prompt = match given.or_else(|| take(&mut record, named::PROMPT)) {
        Some((name, value)) => Some(named::prompt(&name, &value)?),
        None => None,
    };
    let (prompt, chosen, rejected) = match prompt {
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
            messages::messages(name, value)
        } else {
            Err(Fault::new("prompt", "the prompt of `chosen` and `rejected`", "nothing"))
        }
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
