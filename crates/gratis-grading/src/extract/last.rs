//! The last number or formula of a text, as a last resort.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::{self, Finder};
use regex::Regex;

use super::number;
use super::plain::is_plain;
use super::refusal::is_refusal;
use crate::markup::has_word;

/// How far from the end a value is looked for.
const MAX_REACH: usize = 6_000;

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
/// Bytes of the longest of them, and more.
const MAX_WORDS_BEFORE: usize = 64;
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
    if is_refusal(text) || is_code(text) {
        return None;
    }
    let mut candidates = candidates(text);
    if candidates.last().is_some_and(|last| is_unfinished(&text[last.end..])) {
        return None;
    }
    if is_circumstance(text, &candidates) {
        candidates.pop();
    }
    while let Some(last) = candidates.pop() {
        let before = text[..last.start].trim_end();
        let before = before.trim_end_matches(['*', '$', '(', '[', '"', '_']).trim_end();
        let before = tail(before, MAX_WORDS_BEFORE).to_lowercase();
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

/// Whether [`EXPLANATION`] may match: in a plain text it needs one of these words, and `there` is none.
fn may_explain(text: &str) -> bool {
    const WORDS: [&str; 3] = ["explanation", "breakdown", "justification"];
    if !is_plain(text) {
        return true;
    }
    let lower = text.to_ascii_lowercase();
    let begins_word = |at: usize| at == 0 || !lower.as_bytes()[at - 1].is_ascii_alphanumeric();
    memmem::find_iter(lower.as_bytes(), "here").any(begins_word)
        || WORDS.iter().any(|word| has_word(&lower, word))
}

/// The last value of `text`, or of the text before an explanation if the answer comes first:
/// `There are 10 objects. Here is how to count them: ..`
pub(super) fn first_or_last_value(text: &str) -> Option<String> {
    let has_words =
        ["ere", "xplanation", "reakdown", "ustification"].iter().any(|word| has_word(text, word));
    if has_words
        && may_explain(text)
        && let Some(found) = EXPLANATION.as_ref()?.find(text)
        && found.start() <= MAX_ANSWER_FIRST
        && let Some(value) = last_value(&text[..found.start()])
    {
        return Some(value);
    }
    last_value(text)
}

/// Whether a text was cut off in a calculation after its last number: `10 +`, `12 + x`.
fn is_unfinished(after: &str) -> bool {
    if after.len() >= 40 {
        return false;
    }
    let after = after.trim_start();
    let operand = after.strip_prefix(['+', '×', '÷', '=']).or_else(|| {
        let operand = after.strip_prefix('*').filter(|rest| rest.starts_with(char::is_whitespace));
        operand.or_else(|| after.strip_prefix('/').filter(|rest| rest.trim().is_empty()))
    });
    operand.is_some_and(|operand| {
        let operand = operand.trim();
        operand.chars().count() <= 12 && !operand.contains(char::is_whitespace)
    })
}

/// Words before a number that only qualifies a result, and words between the two.
const PREPOSITIONS: [&str; 14] = [
    "over", "in", "for", "during", "within", "after", "per", "of", "on", "at", "every", "from",
    "by", "each",
];
const ARTICLES: [&str; 14] = [
    "the", "a", "an", "his", "her", "their", "its", "all", "these", "those", "next", "last",
    "first", "past",
];

/// Whether the text between a result and a number says that the number only qualifies it.
fn is_qualifying(between: &str) -> bool {
    let is_known = |c: char| c.is_whitespace() || c.is_ascii_lowercase() || matches!(c, '*' | '-');
    let mut words = between.split_whitespace().rev().skip_while(|word| ARTICLES.contains(word));
    let last = words.next().and_then(|word| word.rsplit(['*', '-']).next());
    last.is_some_and(|last| PREPOSITIONS.contains(&last))
        && between.ends_with(char::is_whitespace)
        && between.chars().all(is_known)
}

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
        && is_qualifying(&text[result.end..last.start])
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
fn candidates(text: &str) -> Vec<Candidate<'_>> {
    let mut found: Vec<Candidate<'_>> = Vec::new();
    let mut at = 0;
    while let Some((whole, inner)) = formula(text, at) {
        let is_prose = inner.split_whitespace().filter(|word| is_plain_word(word)).count() >= 2;
        if is_prose {
            // The first dollar sign was money.
            at = whole.start + 1;
            continue;
        }
        numbers(text, at, whole.start, &mut found);
        at = whole.end;
        if says_something(inner) {
            found.push(Candidate { start: whole.start, end: whole.end, value: inner.trim() });
        }
    }
    numbers(text, at, text.len(), &mut found);
    found
}

