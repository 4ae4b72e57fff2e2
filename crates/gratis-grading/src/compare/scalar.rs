//! Two scalars: exact normal form, rounded decimals, numerical agreement.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero};

use super::Comparer;
use crate::exact::{Context, Normal, normal, powers};
use crate::fraction::product;
use crate::numeric::{Assignment, Value, evaluate};
use crate::options::Decimals;
use crate::syntax::{Binder, Constant, Expr, Function, Number};

/// Relative agreement that counts as equal in double precision.
const TOLERANCE: f64 = 4e-15;
/// How many times their bounds on rounding two values may be apart.
const N_ERRORS: f64 = 8.0;
/// Values known no better than this are compared by their relative distance alone.
const MAX_ERROR: f64 = 1e-9;
/// Values of which rounding has left fewer digits than this are compared with zero alone.
const MAX_RELATIVE_ERROR: f64 = 1e-6;
/// Numbers of more bits than this are compared by their normal forms, which may grow too large.
const MAX_NUMBER_BITS: u64 = 4_096;
/// Points at which expressions with variables are compared.
const N_POINTS: u64 = 9;
/// Points when a bound of a sum is a variable: polynomials of a lower degree that agree there are
/// the same.
const N_WHOLE_POINTS: u64 = 12;
/// Points at which they must both be defined.
const MIN_AGREEING: usize = 3;
/// The same for points in whole numbers.
const MIN_WHOLE_AGREEING: usize = 6;

