//! Complex numbers in double precision, with the branch conventions of school mathematics.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// `re + im i`; not a number where an operation is undefined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Complex {
    pub(crate) re: f64,
    pub(crate) im: f64,
}

impl Complex {
    /// What an undefined operation gives.
    pub(crate) const UNDEFINED: Self = Self { re: f64::NAN, im: f64::NAN };

    /// `re + im i`
    pub(crate) fn new(re: f64, im: f64) -> Self {
        Self { re, im }
    }

    /// A real number.
    pub(crate) fn real(re: f64) -> Self {
        Self::new(re, 0.0)
    }

    /// Whether both parts are finite.
    pub(crate) fn is_finite(self) -> bool {
        self.re.is_finite() && self.im.is_finite()
    }

    /// Whether both parts are zero.
    pub(crate) fn is_zero(self) -> bool {
        self.re == 0.0 && self.im == 0.0
    }

    /// Whether the imaginary part is nothing but rounding.
    pub(crate) fn is_real(self) -> bool {
        self.im.abs() <= 1e-12 * self.re.abs().max(1e-3)
    }

    /// The absolute value.
    pub(crate) fn abs(self) -> f64 {
        self.re.hypot(self.im)
    }

    /// The natural logarithm, with the angle in `(-pi, pi]`.
    pub(crate) fn ln(self) -> Self {
        let im = if self.im == 0.0 && self.re < 0.0 {
            std::f64::consts::PI
        } else {
            self.im.atan2(self.re)
        };
        Self::new(self.abs().ln(), im)
    }

    /// The exponential.
    pub(crate) fn exp(self) -> Self {
        if self.im == 0.0 {
            return Self::real(self.re.exp());
        }
        let radius = self.re.exp();
        Self::new(radius * self.im.cos(), radius * self.im.sin())
    }

    /// The principal square root.
    pub(crate) fn sqrt(self) -> Self {
        if self.im == 0.0 {
            return if self.re >= 0.0 {
                Self::real(self.re.sqrt())
            } else {
                Self::new(0.0, (-self.re).sqrt())
            };
        }
        let radius = self.abs();
        let re = f64::midpoint(radius, self.re).max(0.0).sqrt();
        let im = f64::midpoint(radius, -self.re).max(0.0).sqrt();
        Self::new(re, im.copysign(self.im))
    }

    /// A whole power.
    pub(crate) fn powi(self, exponent: i32) -> Self {
        if self.im == 0.0 {
            return Self::real(self.re.powi(exponent));
        }
        let mut result = Self::real(1.0);
        let mut square = self;
        let mut left = exponent.unsigned_abs();
        while left > 0 {
            if left % 2 == 1 {
                result = result * square;
            }
            square = square * square;
            left /= 2;
        }
        if exponent < 0 { Self::real(1.0) / result } else { result }
    }

    /// A complex power on the principal branch; `0^0` is undefined.
    pub(crate) fn pow(self, exponent: Self) -> Self {
        if self.abs() == 0.0 {
            return if exponent.re > 0.0 { Self::real(0.0) } else { Self::UNDEFINED };
        }
        if self.im == 0.0 && exponent.im == 0.0 && self.re > 0.0 {
            return Self::real(self.re.powf(exponent.re));
        }
        (self.ln() * exponent).exp()
    }

    /// The sine.
    pub(crate) fn sin(self) -> Self {
        if self.im == 0.0 {
            return Self::real(self.re.sin());
        }
        Self::new(self.re.sin() * self.im.cosh(), self.re.cos() * self.im.sinh())
    }

    /// The cosine.
    pub(crate) fn cos(self) -> Self {
        if self.im == 0.0 {
            return Self::real(self.re.cos());
        }
        Self::new(self.re.cos() * self.im.cosh(), -self.re.sin() * self.im.sinh())
    }
}

impl Add for Complex {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.re + other.re, self.im + other.im)
    }
}

impl Sub for Complex {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.re - other.re, self.im - other.im)
    }
}

impl Mul for Complex {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        if self.im == 0.0 && other.im == 0.0 {
            return Self::real(self.re * other.re);
        }
        Self::new(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)
    }
}

impl Div for Complex {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        if self.im == 0.0 && other.im == 0.0 {
            return Self::real(self.re / other.re);
        }
        let square = other.re * other.re + other.im * other.im;
        let conjugate = Self::new(other.re, -other.im);
        let product = self * conjugate;
        Self::new(product.re / square, product.im / square)
    }
}

impl Neg for Complex {
    type Output = Self;
    fn neg(self) -> Self {
        Self::new(-self.re, -self.im)
    }
}
