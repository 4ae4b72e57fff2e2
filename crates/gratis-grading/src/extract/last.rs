//! The last number or formula of a text, as a last resort.

use std::sync::LazyLock;

use regex::Regex;

use crate::markup::has_word;

/// How far from the end a value is looked for.
const MAX_REACH: usize = 6_000;

/// A number as prose writes it, or a fraction outside dollar signs.
static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"-?\\[dt]?frac\{[^{}]*\}\{[^{}]*\}|[-−]?[$€£]?(?:\d{1,3}(?:[  ]\d{3})+|\d+)(?:[.,]\d+)*(?:\s*/\s*\d+)?(?:[eE][+-]?\d+)?(?:\s?\\?%|\s(?:percent|pct)\b)?|\.\d+").ok()
});

/// A formula between mathematics delimiters.
static FORMULA: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\$\$([^$]+)\$\$|\$([^$\n]+)\$|\\\(((?s:.)+?)\\\)|\\\[((?s:.)+?)\\\]").ok()
});

/// What says that a text gives no answer.
static REFUSAL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\bI(?: am|'m) (?:sorry|unable|not (?:sure|able))|\bI (?:cannot|can't|can not|don't know|do not know|won't|am unable)|cannot be determined|not enough information|insufficient information|as an AI\b").ok()
});

/// Words just before a value that rule it out.
const RULED_OUT: &[&str] = &[
    "not",
    "n't",
    "≠",
    "\\neq",
    "never",
    "rather than",
    "instead of",
    "other than",
    "except",
    "nor",
];
/// Text between the members of one list.
const JOINTS: &[&str] = &[",", "and", ", and", "or", ", or", "et", "und", "、"];

/// A candidate: its position and its text.
struct Candidate<'a> {
    start: usize,
    end: usize,
    value: &'a str,
}

/// The last value of `text`, joined with the values listed just before it.
pub(super) fn last_value(text: &str) -> Option<String> {
    let text = tail(text, MAX_REACH);
    if REFUSAL.as_ref()?.is_match(text) || is_code(text) {
        return None;
    }
    let mut candidates = candidates(text)?;
    if candidates.last().is_some_and(|last| is_unfinished(&text[last.end..])) {
        return None;
    }
    if is_circumstance(text, &candidates) {
        candidates.pop();
    }
    while let Some(last) = candidates.pop() {
        let before = text[..last.start].trim_end().to_lowercase();
        let before = before.trim_end_matches(['*', '$', '(', '[', '"', '_']).trim_end();
        if RULED_OUT.iter().any(|word| before.ends_with(word)) {
            continue;
        }
        let mut items = vec![last.value.to_owned()];
        let mut first_start = last.start;
        while let Some(earlier) = candidates.pop() {
            let gap = text[earlier.end..first_start].trim().to_lowercase();
            if !JOINTS.contains(&gap.as_str()) {
                break;
            }
            first_start = earlier.start;
            items.insert(0, earlier.value.to_owned());
        }
        // `.. or 0`: an alternative to something that is no value.
        if items.len() == 1 && (before.ends_with(" or") || before.ends_with(")or")) {
            return None;
        }
        return Some(items.join(", "));
    }
    None
}

/// What introduces an explanation of the answer before it.
static EXPLANATION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\bhere(?:['’]s| is| are)\s+(?:how|why|(?:the|a|my)\s+(?:breakdown|count|explanation|steps|list|reasoning))\b|(?m:^[\s*#]*(?:explanation|breakdown|justification)\**\s*:)").ok()
});
/// The longest text before an explanation that answers by itself.
const MAX_ANSWER_FIRST: usize = 300;

/// The last value of `text`, or of the text before an explanation if the answer comes first:
/// `There are 10 objects. Here is how to count them: ..`
pub(super) fn first_or_last_value(text: &str) -> Option<String> {
    let may_explain =
        ["ere", "xplanation", "reakdown", "ustification"].iter().any(|word| has_word(text, word));
    if may_explain
        && let Some(found) = EXPLANATION.as_ref()?.find(text)
        && found.start() <= MAX_ANSWER_FIRST
        && let Some(value) = last_value(&text[..found.start()])
    {
        return Some(value);
    }
    last_value(text)
}