impl Comparer<'_> {
    /// Whether two scalars are the same value.
    pub(super) fn same_scalar(&self, gold: &Expr, pred: &Expr) -> bool {
        if let (Expr::Number(gold), Expr::Number(pred)) = (gold, pred)
            && let Some(is_same) = self.same_numbers(gold, pred)
        {
            return is_same;
        }
        if let (Some((a, n_a)), Some((b, n_b))) = (marked_number(gold), marked_number(pred))
            && self.budget.spend_if_left(n_a + n_b).is_some()
        {
            return a == b
                || self.is_rounded(gold, pred, (Some(a), Some(b)))
                || self.agree_rounded(gold, pred);
        }
        self.same_by_normal_form(gold, pred)
    }

    fn same_by_normal_form(&self, gold: &Expr, pred: &Expr) -> bool {
        let mut context = Context::new(self.budget);
        let forms = (normal(gold, &mut context), normal(pred, &mut context));
        let is_rounded = || {
            let value = |form: &Option<Normal>| form.as_ref().and_then(Normal::as_rational);
            self.is_rounded(gold, pred, (value(&forms.0), value(&forms.1)))
        };
        if let (Some(a), Some(b)) = &forms {
            match context.are_equal(a, b) {
                Some(true) => return true,
                Some(false)
                    if (a.is_conclusive && b.is_conclusive) || context.is_surd_apart(a, b) =>
                {
                    return is_rounded() || self.agree_rounded(gold, pred);
                }
                _ => {}
            }
        } else if let Some(are_same) = self.same_powers(gold, pred) {
            return are_same || is_rounded();
        }
        is_rounded() || self.agree(gold, pred, &|_| 0.0) || self.agree_rounded(gold, pred)
    }

    /// As [`Self::same_scalar`] for two numbers: the same steps of the budget, and no normal forms.
    fn same_numbers(&self, a: &Number, b: &Number) -> Option<bool> {
        let is_small = |number: &Number| {
            number.value.numer().bits().max(number.value.denom().bits()) <= MAX_NUMBER_BITS
        };
        if !is_small(a) || !is_small(b) {
            return None;
        }
        // A step to read each number; a product by one takes four, and one per 64 bits of both.
        let n_steps = |number: &Number| {
            if number.value.is_zero() { 1 } else { 5 + (number.value.numer().bits() + 1) / 64 }
        };
        self.budget.spend_if_left(n_steps(a) + n_steps(b))?;
        Some(
            a.value == b.value
                || (self.options.decimals != Decimals::Exact
                    && (rounds_rational(a, Some(b), &b.value)
                        || rounds_rational(b, Some(a), &a.value))),
        )
    }

    /// Compares two products of powers too large to multiply out, by the exponents of their
    /// primes; `None` when one of them is no such product.
    fn same_powers(&self, gold: &Expr, pred: &Expr) -> Option<bool> {
        // Factors of a number are looked for last.
        let is_number = matches!(gold, Expr::Number(_));
        let (first, last) = if is_number { (pred, gold) } else { (gold, pred) };
        Some(powers(first, self.budget)? == powers(last, self.budget)?)
    }

    /// Whether one side is a plain decimal that rounds the other, given their values when rational.
    fn is_rounded(
        &self,
        gold: &Expr,
        pred: &Expr,
        values: (Option<BigRational>, Option<BigRational>),
    ) -> bool {
        if self.options.decimals == Decimals::Exact {
            return false;
        }
        self.rounds(gold, pred, values.1) || self.rounds(pred, gold, values.0)
    }

    /// Whether `decimal` is the rounded value of `exact`, given its value when rational.
    fn rounds(&self, decimal: &Expr, exact: &Expr, value: Option<BigRational>) -> bool {
        let Some(decimal) = as_decimal(decimal) else {
            return false;
        };
        if !shows_enough(&decimal) {
            return false;
        }
        if let Some(value) = value {
            return rounds_rational(&decimal, as_decimal(exact).as_ref(), &value);
        }
        if exact.any(&|part| matches!(part, Expr::Symbol(_)) || is_decimal_literal(part)) {
            return false;
        }
        let Some(value) = evaluate(exact, &Assignment::of(0), self.budget) else {
            return false;
        };
        value.is_real()
            && BigRational::from_float(value.number.re)
                .is_some_and(|value| is_rounding(&decimal, &value))
    }

    /// Whether the two agree at enough points, each within its own `slack`.
    fn agree(&self, gold: &Expr, pred: &Expr, slack: &dyn Fn(u64) -> f64) -> bool {
        let either = |test: &dyn Fn(&Expr) -> bool| gold.any(test) || pred.any(test);
        let has_variables = either(&is_variable);
        let has_imaginary = either(&|part| matches!(part, Expr::Constant(Constant::I)));
        let is_whole = has_variables && either(&counts_with_variable);
        let n_points = match (has_variables, is_whole) {
            (false, _) => 1,
            (true, false) => N_POINTS,
            (true, true) => N_WHOLE_POINTS,
        };
        let mut n_agreeing = 0;
        for seed in 0..n_points {
            let point = if is_whole { Assignment::whole(seed) } else { Assignment::of(seed) };
            let (Some(a), Some(b)) =
                (evaluate(gold, &point, self.budget), evaluate(pred, &point, self.budget))
            else {
                return false;
            };
            // What overflows, underflows or is infinite is not compared here.
            if a.is_finite() && b.is_finite() {
                // A root or logarithm outside its real domain settles nothing.
                let are_real = a.is_real() && b.is_real();
                if !are_real && !has_imaginary && has_variables {
                    continue;
                }
                if !is_close(a, b, slack(seed)) {
                    return false;
                }
                n_agreeing += 1;
            } else if !has_variables {
                return false;
            }
        }
        let n_needed = match (has_variables, is_whole) {
            (false, _) => 1,
            (true, false) => MIN_AGREEING,
            (true, true) => MIN_WHOLE_AGREEING,
        };
        n_agreeing >= n_needed
    }

    /// Agreement within what the decimals inside the expressions leave open: `1.414 i x`.
    fn agree_rounded(&self, gold: &Expr, pred: &Expr) -> bool {
        if self.options.decimals == Decimals::Exact
            || as_decimal(gold).is_some()
            || as_decimal(pred).is_some()
            || gold.any(&is_decimal_literal) == pred.any(&is_decimal_literal)
        {
            return false;
        }
        let inexact = if gold.any(&is_decimal_literal) { gold } else { pred };
        if inexact
            .any(&|part| matches!(part, Expr::Number(n) if n.is_decimal && n.n_significant < 3))
        {
            return false;
        }
        let shifted = shift_decimals(inexact);
        let slack = |seed: u64| {
            let point = Assignment::of(seed);
            match (evaluate(inexact, &point, self.budget), evaluate(&shifted, &point, self.budget))
            {
                (Some(a), Some(b)) if a.is_finite() && b.is_finite() => (a - b).abs(),
                _ => 0.0,
            }
        };
        self.agree(gold, pred, &slack)
    }
}

