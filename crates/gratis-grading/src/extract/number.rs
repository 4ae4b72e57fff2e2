//! Numbers as prose writes them: `-12`, `$1,250.50`, `3 / 4`, `20 percent`, and fractions outside dollar signs.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::plain::is_plain;

static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"-?\\[dt]?frac\{[^{}]*\}\{[^{}]*\}|[-−]?[$€£]?(?:\d{1,3}(?:[  ]\d{3})+|\d+)(?:[.,]\d+)*(?:\s*/\s*\d+)?(?:[eE][+-]?\d+)?(?:\s?\\?%|\s(?:percent|pct)\b)?|\.\d+").ok()
});

/// Where the numbers of `text` are, in order.
pub(super) fn numbers(text: &str) -> Vec<Range<usize>> {
    // Other characters that may belong to a number.
    let has_others = || !is_plain(text) || text.contains(['−', '€', '£']);
    if !text.is_ascii() && has_others() {
        let found = NUMBER.as_ref().map(|number| number.find_iter(text).map(|found| found.range()));
        return found.into_iter().flatten().collect();
    }
    let bytes = text.as_bytes();
    let begins = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'$' | b'.' | b'\\');
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(n) = bytes[at..].iter().position(begins) {
        let start = at + n;
        let end = end_of(bytes, start);
        found.extend(end.map(|end| start..end));
        at = end.unwrap_or(start + 1);
    }
    found
}

/// Where the number ends that begins at `start`, as [`NUMBER`] finds it; `None` if none does.
fn end_of(text: &[u8], start: usize) -> Option<usize> {
    let first = start + usize::from(text[start] == b'-');
    match text.get(first)? {
        b'\\' => return end_of_fraction(text, first),
        b'.' if first == start => return digits(text, start + 1),
        _ => {}
    }
    let whole = sign(text, first, b"$").unwrap_or(first);
    let mut end = digits(text, whole)?;
    if end - whole <= 3 {
        // Groups of thousands.
        let three = |at| digits(text, at).filter(|end| *end >= at + 3).map(|_| at + 3);
        while let Some(next) = sign(text, end, b" ").and_then(three) {
            end = next;
        }
    }
    while let Some(next) = sign(text, end, b".,").and_then(|at| digits(text, at)) {
        end = next;
    }
    let over = sign(text, spaces(text, end), b"/").and_then(|at| digits(text, spaces(text, at)));
    end = over.unwrap_or(end);
    let exponent =
        sign(text, end, b"eE").and_then(|at| digits(text, sign(text, at, b"+-").unwrap_or(at)));
    end = exponent.unwrap_or(end);
    Some(end_of_percent(text, end).unwrap_or(end))
}

/// Where the `%` or its word ends that follows a number.
fn end_of_percent(text: &[u8], at: usize) -> Option<usize> {
    let has_space = text.get(at).is_some_and(|byte| is_space(*byte));
    let word = at + usize::from(has_space);
    let percent = sign(text, sign(text, word, b"\\").unwrap_or(word), b"%");
    if percent.is_some() || !has_space {
        return percent;
    }
    let end = after(text, word, b"percent").or_else(|| after(text, word, b"pct"))?;
    let goes_on = text.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    (!goes_on).then_some(end)
}

/// Where `\frac{a}{b}` ends.
fn end_of_fraction(text: &[u8], at: usize) -> Option<usize> {
    let name = at + 1;
    let part = |at| {
        let start = sign(text, at, b"{")?;
        let length = text[start..].iter().position(|byte| matches!(byte, b'{' | b'}'))?;
        sign(text, start + length, b"}")
    };
    part(after(text, sign(text, name, b"dt").unwrap_or(name), b"frac")?).and_then(part)
}

/// The place after `at`, if one of `signs` stands there.
fn sign(text: &[u8], at: usize, signs: &[u8]) -> Option<usize> {
    text.get(at).filter(|byte| signs.contains(byte)).map(|_| at + 1)
}

/// Where `word` ends, if it stands at `at`.
fn after(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    text[at..].starts_with(word).then_some(at + word.len())
}

/// Where the digits at `at` end, of which there is one at least.
fn digits(text: &[u8], at: usize) -> Option<usize> {
    let n = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    (n > 0).then_some(at + n)
}

/// Where the spaces at `at` end.
fn spaces(text: &[u8], at: usize) -> usize {
    at + text[at..].iter().take_while(|byte| is_space(**byte)).count()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn numbers_are_those_of_the_pattern(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec![
                        " ", "  ", "\n", "\u{b}", "-", "$", "\\", "\\frac", "\\dfrac", "\\tfracs", "{", "}", "{1}", "%",
                        "\\%", "percent", "pct", "percents", "pct_", ",", ".", "/", " / ", "e", "E-", "+", "x", "−",
                        "€", "\u{a0}", "٣", "×", "¾", "é", "\u{301}",
                    ]).prop_map(str::to_owned),
                    "[0-9]{1,5}",
                    "[ -~]{0,3}",
                ],
                0..12,
            ),
        ) {
            let text = parts.concat();
            let number = NUMBER.as_ref().expect("a pattern");
            let expected: Vec<_> = number.find_iter(&text).map(|found| found.range()).collect();
            prop_assert_eq!(numbers(&text), expected, "{:?}", text);
        }
    }
}
