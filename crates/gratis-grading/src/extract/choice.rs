//! The letter of a multiple-choice answer.

use std::sync::LazyLock;

use regex::Regex;

use super::{last, phrase, prose};
use crate::markup::choice_label;
use crate::verdict::Extraction;

/// A letter by itself, perhaps in brackets or bold.
static LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?:^|[\s(\[*{$:：选项是为案])([A-J])(?:[\s)\].,;:：*}$、。，']|$)").ok()
});

/// Words before a letter that choose it.
static CHOSEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:\bit'?s|\bit is|\boption|\bchoice|\bchoose|\bselect|\bpick|\bgo with|故选|选项?)\s*:?\s*[(*]*((?-i:[A-J]))\b").ok()
});

/// How far from the end a letter is looked for.
const MAX_REACH: usize = 4_000;

/// Words before a letter that rule it out, perhaps with one of [`NOUNS`] between.
const RULED_OUT_BEFORE: &[&str] = &[
    "not",
    "non",
    "n't",
    "nor",
    "than",
    "neither",
    "eliminate",
    "eliminated",
    "eliminating",
    "rule out",
    "ruled out",
    "rules out",
    "ruling out",
    "exclude",
    "excluded",
    "excluding",
    "discard",
    "discarded",
    "reject",
    "rejected",
    "except",
    "cannot be",
    "instead of",
];
/// Words between those and the letter.
const NOUNS: &[&str] =
    &["be", "option", "options", "choice", "choices", "answer", "both", "either"];
/// Words after a letter that rule it out.
static RULED_OUT_AFTER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)^[\s)\]*}.]*(?:(?:is|are|was|were|must be|would be|seems?|looks?|can be|has been|have been)\s+(?:also\s+|both\s+|clearly\s+|definitely\s+)?(?:wrong|incorrect|false|not\b|out\b|ruled|eliminated|excluded|discarded|rejected|impossible|invalid|implausible|unlikely)|(?:is|are|was|were|does|do|did|ca|could|would)n['’]t\b|(?:can ?not|does not|do not|did not|could not|would not|fails?|contradicts?)\b)",
    )
    .ok()
});

/// One letter that stands by itself.
struct Mention {
    letter: char,
    start: usize,
    is_ruled_out: bool,
}

/// The letter a phrase of `text` announces.
pub(super) fn announced(text: &str) -> Option<String> {
    let mentions = mentions(text);
    phrase::tails(text).into_iter().find_map(|(start, line)| {
        // The line begins some bytes after the phrase.
        let end = start + text[start..].find(line).unwrap_or(0) + line.len();
        let inside = mentions.iter().filter(|found| (start..end).contains(&found.start));
        chosen(inside, &mentions)
    })
}

/// The letter `text` chooses, and how it was found.
pub(super) fn letter(text: &str) -> Option<(String, Extraction)> {
    if let Some(letter) = announced(text) {
        return Some((letter, Extraction::Phrase));
    }
    let whole = text.trim();
    if whole.len() <= 200 && choice_label(whole).is_some() && prose::n_words(whole) <= 12 {
        return Some((whole.to_owned(), Extraction::Whole));
    }
    let end = last::tail(text, MAX_REACH);
    let mentions = mentions(end);
    let starts: Vec<usize> = CHOSEN
        .as_ref()?
        .captures_iter(end)
        .filter_map(|found| found.get(1).map(|letter| letter.start()))
        .collect();
    let preferred = mentions.iter().rev().filter(|found| starts.contains(&found.start));
    if let Some(letter) = chosen(preferred, &mentions) {
        return Some((letter, Extraction::Phrase));
    }
    let letter = chosen(mentions.iter().rev(), &mentions)?;
    Some((letter, Extraction::LastNumber))
}

/// The first of `candidates` that the text does not rule out there or later.
fn chosen<'a>(
    mut candidates: impl Iterator<Item = &'a Mention>,
    mentions: &[Mention],
) -> Option<String> {
    let is_ruled_out_later = |candidate: &Mention| {
        mentions.iter().any(|other| {
            other.letter == candidate.letter && other.start >= candidate.start && other.is_ruled_out
        })
    };
    candidates
        .find(|candidate| !is_ruled_out_later(candidate))
        .map(|found| found.letter.to_string())
}

/// The letters that stand by themselves; `A bird` and `I think` hold none.
fn mentions(text: &str) -> Vec<Mention> {
    let Some(regex) = LETTER.as_ref() else {
        return Vec::new();
    };
    let mut found: Vec<Mention> = Vec::new();
    let mut at = 0;
    while let Some(letter) = regex.captures_at(text, at).and_then(|captures| captures.get(1)) {
        at = letter.end();
        let after = &text[letter.end()..];
        let is_word = matches!(letter.as_str(), "A" | "I")
            && after.starts_with(' ')
            && after.trim_start().starts_with(|c: char| c.is_lowercase())
            && !rules_out(after);
        // `\mathrm{C}_{10}^3` is no choice.
        let is_symbol = after.trim_start_matches('}').starts_with(['_', '^']);
        let Some(name) = letter.as_str().chars().next().filter(|_| !is_word && !is_symbol) else {
            continue;
        };
        let joined = found.last().is_some_and(|previous| {
            previous.is_ruled_out
                && is_joint(&text[previous.start + 1..letter.start()], &text[letter.end()..])
        });
        let is_ruled_out =
            joined || is_ruled_out_before(&text[..letter.start()]) || rules_out(after);
        found.push(Mention { letter: name, start: letter.start(), is_ruled_out });
    }
    // `A and B are wrong`
    for idx in (1..found.len()).rev() {
        let (before, after) = found.split_at_mut(idx);
        let (Some(previous), Some(next)) = (before.last_mut(), after.first()) else {
            continue;
        };
        let gap = text[previous.start + 1..next.start].trim_matches([' ', '(', ')', '*']);
        let is_list = matches!(gap, "and" | "or" | "," | ", and" | ", or" | "&");
        previous.is_ruled_out |= is_list && next.is_ruled_out && is_plural(&text[next.start + 1..]);
    }
    found
}

fn rules_out(after: &str) -> bool {
    let mut end = after.len().min(60);
    while !after.is_char_boundary(end) {
        end -= 1;
    }
    RULED_OUT_AFTER.as_ref().is_some_and(|regex| regex.is_match(&after[..end]))
}

fn is_plural(after: &str) -> bool {
    let after = after.trim_start_matches([' ', ')', '*']);
    ["are", "were", "can", "have", "don't", "do not", "aren't"]
        .iter()
        .any(|verb| after.starts_with(verb))
}

fn is_ruled_out_before(before: &str) -> bool {
    let mut start = before.len().saturating_sub(48);
    while !before.is_char_boundary(start) {
        start += 1;
    }
    let before = before[start..].to_lowercase();
    let mut before = before.trim_end_matches([' ', '(', '*']);
    for noun in NOUNS {
        before = before.strip_suffix(noun).map_or(before, str::trim_end);
    }
    RULED_OUT_BEFORE.iter().any(|word| before.ends_with(word))
}

/// Whether a letter goes on with a list of letters that are ruled out: `not A, B or C`.
fn is_joint(gap: &str, after: &str) -> bool {
    let gap = gap.trim_matches([' ', '(', ')', '*']);
    match gap {
        "or" | "nor" | "and" | ", or" | ", nor" | ", and" | "/" => true,
        "," => {
            let after = after.trim_start_matches([')', '*']);
            [",", " or ", " nor ", " and "].iter().any(|joint| after.starts_with(joint))
        }
        _ => false,
    }
}