/// The value of a number, perhaps with a minus or a percent sign, and the steps of the budget that its normal
/// form and a product with one take.
fn marked_number(expr: &Expr) -> Option<(BigRational, u64)> {
    let number = |expr: &Expr| match expr {
        Expr::Number(number) => Some(number.value.clone()),
        _ => None,
    };
    // Four steps, and one per 64 bits of both.
    let n_product =
        |value: &BigRational| if value.is_zero() { 0 } else { 4 + (value.numer().bits() + 1) / 64 };
    let (value, n_steps) = match expr {
        Expr::Negative(inner) => (-number(inner)?, 2),
        Expr::Percent(inner) => {
            let value = number(inner)?;
            let hundredth = BigRational::new_raw(1.into(), 100.into());
            (product(&value, &hundredth), 2 + n_product(&value) + 4)
        }
        expr => (number(expr)?, 1),
    };
    let is_small = value.numer().bits().max(value.denom().bits()) <= MAX_NUMBER_BITS;
    let n_steps = n_steps + n_product(&value);
    is_small.then_some((value, n_steps))
}

/// Whether a decimal has enough digits to be a rounded value.
fn shows_enough(decimal: &Number) -> bool {
    (decimal.n_places >= 2 && decimal.n_significant >= 2)
        || (decimal.n_places >= 1 && decimal.n_significant >= 3)
}

/// Whether `decimal` is the rounded value of a number, which may be the decimal `longer`.
fn rounds_rational(decimal: &Number, longer: Option<&Number>, value: &BigRational) -> bool {
    if !decimal.is_decimal || !shows_enough(decimal) {
        return false;
    }
    let longer = longer.filter(|longer| longer.is_decimal);
    let is_machine_output = longer
        .is_some_and(|longer| longer.n_significant >= 8 && longer.n_places >= decimal.n_places + 4);
    if !is_machine_output && (longer.is_some() || has_finite_decimal(value)) {
        return false;
    }
    is_rounding(decimal, value)
}

/// Whether two values are one up to rounding: within a relative tolerance, or within the bounds on
/// their errors where cancellation has left fewer digits.
///
/// A value of which rounding has left no digit equals an exact zero and nothing else: it says
/// nothing about `3^{-120}`.
fn is_close(a: Value, b: Value, slack: f64) -> bool {
    let distance = (a.number - b.number).abs();
    let error = a.error + b.error;
    let is_zero = |value: Value| value.number.is_zero() && value.error == 0.0;
    let has_digits = error <= MAX_RELATIVE_ERROR * a.abs().max(b.abs());
    distance <= slack
        || distance <= TOLERANCE * a.abs().max(b.abs())
        || (error <= MAX_ERROR
            && distance <= N_ERRORS * error
            && (has_digits || is_zero(a) || is_zero(b)))
}

fn is_variable(expr: &Expr) -> bool {
    matches!(expr, Expr::Symbol(_) | Expr::Apply(Function::Named(_), _))
}

/// Whether an expression counts with a variable: a sum or product up to it, or a factorial of it.
fn counts_with_variable(expr: &Expr) -> bool {
    let counted = match expr {
        Expr::Bound { binder: Binder::Sum | Binder::Product, parts, .. } => &parts[1..],
        Expr::Apply(Function::Factorial | Function::Binomial, arguments) => arguments.as_slice(),
        _ => return false,
    };
    counted.iter().any(|part| part.any(&is_variable))
}

fn is_decimal_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Number(number) if number.is_decimal)
}

/// The decimal an expression is, with its sign and power of ten.
fn as_decimal(expr: &Expr) -> Option<Number> {
    match expr {
        Expr::Number(number) if number.is_decimal => Some(number.clone()),
        Expr::Negative(inner) => {
            let mut number = as_decimal(inner)?;
            number.value = -number.value;
            Some(number)
        }
        _ => None,
    }
}

/// Every decimal moved by half a unit of its last place, away from zero.
fn shift_decimals(expr: &Expr) -> Expr {
    match expr {
        Expr::Number(number) if number.is_decimal => {
            let half = half_unit(number.n_places);
            let mut shifted = number.clone();
            shifted.value += if number.value.is_negative() { -half } else { half };
            Expr::Number(shifted)
        }
        other => other.map_children(&shift_decimals),
    }
}

