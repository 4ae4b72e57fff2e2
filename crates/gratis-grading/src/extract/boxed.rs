//! Answers in a box: `\boxed{}`, `\fbox{}` and variants that models write.

use std::collections::HashSet;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::markup::closing_brace;

static BOX: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("box"));

/// What the boxes of a text hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Boxed {
    /// No box.
    None,
    /// The last box is never closed.
    Unclosed,
    /// The content of the last box, or of the last boxes joined by commas.
    Found(String),
}

/// One box: its content and the bytes it covers.
struct Span<'a> {
    start: usize,
    end: usize,
    content: &'a str,
}

/// Boxes further apart than this many bytes are not one list.
const MAX_GAP: usize = 60;

/// Reads the last box of `text`, together with the boxes listed just before it.
///
/// `\boxed{1} \text{ and } \boxed{2}` is the list `1, 2`: whoever boxes several candidates
/// has given them all as the answer.
pub(super) fn last_boxed(text: &str) -> Boxed {
    let (spans, is_closed) = boxes(text);
    if !is_closed {
        return Boxed::Unclosed;
    }
    let Some(last) = spans.last() else {
        return Boxed::None;
    };
    let mut first_idx = spans.len() - 1;
    while first_idx > 0 && is_list_gap(&text[spans[first_idx - 1].end..spans[first_idx].start]) {
        first_idx -= 1;
    }
    let mut seen = HashSet::new();
    let items: Vec<&str> = spans[first_idx..]
        .iter()
        .map(|span| span.content)
        .filter(|content| seen.insert(*content))
        .collect();
    match items.as_slice() {
        [] => Boxed::Found(last.content.to_owned()),
        [one] => Boxed::Found((*one).to_owned()),
        several => Boxed::Found(several.join(", ")),
    }
}

/// The outermost closed boxes in order, and whether the last box of the text is closed.
fn boxes(text: &str) -> (Vec<Span<'_>>, bool) {
    let mut spans = Vec::new();
    let mut from = 0;
    while let Some((start, open)) = next_box(text, from) {
        let body = &text[open..];
        let (content, length) = if body.starts_with('{') {
            match closing_brace(body) {
                Some(close) => (&body[1..close], close + 1),
                None => return (spans, false),
            }
        } else {
            // `\boxed 42`: the argument is what stands before the next space or dollar sign.
            let length = body.find(|c: char| c.is_whitespace() || c == '$').unwrap_or(body.len());
            (&body[..length], length)
        };
        from = open + length;
        let content = content.trim();
        if !content.is_empty() {
            spans.push(Span { start, end: from, content });
        }
    }
    (spans, true)
}

/// The next box command at or after `from`: where it starts and where its argument does.
fn next_box(text: &str, from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        let found = at + BOX.find(&text.as_bytes()[at..])?;
        let after = found + "box".len();
        at = after;
        let word_start = ["begin", "frame", "f"]
            .iter()
            .find(|prefix| text[from..found].ends_with(**prefix))
            .map_or(found, |prefix| found - prefix.len());
        let argument = after + usize::from(text[after..].starts_with("ed")) * 2;
        let rest = &text[argument..];
        let gap = rest.len() - rest.trim_start().len();
        let is_command = text[..word_start].ends_with('\\');
        let argument_at = argument + gap;
        let has_brace = text[argument_at..].starts_with('{');
        let is_box = match &text[word_start..argument] {
            "boxed" | "fbox" | "framebox" | "beginboxed" => {
                has_brace || (is_command && gap > 0 && !text[argument_at..].is_empty())
            }
            _ => false,
        };
        if is_box && (has_brace || is_bare_argument(&text[argument_at..])) {
            return Some((word_start.saturating_sub(usize::from(is_command)), argument_at));
        }
    }
}

/// Whether a box without braces is followed by something that may be its argument.
fn is_bare_argument(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '\\')
}

/// Whether the text between two boxes only lists them: `,`, `and`, `$`, `y_2 =`.
fn is_list_gap(gap: &str) -> bool {
    if gap.len() > MAX_GAP || gap.contains("\n\n") {
        return false;
    }
    let mut bare = gap.to_lowercase();
    for command in ["\\text", "\\quad", "\\qquad", "\\mathrm", "\\textbf"] {
        bare = bare.replace(command, " ");
    }
    let bare = bare.replace(|c: char| c.is_whitespace() || "$,;.{}()[]\\&|".contains(c), " ");
    let label: Vec<&str> =
        bare.split_whitespace().filter(|word| !LIST_WORDS.contains(word)).collect();
    // `\boxed{2 + 4} = \boxed{6}` goes on with the calculation.
    if matches!(label.as_slice(), ["=" | "approx" | "≈"]) {
        return false;
    }
    // `y_2 =` names the next box.
    label.is_empty()
        || (label.len() <= 2 && bare.trim_end().ends_with('=') && bare.trim().len() <= 16)
}

/// Words between the boxes of one list.
const LIST_WORDS: &[&str] = &[
    "and",
    "or",
    "et",
    "und",
    "y",
    "及",
    "和",
    "或",
    "maybe",
    "perhaps",
    "possibly",
    "either",
    "else",
    "alternatively",
    "also",
];

#[cfg(test)]
mod tests {
    use super::{Boxed, last_boxed};

    fn found(text: &str) -> String {
        match last_boxed(text) {
            Boxed::Found(answer) => answer,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_last_box_counts() {
        assert_eq!(found(r"\boxed{5}. Wait, no: that was wrong, so \boxed{6}."), "6");
        assert_eq!(found(r"\fbox{7}"), "7");
        assert_eq!(found(r"\boxed{\frac{1}{\sqrt{2}}}"), r"\frac{1}{\sqrt{2}}");
        assert_eq!(found(r"\boxed 42"), "42");
        assert_eq!(found(r"\boxed{\{1, 2\}}"), r"\{1, 2\}");
    }

    #[test]
    fn boxes_side_by_side_are_a_list() {
        assert_eq!(found(r"\boxed{2} \text{ and } \boxed{3}"), "2, 3");
        assert_eq!(found(r"\(y_1 = \boxed{a}\) and \(y_2 = \boxed{b}\)"), "a, b");
        assert_eq!(found("\\boxed{840} is it.\n\n\\boxed{840}"), "840");
    }

    #[test]
    fn an_open_box_is_malformed() {
        assert_eq!(last_boxed(r"start \boxed{never closes"), Boxed::Unclosed);
        assert_eq!(last_boxed("no box"), Boxed::None);
    }

    #[test]
    fn repeated_words_take_linear_time() {
        assert_eq!(last_boxed(&"box".repeat(500_000)), Boxed::None);
        assert_eq!(last_boxed(&"\\boxed{".repeat(100_000)), Boxed::Unclosed);
    }
}
