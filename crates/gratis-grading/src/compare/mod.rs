//! Whether two answers are the same answer.
//!
//! Text first, then structure (lists, tuples, sets, relations), then each pair of scalars by
//! exact normal form, and by numerical agreement only where the normal form cannot decide.

mod clean;
mod leading;
mod matrix;
mod quantity;
mod region;
mod relation;
mod scalar;
mod structure;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use crate::budget::Budget;
use crate::exact::{Context, normal};
use crate::extract::gold_answer;
use crate::markup::{choice_label, with_ascii_forms};
use crate::options::{Form, Fractions, Options};
use crate::parse::words::{is_verdict, number_word, plain_words};
use crate::parse::{parse, parse_euler};
use crate::syntax::{Constant, Expr};

use clean::{clean, decimal_point, text_key};
use leading::leading_value;

/// Longer answers, in bytes, are equal only when they are written alike.
const MAX_ANSWER: usize = 20_000;
/// Digits of integers that are compared as text.
const MAX_PLAIN_DIGITS: usize = 15;

/// One comparison: its conventions and the work left to it.
pub(crate) struct Comparer<'a> {
    options: &'a Options,
    budget: &'a Budget,
}

/// Whether `pred`, a bare answer, is equivalent to `gold` under the conventions of
/// `options`. The gold answer may be a whole solution; its final answer counts.
///
/// Symmetric and reflexive for bare answers, except that nothing equals an empty answer.
pub fn equivalent(gold: &str, pred: &str, options: &Options) -> bool {
    let gold = gold_answer(gold);
    let (gold, pred) = (with_ascii_forms(&gold), with_ascii_forms(pred));
    let (gold, pred) = (clean(&gold), clean(&pred));
    if gold.is_empty() || pred.is_empty() {
        return false;
    }
    if text_key(gold) == text_key(pred) {
        return true;
    }
    if gold.len().max(pred.len()) > MAX_ANSWER {
        return false;
    }
    if let Some(is_same) = same_choice(gold, pred) {
        return is_same;
    }
    if options.fractions == Fractions::Reduced && is_unreduced(pred) && !is_unreduced(gold) {
        return false;
    }
    let budget = Budget::new(options.budget);
    let comparer = Comparer { options, budget: &budget };
    if comparer.same_texts(gold, pred) {
        return true;
    }
    if options.form == Form::Same {
        return false;
    }
    if let Some((gold, pred)) = without_label(gold, pred) {
        return comparer.same_texts(&gold, &pred);
    }
    // `1,22` is a list or a decimal; the other side tells which.
    match (decimal_point(gold), decimal_point(pred)) {
        (Some(gold), None) if pred.contains('.') => comparer.same_texts(&gold, pred),
        (None, Some(pred)) if gold.contains('.') => comparer.same_texts(gold, &pred),
        _ => false,
    }
}

/// Whether `pred` answers a question whose answer is `gold`: it is equivalent, or it names a
/// combination whose value is the gold number, `m + n = 113` for 113.
///
/// Not symmetric: the number 25 does not answer a question for the circle `x^2 + y^2 = 25`.
pub(crate) fn answers(gold: &str, pred: &str, options: &Options) -> bool {
    equivalent(gold, pred, options)
        || (options.form == Form::Loose && pred.contains('=') && is_combined(gold, pred, options))
}

fn is_combined(gold: &str, pred: &str, options: &Options) -> bool {
    let (gold, pred) = (gold_answer(gold), clean(pred));
    let gold = clean(&gold);
    if gold.contains('=') || gold.len().max(pred.len()) > MAX_ANSWER {
        return false;
    }
    let (Some(gold), Some(pred)) = (parse(gold), parse(pred)) else {
        return false;
    };
    let budget = Budget::new(options.budget);
    let comparer = Comparer { options, budget: &budget };
    relation::combined(&pred).is_some_and(|value| comparer.same(&gold, value))
}

