//! Where the final answer of a solution stands.
//!
//! In this order: a box, a phrase that announces the answer, the whole text when it is an
//! answer and not a solution, and the last number or formula.

mod boxed;
mod choice;
mod last;
mod phrase;
mod prose;

use std::borrow::Cow;

use crate::markup::choice_label;
use crate::verdict::{Extracted, Extraction};
use boxed::Boxed;

/// Marks after which a reasoning model gives its answer.
const REASONING_ENDS: [&str; 4] = ["</think>", "</thinking>", "</reasoning>", "</REASONING_END>"];
/// Marks after which another turn begins.
const TURN_ENDS: [&str; 6] =
    ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "</s>"];
/// Longer texts are never an answer by themselves.
const MAX_WHOLE_CHARS: usize = 2_000;

/// Finds the final answer of `solution`, which may be a bare answer itself.
pub fn extract(solution: &str) -> Extracted {
    extract_for("", solution)
}

/// Finds the final answer of `solution` when the gold answer is known.
///
/// The gold answer only says what kind of answer to look for: a choice letter, words, or
/// anything else. It never decides between candidates.
pub(crate) fn extract_for(gold: &str, solution: &str) -> Extracted {
    let text = response(solution);
    let found = |answer: &str, how| Extracted { answer: Some(answer.to_owned()), how };
    let missing = |how| Extracted { answer: None, how };
    match boxed::last_boxed(text) {
        Boxed::Found(answer) => return found(&answer, Extraction::Boxed),
        Boxed::Unclosed => return missing(Extraction::Malformed),
        Boxed::None => {}
    }
    let gold = gold_answer(gold);
    let is_choice = matches!(choice_label(&gold), Some((_, rest)) if rest.is_empty());
    if is_choice && let Some((letter, how)) = choice::letter(text) {
        return found(&letter, how);
    }
    if let Some(answer) = phrase::announced(text) {
        return found(&answer, Extraction::Phrase);
    }
    let whole = without_bold(text.trim());
    let whole = whole.as_ref();
    let is_wordy = prose::is_words(&gold) && prose::n_words(whole) <= 12;
    if !whole.is_empty() && whole.len() <= MAX_WHOLE_CHARS && (is_wordy || prose::is_answer(whole))
    {
        return found(whole, Extraction::Whole);
    }
    match last::last_value(text) {
        Some(answer) => found(&answer, Extraction::LastNumber),
        None => missing(Extraction::NotFound),
    }
}

/// The final answer of a gold text, which may be a bare answer or a whole solution.
pub(crate) fn gold_answer(gold: &str) -> Cow<'_, str> {
    let text = response(gold);
    match boxed::last_boxed(text) {
        Boxed::Found(answer) => answer.into(),
        _ => phrase::announced(text).map_or(text.into(), Cow::from),
    }
}

/// The text without Markdown's bold marks; `2**3` is no bold.
fn without_bold(text: &str) -> Cow<'_, str> {
    let is_bold = |start: usize| {
        let before = text[..start].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || "(:=".contains(c))
    };
    match text.find("**") {
        Some(start) if is_bold(start) => text.replace("**", "").into(),
        _ => text.into(),
    }
}

/// The text after the reasoning and before the next turn.
fn response(text: &str) -> &str {
    let mut text = text;
    for end in REASONING_ENDS {
        if let Some(at) = text.rfind(end) {
            text = &text[at + end.len()..];
        }
    }
    let start = text.len() - text.trim_start().len();
    let turn =
        TURN_ENDS.iter().filter_map(|end| text[start..].find(end).filter(|at| *at > 0)).min();
    turn.map_or(text, |at| &text[..start + at])
}