fn half_unit(n_places: u32) -> BigRational {
    BigRational::new(1.into(), BigInt::from(2) * BigInt::from(10).pow(n_places))
}

/// Whether a decimal is `value` rounded to its places, or cut off after four digits or more.
fn is_rounding(decimal: &Number, value: &BigRational) -> bool {
    // Their distance is `apart / whole`, and is not reduced: that takes longer than all else.
    let apart = value.numer() * decimal.value.denom() - decimal.value.numer() * value.denom();
    let whole = value.denom() * decimal.value.denom();
    let n_units = apart.abs() * BigInt::from(10).pow(decimal.n_places);
    if &n_units + &n_units <= whole {
        return true;
    }
    let is_toward_zero = apart.is_positive() == decimal.value.is_positive();
    decimal.n_significant >= 4 && is_toward_zero && n_units < whole
}

/// Whether a rational has a finite decimal: only twos and fives divide its denominator.
fn has_finite_decimal(value: &BigRational) -> bool {
    let mut denominator = value.denom().clone();
    if denominator.bits() > 2_000 {
        return false;
    }
    for prime in [2_u32, 5] {
        while (&denominator % prime).is_zero() {
            denominator /= prime;
        }
    }
    denominator.to_u32() == Some(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::budget::Budget;
    use crate::options::Options;
    use crate::parse::parse;

    /// As defined, with fractions.
    fn is_rounding_by_definition(decimal: &Number, value: &BigRational) -> bool {
        let half = half_unit(decimal.n_places);
        let distance = value - &decimal.value;
        distance.abs() <= half
            || decimal.n_significant >= 4
                && distance.is_positive() == decimal.value.is_positive()
                && distance.abs() < half * BigRational::from_integer(2.into())
    }

    proptest! {
        #[test]
        fn numbers_with_signs_are_the_same_as_by_their_normal_forms(
            gold in "-?[0-9]{1,3}([.][0-9]{0,5})?%?|-?0|-?[0-9]{18,60}%?",
            pred in "-?[0-9]{1,3}([.][0-9]{0,5})?%?|-?0|-?[0-9]{18,60}%?",
            places in 0_usize..5,
            steps in 0_u64..50,
            is_exact in any::<bool>(),
        ) {
            let decimals = if is_exact { Decimals::Exact } else { Options::default().decimals };
            let options = Options { decimals, ..Options::default() };
            let rounded = gold.parse().map_or(pred.clone(), |gold: f64| format!("{gold:.places$}"));
            for (gold, pred) in [(&gold, &pred), (&gold, &rounded), (&rounded, &gold)] {
                let (Some(gold), Some(pred)) = (parse(gold), parse(pred)) else { continue };
                for steps in [steps, options.budget] {
                    let budgets = [Budget::new(steps), Budget::new(steps)];
                    let [quick, general] =
                        budgets.each_ref().map(|budget| Comparer { options: &options, budget });
                    prop_assert_eq!(
                        quick.same_scalar(&gold, &pred), general.same_by_normal_form(&gold, &pred),
                        "{:?} {:?} {}", gold, pred, steps
                    );
                    for _ in 0..steps.min(100) {
                        prop_assert_eq!(budgets[0].spend_if_left(1), budgets[1].spend_if_left(1));
                    }
                }
            }
        }

        #[test]
        fn a_rounded_value_is_as_near_as_defined(
            digits in -100_000_i64..100_000,
            n_places in 0_u32..6,
            n_significant in 2_u32..6,
            apart in (-40_i64..40, 1_i64..30),
        ) {
            let unit = BigRational::new(1.into(), BigInt::from(10).pow(n_places));
            let decimal = Number {
                value: BigRational::from_integer(digits.into()) * &unit,
                n_places,
                n_significant,
                is_decimal: true,
            };
            // Up to a few units apart, and often half a unit or a whole one.
            let value = &decimal.value + unit * BigRational::new(apart.0.into(), apart.1.into());
            prop_assert_eq!(is_rounding(&decimal, &value), is_rounding_by_definition(&decimal, &value));
        }
    }
}
