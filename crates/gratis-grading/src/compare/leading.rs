//! A number with words after it: `84 in total`, `29 years old`, `6th place`.

use std::sync::LazyLock;

use num_rational::BigRational;
use regex::Regex;

use crate::parse::parse;
use crate::parse::words::{MATH_WORDS, number_word, plain_words};
use crate::syntax::Expr;
use crate::units::canonical_unit;

/// A number, perhaps with its sign, currency or fraction, and the words after it.
static LEADING: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^\**(?P<value>[-+\x{2212}]?\s?\\?[$€£]?\s?\d[\d,.]*(?:\s?/\s?\d+)?)(?:st|nd|rd|th)?\**(?:[\s,:]|\\text\{|[(])+(?P<words>[\p{L}][\p{L}\s,.'’()/-]*)\}?\**[.!]*$",
    )
    .ok()
});

/// Words after a number that change it, or say that it is not the answer.
const CHANGING: &[&str] = &[
    "or",
    "than",
    "not",
    "no",
    "to",
    "times",
    "plus",
    "minus",
    "divided",
    "over",
    "squared",
    "cubed",
    "hundred",
    "thousand",
    "million",
    "billion",
    "trillion",
    "percent",
    "percentage",
    "half",
    "halves",
    "third",
    "thirds",
    "quarter",
    "quarters",
    "tenth",
    "tenths",
    "hundredths",
    "if",
    "unless",
    "except",
    "between",
    "root",
    "factorial",
    "mod",
    "modulo",
    "wrong",
    "incorrect",
    "least",
    "most",
];

/// The number that `answer` begins with, as a quantity of the words after it; `None` when the
/// words are none, or change the number (`5 million`, `5 or more`).
pub(super) fn leading_value(answer: &str) -> Option<Expr> {
    let has = |test: fn(char) -> bool| answer.contains(test);
    if answer.len() > 200 || !has(|c| c.is_ascii_digit()) || !has(char::is_alphabetic) {
        return None;
    }
    let found = LEADING.as_ref()?.captures(answer)?;
    let value = parse(found.name("value")?.as_str().trim_end_matches([',', '.']))?;
    let text = plain_words(found.name("words")?.as_str());
    let mut words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    let is_changing = |word: &str| {
        CHANGING.contains(&word) || MATH_WORDS.contains(&word) || number_word(word).is_some()
    };
    // `5 ab` is a product and not a count.
    let has_word = text.split_whitespace().any(is_word);
    // `84 (eighty-four)` says it twice.
    let is_repeated = matches!((&value, number_word(&text)), (Expr::Number(number), Some(word))
        if number.value == BigRational::from_integer(word.into()));
    if !is_repeated && (!has_word || words.any(is_changing)) {
        return None;
    }
    let value = match value {
        Expr::Quantity { value, unit } if unit == "$" => {
            return Some(Expr::Quantity { value, unit });
        }
        number @ (Expr::Number(_) | Expr::Quotient(..) | Expr::Negative(_)) => number,
        _ => return None,
    };
    let unit = text.split(',').next().unwrap_or_default();
    Some(Expr::Quantity { value: Box::new(value), unit: canonical_unit(unit) })
}

/// Whether letters are a word and not a product of variables.
fn is_word(letters: &str) -> bool {
    letters == "in"
        || letters.chars().count() >= 3
            && (letters.contains(['a', 'e', 'i', 'o', 'u', 'y']) || !letters.is_ascii())
}
