//! A number with words after it: `84 in total`, `29 years old`, `6th place`.

use std::sync::LazyLock;

use num_rational::BigRational;
use regex::{Regex, RegexBuilder};

use crate::parse::parse;
use crate::parse::words::{MATH_WORDS, number_word, plain_words};
use crate::syntax::Expr;
use crate::units::canonical_unit;

/// A number, perhaps with its sign, currency or fraction, and the words after it. Signs that are not ASCII
/// stand beside others.
const LEADING: &str = r"^\**(?P<value>[-+−]?\s?\\?[$€£]?\s?\d[\d,.]*(?:\s?/\s?\d+)?)(?:st|nd|rd|th)?\**(?:[\s,:]|\\text\{|[(])+(?P<words>[\p{L}][\p{L}\s,.'’()/-]*)\}?\**[.!]*$";
static IN_UNICODE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(LEADING).ok());
/// The same in ASCII text, which takes a tenth of the time to compile.
static IN_ASCII: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let source: String = LEADING.chars().filter(char::is_ascii).collect();
    RegexBuilder::new(&source.replace(r"\p{L}", "a-zA-Z")).unicode(false).build().ok()
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
    let leading = if answer.is_ascii() { &IN_ASCII } else { &IN_UNICODE };
    let found = leading.as_ref()?.captures(answer)?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn ascii_text_is_read_as_any_other(
            value in "[*]{0,2}[-+$ ]{0,2}[0-9]{1,3}[,.]?[0-9]{0,3}( ?/ ?[0-9])?",
            after in "(st|th)?[*]{0,2}[ ,:(]{0,2}(\\\\text\\{)?",
            words in "[a-zA-Z][ -~\\n]{0,8}[.!}]{0,2}",
        ) {
            let text = format!("{value}{after}{words}");
            let groups = |regex: &LazyLock<Option<Regex>>| {
                let found = regex.as_ref().expect("a pattern").captures(&text)?;
                Some(["value", "words"].map(|name| found.name(name).map(|group| group.range())))
            };
            prop_assert_eq!(groups(&IN_ASCII), groups(&IN_UNICODE), "{:?}", text);
        }
    }
}