/// What follows the last number of a text that was cut off in a calculation: `10 +`, `12 + x`.
static UNFINISHED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^\s*(?:[+×÷=]|\*\s|/\s*$)\s*\S{0,12}\s*$").ok());

fn is_unfinished(after: &str) -> bool {
    after.len() < 40 && UNFINISHED.as_ref().is_some_and(|regex| regex.is_match(after))
}

/// Text between the result of a calculation and a number that only qualifies it.
static CIRCUMSTANCE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^[\sa-z*-]*\b(?:over|in|for|during|within|after|per|of|on|at|every|from|by|each)\s+(?:(?:the|a|an|his|her|their|its|all|these|those|next|last|first|past)\s+)*$").ok()
});

/// Whether the last number only goes with a result: `= $64,500 in profit over the 2 years.`
fn is_circumstance(text: &str, candidates: &[Candidate<'_>]) -> bool {
    let [.., result, last] = candidates else {
        return false;
    };
    let is_result = text[..result.start]
        .trim_end_matches(|c: char| c.is_whitespace() || "*$".contains(c))
        .ends_with('=');
    let after = text[last.end..].trim_end().trim_end_matches(['.', '!', '*']);
    let is_bare = last.value.bytes().all(|byte| byte.is_ascii_digit());
    is_result
        && is_bare
        && after.chars().all(|c| c.is_lowercase() || c.is_whitespace() || c == '-')
        && CIRCUMSTANCE.as_ref().is_some_and(|regex| regex.is_match(&text[result.end..last.start]))
}

/// The last `reach` bytes of `text`, or a few less.
pub(super) fn tail(text: &str, reach: usize) -> &str {
    let mut start = text.len().saturating_sub(reach);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// The formulas and the numbers outside of them, in order.
fn candidates(text: &str) -> Option<Vec<Candidate<'_>>> {
    let mut found: Vec<Candidate<'_>> = Vec::new();
    let mut at = 0;
    while let Some(captures) = FORMULA.as_ref()?.captures_at(text, at) {
        let whole = captures.get(0)?;
        let inner = captures.iter().skip(1).flatten().next()?;
        let is_prose =
            inner.as_str().split_whitespace().filter(|word| is_plain_word(word)).count() >= 2;
        if is_prose {
            // The first dollar sign was money.
            at = whole.start() + 1;
            continue;
        }
        numbers(text, at, whole.start(), &mut found)?;
        at = whole.end();
        if says_something(inner.as_str()) {
            found.push(Candidate {
                start: whole.start(),
                end: whole.end(),
                value: inner.as_str().trim(),
            });
        }
    }
    numbers(text, at, text.len(), &mut found)?;
    Some(found)
}

fn is_plain_word(word: &str) -> bool {
    word.chars().count() >= 3 && word.chars().all(|c| c.is_ascii_lowercase())
}

/// Whether a formula is more than the name of something: `$ABC$` and `$x$` are not answers.
fn says_something(formula: &str) -> bool {
    formula.contains(|c: char| c.is_ascii_digit() || "+-=<>^/|".contains(c))
        || formula.contains('\\')
}

/// The numbers of `text[from..to]`.
fn numbers<'a>(
    text: &'a str,
    from: usize,
    to: usize,
    found: &mut Vec<Candidate<'a>>,
) -> Option<()> {
    let span = &text[from..to];
    for number in NUMBER.as_ref()?.find_iter(span) {
        let (mut start, end) = (from + number.start(), from + number.end());
        let before = text[..start].chars().next_back();
        // `x2`, `x^2`, `a_1` hold no number of their own.
        if before.is_some_and(|c| c.is_ascii_alphabetic() || c == '^' || c == '_') {
            continue;
        }
        let mut value = &text[start..end];
        // A minus after a value subtracts.
        if value.starts_with(['-', '−']) && before.is_some_and(|c| c.is_alphanumeric() || c == ')')
        {
            let sign = value.chars().next().map_or(1, char::len_utf8);
            start += sign;
            value = &value[sign..];
        }
        found.push(Candidate { start, end, value });
    }
    Some(())
}

/// Whether the text is a program rather than prose.
fn is_code(text: &str) -> bool {
    ["__", "lambda", "import ", "eval(", "exec(", "open("].iter().any(|token| has_word(text, token))
}
