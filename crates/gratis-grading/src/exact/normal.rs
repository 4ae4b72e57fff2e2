//! The normal form of an expression: a quotient of two polynomials, or none.

use std::collections::HashMap;
use std::fmt::Write as _;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::function::{exact_root, exact_value};
use super::poly::{Poly, Square};
use crate::budget::Budget;
use crate::syntax::{Binder, Constant, Expr, Function};

/// The largest power that is multiplied out for a polynomial.
const MAX_POWER: u32 = 40;
/// The largest power of a number, if its digits allow.
const MAX_NUMBER_POWER: u32 = 20_000;
/// Bits a power of a number may take.
const MAX_POWER_BITS: u64 = 40_000;
/// Factors are looked for up to here.
const MAX_TRIAL_DIVISOR: u64 = 2_000;
/// More terms than this of a sum are not added up exactly.
const MAX_TERMS: i64 = 1_000;
/// The atoms two expressions share while they are compared.
pub(crate) struct Context<'a> {
    indices: HashMap<String, u32>,
    squares: Vec<Square>,
    budget: &'a Budget,
    is_opaque: bool,
}

/// Whether one value is a constant multiple of another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Multiple {
    /// By this constant.
    By(BigRational),
    /// It is not.
    No,
}

/// A normal form, and whether two of them that differ are surely different values.
#[derive(Debug, Clone)]
pub(crate) struct Normal {
    numerator: Poly,
    denominator: Poly,
    /// Whether every atom is independent of the others.
    pub(crate) is_conclusive: bool,
}

impl<'a> Context<'a> {
    /// An empty context.
    pub(crate) fn new(budget: &'a Budget) -> Self {
        Self { indices: HashMap::new(), squares: Vec::new(), budget, is_opaque: false }
    }

    fn atom(&mut self, name: String, square: Square) -> Poly {
        let next = self.squares.len() as u32;
        let index = *self.indices.entry(name).or_insert(next);
        if index == next {
            self.squares.push(square);
        }
        Poly::atom(index)
    }

    /// An atom about which nothing is known but its name.
    fn opaque(&mut self, name: String) -> Quotient {
        self.is_opaque = true;
        Quotient::whole(self.atom(name, Square::Free))
    }

    /// Whether two normal forms of this context are the same value.
    pub(crate) fn are_equal(&self, a: &Normal, b: &Normal) -> Option<bool> {
        let left = a.numerator.multiply(&b.denominator, &self.squares, self.budget)?;
        let right = b.numerator.multiply(&a.denominator, &self.squares, self.budget)?;
        Some(left == right)
    }

    /// Whether one of two normal forms is rational and the other the irrational root of a number too
    /// large to factor.
    pub(crate) fn is_surd_apart(&self, a: &Normal, b: &Normal) -> bool {
        let is_surd = |form: &Normal| {
            let mut terms = form.numerator.terms();
            let (Some((monomial, _)), None) = (terms.next(), terms.next()) else {
                return false;
            };
            let is_root = |atom: u32| matches!(self.squares.get(atom as usize), Some(Square::Number(square)) if square.is_positive());
            form.denominator.as_constant().is_some()
                && !monomial.is_empty()
                && monomial.iter().all(|(atom, power)| *power == 1 && is_root(*atom))
        };
        (a.as_rational().is_some() && is_surd(b)) || (b.as_rational().is_some() && is_surd(a))
    }

    /// Whether the first of two normal forms is a constant multiple of the second; `None` when they
    /// grow too large to tell.
    pub(crate) fn ratio(&self, a: &Normal, b: &Normal) -> Option<Multiple> {
        let left = a.numerator.multiply(&b.denominator, &self.squares, self.budget)?;
        let right = b.numerator.multiply(&a.denominator, &self.squares, self.budget)?;
        let (Some(x), Some(y)) = (left.leading(), right.leading()) else {
            return Some(Multiple::No);
        };
        let ratio = x / y;
        let scaled = right.multiply(&Poly::constant(ratio.clone()), &self.squares, self.budget)?;
        Some(if left == scaled { Multiple::By(ratio) } else { Multiple::No })
    }

