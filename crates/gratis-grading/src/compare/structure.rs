//! Lists, tuples, sets, matrices, quantities: structures that are compared part by part.

use num_traits::ToPrimitive;

use super::Comparer;
use super::matrix::{components, multiplied_out};
use super::relation::{assigned, in_order_of_names, names_agree};
use crate::options::{Form, ListOrder, Percent, Units};
use crate::parse::words::plain_words;
use crate::syntax::{Bracket, Expr, Function, SetOperation};

/// Longer collections are not compared item by item.
const MAX_ITEMS: usize = 200;

impl Comparer<'_> {
    /// Whether two expressions are the same answer.
    pub(super) fn same(&self, gold: &Expr, pred: &Expr) -> bool {
        if self.budget.spend(1).is_none() {
            return false;
        }
        let is_loose = self.options.form == Form::Loose;
        if gold == pred {
            return true;
        }
        if gold.is_arithmetic() && pred.is_arithmetic() {
            return self.same_scalar(gold, pred);
        }
        // A percentage and a unit are two different things, though both may be left out.
        if let (Expr::Percent(_), Expr::Quantity { .. })
        | (Expr::Quantity { .. }, Expr::Percent(_)) = (gold, pred)
        {
            return false;
        }
        if let Some(is_same) = self.same_quantities(gold, pred) {
            return is_same;
        }
        match (gold, pred) {
            (Expr::Percent(a), Expr::Percent(b)) => return self.same(a, b),
            (Expr::Percent(value), other) | (other, Expr::Percent(value))
                if self.options.percent == Percent::Either && self.same(value, other) =>
            {
                return true;
            }
            (Expr::Based { digits: a, base: p }, Expr::Based { digits: b, base: q }) if p == q => {
                return a == b;
            }
            (Expr::Based { digits, .. }, Expr::Number(n))
            | (Expr::Number(n), Expr::Based { digits, .. }) => {
                return self.options.units == Units::Optional
                    && n.value.is_integer()
                    && n.value.numer() == digits;
            }
            (Expr::Text(a), Expr::Text(b)) => return plain_words(a) == plain_words(b),
            _ => {}
        }
        if let (Some(gold), Some(pred)) = (expand_signs(gold), expand_signs(pred)) {
            return self.same_unordered(&gold, &pred, false);
        }
        if let Some(both) = expand_signs(gold) {
            return items_of(pred).is_some_and(|items| self.same_unordered(&both, &items, true));
        }
        if let Some(both) = expand_signs(pred) {
            return items_of(gold).is_some_and(|items| self.same_unordered(&items, &both, true));
        }
        if let (Some((name, value)), Some((other_name, other))) = (assigned(gold), assigned(pred))
            && names_agree(name, other_name)
        {
            return self.same(value, other);
        }
        if is_loose {
            match (gold, pred) {
                (Expr::Relation { .. }, Expr::Relation { .. }) => {}
                (Expr::Relation { .. }, other) => {
                    if let Some((_, value)) = assigned(gold)
                        && (self.same(value, other) || self.counts(gold, other))
                    {
                        return true;
                    }
                }
                (other, Expr::Relation { .. }) => {
                    if let Some((_, value)) = assigned(pred)
                        && (self.same(other, value) || self.counts(pred, other))
                    {
                        return true;
                    }
                }
                _ => {}
            }
        }
        let (gold, pred) = (&multiplied_out(gold), &multiplied_out(pred));
        if let Some(is_same) = self.same_collections(gold, pred) {
            return is_same || self.same_region(gold, pred);
        }
        match (gold, pred) {
            (Expr::Relation { .. }, Expr::Relation { .. }) => {
                self.same_relations(gold, pred) || (is_loose && self.same_region(gold, pred))
            }
            (Expr::SetOperation(a, x), Expr::SetOperation(b, y)) => {
                (a == b
                    && if *a == SetOperation::Difference {
                        self.same_ordered(x, y)
                    } else {
                        self.same_unordered(x, y, false)
                    })
                    || self.same_region(gold, pred)
            }
            (Expr::Ratio(a), Expr::Ratio(b)) => self.same_ratios(a, b),
            (Expr::Ratio(terms), other) | (other, Expr::Ratio(terms)) if is_loose => {
                let [a, b] = terms.as_slice() else {
                    return false;
                };
                let quotient = Expr::Quotient(Box::new(a.clone()), Box::new(b.clone()));
                // `5:1` compares two things, 5 counts one.
                let is_fraction = match other {
                    Expr::Number(number) => !number.value.is_integer(),
                    other => matches!(other, Expr::Quotient(..)),
                };
                !is_clock(terms) && is_fraction && self.same_scalar(&quotient, other)
            }
            _ if gold.is_structural() || pred.is_structural() => {
                is_loose && self.same_region(gold, pred)
            }
            _ => self.same_scalar(gold, pred),
        }
    }

    /// Whether `C(10, 3)`, which reads as a point, is the number of choices `other`.
    fn counts(&self, point: &Expr, other: &Expr) -> bool {
        let Some((Expr::Symbol(name), Expr::Tuple { items, .. })) = assigned(point) else {
            return false;
        };
        let choices = Expr::Apply(Function::Binomial, items.clone());
        name == "C"
            && items.len() == 2
            && !other.is_structural()
            && self.same_scalar(&choices, other)
    }

    /// Compares two expressions of which at least one is a collection.
    fn same_collections(&self, gold: &Expr, pred: &Expr) -> Option<bool> {
        let is_loose = self.options.form == Form::Loose;
        Some(match (gold, pred) {
            (
                Expr::Tuple { items: a, open, close },
                Expr::Tuple { items: b, open: other_open, close: other_close },
            ) => {
                let same_brackets = open == other_open && close == other_close;
                let any_angle = *open == Bracket::Angle || *other_open == Bracket::Angle;
                let may_differ = is_loose && (any_angle || a.len() > 2);
                (same_brackets || may_differ) && self.same_ordered(a, b)
            }
            (Expr::List { items: a, .. }, Expr::List { items: b, .. }) => {
                let (a, b) = (spread(a), spread(b));
                match self.options.list_order {
                    // An answer listed twice is still one answer.
                    ListOrder::Free => self.same_unordered(&a, &b, a.len() != b.len()),
                    ListOrder::Kept => self.same_ordered(&a, &b),
                }
            }
            (Expr::Cases(a), Expr::Cases(b)) => self.same_cases(a, b),
            (Expr::Set(a), Expr::Set(b)) => self.same_unordered(&spread(a), &spread(b), true),
            (Expr::Matrix(a), Expr::Matrix(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.same_ordered(a, b))
            }
            _ if !is_loose => return None,
            (Expr::List { items: a, .. }, Expr::Set(b))
            | (Expr::Set(b), Expr::List { items: a, .. }) => {
                self.same_unordered(&spread(a), &spread(b), true)
            }
            (Expr::Tuple { items: a, .. }, Expr::List { items: b, .. })
            | (Expr::List { items: b, .. }, Expr::Tuple { items: a, .. }) => {
                match in_order_of_names(b) {
                    Some(values) => self.same_ordered(a, &values),
                    None => self.same_ordered(a, b),
                }
            }
            (Expr::Matrix(rows), Expr::Tuple { items, .. } | Expr::List { items, .. })
            | (Expr::Tuple { items, .. } | Expr::List { items, .. }, Expr::Matrix(rows)) => {
                let is_vector = rows.len() == 1 || rows.iter().all(|row| row.len() == 1);
                let entries: Vec<Expr> = rows.iter().flatten().cloned().collect();
                let named = in_order_of_names(items);
                is_vector && self.same_ordered(&entries, named.as_deref().unwrap_or(items))
            }
            (Expr::Set(items), other) | (other, Expr::Set(items))
                if items.len() == 1 && !other.is_structural() =>
            {
                self.same(&items[0], other)
            }
            (Expr::Matrix(_) | Expr::Tuple { .. }, Expr::Sum(_)) => {
                return self.same_vector(gold, pred);
            }
            (Expr::Sum(_), Expr::Matrix(_) | Expr::Tuple { .. }) => {
                return self.same_vector(pred, gold);
            }
            (Expr::List { items, .. }, other) | (other, Expr::List { items, .. })
                if !other.is_structural() =>
            {
                self.same_repeated(items, other)
            }
            _ => return None,
        })
    }

    /// Whether a vector is `sum`, written in the unit vectors i, j and k.
    fn same_vector(&self, vector: &Expr, sum: &Expr) -> Option<bool> {
        let entries: Vec<Expr> = match vector {
            Expr::Matrix(rows) => rows.iter().flatten().cloned().collect(),
            Expr::Tuple { items, .. } => items.clone(),
            _ => return None,
        };
        let components = components(sum, entries.len(), self.budget)?;
        Some(self.same_ordered(&entries, &components))
    }

    /// Whether two definitions by cases give the same value under the same conditions;
    /// `otherwise` is whatever condition is left.
    fn same_cases(&self, a: &[(Expr, Expr)], b: &[(Expr, Expr)]) -> bool {
        let is_rest = |condition: &Expr| matches!(condition, Expr::Text(_));
        let mut left: Vec<&(Expr, Expr)> = b.iter().collect();
        a.len() == b.len()
            && a.len() <= 20
            && a.iter().all(|(value, condition)| {
                let found = left.iter().position(|(other, other_condition)| {
                    (is_rest(condition)
                        || is_rest(other_condition)
                        || self.same(condition, other_condition))
                        && self.same(value, other)
                });
                found.map(|idx| left.swap_remove(idx)).is_some()
            })
    }

    pub(super) fn same_ordered(&self, a: &[Expr], b: &[Expr]) -> bool {
        a.len() == b.len() && a.len() <= MAX_ITEMS && a.iter().zip(b).all(|(a, b)| self.same(a, b))
    }

    /// Whether the items pair up; `is_set` allows duplicate items.
    fn same_unordered(&self, a: &[Expr], b: &[Expr], is_set: bool) -> bool {
        if a.len() > MAX_ITEMS || b.len() > MAX_ITEMS {
            return false;
        }
        if is_set {
            return a.is_empty() == b.is_empty()
                && a.iter().all(|a| b.iter().any(|b| self.same(a, b)))
                && b.iter().all(|b| a.iter().any(|a| self.same(a, b)));
        }
        if a.len() != b.len() {
            return false;
        }
        let mut left: Vec<&Expr> = b.iter().collect();
        a.iter().all(|a| {
            let found = left.iter().position(|b| self.same(a, b));
            found.map(|idx| left.swap_remove(idx)).is_some()
        })
    }

    fn same_ratios(&self, a: &[Expr], b: &[Expr]) -> bool {
        if self.same_ordered(a, b) {
            return true;
        }
        let is_time = (is_clock(a) && is_clock(b)) || is_time_of_day(a) || is_time_of_day(b);
        if a.len() != b.len() || self.options.form == Form::Same || is_time {
            return false;
        }
        let over = |items: &[Expr], idx: usize| {
            Expr::Quotient(Box::new(items[idx].clone()), Box::new(items[0].clone()))
        };
        (1..a.len()).all(|idx| self.same_scalar(&over(a, idx), &over(b, idx)))
    }
}

