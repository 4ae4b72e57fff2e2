//! An answer as it is compared: its text, and what was read from it, each read at most once.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::LazyLock;

use regex::Regex;

use crate::extract::gold_answer;
use crate::markup::with_ascii_forms;
use crate::parse::parse;
use crate::parse::words::{number_word, plain_words};
use crate::syntax::{Expr, Number};

use super::clean::{clean, text_key};
use super::leading::leading_value;

/// One side of a comparison.
pub(super) struct Answer<'a> {
    text: Cow<'a, str>,
    key: OnceCell<String>,
    words: OnceCell<String>,
    expr: OnceCell<Option<Expr>>,
    value: OnceCell<Value>,
    leading: OnceCell<Option<Expr>>,
}

/// What an answer says.
enum Value {
    /// Its mathematics.
    Expr,
    /// Something else: a number in words, or the mathematics of a part; `None` where it has none.
    Other(Option<Expr>),
}

impl<'a> Answer<'a> {
    /// A bare answer.
    pub(super) fn new(answer: &'a str) -> Self {
        Self::of(cleaned(with_ascii_forms(answer)))
    }

    /// A gold answer, which may be a whole solution.
    pub(super) fn gold(answer: &'a str) -> Self {
        Self::found(gold_answer(answer))
    }

    /// The final answer that was found in a text.
    pub(super) fn found(answer: Cow<'a, str>) -> Self {
        Self::of(match answer {
            Cow::Borrowed(answer) => cleaned(with_ascii_forms(answer)),
            Cow::Owned(answer) => Cow::Owned(cleaned(with_ascii_forms(&answer)).into_owned()),
        })
    }

    /// An answer without anything around it.
    pub(super) fn as_written(text: &'a str) -> Self {
        Self::of(text.into())
    }

    fn of(text: Cow<'a, str>) -> Self {
        Self {
            text,
            key: OnceCell::new(),
            words: OnceCell::new(),
            expr: OnceCell::new(),
            value: OnceCell::new(),
            leading: OnceCell::new(),
        }
    }

    /// The answer without what is around it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text without anything that only changes how it looks.
    pub(super) fn key(&self) -> &str {
        self.key.get_or_init(|| text_key(&self.text))
    }

    /// Its plain words.
    pub(super) fn words(&self) -> &str {
        self.words.get_or_init(|| plain_words(&self.text))
    }

    /// Its mathematics; `None` when it is none that is known here.
    pub(super) fn expr(&self) -> Option<&Expr> {
        let read = || match plain_integer(&self.text) {
            Some(number) => Some(Expr::Number(number)),
            None => parse(&self.text),
        };
        self.expr.get_or_init(read).as_ref()
    }

    /// What it says, as words or as mathematics.
    pub(super) fn value(&self) -> Option<&Expr> {
        let read = || {
            let bare = without_qualifier(&self.text);
            match number_word(self.words()) {
                Some(value) => Value::Other(Some(Expr::integer(value))),
                None if bare.len() == self.text.len() => Value::Expr,
                None => Value::Other(parse(bare)),
            }
        };
        match self.value.get_or_init(read) {
            Value::Expr => self.expr(),
            Value::Other(value) => value.as_ref(),
        }
    }

    /// The number that it begins with, as a quantity of the words after it.
    pub(super) fn leading(&self) -> Option<&Expr> {
        self.leading.get_or_init(|| leading_value(&self.text)).as_ref()
    }
}

/// Digits of integers that are compared as text.
const MAX_PLAIN_DIGITS: usize = 15;

/// Whether an answer is an integer as written: digits without a sign, a leading zero or anything else.
/// Its key is its text, and no other such integer equals it under any options.
pub(super) fn is_plain_integer(answer: &str) -> bool {
    let bytes = answer.as_bytes();
    bytes.len() <= MAX_PLAIN_DIGITS
        && bytes.iter().all(u8::is_ascii_digit)
        && (bytes.first().is_some_and(|first| *first != b'0') || answer == "0")
}

/// What [`parse`] makes of an integer as written.
fn plain_integer(answer: &str) -> Option<Number> {
    let value: u64 = answer.parse().ok().filter(|_| is_plain_integer(answer))?;
    let n_significant = if value == 0 { 0 } else { answer.len() as u32 };
    Some(Number { n_significant, ..Number::integer(value) })
}

/// The answer without markup around it.
fn cleaned(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => clean(text).into(),
        Cow::Owned(text) => Cow::Owned(clean(&text).to_owned()),
    }
}

/// What a phrase at the end of an answer declares about its letters and does not change.
static QUALIFIER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)[,;]?\s*(?:\\quad|\\,|\\ )*\s*(?:\\(?:text|mbox|textrm)\{)?\s*\b(?:for (?:any|all|some|every|each|arbitrary)|where)\b[^0-9=<>+^]*$",
    )
    .ok()
});

/// `c + 2x \text{ for any constant } c` without its qualifier.
fn without_qualifier(text: &str) -> &str {
    if !text.contains("for ") && !text.contains("where") {
        return text;
    }
    match QUALIFIER.as_ref().and_then(|regex| regex.find(text)) {
        Some(found) if found.start() > 0 => &text[..found.start()],
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_integers_are_read_as_the_grammar_reads_them() {
        for text in ["0", "7", "18", "100", "1000", "2024", "120000", "999999999999999"] {
            let number = plain_integer(text).map(Expr::Number);
            assert!(number.is_some() && number == parse(text), "{text}: {number:?}");
        }
        for text in ["", "00", "012", "-1", "1.", "1000000000000000", "1,000", "²"] {
            assert!(plain_integer(text).is_none(), "{text}");
        }
    }
}