    /// A key of a normal form that depends on its value alone where no division is left.
    pub(crate) fn key(&self, normal: &Normal) -> String {
        let mut names = vec![""; self.squares.len()];
        for (name, index) in &self.indices {
            names[*index as usize] = name;
        }
        let lead = normal.denominator.leading().cloned().unwrap_or_else(BigRational::one);
        let write = |poly: &Poly| {
            let mut terms: Vec<String> = poly
                .terms()
                .map(|(monomial, coefficient)| {
                    let mut factors: Vec<String> = monomial
                        .iter()
                        .map(|(atom, power)| format!("{}^{power}", names[*atom as usize]))
                        .collect();
                    factors.sort();
                    format!("{}*{}", coefficient / &lead, factors.join("*"))
                })
                .collect();
            terms.sort();
            terms.join("+")
        };
        let mut key = write(&normal.numerator);
        if normal.denominator.as_constant().is_none() {
            let _ = write!(key, "//{}", write(&normal.denominator));
        }
        key
    }
}

impl Normal {
    /// The rational number it is, if it is one.
    pub(crate) fn as_rational(&self) -> Option<BigRational> {
        Some(over(self.numerator.as_constant()?, self.denominator.as_constant()?))
    }
}

/// A quotient of numbers; most denominators are one.
fn over(numerator: BigRational, denominator: BigRational) -> BigRational {
    if denominator.is_one() { numerator } else { numerator / denominator }
}

/// The normal form of `expr`; `None` when it has none or is too large.
pub(crate) fn normal(expr: &Expr, context: &mut Context<'_>) -> Option<Normal> {
    context.is_opaque = false;
    let quotient = reduce(expr, context)?;
    Some(Normal {
        numerator: quotient.numerator,
        denominator: quotient.denominator,
        is_conclusive: !context.is_opaque,
    })
}

/// A numerator over a denominator that is not zero.
#[derive(Clone)]
struct Quotient {
    numerator: Poly,
    denominator: Poly,
}

impl Quotient {
    fn whole(numerator: Poly) -> Self {
        Self { numerator, denominator: Poly::one() }
    }

    fn number(value: BigRational) -> Self {
        Self::whole(Poly::constant(value))
    }

    fn as_rational(&self) -> Option<BigRational> {
        Some(over(self.numerator.as_constant()?, self.denominator.as_constant()?))
    }

    fn add(self, other: &Self, context: &Context<'_>) -> Option<Self> {
        if self.denominator == other.denominator {
            return Some(Self {
                numerator: self.numerator.add(&other.numerator, context.budget)?,
                denominator: self.denominator,
            });
        }
        let multiply = |a: &Poly, b: &Poly| a.multiply(b, &context.squares, context.budget);
        let left = multiply(&self.numerator, &other.denominator)?;
        let right = multiply(&other.numerator, &self.denominator)?;
        Some(Self {
            numerator: left.add(&right, context.budget)?,
            denominator: multiply(&self.denominator, &other.denominator)?,
        })
    }

    fn multiply(&self, other: &Self, context: &Context<'_>) -> Option<Self> {
        Some(Self {
            numerator: self.numerator.multiply(
                &other.numerator,
                &context.squares,
                context.budget,
            )?,
            denominator: self.denominator.multiply(
                &other.denominator,
                &context.squares,
                context.budget,
            )?,
        })
    }

    fn inverted(self) -> Option<Self> {
        (!self.numerator.is_zero())
            .then_some(Self { numerator: self.denominator, denominator: self.numerator })
    }

    fn negated(self) -> Self {
        Self { numerator: self.numerator.negated(), denominator: self.denominator }
    }
}

