//! Finds the final answer of a solution.
//!
//! Inside answer tags if there are any, and in this order: a box, a phrase that announces the answer, the whole text when it is an
//! answer and not a solution, and the last number or formula.

mod boxed;
mod choice;
mod last;
mod number;
mod phrase;
mod plain;
mod prose;
mod refusal;
mod turn;

use std::borrow::Cow;

use crate::markup::{choice_label, with_ascii_forms};
use crate::verdict::{Extracted, Extraction};
use boxed::Boxed;

/// Longer texts are never an answer by themselves.
const MAX_WHOLE_CHARS: usize = 2_000;

/// Finds the final answer of `solution`, which may be a bare answer itself.
pub fn extract(solution: &str) -> Extracted {
    extract_for("", solution)
}

/// Finds the final answer of `solution` when the gold answer is known: what [`gold_answer`] gives.
///
/// It only determines the kind of answer to look for: a choice letter, words, or
/// anything else. It never decides between candidates.
pub(crate) fn extract_for(gold: &str, solution: &str) -> Extracted {
    let solution = with_ascii_forms(solution);
    let (text, tagged) = turn::response(&solution);
    if let Some(tagged) = tagged {
        let found = extract_from(gold, tagged);
        if found.answer.is_some() {
            return found;
        }
    }
    extract_from(gold, text)
}

/// Finds the final answer in the part of a solution that answers.
fn extract_from(gold: &str, text: &str) -> Extracted {
    let found = |answer: String, how| Extracted { answer: Some(answer), how };
    let missing = |how| Extracted { answer: None, how };
    let is_choice = matches!(choice_label(gold), Some((_, rest)) if rest.is_empty());
    match boxed::last_boxed(text) {
        Boxed::Found(answer) => {
            // A box of mathematics and a letter announced beside it: the letter is the choice.
            if is_choice
                && choice_label(&answer).is_none()
                && let Some(letter) = choice::announced(text)
            {
                return found(letter, Extraction::Phrase);
            }
            return found(answer, Extraction::Boxed);
        }
        Boxed::Unclosed => return missing(Extraction::Malformed),
        Boxed::None => {}
    }
    if is_choice && let Some((letter, how)) = choice::letter(text) {
        return found(letter, how);
    }
    if let Some(answer) = phrase::announced(text) {
        return found(answer, Extraction::Phrase);
    }
    let whole = without_bold(text.trim());
    let whole = whole.as_ref();
    if prose::is_words(gold)
        && let Some(answer) = prose::words(gold, whole)
    {
        return found(answer.to_owned(), Extraction::Whole);
    }
    if !whole.is_empty() && whole.len() <= MAX_WHOLE_CHARS && prose::is_answer(whole) {
        return found(whole.to_owned(), Extraction::Whole);
    }
    match last::first_or_last_value(text) {
        Some(answer) => found(answer, Extraction::LastNumber),
        None => missing(Extraction::NotFound),
    }
}

/// The final answer of a gold text, which may be a bare answer or a whole solution.
pub(crate) fn gold_answer(gold: &str) -> Cow<'_, str> {
    let (text, _) = turn::response(gold);
    match boxed::last_boxed(text) {
        Boxed::Found(answer) => answer.into(),
        _ => phrase::announced(text).map_or(text.into(), Cow::from),
    }
}

/// The text without Markdown's marks of bold and italics; `2**3` is no bold.
fn without_bold(text: &str) -> Cow<'_, str> {
    let is_bold = |start: usize| {
        let before = text[..start].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || "(:=".contains(c))
    };
    for mark in ["__", "*", "_"] {
        let inner = text.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
        if let Some(inner) = inner.filter(|inner| !inner.is_empty() && !inner.contains(['*', '_']))
        {
            return inner.into();
        }
    }
    match text.find("**") {
        Some(start) if is_bold(start) => text.replace("**", "").into(),
        _ => text.into(),
    }
}
