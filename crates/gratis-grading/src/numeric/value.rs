//! A number in double precision together with a bound on its rounding error.
//!
//! The bound distinguishes a value that is zero up to rounding (`\sqrt2 + \sqrt3 -
//! \sqrt{5+2\sqrt6}`) from one that is small (`e^{-40}`). Overflow and underflow give an undefined
//! value.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::complex::Complex;

/// The rounding of one operation.
const EPSILON: f64 = f64::EPSILON;

/// A complex number and a bound on the absolute error of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Value {
    /// The number.
    pub(crate) number: Complex,
    /// The bound.
    pub(crate) error: f64,
}

impl Value {
    /// What an undefined operation gives.
    pub(crate) const UNDEFINED: Self = Self { number: Complex::UNDEFINED, error: f64::NAN };

    /// A number that is exact in double precision.
    pub(crate) fn exact(number: f64) -> Self {
        Self { number: Complex::real(number), error: 0.0 }
    }

    /// A number rounded once.
    pub(crate) fn rounded(number: f64) -> Self {
        Self::of(Complex::real(number), 0.0)
    }

    /// `number`, with one rounding on top of the error it inherits.
    pub(crate) fn of(number: Complex, inherited: f64) -> Self {
        Self { number, error: inherited + EPSILON * number.abs() }
    }

    /// `map` applied to a value; the error is what moving the value by its own error changes.
    pub(crate) fn map(self, map: impl Fn(Complex) -> Complex) -> Self {
        let image = map(self.number);
        let inherited = if self.error == 0.0 {
            0.0
        } else {
            let step = Complex::real(self.error);
            let up = (map(self.number + step) - image).abs();
            let down = (map(self.number - step) - image).abs();
            // At the edge of a domain only one side is defined.
            if up.is_nan() {
                down
            } else if down.is_nan() {
                up
            } else {
                up.max(down)
            }
        };
        Self::of(image, inherited).settled(true)
    }

    /// The value, or undefined where a result overflowed or, unless zero is right, underflowed.
    fn settled(self, may_be_zero: bool) -> Self {
        let is_tiny = self.number.abs() < f64::MIN_POSITIVE;
        if is_tiny && !may_be_zero || !self.number.is_finite() { Self::UNDEFINED } else { self }
    }

    /// The value to a power.
    pub(crate) fn power(self, image: Complex, exponent: Self) -> Self {
        let relative = self.error / self.number.abs().max(f64::MIN_POSITIVE);
        let magnitude = image.abs();
        let inherited = if self.error == 0.0 && exponent.error == 0.0 {
            0.0
        } else {
            magnitude
                * (exponent.number.abs() * relative
                    + exponent.error * self.number.abs().max(f64::MIN_POSITIVE).ln().abs())
        };
        let scale = EPSILON * magnitude * exponent.number.abs().min(700.0);
        Self::of(image, inherited + scale).settled(self.number.is_zero())
    }

    /// Whether both parts are finite.
    pub(crate) fn is_finite(self) -> bool {
        self.number.is_finite()
    }

    /// Whether the imaginary part is nothing but rounding.
    pub(crate) fn is_real(self) -> bool {
        self.number.is_real()
    }

    /// The absolute value.
    pub(crate) fn abs(self) -> f64 {
        self.number.abs()
    }
}

impl Add for Value {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::of(self.number + other.number, self.error + other.error)
    }
}

impl Sub for Value {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Value {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let inherited = if self.error == 0.0 && other.error == 0.0 {
            0.0
        } else {
            self.number.abs() * other.error + other.number.abs() * self.error
        };
        let is_zero = self.number.is_zero() || other.number.is_zero();
        let is_infinite = self.number.re.is_infinite() || other.number.re.is_infinite();
        let product = Self::of(self.number * other.number, inherited);
        if is_infinite { product } else { product.settled(is_zero) }
    }
}

impl Div for Value {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let quotient = self.number / other.number;
        let inherited = if self.error == 0.0 && other.error == 0.0 {
            0.0
        } else {
            (self.error + quotient.abs() * other.error) / other.number.abs()
        };
        Self::of(quotient, inherited).settled(self.number.is_zero())
    }
}

impl Neg for Value {
    type Output = Self;
    fn neg(self) -> Self {
        Self { number: -self.number, error: self.error }
    }
}
