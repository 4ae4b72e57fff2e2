//! Quantities: units that convert, compound times and sums of money, times of day, residues.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{ToPrimitive, Zero};

use super::Comparer;
use crate::exact::{Context, normal};
use crate::options::{Form, Units};
use crate::syntax::{Constant, Expr, Function, Number, Separator};
use crate::units::{Conversion, abbreviation, conversion};

/// The unit that is a number: `2 dozen` is 24, and answers a question for dozens with 2.
const DOZEN: &str = "dozen";

/// A quantity in one unit, and the units it was written in.
struct Total<'a> {
    value: Expr,
    unit: &'a str,
    written: Vec<&'a str>,
}

impl Comparer<'_> {
    /// Compares two expressions of which at least one is a quantity; `None` when none is.
    pub(super) fn same_quantities(&self, gold: &Expr, pred: &Expr) -> Option<bool> {
        if let (Some(a), Some(b)) = (clock(gold), clock(pred))
            && (a.has_meridiem || b.has_meridiem)
        {
            return Some(a.minutes == b.minutes);
        }
        if self.options.units == Units::Required {
            return self.same_units_required(gold, pred);
        }
        match (gold, pred) {
            (Expr::Quantity { value: a, unit: u }, Expr::Quantity { value: b, unit: v }) => {
                Some(self.same_measures((a, u), (b, v)))
            }
            (Expr::Quantity { value: a, unit: u }, Expr::Product(factors))
                if let Some((b, v)) = with_abbreviated_unit(factors) =>
            {
                Some(self.same_measures((a, u), (&b, &v)))
            }
            (Expr::Product(factors), Expr::Quantity { value: b, unit: v })
                if let Some((a, u)) = with_abbreviated_unit(factors) =>
            {
                Some(self.same_measures((&a, &u), (b, v)))
            }
            (Expr::Quantity { .. }, Expr::List { .. }) | (Expr::List { .. }, _)
                if total(gold).is_some() || total(pred).is_some() =>
            {
                self.same_totals(gold, pred)
            }
            (_, Expr::List { .. }) if total(pred).is_some() => self.same_totals(gold, pred),
            // The value of `x \equiv 11 \pmod 7` is a quantity again.
            (Expr::Quantity { .. }, Expr::Relation { .. })
            | (Expr::Relation { .. }, Expr::Quantity { .. }) => None,
            (Expr::Quantity { value, unit }, other) | (other, Expr::Quantity { value, unit }) => {
                Some(self.same_left_out(value, unit, other))
            }
            _ => None,
        }
    }

    fn same_units_required(&self, gold: &Expr, pred: &Expr) -> Option<bool> {
        match (gold, pred) {
            (Expr::Quantity { value: a, unit: u }, Expr::Quantity { value: b, unit: v }) => {
                Some(u == v && self.same(a, b))
            }
            (Expr::Quantity { .. }, _) | (_, Expr::Quantity { .. }) => Some(false),
            _ => None,
        }
    }

    /// Whether two quantities are the same amount.
    fn same_measures(&self, (a, u): (&Expr, &str), (b, v): (&Expr, &str)) -> bool {
        if let (Some(modulus), Some(other)) = (u.strip_prefix("mod "), v.strip_prefix("mod ")) {
            return modulus == other && (self.same(a, b) || self.are_congruent(a, b, modulus));
        }
        let is_own = |unit: &str| unit.starts_with("mod ") || unit == "a.m." || unit == "p.m.";
        if u != v && (is_own(u) || is_own(v)) {
            return false;
        }
        match (u, v) {
            ("deg", "rad") => return self.same(&radians(a), b),
            ("rad", "deg") => return self.same(a, &radians(b)),
            _ => {}
        }
        match conversion(u, v) {
            // `2 dozen eggs` and `24 eggs`
            Conversion::Unknown if u == DOZEN && self.same(&dozens(a), b) => true,
            Conversion::Unknown if v == DOZEN && self.same(a, &dozens(b)) => true,
            Conversion::Unknown => self.same(a, b),
            Conversion::Factor(factor) if factor == BigRational::from_integer(1.into()) => {
                self.same(a, b)
            }
            Conversion::Factor(factor) => !a.is_structural() && self.same(&scaled(a, factor), b),
            Conversion::Different => false,
        }
    }

    /// Whether a quantity is `other`, which has no unit.
    fn same_left_out(&self, value: &Expr, unit: &str, other: &Expr) -> bool {
        self.same(value, other)
            || (unit == DOZEN && self.same(&dozens(value), other))
            || (unit == "deg" && is_in_radians(other) && self.same(&radians(value), other))
    }

    /// Compares compounds such as `1 hour 20 minutes`, of which at least one side is one; `None`
    /// when the other side may be a list of the same parts.
    fn same_totals(&self, gold: &Expr, pred: &Expr) -> Option<bool> {
        match (total(gold), total(pred)) {
            (Some(a), Some(b)) => Some(self.same_measures((&a.value, a.unit), (&b.value, b.unit))),
            (Some(compound), None) if !pred.is_structural() => Some(self.is_total(&compound, pred)),
            (None, Some(compound)) if !gold.is_structural() => Some(self.is_total(&compound, gold)),
            _ => None,
        }
    }

    /// Whether a compound is the number `other` in one of the units it is written in.
    fn is_total(&self, compound: &Total<'_>, other: &Expr) -> bool {
        compound.written.iter().any(|unit| match conversion(compound.unit, unit) {
            Conversion::Factor(factor) => self.same(&scaled(&compound.value, factor), other),
            _ => false,
        })
    }

    /// Whether two whole numbers leave the same remainder.
    fn are_congruent(&self, a: &Expr, b: &Expr, modulus: &str) -> bool {
        let difference = Expr::Sum(vec![a.clone(), Expr::Negative(Box::new(b.clone()))]);
        let difference =
            normal(&difference, &mut Context::new(self.budget)).and_then(|form| form.as_rational());
        match (difference, modulus.parse::<BigInt>()) {
            (Some(difference), Ok(modulus)) if !modulus.is_zero() => {
                difference.is_integer() && (difference.numer() % modulus).is_zero()
            }
            _ => false,
        }
    }

    /// Whether a list says one value several times (`2040 minutes or 34 hours`), and `other` is
    /// that value.
    pub(super) fn same_repeated(&self, items: &[Expr], other: &Expr) -> bool {
        self.options.form == Form::Loose
            && (2..=4).contains(&items.len())
            && !other.is_structural()
            && items[1..].iter().all(|item| self.same(&items[0], item))
            && items.iter().any(|item| self.same(item, other))
    }
}

