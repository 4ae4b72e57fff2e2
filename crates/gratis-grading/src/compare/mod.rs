//! Whether two answers are the same answer.
//!
//! Text first, then structure (lists, tuples, sets, relations), then each pair of scalars by
//! exact normal form, and by numerical agreement only where the normal form cannot decide.

mod amount;
mod answer;
mod classes;
mod clean;
mod leading;
mod matrix;
mod quantity;
mod region;
mod relation;
mod scalar;
mod structure;

use std::borrow::Cow;

use crate::budget::Budget;
use crate::extract::gold_answer;
use crate::markup::choice_label;
use crate::options::{Form, Fractions, Options};
use crate::parse::words::is_verdict;
use crate::parse::{parse, parse_euler};
use crate::syntax::{Constant, Expr};

pub use classes::{canonical, classes};

use amount::Amount;
use answer::{Answer, is_plain_integer};
use clean::{clean, decimal_point};

/// Longer answers, in bytes, are equal only when they are written alike.
const MAX_ANSWER: usize = 20_000;

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
    are_equivalent(&Answer::gold(gold), &Answer::new(pred), options)
}

/// As [`equivalent`], of answers that may have been read before.
fn are_equivalent(gold: &Answer<'_>, pred: &Answer<'_>, options: &Options) -> bool {
    let (gold_text, pred_text) = (gold.text(), pred.text());
    if gold_text.is_empty() || pred_text.is_empty() {
        return false;
    }
    if is_plain_integer(gold_text) && is_plain_integer(pred_text) {
        return gold_text == pred_text;
    }
    if *options == Options::default()
        && let (Some(gold), Some(pred)) = (Amount::read(gold_text), Amount::read(pred_text))
    {
        return gold == pred;
    }
    if gold.key() == pred.key() {
        return true;
    }
    if gold_text.len().max(pred_text.len()) > MAX_ANSWER {
        return false;
    }
    if let Some(is_same) = same_choice(gold_text, pred_text) {
        return is_same;
    }
    if options.fractions == Fractions::Reduced
        && is_unreduced(pred_text)
        && !is_unreduced(gold_text)
    {
        return false;
    }
    let budget = Budget::new(options.budget);
    let comparer = Comparer { options, budget: &budget };
    if comparer.same_answers(gold, pred) {
        return true;
    }
    if options.form == Form::Same {
        return false;
    }
    let same = |gold: &str, pred: &str| {
        comparer.same_answers(&Answer::as_written(gold), &Answer::as_written(pred))
    };
    if let Some((gold, pred)) = without_label(gold_text, pred_text) {
        return same(&gold, &pred);
    }
    // `1,22` is a list or a decimal; the other side tells which.
    match (decimal_point(gold_text), decimal_point(pred_text)) {
        (Some(gold), None) if pred_text.contains('.') => same(&gold, pred_text),
        (None, Some(pred)) if gold_text.contains('.') => same(gold_text, &pred),
        _ => false,
    }
}

/// Whether `pred` answers a question whose answer is `gold`: it is equivalent, or it names a
/// combination whose value is the gold number, `m + n = 113` for 113.
///
/// Not symmetric: the number 25 does not answer a question for the circle `x^2 + y^2 = 25`.
pub(crate) fn answers(gold: &Gold<'_>, pred: &str, options: &Options) -> bool {
    are_equivalent(&gold.read, &Answer::new(pred), options)
        || (options.form == Form::Loose
            && pred.contains('=')
            && is_combined(&gold.answer, pred, options))
}

/// A gold answer that many solutions are compared with.
pub(crate) struct Gold<'a> {
    /// The final answer of the gold text.
    pub(crate) answer: Cow<'a, str>,
    read: Answer<'a>,
}

impl<'a> Gold<'a> {
    /// The final answer of `gold`, which may be a whole solution.
    pub(crate) fn new(gold: &'a str) -> Self {
        let answer = gold_answer(gold);
        Self { read: Answer::found(answer.clone()), answer }
    }
}

fn is_combined(gold: &str, pred: &str, options: &Options) -> bool {
    let (gold, pred) = (clean(gold), clean(pred));
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
    fn same_answers(&self, gold: &Answer<'_>, pred: &Answer<'_>) -> bool {
        let are_words = [gold, pred]
            .iter()
            .all(|side| side.words().chars().filter(|c| c.is_alphabetic()).count() >= 2);
        if are_words
            && gold.words() == pred.words()
            && !has_structure(gold.text())
            && !has_structure(pred.text())
        {
            return true;
        }
        // `no` is no `no solution`, though letters and words after them might be a quantity.
        if are_words && [gold, pred].iter().any(|side| is_verdict(side.words())) {
            return gold.words() == pred.words();
        }
        if let (Some(gold), Some(pred)) = (gold.value(), pred.value())
            && self.same(gold, pred)
        {
            return true;
        }
        self.same_otherwise(gold, pred)
    }

    /// Compares answers that can be read in a second way: a number with words after it, and `3e-2`
    /// beside an answer that holds the constant e.
    fn same_otherwise(&self, gold: &Answer<'_>, pred: &Answer<'_>) -> bool {
        let has_e = |expr: Option<&Expr>| {
            let is_e = |part: &Expr| matches!(part, Expr::Constant(Constant::E));
            expr.is_some_and(|expr| expr.any(&is_e))
        };
        let euler = |side: &Answer<'_>, other: &Answer<'_>| {
            if side.leading().is_none() && has_e(other.value()) {
                parse_euler(side.text())
            } else {
                None
            }
        };
        let (gold_euler, pred_euler) = (euler(gold, pred), euler(pred, gold));
        let other_gold = gold.leading().or(gold_euler.as_ref());
        let other_pred = pred.leading().or(pred_euler.as_ref());
        if other_gold.is_none() && other_pred.is_none() {
            return false;
        }
        let values = (gold.value(), pred.value());
        match (other_gold.or(values.0), other_pred.or(values.1)) {
            // Read in the same way again.
            others if others == values => false,
            (Some(gold), Some(pred)) => self.same(gold, pred),
            _ => false,
        }
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
