//! The value of an expression at a point.

use num_traits::{ToPrimitive, Zero};

use super::bound::bound;
use super::complex::Complex;
use super::value::Value;
use crate::budget::Budget;
use crate::syntax::{Constant, Expr, Function};

/// The largest argument of a factorial in double precision.
const MAX_FACTORIAL: f64 = 170.0;

/// The values of variables at one point, drawn from their names, or given.
#[derive(Clone, Copy)]
pub(crate) struct Assignment<'a> {
    /// Which point of the sequence this is.
    pub(crate) seed: u64,
    /// One variable with a value of its own.
    pub(crate) fixed: Option<(&'a str, f64)>,
    /// What gives the other variables their values, where an operation binds several.
    pub(crate) outer: Option<&'a Assignment<'a>>,
    /// Whether variables are whole numbers, as the bounds of sums need.
    pub(crate) is_whole: bool,
}

impl<'a> Assignment<'a> {
    /// The point of this seed: three of four values are positive.
    pub(crate) fn of(seed: u64) -> Self {
        Self { seed, fixed: None, outer: None, is_whole: false }
    }

    /// The point of this seed in whole numbers.
    pub(crate) fn whole(seed: u64) -> Self {
        Self { is_whole: true, ..Self::of(seed) }
    }

    /// The first point, with one variable given.
    pub(crate) fn fixing(name: &'a str, value: f64) -> Self {
        Self { fixed: Some((name, value)), ..Self::of(0) }
    }

    /// This point with one more variable given.
    pub(super) fn with(&'a self, name: &'a str, value: f64) -> Self {
        Self { fixed: Some((name, value)), outer: Some(self), ..*self }
    }

    fn value(&self, name: &str) -> f64 {
        if let Some((fixed, value)) = self.fixed
            && fixed == name
        {
            return value;
        }
        if let Some(outer) = self.outer {
            return outer.value(name);
        }
        let hash = scramble(name, self.seed);
        if self.is_whole {
            return (2 + self.seed + hash % 3) as f64;
        }
        let unit = (hash >> 11) as f64 / (1_u64 << 53) as f64;
        let magnitude = 0.3 + 2.4 * unit;
        // The first points are positive, where roots and logarithms are real.
        if self.seed >= 3 && hash.is_multiple_of(2) { -magnitude } else { magnitude }
    }
}