impl Comparer<'_> {
    fn same_texts(&self, gold: &str, pred: &str) -> bool {
        let words = (plain_words(gold), plain_words(pred));
        let are_words = [&words.0, &words.1]
            .iter()
            .all(|words| words.chars().filter(|c| c.is_alphabetic()).count() >= 2);
        if are_words && words.0 == words.1 && !has_structure(gold) && !has_structure(pred) {
            return true;
        }
        // `no` is no `no solution`, though letters and words after them might be a quantity.
        if are_words && [&words.0, &words.1].iter().any(|words| is_verdict(words)) {
            return words.0 == words.1;
        }
        let value = |text: &str, words: &str| match number_word(words) {
            Some(value) => Some(Expr::integer(value)),
            None => parse(without_qualifier(text)),
        };
        let exprs = (value(gold, &words.0), value(pred, &words.1));
        if let (Some(gold), Some(pred)) = &exprs
            && self.same(gold, pred)
        {
            return true;
        }
        self.same_otherwise((gold, exprs.0), (pred, exprs.1))
    }

    /// Compares answers that can be read in a second way: a number with words after it, and `3e-2`
    /// beside an answer that holds the constant e.
    fn same_otherwise(
        &self,
        (gold_text, gold): (&str, Option<Expr>),
        (pred_text, pred): (&str, Option<Expr>),
    ) -> bool {
        let has_e = |expr: &Option<Expr>| {
            let is_e = |part: &Expr| matches!(part, Expr::Constant(Constant::E));
            expr.as_ref().is_some_and(|expr| expr.any(&is_e))
        };
        let euler = |text: &str, other: &Option<Expr>| {
            if has_e(other) { parse_euler(text) } else { None }
        };
        let other_gold = leading_value(gold_text).or_else(|| euler(gold_text, &pred));
        let other_pred = leading_value(pred_text).or_else(|| euler(pred_text, &gold));
        if other_gold.is_none() && other_pred.is_none() {
            return false;
        }
        match (other_gold.or(gold), other_pred.or(pred)) {
            (Some(gold), Some(pred)) => self.same(&gold, &pred),
            _ => false,
        }
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

/// `(B) 14` without its label, when the other answer has none.
fn without_label(gold: &str, pred: &str) -> Option<(String, String)> {
    let value = |answer: &str| {
        choice_label(answer).filter(|(letter, rest)| *letter <= 'J' && !rest.is_empty())
    };
    match (value(gold), value(pred)) {
        (None, Some((_, pred))) => Some((gold.to_owned(), pred)),
        (Some((_, gold)), None) => Some((gold, pred.to_owned())),
        _ => None,
    }
}

/// Whether brackets or signs carry meaning that words without them would lose.
fn has_structure(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit() || "+-*/^=<>[]_".contains(c))
}

/// Compares two multiple-choice answers of which at least one is a bare letter.
fn same_choice(gold: &str, pred: &str) -> Option<bool> {
    let (gold_letter, gold_rest) = choice_label(gold)?;
    let (pred_letter, pred_rest) = choice_label(pred)?;
    (gold_rest.is_empty() != pred_rest.is_empty()).then_some(gold_letter == pred_letter)
}

/// Whether an answer is a fraction of integers that is not in lowest terms.
fn is_unreduced(answer: &str) -> bool {
    let expr = match parse(answer) {
        Some(Expr::Negative(inner)) => *inner,
        Some(expr) => expr,
        None => return false,
    };
    let Expr::Quotient(a, b) = expr else {
        return false;
    };
    let (Expr::Number(a), Expr::Number(b)) = (*a, *b) else {
        return false;
    };
    if !a.value.is_integer() || !b.value.is_integer() || b.value.numer().bits() == 0 {
        return false;
    }
    (&a.value / &b.value).denom() != b.value.numer()
}

/// A key that equal answers usually share: cheap to group by, and shared only by answers
/// that are equivalent. Answers with different keys may still be; see [`classes`].
pub fn canonical(answer: &str) -> String {
    let answer = clean(answer);
    let Some(expr) = parse(answer) else {
        return text_key(answer);
    };
    let budget = Budget::new(Options::default().budget / 10);
    let mut context = Context::new(&budget);
    match &expr {
        Expr::Number(_)
        | Expr::Sum(_)
        | Expr::Product(_)
        | Expr::Quotient(..)
        | Expr::Power(..)
        | Expr::Negative(_) => match normal(&expr, &mut context) {
            Some(normal)
                if normal.is_conclusive
                    && !expr.any(&|part| {
                        matches!(
                            part,
                            Expr::Quantity { .. } | Expr::Percent(_) | Expr::Based { .. }
                        )
                    }) =>
            {
                match normal.as_rational() {
                    Some(value) => value.to_string(),
                    None => context.key(&normal),
                }
            }
            _ => text_key(answer),
        },
        _ => text_key(answer),
    }
}

/// Whether an answer is an integer as written: digits without a sign, a leading zero or anything else.
/// Its key is its text, and no other such integer equals it.
fn is_plain_integer(answer: &str) -> bool {
    let bytes = answer.as_bytes();
    bytes.len() <= MAX_PLAIN_DIGITS
        && bytes.iter().all(u8::is_ascii_digit)
        && (bytes.first().is_some_and(|first| *first != b'0') || answer == "0")
}