fn scaled(value: &Expr, factor: BigRational) -> Expr {
    Expr::Product(vec![value.clone(), Expr::Number(Number::exact(factor))])
}

/// The value and unit of `5 m^2`, which by itself may be a product of variables.
fn with_abbreviated_unit(factors: &[Expr]) -> Option<(Expr, String)> {
    let [value @ Expr::Number(_), unit] = factors else {
        return None;
    };
    let (letter, power) = match unit {
        Expr::Symbol(letter) => (letter, String::new()),
        Expr::Power(base, power) => match (&**base, &**power) {
            (Expr::Symbol(letter), Expr::Number(power)) => (letter, format!("^{}", power.value)),
            _ => return None,
        },
        _ => return None,
    };
    Some((value.clone(), format!("{}{power}", abbreviation(letter)?)))
}

fn dozens(value: &Expr) -> Expr {
    scaled(value, BigRational::from_integer(12.into()))
}

fn radians(degrees: &Expr) -> Expr {
    let half_turn =
        Expr::Quotient(Box::new(Expr::Constant(Constant::Pi)), Box::new(Expr::integer(180)));
    Expr::Product(vec![degrees.clone(), half_turn])
}

/// Whether an angle without a unit is surely in radians.
fn is_in_radians(expr: &Expr) -> bool {
    expr.any(&|part| {
        matches!(
            part,
            Expr::Constant(Constant::Pi)
                | Expr::Apply(Function::Asin | Function::Acos | Function::Atan, _)
        )
    })
}

/// The sum of a list of quantities whose units convert and grow smaller: `1 hour 20 minutes`.
fn total(expr: &Expr) -> Option<Total<'_>> {
    match expr {
        Expr::Quantity { value, unit } => {
            Some(Total { value: (**value).clone(), unit, written: vec![unit] })
        }
        Expr::List { items, separator: Separator::And | Separator::Comma } => {
            let (last, rest) = items.split_last()?;
            let Expr::Quantity { value, unit } = last else {
                return None;
            };
            let mut terms = vec![(**value).clone()];
            let mut written = vec![unit.as_str()];
            let mut smallest = BigRational::from_integer(1.into());
            for item in rest.iter().rev() {
                let Expr::Quantity { value, unit: larger } = item else {
                    return None;
                };
                let Conversion::Factor(factor) = conversion(larger, unit) else {
                    return None;
                };
                if factor <= smallest {
                    return None;
                }
                smallest = factor.clone();
                terms.push(scaled(value, factor));
                written.push(larger);
            }
            (terms.len() > 1).then_some(Total { value: Expr::Sum(terms), unit, written })
        }
        _ => None,
    }
}

/// A time of day in minutes since midnight.
struct Clock {
    minutes: i64,
    has_meridiem: bool,
}

/// Reads `10:15`, `10:15 p.m.` or `10 a.m.`; without a letter the day has 24 hours.
fn clock(expr: &Expr) -> Option<Clock> {
    let number = |expr: &Expr| match expr {
        Expr::Number(number) if number.value.is_integer() => number.value.to_i64(),
        _ => None,
    };
    let after_noon = |unit: &str| match unit {
        "a.m." => Some(false),
        "p.m." => Some(true),
        _ => None,
    };
    let (hours, minutes, is_after_noon) = match expr {
        Expr::Ratio(terms) => match terms.as_slice() {
            [hours, Expr::Quantity { value, unit }] => {
                (number(hours)?, number(value)?, Some(after_noon(unit)?))
            }
            [hours, minutes] => (number(hours)?, number(minutes)?, None),
            _ => return None,
        },
        Expr::Quantity { value, unit } => (number(value)?, 0, Some(after_noon(unit)?)),
        _ => return None,
    };
    if !(0..=24).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    let hours = match is_after_noon {
        Some(is_after_noon) => hours % 12 + if is_after_noon { 12 } else { 0 },
        None => hours,
    };
    Some(Clock { minutes: 60 * hours + minutes, has_meridiem: is_after_noon.is_some() })
}