/// The members of a collection without order.
fn items_of(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::List { items, .. } | Expr::Set(items) => Some(spread(items)),
        other => assigned(other).and_then(|(_, value)| items_of(value)),
    }
}

/// The items with each `\pm` spread into two.
fn spread(items: &[Expr]) -> Vec<Expr> {
    items.iter().flat_map(|item| expand_signs(item).unwrap_or_else(|| vec![item.clone()])).collect()
}

/// Both values of a scalar with `\pm` in it.
fn expand_signs(expr: &Expr) -> Option<Vec<Expr>> {
    let expr = assigned(expr).map_or(expr, |(_, value)| value);
    let has_sign = |part: &Expr| matches!(part, Expr::PlusMinus { .. });
    if expr.is_structural() || !expr.any(&has_sign) {
        return None;
    }
    Some(vec![with_sign(expr, true), with_sign(expr, false)])
}

fn with_sign(expr: &Expr, is_upper: bool) -> Expr {
    match expr {
        Expr::PlusMinus { value, is_flipped } => {
            let value = with_sign(value, is_upper);
            if is_upper == *is_flipped { Expr::Negative(Box::new(value)) } else { value }
        }
        other => other.map_children(&|child| with_sign(child, is_upper)),
    }
}

/// Whether a ratio may be a time of day.
fn is_clock(terms: &[Expr]) -> bool {
    let [Expr::Number(hours), Expr::Number(minutes)] = terms else {
        return false;
    };
    let hours = hours.value.to_f64().unwrap_or(f64::NAN);
    let minutes = minutes.value.to_f64().unwrap_or(f64::NAN);
    (0.0..=24.0).contains(&hours) && (minutes == 0.0 || (10.0..60.0).contains(&minutes))
}

