//! Products of powers as exponents of primes: `2^{50000}` and `9^{9^9}` without their digits.
//!
//! Factorisation is unique, so two such products are equal exactly when their exponents are. That
//! is the comparison in logarithms, without rounding.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::normal::{Context, normal};
use crate::budget::Budget;
use crate::syntax::{Constant, Expr};

/// Factors are looked for up to here; what is left below its square is prime.
const MAX_TRIAL_DIVISOR: u64 = 2_000;
/// Exponents of more bits than this are not compared.
const MAX_EXPONENT_BITS: u64 = 40_000;

/// A base that no product of the others equals: a prime, or a constant by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Base {
    Prime(BigInt),
    Pi,
    E,
}

/// A number that is not zero: its sign and the exponents, none of them zero, of its factors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Powers {
    is_negative: bool,
    exponents: BTreeMap<Base, BigRational>,
}

impl Powers {
    fn one() -> Self {
        Self { is_negative: false, exponents: BTreeMap::new() }
    }

    fn multiply(mut self, other: Self) -> Option<Self> {
        self.is_negative ^= other.is_negative;
        for (base, exponent) in other.exponents {
            let sum = self.exponents.remove(&base).unwrap_or_else(BigRational::zero) + exponent;
            if sum.numer().bits().max(sum.denom().bits()) > MAX_EXPONENT_BITS {
                return None;
            }
            if !sum.is_zero() {
                self.exponents.insert(base, sum);
            }
        }
        Some(self)
    }

    fn raised(self, power: &BigRational) -> Option<Self> {
        if self.is_negative && !power.is_integer() {
            return None;
        }
        let is_negative = self.is_negative && (power.numer() % 2_u32) != BigInt::zero();
        let exponents = self
            .exponents
            .into_iter()
            .map(|(base, exponent)| (base, exponent * power))
            .filter(|(_, exponent)| !exponent.is_zero())
            .collect();
        Self { is_negative, exponents: BTreeMap::new() }
            .multiply(Self { is_negative: false, exponents })
    }
}

/// The factors of an expression without variables; `None` when it is zero, a sum, or has a factor
/// too large to tell whether it is prime.
pub(crate) fn powers(expr: &Expr, budget: &Budget) -> Option<Powers> {
    budget.spend(1)?;
    match expr {
        Expr::Number(number) => factors(&number.value, budget),
        Expr::Constant(Constant::Pi) => Some(single(Base::Pi)),
        Expr::Constant(Constant::E) => Some(single(Base::E)),
        Expr::Negative(inner) => {
            let mut inner = powers(inner, budget)?;
            inner.is_negative = !inner.is_negative;
            Some(inner)
        }
        Expr::Product(parts) => parts
            .iter()
            .try_fold(Powers::one(), |product, part| product.multiply(powers(part, budget)?)),
        Expr::Quotient(a, b) => {
            powers(a, budget)?.multiply(powers(b, budget)?.raised(&-BigRational::one())?)
        }
        Expr::Power(base, exponent) => {
            let exponent = normal(exponent, &mut Context::new(budget))?.as_rational()?;
            powers(base, budget)?.raised(&exponent)
        }
        _ => None,
    }
}

fn single(base: Base) -> Powers {
    Powers { is_negative: false, exponents: BTreeMap::from([(base, BigRational::one())]) }
}

fn factors(value: &BigRational, budget: &Budget) -> Option<Powers> {
    if value.is_zero() {
        return None;
    }
    let numerator = prime_factors(&value.numer().abs(), budget)?;
    let denominator = prime_factors(value.denom(), budget)?.raised(&-BigRational::one())?;
    let mut product = numerator.multiply(denominator)?;
    product.is_negative = value.is_negative();
    Some(product)
}

fn prime_factors(value: &BigInt, budget: &Budget) -> Option<Powers> {
    let mut rest = value.clone();
    if rest.bits() > MAX_EXPONENT_BITS {
        return None;
    }
    let mut product = Powers::one();
    let mut divisor = 2_u64;
    while divisor <= MAX_TRIAL_DIVISOR && BigInt::from(divisor * divisor) <= rest {
        budget.spend(1 + rest.bits() / 512)?;
        let mut n_times = 0_u32;
        while (&rest % divisor).is_zero() {
            rest /= divisor;
            n_times += 1;
        }
        if n_times > 0 {
            let times = BigRational::from_integer(n_times.into());
            product = product.multiply(single(Base::Prime(divisor.into())).raised(&times)?)?;
        }
        divisor += if divisor == 2 { 1 } else { 2 };
    }
    if rest.is_one() {
        return Some(product);
    }
    let is_prime = rest.to_u64().is_some_and(|rest| rest < MAX_TRIAL_DIVISOR * MAX_TRIAL_DIVISOR);
    if !is_prime {
        return None;
    }
    product.multiply(single(Base::Prime(rest)))
}