/// The first answer of a class.
struct Representative<'a> {
    key: Cow<'a, str>,
    answer: &'a str,
    is_plain: bool,
}

/// What is known of an answer that occurred before.
struct Seen<'a> {
    key: Cow<'a, str>,
    /// The class that it was found to be equivalent to, where no class had its key.
    equivalent_to: Option<usize>,
}

/// Groups answers for a vote: the result gives each answer the index of its class, numbered
/// in order of first appearance. Equal keys share a class, and so do equivalent answers.
pub fn classes<S: AsRef<str>>(answers: &[S]) -> Vec<usize> {
    let options = Options::default();
    let mut representatives: Vec<Representative<'_>> = Vec::new();
    let mut seen: HashMap<&str, Seen<'_>> = HashMap::new();
    let mut all = Vec::with_capacity(answers.len());
    for answer in answers {
        let answer = answer.as_ref();
        let is_plain = is_plain_integer(answer);
        let of_key =
            |known: &[Representative<'_>], key: &str| known.iter().position(|one| one.key == key);
        // A class with its key may have been added after an answer was seen the first time; the first
        // class that it is equivalent to stays the same.
        if let Some(before) = seen.get(answer) {
            let class = of_key(&representatives, &before.key).or(before.equivalent_to);
            all.extend(class);
            continue;
        }
        let key = if is_plain { Cow::Borrowed(answer) } else { canonical(answer).into() };
        let is_equivalent = |one: &Representative<'_>| {
            !(is_plain && one.is_plain) && equivalent(one.answer, answer, &options)
        };
        let own = of_key(&representatives, &key);
        let equivalent_to = match own {
            Some(_) => None,
            None => representatives.iter().position(is_equivalent),
        };
        let class = own.or(equivalent_to).unwrap_or_else(|| {
            representatives.push(Representative { key: key.clone(), answer, is_plain });
            representatives.len() - 1
        });
        seen.insert(answer, Seen { key, equivalent_to });
        all.push(class);
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As defined: by key, or else by the first class that is equivalent.
    fn classes_by_definition(answers: &[String]) -> Vec<usize> {
        let options = Options::default();
        let mut representatives: Vec<(String, &str)> = Vec::new();
        let mut all = Vec::new();
        for answer in answers {
            let key = canonical(answer);
            let known = representatives.iter().position(|(other, _)| *other == key).or_else(|| {
                representatives.iter().position(|(_, other)| equivalent(other, answer, &options))
            });
            all.push(known.unwrap_or_else(|| {
                representatives.push((key, answer));
                representatives.len() - 1
            }));
        }
        all
    }

    fn answer() -> impl Strategy<Value = String> {
        prop_oneof![
            (0_u64..30).prop_map(|n| n.to_string()),
            any::<u64>().prop_map(|n| (n % 1_000_000_000_000_000).to_string()),
            (0_u32..40, 1_u32..9).prop_map(|(a, b)| format!("{a}/{b}")),
            (0_u32..3000).prop_map(|n| format!("{}", f64::from(n) / 100.0)),
            (0_u32..30).prop_map(|n| format!("{n}.00")),
            (0_u32..30).prop_map(|n| format!("${n}")),
            (0_u32..30).prop_map(|n| format!("{n}%")),
            (0_u32..30).prop_map(|n| format!("0{n}")),
            (0_u32..30).prop_map(|n| format!("none {n}")),
            (1_u32..9, 0_u32..999).prop_map(|(a, b)| format!("{a},{b:03}")),
            "[-+0-9a-c.,/^ ]{0,6}".prop_map(|text| text),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn classes_are_those_of_the_definition(answers in prop::collection::vec(answer(), 0..24)) {
            prop_assert_eq!(classes(&answers), classes_by_definition(&answers));
        }

        #[test]
        fn plain_integers_are_their_own_keys_and_equal_only_themselves(
            a in any::<u64>(),
            small in 0_u64..3000,
            step in 1_u64..12,
        ) {
            let options = Options::default();
            for n in [a % 1_000_000_000_000_000, a % 1_000_000, small] {
                let (text, other) = (n.to_string(), (n + step).to_string());
                prop_assert!(is_plain_integer(&text));
                prop_assert_eq!(canonical(&text), text.clone());
                prop_assert!(!equivalent(&text, &other, &options), "{} {}", text, other);
                prop_assert!(!equivalent(&other, &text, &options), "{} {}", other, text);
            }
        }
    }
}