fn reduce(expr: &Expr, context: &mut Context<'_>) -> Option<Quotient> {
    context.budget.spend(1)?;
    match expr {
        Expr::Number(number) => Some(Quotient::number(number.value.clone())),
        Expr::Symbol(name) => Some(Quotient::whole(context.atom(format!("${name}"), Square::Free))),
        Expr::Constant(constant) => {
            let minus_one = -BigRational::one();
            let poly = match constant {
                Constant::Pi => context.atom("pi".to_owned(), Square::Free),
                Constant::E => context.atom("e".to_owned(), Square::Free),
                Constant::I => context.atom("i".to_owned(), Square::Number(minus_one)),
                Constant::Infinity => context.atom("infinity".to_owned(), Square::Free),
            };
            Some(Quotient::whole(poly))
        }
        Expr::Sum(terms) => {
            let mut sum = Quotient::number(BigRational::zero());
            for term in terms {
                let term = reduce(term, context)?;
                sum = sum.add(&term, context)?;
            }
            Some(sum)
        }
        Expr::Product(factors) => {
            let mut product = Quotient::number(BigRational::one());
            for factor in factors {
                let factor = reduce(factor, context)?;
                product = product.multiply(&factor, context)?;
            }
            Some(product)
        }
        Expr::Quotient(a, b) => {
            let a = reduce(a, context)?;
            let b = reduce(b, context)?.inverted()?;
            a.multiply(&b, context)
        }
        Expr::Negative(a) => Some(reduce(a, context)?.negated()),
        Expr::Power(base, exponent) => power(base, exponent, context),
        Expr::Apply(function, arguments) => apply(function, arguments, context),
        Expr::Bound { binder, index, parts } => bound(*binder, index, parts, context),
        Expr::Based { digits, base } => based(digits, *base).map(Quotient::number),
        Expr::Quantity { value, .. } => reduce(value, context),
        Expr::Percent(value) => {
            let hundredth = Quotient::number(BigRational::new(1.into(), 100.into()));
            reduce(value, context)?.multiply(&hundredth, context)
        }
        _ => None,
    }
}

/// The value of digits in a base.
pub(super) fn based(digits: &BigInt, base: u32) -> Option<BigRational> {
    let text = digits.to_string();
    let mut value = BigInt::zero();
    for digit in text.chars() {
        let digit = digit.to_digit(10).filter(|digit| *digit < base)?;
        value = value * base + digit;
    }
    Some(BigRational::from_integer(value))
}

/// A sum or product term by term where its bounds are whole numbers, otherwise an atom named by
/// its parts with the index renamed, so that `\sum_k a_k` is `\sum_j a_j`.
fn bound(
    binder: Binder,
    index: &str,
    parts: &[Expr],
    context: &mut Context<'_>,
) -> Option<Quotient> {
    let bounds: Vec<Quotient> =
        parts.iter().skip(1).map(|part| reduce(part, context)).collect::<Option<_>>()?;
    let body = parts.first()?;
    let whole: Vec<i64> = bounds
        .iter()
        .filter_map(|bound| bound.as_rational().filter(BigRational::is_integer)?.to_i64())
        .collect();
    if let [low, high] = whole.as_slice()
        && matches!(binder, Binder::Sum | Binder::Product)
        && (0..=MAX_TERMS).contains(&high.saturating_sub(*low).saturating_add(1))
        && !body.hides(index)
    {
        let is_sum = binder == Binder::Sum;
        let mut total =
            Quotient::number(if is_sum { BigRational::zero() } else { BigRational::one() });
        for value in *low..=*high {
            let term = reduce(&body.substituted(index, &Expr::integer(value)), context)?;
            total =
                if is_sum { total.add(&term, context)? } else { total.multiply(&term, context)? };
        }
        return Some(total);
    }
    let body = reduce(&body.renamed(index, "\u{1}"), context)?;
    let keys: Vec<String> =
        std::iter::once(&body).chain(&bounds).map(|part| quotient_key(part, context)).collect();
    Some(context.opaque(format!("{binder:?}({})", keys.join(","))))
}

fn power(base: &Expr, exponent: &Expr, context: &mut Context<'_>) -> Option<Quotient> {
    let exponent = reduce(exponent, context)?;
    if let Some(exponent) = exponent.as_rational() {
        let base = reduce(base, context)?;
        if exponent.is_integer() {
            return integer_power(base, exponent.to_i32()?, context);
        }
        let base_value = base.as_rational();
        if let (Some(base), true) = (&base_value, exponent.denom() == &BigInt::from(2)) {
            let root = square_root(base, context)?;
            return integer_power(root, exponent.numer().to_i32()?, context);
        }
        if let Some(exact) = base_value.as_ref().and_then(|base| exact_root(base, &exponent)) {
            return Some(Quotient::number(exact));
        }
        let key = quotient_key(&base, context);
        return Some(context.opaque(format!("({key})^({exponent})")));
    }
    let base = reduce(base, context)?;
    let base_key = quotient_key(&base, context);
    let exponent_key = quotient_key(&exponent, context);
    Some(context.opaque(format!("({base_key})^({exponent_key})")))
}

