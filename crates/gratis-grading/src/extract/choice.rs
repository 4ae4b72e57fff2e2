//! The letter of a multiple-choice answer.

use std::sync::LazyLock;

use regex::Regex;

use super::{last, phrase, prose};
use crate::markup::choice_label;
use crate::verdict::Extraction;

/// A letter by itself, perhaps in brackets or bold.
static LETTER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?:^|[\s(\[*{$:：])([A-J])(?:[\s)\].,;:：*}$、。，']|$)").ok());

/// Words before a letter that choose it.
static CHOSEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:\bit'?s|\bit is|\boption|\bchoice|\bchoose|\bselect|\bpick|\bgo with|故选|选项?)\s*:?\s*[(*]*([A-J])\b").ok()
});

/// How far from the end a letter is looked for.
const MAX_REACH: usize = 4_000;

/// The letter `text` chooses, and how it was found.
pub(super) fn letter(text: &str) -> Option<(String, Extraction)> {
    for tail in phrase::tails(text) {
        if let Some(letter) = letters(tail).into_iter().next() {
            return Some((letter, Extraction::Phrase));
        }
    }
    let whole = text.trim();
    if whole.len() <= 200 && choice_label(whole).is_some() && prose::n_words(whole) <= 12 {
        return Some((whole.to_owned(), Extraction::Whole));
    }
    let end = last::tail(text, MAX_REACH);
    let chosen = CHOSEN.as_ref()?.captures_iter(end).filter_map(|found| found.get(1)).last();
    if let Some(found) = chosen {
        return Some((found.as_str().to_owned(), Extraction::Phrase));
    }
    let letter = letters(end).pop()?;
    Some((letter, Extraction::LastNumber))
}

/// The letters that stand by themselves and are not ruled out: `not A`, `A bird`.
fn letters(text: &str) -> Vec<String> {
    let Some(regex) = LETTER.as_ref() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(captures) = regex.captures_at(text, at) {
        let Some(letter) = captures.get(1) else {
            break;
        };
        at = letter.end();
        let before = text[..letter.start()].trim_end_matches([' ', '(', '*']);
        let is_ruled_out =
            ["not", "non", "n't", "nor", "than"].iter().any(|word| before.ends_with(word));
        let after = &text[letter.end()..];
        let is_word = matches!(letter.as_str(), "A" | "I")
            && after.starts_with(' ')
            && after.trim_start().starts_with(|c: char| c.is_lowercase());
        if !is_ruled_out && !is_word {
            found.push(letter.as_str().to_owned());
        }
    }
    found
}
