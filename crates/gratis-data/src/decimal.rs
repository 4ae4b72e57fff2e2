//! The nearest 64-bit number of a decimal, from one product of integers.

/// Digits of a decimal at most: any such integer fits 64 bits.
pub(crate) const MAX_DIGITS: usize = 19;
/// Binary digits of a 64-bit number.
const N_BITS: u32 = f64::MANTISSA_DIGITS;
/// The powers of ten that 64-bit numbers hold exactly, for exact operands of one division.
const POWERS: [f64; MAX_DIGITS + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19,
];

/// `1 / 5^n` as `significand / 2^shift`, cut off after 64 binary digits.
#[derive(Clone, Copy)]
struct Reciprocal {
    significand: u64,
    shift: u32,
}

const RECIPROCALS: [Reciprocal; MAX_DIGITS + 1] = {
    let mut all = [Reciprocal { significand: 1 << 63, shift: 63 }; MAX_DIGITS + 1];
    let mut n = 1;
    while n < all.len() {
        let power = 5_u128.pow(n as u32);
        let shift = 63 + (u128::BITS - power.leading_zeros());
        all[n] = Reciprocal { significand: ((1_u128 << shift) / power) as u64, shift };
        n += 1;
    }
    all
};

/// The number nearest to `digits / 10^n_places`, for [`MAX_DIGITS`] places at most; `None` where more than
/// one product is needed to tell.
pub(crate) fn decimal(digits: u64, n_places: usize) -> Option<f64> {
    if digits < 1 << N_BITS {
        // From a signed integer in one instruction.
        return Some(digits as i64 as f64 / POWERS[n_places]);
    }
    let Reciprocal { significand, shift } = RECIPROCALS[n_places];
    let n_zeros = digits.leading_zeros();
    let product = u128::from(digits << n_zeros) * u128::from(significand);
    // The exact product is at least `high`, and less than `high + 2`: the reciprocal is less than one unit
    // too small, and the low half was cut off.
    let high = (product >> 64) as u64;
    let n_dropped = u64::BITS - high.leading_zeros() - N_BITS;
    let half = 1 << (n_dropped - 1);
    let dropped = high & (2 * half - 1);
    if dropped == half || dropped + 1 == half {
        return None;
    }
    let rounded = (high >> n_dropped) + u64::from(dropped > half);
    let exponent = i64::from(n_dropped + 64) - i64::from(shift + n_zeros) - n_places as i64;
    let scale = f64::from_bits(((1023 + exponent) as u64) << (N_BITS - 1));
    Some(rounded as i64 as f64 * scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the standard library reads it.
    fn by_definition(digits: u64, n_places: usize) -> u64 {
        let number: f64 = format!("{digits}e-{n_places}").parse().expect("a number");
        number.to_bits()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn decimals_are_those_of_the_standard_library(
            digits in prop_oneof![
                any::<u64>(),
                (0_u32..64, any::<u64>()).prop_map(|(shift, digits)| digits >> shift),
                (53_u32..64, -3_i64..4).prop_map(|(bits, off)| (1_u64 << bits).wrapping_add_signed(off)),
            ],
            n_places in 0..=MAX_DIGITS,
        ) {
            if let Some(number) = decimal(digits, n_places) {
                prop_assert_eq!(number.to_bits(), by_definition(digits, n_places));
            }
        }

        #[test]
        fn numbers_as_they_are_written_are_mostly_read(number in 0.001_f64..1000.0) {
            let text = number.to_string();
            let (whole, places) = text.split_once('.').unwrap_or((&text, ""));
            let digits = format!("{whole}{places}").parse().expect("digits");
            if let Some(read) = decimal(digits, places.len()) {
                prop_assert_eq!(read.to_bits(), number.to_bits());
            }
        }
    }

    #[test]
    fn ties_are_left_to_others() {
        // Half way between two numbers, to either of which it may be rounded.
        let tie = (1 << 53) + 1;
        assert_eq!(decimal(tie, 0), None);
        assert_eq!(decimal(tie + 1, 0), Some((tie + 1) as f64));
        assert_eq!(decimal(0, 5).map(f64::to_bits), Some(0));
        let n_read = (0..10_000_u64).filter(|n| decimal((1 << 60) + 977 * n, 19).is_some()).count();
        // Expected: two of 1024 or of 512 are left.
        assert!(n_read > 9_950, "{n_read}");
    }
}
