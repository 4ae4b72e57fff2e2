//! Classes of equivalent answers, for a vote.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;

use crate::budget::Budget;
use crate::exact::{Context, normal};
use crate::extract::gold_answer;
use crate::options::Options;
use crate::syntax::Expr;

use super::amount::Amount;
use super::answer::Answer;
use super::are_equivalent;
use super::clean::clean;

/// A key that equal answers usually share: cheap to group by, and shared only by answers
/// that are equivalent. Answers with different keys may still be; see [`classes`].
pub fn canonical(answer: &str) -> String {
    canonical_of(&Answer::as_written(clean(answer)))
}

/// As [`canonical`], of an answer that may have been read before.
fn canonical_of(answer: &Answer<'_>) -> String {
    let expr = match answer.expr() {
        None => return answer.key().to_owned(),
        Some(Expr::Number(number)) => return number.value.to_string(),
        Some(expr) => expr,
    };
    let budget = Budget::new(Options::default().budget / 10);
    let mut context = Context::new(&budget);
    match expr {
        Expr::Sum(_)
        | Expr::Product(_)
        | Expr::Quotient(..)
        | Expr::Power(..)
        | Expr::Negative(_) => match normal(expr, &mut context) {
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
            _ => answer.key().to_owned(),
        },
        _ => answer.key().to_owned(),
    }
}

/// The first answer of a class.
struct Representative<'a> {
    key: Cow<'a, str>,
    amount: Option<Amount>,
    text: &'a str,
    /// Boxed, and read when it is needed: most answers are amounts, and mostly compared as such.
    answer: OnceCell<Box<Answer<'a>>>,
}

impl<'a> Representative<'a> {
    fn answer(&self) -> &Answer<'a> {
        // No markup is around an amount.
        self.answer.get_or_init(|| Box::new(Answer::as_written(self.text)))
    }
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
    let mut representatives: Vec<Representative<'_>> = Vec::with_capacity(answers.len().min(8));
    let mut seen: HashMap<&str, Seen<'_>> = HashMap::new();
    let mut all = Vec::with_capacity(answers.len());
    let mut are_amounts = true;
    for answer in answers {
        let answer = answer.as_ref();
        let amount = Amount::read(answer);
        // Among amounts alone, equal keys and equivalence are both the same value.
        if are_amounts && let Some(amount) = amount {
            let known = representatives.iter().position(|one| one.amount == Some(amount));
            all.push(known.unwrap_or_else(|| {
                representatives.push(Representative {
                    key: amount.key(answer),
                    amount: Some(amount),
                    text: answer,
                    answer: OnceCell::new(),
                });
                representatives.len() - 1
            }));
            continue;
        }
        let of_key =
            |known: &[Representative<'_>], key: &str| known.iter().position(|one| one.key == key);
        // A class with its key may have been added after an answer was seen the first time; the first
        // class that it is equivalent to stays the same.
        if let Some(before) = seen.get(answer) {
            let class = of_key(&representatives, &before.key).or(before.equivalent_to);
            all.extend(class);
            continue;
        }
        let read = if amount.is_some() { Answer::as_written(answer) } else { Answer::new(answer) };
        let key = if let Some(amount) = amount {
            amount.key(answer)
        } else if read.text() == clean(answer) {
            canonical_of(&read).into()
        } else {
            canonical(answer).into()
        };
        let is_equivalent = |one: &Representative<'_>| match (one.amount, amount) {
            (Some(one), Some(amount)) => one == amount,
            _ => are_equivalent(one.answer(), &read, &options),
        };
        let own = of_key(&representatives, &key);
        let equivalent_to = match own {
            Some(_) => None,
            None => representatives.iter().position(is_equivalent),
        };
        let class = own.or(equivalent_to).unwrap_or_else(|| {
            // Mostly a bare answer, which was read already.
            let read = match gold_answer(answer) {
                gold if gold == answer => read,
                gold => Answer::found(gold),
            };
            are_amounts &= amount.is_some();
            let (key, read) = (key.clone(), OnceCell::from(Box::new(read)));
            representatives.push(Representative { key, amount, text: answer, answer: read });
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
    use crate::compare::Comparer;
    use crate::compare::answer::is_plain_integer;
    use crate::equivalent;

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
            amount(),
            (0_u32..30).prop_map(|n| format!("{n}%")),
            (0_u32..30).prop_map(|n| format!("0{n}")),
            (0_u32..30).prop_map(|n| format!("none {n}")),
            (1_u32..9, 0_u32..999).prop_map(|(a, b)| format!("{a},{b:03}")),
            "[-+0-9a-c.,/^ ]{0,6}".prop_map(|text| text),
        ]
    }

    /// Text that is an amount, or nearly one; few values, so that some are equal.
    fn amount() -> impl Strategy<Value = String> {
        prop_oneof![
            (0_u32..9, 0_u32..4, 0_u32..40).prop_map(|(whole, group, cents)| format!(
                "${whole},{:03}.{cents:02}",
                group * 250
            )),
            (0_u32..3, 0_u32..100_000).prop_map(|(whole, part)| format!("{whole}.{part:05}")),
            (1_u32..300, 0_u32..20, 0_usize..6)
                .prop_map(|(whole, part, n)| format!("{whole}.{part:0n$}")),
            (0_u64..40).prop_map(|n| format!("{}", n * 50)),
            (1_u64..99, 0_u64..999, 0_u64..999).prop_map(|(a, b, c)| format!("{a},{b:03},{c:03}")),
            "[$]?[0-9]{1,3}(,[0-9]{2,3}){0,2}([.][0-9]{0,5})?".prop_map(|text| text),
        ]
    }

    /// Whether two answers are equal as any others are, whatever they look like.
    fn are_equal_in_general(a: &str, b: &str) -> bool {
        let options = Options::default();
        let budget = Budget::new(options.budget);
        let comparer = Comparer { options: &options, budget: &budget };
        let (a, b) = (Answer::gold(a), Answer::new(b));
        a.key() == b.key() || comparer.same_answers(&a, &b)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn amounts_have_their_keys_and_are_equal_as_other_answers_are(
            texts in prop::collection::vec(amount(), 2..12),
        ) {
            for text in &texts {
                let Some(amount) = Amount::read(text) else { continue };
                prop_assert_eq!(amount.key(text), canonical(text), "{}", text);
                let read = Answer::gold(text);
                prop_assert_eq!(read.text(), text.as_str());
                for other in &texts {
                    let Some(value) = Amount::read(other) else { continue };
                    prop_assert_eq!(
                        amount == value, are_equal_in_general(text, other), "{} {}", text, other
                    );
                    prop_assert_eq!(
                        amount == value, equivalent(text, other, &Options::default()),
                        "{} {}", text, other
                    );
                }
            }
        }

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
            for n in [a % 1_000_000_000_000_000, a % 1_000_000, small] {
                let (text, other) = (n.to_string(), (n + step).to_string());
                prop_assert!(is_plain_integer(&text));
                prop_assert_eq!(canonical(&text), text.clone());
                // As other answers are compared.
                for options in [Options::default(), Options::strict()] {
                    let budget = Budget::new(options.budget);
                    let comparer = Comparer { options: &options, budget: &budget };
                    let same = |a: &str, b: &str| {
                        comparer.same_answers(&Answer::new(a), &Answer::gold(b))
                    };
                    prop_assert!(same(&text, &text), "{}", text);
                    prop_assert!(!same(&text, &other), "{} {}", text, other);
                    prop_assert!(!same(&other, &text), "{} {}", other, text);
                    prop_assert!(!equivalent(&text, &other, &options), "{} {}", text, other);
                }
            }
        }
    }
}