/// A fixed hash of a name and a seed (FNV-1a, then a finaliser).
fn scramble(name: &str, seed: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The real value of an expression without variables, if it has one.
pub(crate) fn real(expr: &Expr, budget: &Budget) -> Option<f64> {
    if expr.any(&|part| matches!(part, Expr::Symbol(_) | Expr::Apply(Function::Named(_), _))) {
        return None;
    }
    let value = evaluate(expr, &Assignment::of(0), budget)?.number;
    (!value.re.is_nan() && value.is_real()).then_some(value.re)
}

/// The value of `expr`; `None` when it is no number at all or the budget is spent.
/// An undefined operation, an overflow and an underflow give [`Value::UNDEFINED`].
pub(crate) fn evaluate(expr: &Expr, point: &Assignment<'_>, budget: &Budget) -> Option<Value> {
    budget.spend(1)?;
    let value = |expr: &Expr| evaluate(expr, point, budget);
    Some(match expr {
        Expr::Number(number) => {
            let approximate = number.value.to_f64()?;
            if !approximate.is_finite() || (approximate == 0.0 && !number.value.is_zero()) {
                return Some(Value::UNDEFINED);
            }
            let is_exact = number.value.is_integer() && approximate.abs() < 9e15;
            if is_exact { Value::exact(approximate) } else { Value::rounded(approximate) }
        }
        Expr::Symbol(name) => Value::exact(point.value(name)),
        Expr::Constant(Constant::Pi) => Value::rounded(std::f64::consts::PI),
        Expr::Constant(Constant::E) => Value::rounded(std::f64::consts::E),
        Expr::Constant(Constant::I) => Value { number: Complex::new(0.0, 1.0), error: 0.0 },
        Expr::Constant(Constant::Infinity) => Value::exact(f64::INFINITY),
        Expr::Sum(terms) => {
            let mut sum = Value::exact(0.0);
            for term in terms {
                sum = sum + value(term)?;
            }
            sum
        }
        Expr::Product(factors) => {
            let mut product = Value::exact(1.0);
            for factor in factors {
                product = product * value(factor)?;
            }
            product
        }
        Expr::Quotient(a, b) => value(a)? / value(b)?,
        Expr::Negative(a) => -value(a)?,
        Expr::Percent(a) => value(a)? / Value::exact(100.0),
        Expr::Quantity { value: inner, .. } => value(inner)?,
        Expr::Power(base, exponent) => power(value(base)?, exponent, point, budget)?,
        Expr::Apply(function, arguments) => {
            let mut values = Vec::with_capacity(arguments.len());
            for argument in arguments {
                values.push(value(argument)?);
            }
            apply(function, &values, point)
        }
        Expr::Bound { binder, index, parts } => bound(*binder, index, parts, point, budget)?,
        _ => return None,
    })
}

/// A power; the odd root of a negative number is negative, as in school.
fn power(base: Value, exponent: &Expr, point: &Assignment<'_>, budget: &Budget) -> Option<Value> {
    let rational = match exponent {
        Expr::Number(number) => Some(number.value.clone()),
        Expr::Quotient(a, b) => match (&**a, &**b) {
            (Expr::Number(a), Expr::Number(b)) if !b.value.is_zero() => Some(&a.value / &b.value),
            _ => None,
        },
        _ => None,
    };
    let small = rational
        .and_then(|exponent| Some((exponent.numer().to_i32()?, exponent.denom().to_i32()?)));
    if let Some((numerator, denominator)) = small {
        let value = Value::exact(f64::from(numerator) / f64::from(denominator));
        return Some(base.power(rational_power(base.number, numerator, denominator), value));
    }
    let exponent = evaluate(exponent, point, budget)?;
    Some(base.power(base.number.pow(exponent.number), exponent))
}

fn rational_power(base: Complex, numerator: i32, denominator: i32) -> Complex {
    if denominator == 1 {
        return base.powi(numerator);
    }
    if denominator == 2 {
        return base.sqrt().powi(numerator);
    }
    let exponent = f64::from(numerator) / f64::from(denominator);
    if base.im == 0.0 && base.re < 0.0 && denominator % 2 == 1 {
        let root = (-base.re).powf(exponent);
        return Complex::real(if numerator % 2 == 0 { root } else { -root });
    }
    base.pow(Complex::real(exponent))
}

fn apply(function: &Function, values: &[Value], point: &Assignment<'_>) -> Value {
    let one = Value::exact(1.0);
    let on_reals = |map: fn(f64) -> f64, x: Value| {
        let map = |x: Complex| {
            if x.is_real() { Complex::real(map(x.re)) } else { Complex::UNDEFINED }
        };
        x.map(map)
    };
    // Steps jump at their edges, where an error bound by difference means nothing.
    let stepped = |map: fn(f64) -> f64, x: Value| {
        if x.is_real() { Value::exact(map(x.number.re)) } else { Value::UNDEFINED }
    };
    let pair = |map: fn(f64, f64) -> f64, a: Value, b: Value| {
        Value::of(Complex::real(map(a.number.re, b.number.re)), a.error + b.error)
    };
    match (function, values) {
        (Function::Sin, [x]) => x.map(Complex::sin),
        (Function::Cos, [x]) => x.map(Complex::cos),
        (Function::Tan, [x]) => x.map(Complex::sin) / x.map(Complex::cos),
        (Function::Cot, [x]) => x.map(Complex::cos) / x.map(Complex::sin),
        (Function::Sec, [x]) => one / x.map(Complex::cos),
        (Function::Csc, [x]) => one / x.map(Complex::sin),
        (Function::Asin, [x]) => on_reals(f64::asin, *x),
        (Function::Acos, [x]) => on_reals(f64::acos, *x),
        (Function::Atan, [x]) => on_reals(f64::atan, *x),
        (Function::Sinh, [x]) => on_reals(f64::sinh, *x),
        (Function::Cosh, [x]) => on_reals(f64::cosh, *x),
        (Function::Tanh, [x]) => on_reals(f64::tanh, *x),
        (Function::Ln, [x]) => logarithm(*x),
        (Function::LogBase, [base, x]) => logarithm(*x) / logarithm(*base),
        (Function::Abs, [x]) => Value::of(Complex::real(x.abs()), x.error),
        (Function::Floor, [x]) => stepped(f64::floor, *x),
        (Function::Ceil, [x]) => stepped(f64::ceil, *x),
        (Function::Max, [a, b]) => pair(f64::max, *a, *b),
        (Function::Min, [a, b]) => pair(f64::min, *a, *b),
        (Function::Factorial, [x]) => on_reals(factorial, *x),
        (Function::Binomial, [n, k]) => {
            let (n, k) = (n.number.re, k.number.re);
            Value::rounded(factorial(n)) / Value::rounded(factorial(k) * factorial(n - k))
        }
        (Function::Gcd | Function::Lcm, [a, b]) => {
            let number = gcd_or_lcm(function, a.number.re, b.number.re);
            Value { number, error: 0.0 }
        }
        (Function::Named(name), values) => {
            // An unknown function takes equal arguments to equal values.
            let mut sum = 0.0;
            let mut error = 0.0;
            for (idx, x) in values.iter().enumerate() {
                let number = x.number;
                sum += (point.value(name) * (number.re + 0.7 * number.im) + idx as f64).sin();
                error += x.error * point.value(name).abs();
            }
            Value::of(Complex::real(point.value(name) + sum), error)
        }
        _ => Value::UNDEFINED,
    }
}

/// The natural logarithm: it is zero at one, without having underflowed.
fn logarithm(x: Value) -> Value {
    let number = x.number.ln();
    Value::of(number, x.error / x.abs().max(f64::MIN_POSITIVE))
}

fn gcd_or_lcm(function: &Function, a: f64, b: f64) -> Complex {
    let is_whole = |x: f64| x.fract() == 0.0 && x.abs() < 1e15;
    if !is_whole(a) || !is_whole(b) || a * b == 0.0 {
        return Complex::UNDEFINED;
    }
    let (mut x, mut y) = (a.abs() as u64, b.abs() as u64);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    let gcd = x as f64;
    Complex::real(if *function == Function::Gcd { gcd } else { (a * b).abs() / gcd })
}

/// The factorial of a whole number, or through the gamma function by Stirling's series.
fn factorial(x: f64) -> f64 {
    if !(0.0..=MAX_FACTORIAL).contains(&x) {
        return f64::NAN;
    }
    if x.fract() == 0.0 {
        return (1..=x as u64).map(|n| n as f64).product();
    }
    // Shift up until the series is accurate to double precision.
    let mut shift = 1.0;
    let mut z = x + 1.0;
    while z < 20.0 {
        shift *= z;
        z += 1.0;
    }
    let series = 1.0 / (12.0 * z) - 1.0 / (360.0 * z.powi(3)) + 1.0 / (1260.0 * z.powi(5));
    let ln_gamma = (z - 0.5) * z.ln() - z + 0.5 * (2.0 * std::f64::consts::PI).ln() + series;
    ln_gamma.exp() / shift
}
