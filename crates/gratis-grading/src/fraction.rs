//! Fractions of integers that 64 bits hold, as most are in an answer: reduced without big integers, of
// which each division allocates.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{ToPrimitive, Zero};

/// Powers of ten up to this one fit 64 bits.
const MAX_SMALL_PLACES: u32 = 19;

/// `numerator / denominator` in lowest terms, as [`BigRational::new`] gives it.
///
/// # Panics
/// If `denominator` is zero.
pub(crate) fn fraction(numerator: BigInt, denominator: BigInt) -> BigRational {
    match (numerator.to_i64(), denominator.to_u64()) {
        (Some(n), Some(d)) if d != 0 => {
            let divisor = greatest_divisor(n.unsigned_abs(), d);
            BigRational::new_raw((i128::from(n) / i128::from(divisor)).into(), (d / divisor).into())
        }
        _ => BigRational::new(numerator, denominator),
    }
}

/// `digits / 10^n_places` in lowest terms. Only twos and fives divide the denominator: taking them out of
/// many digits is faster than looking for a divisor of both.
pub(crate) fn decimal(digits: BigInt, n_places: u32) -> BigRational {
    if n_places <= MAX_SMALL_PLACES || digits.is_zero() {
        return fraction(digits, BigInt::from(10).pow(n_places));
    }
    let n_twos = digits.trailing_zeros().unwrap_or_default().min(n_places.into());
    let mut numerator = digits >> n_twos;
    let mut n_fives = 0;
    while n_fives < n_places && (&numerator % 5_u32).is_zero() {
        numerator /= 5_u32;
        n_fives += 1;
    }
    let denominator = BigInt::from(5).pow(n_places - n_fives) << (u64::from(n_places) - n_twos);
    BigRational::new_raw(numerator, denominator)
}

/// The product of two fractions in lowest terms.
pub(crate) fn product(a: &BigRational, b: &BigRational) -> BigRational {
    let numerator = a.numer() * b.numer();
    if a.is_integer() && b.is_integer() {
        return BigRational::from_integer(numerator);
    }
    fraction(numerator, a.denom() * b.denom())
}

fn greatest_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decimals_are_fractions_over_powers_of_ten(
            digits in prop_oneof!["[0-9]{1,60}", "[0-9]{1,20}0{1,40}", "0{0,40}"],
            (n_twos, n_fives, n_places) in (0_u32..60, 0_u32..60, 0_u32..60),
            is_negative in any::<bool>(),
        ) {
            let digits = digits.parse::<BigInt>().unwrap_or_default();
            let digits = if is_negative { -digits } else { digits };
            let powers = BigInt::from(2).pow(n_twos) * BigInt::from(5).pow(n_fives);
            for digits in [&digits * powers, digits] {
                let found = decimal(digits.clone(), n_places);
                let expected = BigRational::new(digits, BigInt::from(10).pow(n_places));
                prop_assert_eq!((found.numer(), found.denom()), (expected.numer(), expected.denom()));
            }
        }

        #[test]
        fn fractions_are_those_of_big_integers(
            a in any::<i128>(), b in 1_i128.., c in any::<i64>(), d in any::<i64>(), shift in 0_u32..127,
        ) {
            let d = if d == 0 { 1 } else { d };
            for (n, m) in [
                (a, b), (a >> shift, b), (a >> shift, (b >> shift).max(1)), (c.into(), d.into()),
                (i64::MIN.into(), d.into()), (0, b),
            ] {
                let (n, m) = (BigInt::from(n), BigInt::from(m));
                let (found, expected) =
                    (fraction(n.clone(), m.clone()), BigRational::new(n, m));
                prop_assert_eq!((found.numer(), found.denom()), (expected.numer(), expected.denom()));
                let other = BigRational::new(c.into(), b.into());
                let (found, expected) = (product(&expected, &other), &expected * &other);
                prop_assert_eq!((found.numer(), found.denom()), (expected.numer(), expected.denom()));
            }
        }
    }
}