/// Whether a ratio is surely a time of day: minutes of two digits, and not in lowest terms, as a
/// ratio would be given.
fn is_time_of_day(terms: &[Expr]) -> bool {
    let [Expr::Number(hours), Expr::Number(minutes)] = terms else {
        return false;
    };
    let (Some(mut a), Some(mut b)) = (hours.value.to_u32(), minutes.value.to_u32()) else {
        return false;
    };
    while b != 0 {
        (a, b) = (b, a % b);
    }
    is_clock(terms) && a > 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::budget::Budget;
    use crate::options::Options;
    use crate::parse::parse;

    proptest! {
        #[test]
        fn arithmetic_is_nothing_but_a_scalar(
            texts in ["-?[0-9]{1,3}([-+*/^][0-9]{1,2}([.][0-9]{1,2})?){0,3}", "[0-9]{1,3}([ ]?[-+*/:,%=a][ ]?[0-9]{1,2}){0,2}"],
            is_strict in any::<bool>(),
        ) {
            let [Some(a), Some(b)] = texts.each_ref().map(|text| parse(text)) else {
                return Ok(());
            };
            if !a.is_arithmetic() || !b.is_arithmetic() {
                return Ok(());
            }
            let options = if is_strict { Options::strict() } else { Options::default() };
            let budget = Budget::new(options.budget);
            let comparer = Comparer { options: &options, budget: &budget };
            prop_assert!(comparer.same_quantities(&a, &b).is_none() && comparer.same_collections(&a, &b).is_none());
            for expr in [&a, &b] {
                prop_assert!(expand_signs(expr).is_none() && assigned(expr).is_none() && !expr.is_structural());
                prop_assert_eq!(&multiplied_out(expr), expr);
            }
            prop_assert!(budget.spend_if_left(options.budget).is_some());
        }
    }
}
