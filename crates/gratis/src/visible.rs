//! Text from data made safe to show in a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every character that can steer a terminal, or hide what a line says, written as its
/// escape: `\u{1b}` for the escape character. Line feeds and tabs stay.
///
/// Escaped are the control characters (C0, DEL and C1), the marks, embeddings, overrides and isolates
/// of bidirectional text, the line and paragraph separators, the byte order mark and the invisible
/// tag characters. All of them are legal in model output, file names and data.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\r' => escaped.push_str("\\r"),
            c if is_unsafe(c) => {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Whether a character must not reach a terminal as it is.
pub fn is_unsafe(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // Bidirectional text, and separators that break lines.
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Invisible: the byte order mark and tags.
        | '\u{feff}' | '\u{e0000}'..='\u{e007f}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_written_out_and_the_rest_stays() {
        let plain = "a\tb\nß 😀👩\u{200d}🚀 步骤 ± é";
        assert!(matches!(visible(plain), Cow::Borrowed(text) if text == plain));
        assert_eq!(visible("\x1b[2J\r\x07"), r"\u{1b}[2J\r\u{7}");
        // C1, DEL, an override, a mark, a separator, a tag.
        assert_eq!(
            visible("\u{9b}1\u{7f}2\u{202e}3\u{200f}4\u{2028}5\u{e0041}"),
            r"\u{9b}1\u{7f}2\u{202e}3\u{200f}4\u{2028}5\u{e0041}"
        );
        assert!(!visible("\x1b\u{85}\u{2066}\u{feff}").contains(is_unsafe));
    }
}