/// The first formula between mathematics delimiters that begins at or after `from`, and what it holds.
fn formula(text: &str, from: usize) -> Option<(Range<usize>, &str)> {
    memchr::memchr2_iter(b'$', b'\\', &text.as_bytes()[from..]).find_map(|n| {
        let start = from + n;
        let rest = &text[start..];
        // Each holds one character at least.
        let (body, length, close) = if let Some(body) = rest.strip_prefix("$$") {
            (body, body.find('$')?, "$$")
        } else if let Some(body) = rest.strip_prefix('$') {
            (body, body.find(['$', '\n'])?, "$")
        } else {
            let body = rest.strip_prefix("\\(").or_else(|| rest.strip_prefix("\\["))?;
            let close = if rest.starts_with("\\(") { "\\)" } else { "\\]" };
            let first = body.chars().next()?.len_utf8();
            (body, first + body[first..].find(close)?, close)
        };
        let is_closed = length > 0 && body[length..].starts_with(close);
        let end = text.len() - body.len() + length + close.len();
        is_closed.then(|| (start..end, &body[..length]))
    })
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
fn numbers<'a>(text: &'a str, from: usize, to: usize, found: &mut Vec<Candidate<'a>>) {
    for number in number::numbers(&text[from..to]) {
        let (mut start, end) = (from + number.start, from + number.end);
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
}

/// What programs hold and prose does not.
static CODE: LazyLock<[Finder<'static>; 6]> =
    LazyLock::new(|| ["__", "lambda", "import ", "eval(", "exec(", "open("].map(Finder::new));

/// Whether the text is a program rather than prose.
fn is_code(text: &str) -> bool {
    CODE.iter().any(|token| token.find(text.as_bytes()).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Asserts that what is read here is what a pattern finds.
    fn check(pattern: &str, text: &str, is_match: bool) -> Result<(), TestCaseError> {
        let pattern = Regex::new(pattern).expect("a pattern");
        prop_assert_eq!(is_match, pattern.is_match(text), "{:?}", text);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn formulas_are_those_of_the_pattern(
            parts in prop::collection::vec(
                prop::sample::select(vec!["$", "$$", "\\(", "\\)", "\\[", "\\]", "\\", "\n", "x", "é", " 1"]),
                0..14,
            ),
        ) {
            let text = parts.concat();
            let pattern =
                Regex::new(r"\$\$([^$]+)\$\$|\$([^$\n]+)\$|\\\(((?s:.)+?)\\\)|\\\[((?s:.)+?)\\\]")
                    .expect("a pattern");
            for (from, _) in text.char_indices() {
                let expected = pattern.captures_at(&text, from).map(|found| {
                    let inner = found.iter().skip(1).flatten().next().expect("a group");
                    (found.get_match().range(), inner.as_str())
                });
                prop_assert_eq!(formula(&text, from), expected, "{:?} {}", &text, from);
            }
        }

        #[test]
        fn unfinished_calculations_are_those_of_the_pattern(
            parts in prop::collection::vec("[ \n+×÷=*/]|[a-z0-9+é]{1,14}|\u{a0}", 0..6),
        ) {
            let text = parts.concat();
            if text.len() < 40 {
                let pattern = r"^\s*(?:[+×÷=]|\*\s|/\s*$)\s*\S{0,12}\s*$";
                check(pattern, &text, is_unfinished(&text))?;
            }
        }

        #[test]
        fn qualifying_words_are_those_of_the_pattern(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(PREPOSITIONS.to_vec()),
                    prop::sample::select(ARTICLES.to_vec()),
                    prop::sample::select(vec![" ", " ", " ", "\n", "-", "*", "x", "A", "1", "é", "\u{a0}"]),
                ],
                0..9,
            ),
        ) {
            let pattern = r"^[\sa-z*-]*\b(?:over|in|for|during|within|after|per|of|on|at|every|from|by|each)\s+(?:(?:the|a|an|his|her|their|its|all|these|those|next|last|first|past)\s+)*$";
            let text = parts.concat();
            check(pattern, &text, is_qualifying(&text))?;
        }

        #[test]
        fn explanations_are_only_where_they_may_be(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec![
                        "here", "Here", "there", "'s", " is ", " are ", "how",
                        "the steps", "Explanation", "BREAKDOWN", "justification", "**", ":", "\n", "ſ", "\u{212a}",
                    ]).prop_map(str::to_owned),
                    "[a-z '.1_]{0,2}",
                ],
                0..8,
            ),
        ) {
            let text = parts.concat();
            let explains = EXPLANATION.as_ref().expect("a pattern").is_match(&text);
            prop_assert!(may_explain(&text) || !explains, "{:?}", text);
        }
    }
}
