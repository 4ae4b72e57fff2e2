//! The marks that LaTeX puts around an answer: braces, boxes and choice labels.
//!
//! Extraction, parsing and comparison all need these, so they are in a module without dependencies.

use std::borrow::Cow;

use memchr::memmem;

/// Whether `word` stands in `text`: faster than the search of the standard library.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    memmem::find(text.as_bytes(), word.as_bytes()).is_some()
}

/// The byte of the brace that closes the one `body` starts with; `\{` and `\}` do not count.
pub(crate) fn closing_brace(body: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut is_escaped = false;
    for (idx, byte) in body.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(idx);
                }
            }
            _ => {}
        }
    }
    None
}

/// The closing brace of each opening brace of a text, found in one pass.
///
/// Peeling boxes off an answer asks for the partner of one brace after another; looking for each
/// by itself would take time quadratic in the depth.
#[derive(Debug)]
pub(crate) struct BracePairs {
    /// The closing byte by opening byte; zero where there is none, which no closing brace has.
    closing: Vec<u32>,
}

impl BracePairs {
    /// Reads the pairs of `text`.
    pub(crate) fn of(text: &str) -> Self {
        let mut closing = vec![0; text.len()];
        let mut open = Vec::new();
        let mut is_escaped = false;
        for (idx, byte) in text.bytes().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'{' => open.push(idx),
                b'}' => {
                    if let (Some(start), Ok(end)) = (open.pop(), u32::try_from(idx)) {
                        closing[start] = end;
                    }
                }
                _ => {}
            }
        }
        Self { closing }
    }

    /// The byte of the brace that closes the one at `open`.
    pub(crate) fn closing(&self, open: usize) -> Option<usize> {
        self.closing.get(open).filter(|end| **end > 0).map(|end| *end as usize)
    }
}

/// The text with full-width digits, letters and signs as the ASCII ones they are.
///
/// Full stops and question marks of prose stay, and so does a comma outside brackets: those end
/// clauses.
pub(crate) fn with_ascii_forms(text: &str) -> Cow<'_, str> {
    // Every full-width form begins with this byte.
    if memchr::memchr(0xef, text.as_bytes()).is_none() {
        return text.into();
    }
    let mut depth = 0_usize;
    let converted = text.chars().map(|c| {
        let ascii = match u32::from(c) {
            code @ 0xff01..=0xff5e => char::from_u32(code - 0xfee0).unwrap_or(c),
            _ => c,
        };
        match ascii {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match c {
            '，' if depth == 0 => c,
            '！' | '？' | '．' => c,
            _ => ascii,
        }
    });
    converted.collect::<String>().into()
}

/// Whether a character only decorates: check marks, arrows to look at, emoji.
pub(crate) fn is_ornament(c: char) -> bool {
    matches!(u32::from(c), 0x2600..=0x27bf | 0x2b00..=0x2bff | 0xfe0e | 0xfe0f | 0x1f000..=0x1faff)
}

/// The letter of a multiple-choice answer and the text after it: `(D) Alina`, `D. 5`, `D`.
pub(crate) fn choice_label(answer: &str) -> Option<(char, String)> {
    if !answer.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut text = answer.trim();
    for dressing in ["\\textbf{", "\\text{", "\\mathrm{", "\\mathbf{"] {
        if let Some(rest) = text.strip_prefix(dressing) {
            text = rest.trim_start();
        }
    }
    let has_open = text.starts_with('(');
    let body = text.strip_prefix('(').unwrap_or(text).trim_start();
    let letter = body.chars().next().filter(char::is_ascii_uppercase)?;
    let rest = &body[1..];
    let after = rest.trim_start();
    let closed = after.strip_prefix([')', '）', '.', ':', '}']);
    let is_apart = |tail: &str| {
        after.starts_with([')', '）'])
            || !tail.starts_with(|c: char| c.is_alphanumeric() || "*+-/^=_".contains(c))
    };
    match closed {
        Some(tail) if is_apart(tail) && (!has_open || after.starts_with([')', '）'])) => {
            let tail = tail.trim_matches(|c: char| c.is_whitespace() || "})~\\.".contains(c));
            Some((letter, tail.to_owned()))
        }
        None if after.is_empty() && !has_open => Some((letter, String::new())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{BracePairs, closing_brace};

    #[test]
    fn pairs_agree_with_the_search_from_each_brace() {
        let text = r"\boxed{a{b}\{c{}} d}} {e";
        let pairs = BracePairs::of(text);
        for (idx, _) in text.match_indices('{') {
            if text[..idx].ends_with('\\') {
                assert_eq!(pairs.closing(idx), None);
                continue;
            }
            assert_eq!(pairs.closing(idx), closing_brace(&text[idx..]).map(|end| idx + end));
        }
    }
}
