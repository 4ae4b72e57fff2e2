//! Functions and roots that take rational numbers to rational numbers.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::budget::Budget;
use crate::syntax::Function;

/// The largest argument of an exact factorial or binomial.
const MAX_FACTORIAL: u32 = 3_000;

/// `value^(p/q)` when it is rational: `8^(2/3)`.
pub(super) fn exact_root(value: &BigRational, exponent: &BigRational) -> Option<BigRational> {
    let degree = exponent.denom().to_u32().filter(|degree| *degree <= 64)?;
    let power = exponent.numer().to_i32().filter(|power| power.abs() <= 64)?;
    if value.is_negative() && degree.is_multiple_of(2)
        || value.is_zero()
        || value.numer().bits() > 4_096
    {
        return None;
    }
    let root = |n: &BigInt| {
        let root = n.nth_root(degree);
        (root.pow(degree) == *n).then_some(root)
    };
    let root = BigRational::new(root(value.numer())?, root(value.denom())?);
    Some(root.pow(power))
}

/// The functions that take rationals to rationals.
pub(super) fn exact_value(
    function: &Function,
    values: &[Option<BigRational>],
    budget: &Budget,
) -> Option<BigRational> {
    let whole = |value: &Option<BigRational>| {
        value.as_ref().filter(|value| value.is_integer()).map(BigRational::to_integer)
    };
    match (function, values) {
        (Function::Abs, [Some(value)]) => Some(value.abs()),
        (Function::Floor, [Some(value)]) => Some(value.floor()),
        (Function::Ceil, [Some(value)]) => Some(value.ceil()),
        (Function::Ln, [Some(value)]) if value.is_one() => Some(BigRational::zero()),
        (Function::Max, [Some(a), Some(b)]) => Some(a.max(b).clone()),
        (Function::Min, [Some(a), Some(b)]) => Some(a.min(b).clone()),
        (Function::Factorial, [value]) => {
            let n = whole(value)?.to_u32().filter(|n| *n <= MAX_FACTORIAL)?;
            budget.spend(u64::from(n) * u64::from(n) / 64)?;
            Some(BigRational::from_integer((1..=n).map(BigInt::from).product()))
        }
        (Function::Binomial, [n, k]) => {
            let n = whole(n)?.to_u32().filter(|n| *n <= MAX_FACTORIAL)?;
            let k = whole(k)?.to_u32().filter(|k| *k <= n)?;
            let k = k.min(n - k);
            budget.spend(u64::from(k) * u64::from(n) / 64)?;
            let mut value = BigInt::one();
            for idx in 0..k {
                value = value * (n - idx) / (idx + 1);
            }
            Some(BigRational::from_integer(value))
        }
        _ => None,
    }
}
