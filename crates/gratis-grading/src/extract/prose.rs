//! Distinguishes an answer from a sentence.

use crate::parse::words::{MATH_WORDS, is_filler, number_word};
use crate::units::known_unit;

/// Words that join the parts of an answer.
const CONNECTORS: &[&str] = &[
    "and", "or", "et", "und", "to", "percent", "pct", "per", "pm", "am", "mod", "if", "for",
    "union",
];

/// The most foreign words of an answer.
const MAX_FOREIGN: usize = 2;

/// The number of words of a text outside commands, `\text{}` and mathematics that is spelt out;
/// no more are counted than decide that it is no answer.
fn foreign_words(text: &str) -> usize {
    let mut n_foreign = 0;
    let mut rest = text;
    while let Some(c) = rest.chars().next()
        && n_foreign <= MAX_FOREIGN
    {
        if c == '\\' {
            let body = &rest[1..];
            let name_len = body.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(body.len());
            let name = &body[..name_len];
            rest = &body[name_len..];
            let holds_words = name.starts_with("text")
                || matches!(
                    name,
                    "mbox" | "mathrm" | "operatorname" | "begin" | "end" | "mathbf" | "emph"
                );
            if holds_words && rest.starts_with('{') {
                rest = rest.split_once('}').map_or("", |(_, after)| after);
            }
            continue;
        }
        if !c.is_alphabetic() {
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let end = rest.find(|c: char| !c.is_alphabetic() && c != '\'').unwrap_or(rest.len());
        n_foreign += usize::from(is_foreign(&rest[..end]));
        rest = &rest[end..];
    }
    n_foreign
}

/// Whether a word belongs to a language and not to a formula.
fn is_foreign(word: &str) -> bool {
    let n_letters = word.chars().count();
    let is_word = |known: &&str| known.eq_ignore_ascii_case(word);
    let is_formula = n_letters == 1
        || MATH_WORDS.iter().any(is_word)
        || CONNECTORS.iter().any(is_word)
        || known_unit(word).is_some()
        || number_word(word).is_some()
        || (is_filler(word) && n_letters > 1)
        || (n_letters <= 6 && word.chars().all(char::is_uppercase))
        // `xy`, `bc`: variables side by side.
        || (n_letters <= 3 && !word.to_lowercase().contains(['a', 'e', 'i', 'o', 'u']));
    !is_formula
}

/// The number of words in a text.
pub(super) fn n_words(text: &str) -> usize {
    text.split_whitespace().take(100).count()
}

/// The verbs between a subject and what it is.
const COPULAS: [&str; 5] = [" is ", " are ", " was ", " were ", ": "];
/// Longer texts are sentences and not an answer in words.
const MAX_WORDS: usize = 12;
/// The longest answer in words that a sentence ends with.
const MAX_COMPLEMENT_WORDS: usize = 6;

/// The answer of a text when the gold answer consists of words: what its last sentence says the
/// subject is (`The fastest is Evelyn.`), or the text itself when it is short.
pub(super) fn words<'a>(gold: &str, text: &'a str) -> Option<&'a str> {
    let has_copula = |text: &str| COPULAS.iter().any(|verb| text.contains(verb));
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?.trim();
    let line = line.trim_end_matches(['.', '!', ' ']);
    let sentence = line.rsplit(". ").next().unwrap_or(line);
    let verb = COPULAS.iter().filter_map(|verb| Some((sentence.rfind(verb)?, verb.len()))).max();
    if let Some((at, length)) = verb
        && !has_copula(gold)
    {
        let complement = sentence[at + length..].trim().trim_matches(['"', '\'', '*']);
        if (1..=MAX_COMPLEMENT_WORDS).contains(&n_words(complement)) {
            return Some(complement);
        }
    }
    (!text.is_empty() && n_words(text) <= MAX_WORDS).then_some(text)
}

/// Whether an answer consists of words: `Even`, `no solution`, `\text{Evelyn}`.
pub(super) fn is_words(text: &str) -> bool {
    let has_letters = text.chars().filter(|c| c.is_alphabetic()).count() >= 2;
    has_letters
        && text.len() <= 300
        && !text.contains(|c: char| c.is_ascii_digit() || "=<>^".contains(c))
        && crate::parse::words::plain_words(text).split_whitespace().any(is_foreign)
}

/// Whether a text is an answer by itself and not a sentence around one.
pub(super) fn is_answer(text: &str) -> bool {
    let text = text.trim();
    let n_foreign = foreign_words(text);
    if n_foreign > MAX_FOREIGN {
        return false;
    }
    let n_lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    if n_lines > 1 && !(n_foreign == 0 && text.contains("\\begin")) {
        return n_foreign == 0
            && !text.contains("\n\n")
            && n_lines <= 3
            && text.contains(['$', '\\']);
    }
    if text.contains("__")
        || text.contains("()")
        || !text.contains(char::is_alphanumeric) && !text.contains('\\')
    {
        return text == "∅" || text == "∞";
    }
    let starts_with_value = text
        .trim_start_matches(['-', '+', '$', '(', '[', '*'])
        .starts_with(|c: char| c.is_ascii_digit() || c == '\\');
    // `10 red apples` is an answer; a sentence that begins with a number rarely is so short.
    let is_short_sentence = n_words(text) == 1 || (starts_with_value && !text.contains(". "));
    n_foreign == 0 || is_short_sentence
}
