//! Polynomials with rational coefficients in atoms: variables, constants, square roots.

use std::collections::BTreeMap;

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use crate::budget::Budget;
use crate::fraction;

/// More terms than this are left to the numerical comparison.
const MAX_TERMS: usize = 400;
/// Coefficients of more bits than this as well.
const MAX_BITS: u64 = 40_000;
/// And larger degrees.
const MAX_DEGREE: u32 = 1_000_000_000;

/// The rule by which the square of an atom reduces.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Square {
    /// It does not: a variable, pi, e.
    Free,
    /// To this number: the imaginary unit, the root of a prime.
    Number(BigRational),
}

/// Atom indices with their powers, by rising index.
pub(crate) type Monomial = Vec<(u32, u32)>;

/// A polynomial: the coefficient, never zero, of each monomial.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Poly {
    terms: BTreeMap<Monomial, BigRational>,
}

impl Poly {
    /// A constant.
    pub(crate) fn constant(value: BigRational) -> Self {
        let mut terms = BTreeMap::new();
        if !value.is_zero() {
            terms.insert(Monomial::new(), value);
        }
        Self { terms }
    }

    /// One.
    pub(crate) fn one() -> Self {
        Self::constant(BigRational::one())
    }

    /// The atom of this index.
    pub(crate) fn atom(index: u32) -> Self {
        Self { terms: BTreeMap::from([(vec![(index, 1)], BigRational::one())]) }
    }

    /// Whether it is zero.
    pub(crate) fn is_zero(&self) -> bool {
        self.terms.is_empty()
    }

    /// Its value when it is a constant.
    pub(crate) fn as_constant(&self) -> Option<BigRational> {
        match self.terms.len() {
            0 => Some(BigRational::zero()),
            1 => self.terms.get(&Monomial::new()).cloned(),
            _ => None,
        }
    }

    /// The sum; `None` when it grows too large.
    pub(crate) fn add(mut self, other: &Self, budget: &Budget) -> Option<Self> {
        budget.spend(other.terms.len() as u64 + 1)?;
        for (monomial, coefficient) in &other.terms {
            let sum = match self.terms.remove(monomial) {
                Some(known) => known + coefficient,
                None => coefficient.clone(),
            };
            if !sum.is_zero() {
                self.terms.insert(monomial.clone(), sum);
            }
        }
        self.checked()
    }

    /// The negative.
    pub(crate) fn negated(mut self) -> Self {
        for coefficient in self.terms.values_mut() {
            *coefficient = -std::mem::take(coefficient);
        }
        self
    }

    /// The product, with squares of atoms reduced by `squares`.
    pub(crate) fn multiply(
        &self,
        other: &Self,
        squares: &[Square],
        budget: &Budget,
    ) -> Option<Self> {
        if let Some(product) = self.other_than_one(other) {
            let n_bits = |poly: &Self| poly.leading().map_or(0, |value| value.numer().bits());
            budget.spend(4 + (n_bits(self) + n_bits(other)) / 64)?;
            return product.clone().checked();
        }
        let mut product = Self::default();
        for (a, x) in &self.terms {
            for (b, y) in &other.terms {
                budget.spend(4 + (x.numer().bits() + y.numer().bits()) / 64)?;
                let mut coefficient = fraction::product(x, y);
                let monomial = merge(a, b, squares, &mut coefficient)?;
                let sum = match product.terms.remove(&monomial) {
                    Some(known) => known + coefficient,
                    None => coefficient,
                };
                if !sum.is_zero() {
                    product.terms.insert(monomial, sum);
                }
            }
        }
        product.checked()
    }

    /// The other of two constants of which one is one: most products are of this kind.
    fn other_than_one<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        let constant = |poly: &'a Self| match poly.terms.len() {
            1 => poly.terms.get(&[][..]),
            _ => None,
        };
        match (constant(self)?, constant(other)?) {
            (_, one) if one.is_one() => Some(self),
            (one, _) if one.is_one() => Some(other),
            _ => None,
        }
    }

    /// A power of a single term, at once; `None` for a sum, or when it grows too large.
    pub(crate) fn term_power(&self, power: u32, squares: &[Square]) -> Option<Self> {
        let mut terms = self.terms.iter();
        let ((monomial, coefficient), None) = (terms.next()?, terms.next()) else {
            return None;
        };
        let mut coefficient = small_power(coefficient, power)?;
        let raised: Option<Monomial> = monomial
            .iter()
            .map(|(atom, exponent)| Some((*atom, exponent.checked_mul(power)?)))
            .collect();
        let monomial = merge(&raised?, &Monomial::new(), squares, &mut coefficient)?;
        Self { terms: BTreeMap::from([(monomial, coefficient)]) }.checked()
    }

    /// The polynomial as it is, unless it has grown too large.
    fn checked(self) -> Option<Self> {
        let is_small = self.terms.len() <= MAX_TERMS
            && self
                .terms
                .values()
                .all(|c| c.numer().bits() <= MAX_BITS && c.denom().bits() <= MAX_BITS);
        is_small.then_some(self)
    }

    /// The coefficient of the first monomial, to scale it by.
    pub(crate) fn leading(&self) -> Option<&BigRational> {
        self.terms.values().next_back()
    }

    /// Its terms, for a key.
    pub(crate) fn terms(&self) -> impl Iterator<Item = (&Monomial, &BigRational)> {
        self.terms.iter()
    }
}

/// The product of two monomials; reduced squares go into the coefficient.
fn merge(
    a: &Monomial,
    b: &Monomial,
    squares: &[Square],
    coefficient: &mut BigRational,
) -> Option<Monomial> {
    let mut powers: BTreeMap<u32, u32> = a.iter().copied().collect();
    for &(atom, power) in b {
        let sum = powers.entry(atom).or_default();
        *sum = sum.checked_add(power)?;
    }
    let mut merged = Monomial::with_capacity(powers.len());
    for (atom, mut power) in powers {
        if let Some(Square::Number(square)) = squares.get(atom as usize) {
            if power > 1 {
                *coefficient *= small_power(square, power / 2)?;
            }
            power %= 2;
        }
        if power > MAX_DEGREE {
            return None;
        }
        if power > 0 {
            merged.push((atom, power));
        }
    }
    Some(merged)
}

/// A power of a number, unless it has more bits than a coefficient may have.
fn small_power(base: &BigRational, power: u32) -> Option<BigRational> {
    if base.abs().is_one() {
        return Some(if power.is_multiple_of(2) { base.abs() } else { base.clone() });
    }
    let bits = base.numer().bits().max(base.denom().bits());
    (bits * u64::from(power) <= MAX_BITS).then(|| base.pow(power as i32))
}
