//! The value of an expression at a point.

use num_traits::ToPrimitive;

use super::complex::Complex;
use crate::budget::Budget;
use crate::syntax::{Constant, Expr, Function};

/// The largest argument of a factorial in double precision.
const MAX_FACTORIAL: f64 = 170.0;

/// The values of variables at one point, drawn from their names, or given.
pub(crate) struct Assignment<'a> {
    /// Which point of the sequence this is.
    pub(crate) seed: u64,
    /// One variable with a value of its own.
    pub(crate) fixed: Option<(&'a str, f64)>,
}

impl Assignment<'_> {
    /// The point of this seed: three of four values are positive.
    pub(crate) fn of(seed: u64) -> Self {
        Self { seed, fixed: None }
    }

    fn value(&self, name: &str) -> f64 {
        if let Some((fixed, value)) = self.fixed
            && fixed == name
        {
            return value;
        }
        let hash = scramble(name, self.seed);
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
    let value = evaluate(expr, &Assignment::of(0), budget)?;
    (!value.re.is_nan() && value.is_real()).then_some(value.re)
}

/// The value of `expr`; `None` when it is no number at all or the budget is spent.
/// An undefined operation gives [`Complex::UNDEFINED`].
pub(crate) fn evaluate(expr: &Expr, point: &Assignment<'_>, budget: &Budget) -> Option<Complex> {
    budget.spend(1)?;
    let value = |expr: &Expr| evaluate(expr, point, budget);
    Some(match expr {
        Expr::Number(number) => Complex::real(number.value.to_f64()?),
        Expr::Symbol(name) => Complex::real(point.value(name)),
        Expr::Constant(Constant::Pi) => Complex::real(std::f64::consts::PI),
        Expr::Constant(Constant::E) => Complex::real(std::f64::consts::E),
        Expr::Constant(Constant::I) => Complex::new(0.0, 1.0),
        Expr::Constant(Constant::Infinity) => Complex::real(f64::INFINITY),
        Expr::Sum(terms) => {
            let mut sum = Complex::real(0.0);
            for term in terms {
                sum = sum + value(term)?;
            }
            sum
        }
        Expr::Product(factors) => {
            let mut product = Complex::real(1.0);
            for factor in factors {
                product = product * value(factor)?;
            }
            product
        }
        Expr::Quotient(a, b) => value(a)? / value(b)?,
        Expr::Negative(a) => -value(a)?,
        Expr::Percent(a) => value(a)? * Complex::real(0.01),
        Expr::Quantity { value: inner, .. } => value(inner)?,
        Expr::Power(base, exponent) => power(value(base)?, exponent, point, budget)?,
        Expr::Apply(function, arguments) => {
            let mut values = Vec::with_capacity(arguments.len());
            for argument in arguments {
                values.push(value(argument)?);
            }
            apply(function, &values, point)
        }
        _ => return None,
    })
}

/// A power; the odd root of a negative number is negative, as in school.
fn power(
    base: Complex,
    exponent: &Expr,
    point: &Assignment<'_>,
    budget: &Budget,
) -> Option<Complex> {
    if let Expr::Number(number) = exponent {
        let (numerator, denominator) =
            (number.value.numer().to_i32(), number.value.denom().to_i32());
        if let (Some(numerator), Some(denominator)) = (numerator, denominator) {
            return Some(rational_power(base, numerator, denominator));
        }
    }
    if let Expr::Quotient(a, b) = exponent
        && let (Expr::Number(a), Expr::Number(b)) = (&**a, &**b)
        && let Some(exponent) = (&a.value / nonzero(&b.value)?).to_reduced()
    {
        return Some(rational_power(base, exponent.0, exponent.1));
    }
    let exponent = evaluate(exponent, point, budget)?;
    Some(base.pow(exponent))
}

fn nonzero(value: &num_rational::BigRational) -> Option<&num_rational::BigRational> {
    (value.to_f64()? != 0.0).then_some(value)
}

/// A fraction of two small integers.
trait Reduced {
    fn to_reduced(&self) -> Option<(i32, i32)>;
}

impl Reduced for num_rational::BigRational {
    fn to_reduced(&self) -> Option<(i32, i32)> {
        Some((self.numer().to_i32()?, self.denom().to_i32()?))
    }
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

fn apply(function: &Function, values: &[Complex], point: &Assignment<'_>) -> Complex {
    let one = Complex::real(1.0);
    let on_reals = |map: fn(f64) -> f64, x: Complex| {
        if x.is_real() { Complex::real(map(x.re)) } else { Complex::UNDEFINED }
    };
    match (function, values) {
        (Function::Sin, [x]) => x.sin(),
        (Function::Cos, [x]) => x.cos(),
        (Function::Tan, [x]) => x.sin() / x.cos(),
        (Function::Cot, [x]) => x.cos() / x.sin(),
        (Function::Sec, [x]) => one / x.cos(),
        (Function::Csc, [x]) => one / x.sin(),
        (Function::Asin, [x]) => on_reals(f64::asin, *x),
        (Function::Acos, [x]) => on_reals(f64::acos, *x),
        (Function::Atan, [x]) => on_reals(f64::atan, *x),
        (Function::Sinh, [x]) => on_reals(f64::sinh, *x),
        (Function::Cosh, [x]) => on_reals(f64::cosh, *x),
        (Function::Tanh, [x]) => on_reals(f64::tanh, *x),
        (Function::Ln, [x]) => x.ln(),
        (Function::LogBase, [base, x]) => x.ln() / base.ln(),
        (Function::Abs, [x]) => Complex::real(x.abs()),
        (Function::Floor, [x]) => on_reals(f64::floor, *x),
        (Function::Ceil, [x]) => on_reals(f64::ceil, *x),
        (Function::Max, [a, b]) => Complex::real(a.re.max(b.re)),
        (Function::Min, [a, b]) => Complex::real(a.re.min(b.re)),
        (Function::Factorial, [x]) => on_reals(factorial, *x),
        (Function::Binomial, [n, k]) => {
            Complex::real(factorial(n.re)) / Complex::real(factorial(k.re) * factorial(n.re - k.re))
        }
        (Function::Gcd | Function::Lcm, [a, b]) => gcd_or_lcm(function, a.re, b.re),
        (Function::Named(name), values) => {
            // An unknown function takes equal arguments to equal values.
            let mut sum = 0.0;
            for (idx, x) in values.iter().enumerate() {
                sum += (point.value(name) * (x.re + 0.7 * x.im) + idx as f64).sin();
            }
            Complex::real(point.value(name) + sum)
        }
        _ => Complex::UNDEFINED,
    }
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
