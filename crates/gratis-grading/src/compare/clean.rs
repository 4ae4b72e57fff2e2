//! Removes the markup around answers, and computes the keys by which texts are compared.

use crate::markup::{BracePairs, is_ornament};

/// The answer without dollar signs, boxes, markdown and closing punctuation around it.
///
/// Linear in the length of the answer: every pass takes something off, except the last, and what
/// a pass does beyond the ends of the text is done once for the whole text (the pairs of braces)
/// or stops at the first sign of a nested pair.
pub(super) fn clean(answer: &str) -> &str {
    let mut text = answer.trim();
    let whole = text;
    let mut pairs: Option<BracePairs> = None;
    loop {
        let before = text;
        text =
            text.trim_end_matches(is_ornament).trim().trim_matches(['`', '\u{200b}', '\u{feff}']);
        for (open, close) in
            [("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("**", "**"), ("__", "__")]
        {
            if let Some(inner) = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close))
                && !inner.contains(open)
            {
                text = inner;
            }
        }
        if let Some(inner) = text.strip_prefix('$').and_then(|rest| rest.strip_suffix('$'))
            && !inner.replace("\\$", "").contains('$')
        {
            text = inner;
        }
        for command in ["\\boxed{", "\\fbox{"] {
            if let Some(body) = text.strip_prefix(command) {
                // Where `text` stands in `whole`, of which it is always a part.
                let start = text.as_ptr().addr() - whole.as_ptr().addr();
                let pairs = pairs.get_or_insert_with(|| BracePairs::of(whole));
                if pairs.closing(start + command.len() - 1) == Some(start + text.len() - 1) {
                    text = &body[..body.len() - 1];
                }
            }
        }
        for suffix in ["\\\\", "\\,", "\\;", "\\:", "\\!", "\\ ", "\\quad", "\\qquad", "~"] {
            text = text.strip_suffix(suffix).unwrap_or(text);
        }
        // `\boxed{4\ }` loses its space before it comes here.
        if text.ends_with('\\') && !text.ends_with("\\\\") {
            text = &text[..text.len() - 1];
        }
        // `5!` and `0.\overline{3}` keep their marks; a sentence's stop goes.
        if !text.ends_with("\\,") && !text.ends_with("\\;") {
            text = text.trim_end_matches([',', ';', ':', '。', '，', '\u{3000}']);
        }
        if text.ends_with('.') && !text.ends_with("..") {
            text = &text[..text.len() - 1];
        }
        if text == before {
            return text;
        }
    }
}

/// The text without anything that only changes how it looks.
pub(super) fn text_key(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\\' {
            if let Some(dropped) = DROPPED.iter().find(|dropped| is_command(rest, dropped)) {
                rest = &rest[dropped.len()..];
                continue;
            }
            if let Some((from, to)) = RENAMED.iter().find(|(from, _)| is_command(rest, from)) {
                key.push_str(to);
                rest = &rest[from.len()..];
                continue;
            }
        }
        if !c.is_whitespace() && c != '$' {
            key.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    key
}

/// Commands without effect on the answer.
const DROPPED: &[&str] = &[
    "\\left",
    "\\right",
    "\\,",
    "\\;",
    "\\:",
    "\\!",
    "\\ ",
    "\\quad",
    "\\qquad",
    "\\displaystyle",
];

/// Commands with another name.
const RENAMED: &[(&str, &str)] = &[
    ("\\dfrac", "\\frac"),
    ("\\tfrac", "\\frac"),
    ("\\cfrac", "\\frac"),
    ("\\leq", "\\le"),
    ("\\geq", "\\ge"),
    ("\\neq", "\\ne"),
];

/// Whether `text` starts with this command and not with a longer one.
fn is_command(text: &str, command: &str) -> bool {
    text.strip_prefix(command).is_some_and(|rest| {
        !command.ends_with(|c: char| c.is_ascii_alphabetic())
            || !rest.starts_with(|c: char| c.is_ascii_alphabetic())
    })
}

/// `1,22` with a decimal point, when nothing but a unit or a sign surrounds it.
pub(super) fn decimal_point(answer: &str) -> Option<String> {
    let (before, after) = answer.split_once(',')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = before.trim_start_matches(['-', '+', '$', '€', '£', ' ']);
    let places = after.trim_end_matches(|c: char| !c.is_ascii_digit());
    let is_grouped = places.len() == 3 && whole.len() <= 3;
    // `1,2` lists two digits more often than it is 1.2.
    (is_number(whole) && is_number(places) && places.len() >= 2 && !is_grouped)
        .then(|| format!("{before}.{after}"))
}