fn quotient_key(quotient: &Quotient, context: &Context<'_>) -> String {
    context.key(&Normal {
        numerator: quotient.numerator.clone(),
        denominator: quotient.denominator.clone(),
        is_conclusive: true,
    })
}

fn integer_power(base: Quotient, exponent: i32, context: &mut Context<'_>) -> Option<Quotient> {
    let magnitude = exponent.unsigned_abs();
    let base = if exponent < 0 { base.inverted()? } else { base };
    if let Some(value) = base.as_rational() {
        let bits = value.numer().bits().max(value.denom().bits());
        if magnitude > MAX_NUMBER_POWER || bits * u64::from(magnitude) > MAX_POWER_BITS {
            return None;
        }
        context.budget.spend(1 + bits * u64::from(magnitude) / 64)?;
        return Some(Quotient::number(value.pow(magnitude as i32)));
    }
    let single = |poly: &Poly| poly.term_power(magnitude, &context.squares);
    if magnitude > 1
        && let (Some(numerator), Some(denominator)) =
            (single(&base.numerator), single(&base.denominator))
    {
        return Some(Quotient { numerator, denominator });
    }
    if magnitude > MAX_POWER {
        return None;
    }
    let mut product = Quotient::number(BigRational::one());
    for _ in 0..magnitude {
        product = product.multiply(&base, context)?;
    }
    Some(product)
}

/// The root of a rational as a rational times roots of primes.
fn square_root(value: &BigRational, context: &mut Context<'_>) -> Option<Quotient> {
    let mut result = Quotient::number(BigRational::new(BigInt::one(), value.denom().clone()));
    let mut rest = value.numer() * value.denom();
    if rest.is_zero() {
        return Some(Quotient::number(BigRational::zero()));
    }
    if rest.is_negative() {
        rest = -rest;
        let i = Quotient::whole(context.atom("i".to_owned(), Square::Number(-BigRational::one())));
        result = result.multiply(&i, context)?;
    }
    if rest.bits() > 4_096 {
        return None;
    }
    let mut outside = BigInt::one();
    let mut roots: Vec<BigInt> = Vec::new();
    let mut divisor = 2_u64;
    while divisor <= MAX_TRIAL_DIVISOR && BigInt::from(divisor * divisor) <= rest {
        context.budget.spend(1 + rest.bits() / 512)?;
        let mut n_times = 0;
        while (&rest % divisor).is_zero() {
            rest /= divisor;
            n_times += 1;
        }
        outside *= BigInt::from(divisor).pow(n_times / 2);
        if n_times % 2 == 1 {
            roots.push(divisor.into());
        }
        divisor += if divisor == 2 { 1 } else { 2 };
    }
    if !rest.is_one() {
        let root = rest.sqrt();
        if &root * &root == rest {
            outside *= root;
        } else {
            // Below the square of the last divisor it is prime; above it may not be.
            if rest >= BigInt::from(MAX_TRIAL_DIVISOR * MAX_TRIAL_DIVISOR) {
                context.is_opaque = true;
            }
            roots.push(rest);
        }
    }
    result = result.multiply(&Quotient::number(BigRational::from_integer(outside)), context)?;
    for prime in roots {
        let square = Square::Number(BigRational::from_integer(prime.clone()));
        let root = Quotient::whole(context.atom(format!("sqrt{prime}"), square));
        result = result.multiply(&root, context)?;
    }
    Some(result)
}

fn apply(function: &Function, arguments: &[Expr], context: &mut Context<'_>) -> Option<Quotient> {
    let arguments: Vec<Quotient> =
        arguments.iter().map(|argument| reduce(argument, context)).collect::<Option<_>>()?;
    let values: Vec<Option<BigRational>> = arguments.iter().map(Quotient::as_rational).collect();
    if let Some(value) = exact_value(function, &values, context.budget) {
        return Some(Quotient::number(value));
    }
    let keys: Vec<String> =
        arguments.iter().map(|argument| quotient_key(argument, context)).collect();
    Some(context.opaque(format!("{function:?}({})", keys.join(","))))
}
