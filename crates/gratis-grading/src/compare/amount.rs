//! Amounts as they are usually written: `18`, `$1,250`, `0.75`. Two of them are compared without being
//! parsed, and most answers to word problems are such amounts.

use std::borrow::Cow;

/// Digits of an amount at most: any such integer is exact in 64 bits.
const MAX_DIGITS: usize = 15;
/// Decimal places at most. A decimal rounds only longer ones with four more places, so that amounts of
/// so few are equal only when their values are.
const MAX_PLACES: usize = 4;

/// A number that is not negative, perhaps with a dollar sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount {
    /// The value times `10^n_places`, which 10 does not divide unless `n_places` is 0.
    digits: u64,
    n_places: u8,
}

impl Amount {
    /// Reads an amount: digits without a leading zero, in groups of three or not, and decimals.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let bytes = bytes.strip_prefix(b"$").unwrap_or(bytes);
        // Digits, marks and a point.
        if bytes.len() > MAX_DIGITS + 6 {
            return None;
        }
        let n_first = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut value = number(&bytes[..n_first])?;
        let mut n_digits = n_first;
        let has_zero = bytes[0] == b'0';
        if has_zero && n_first > 1 {
            return None;
        }
        let mut rest = &bytes[n_first..];
        while let [b',', a, b, c, after @ ..] = rest {
            if n_first > 3 || has_zero {
                return None;
            }
            value = 1000 * value + number(&[*a, *b, *c])?;
            n_digits += 3;
            rest = after;
        }
        let mut n_places = 0;
        if let [b'.', places @ ..] = rest {
            n_places = places.len();
            if n_places > MAX_PLACES {
                return None;
            }
            value = 10_u64.pow(n_places as u32) * value + number(places)?;
            rest = &[];
        }
        if !rest.is_empty() || n_digits + n_places > MAX_DIGITS {
            return None;
        }
        while n_places > 0 && value % 10 == 0 {
            value /= 10;
            n_places -= 1;
        }
        Some(Self { digits: value, n_places: n_places as u8 })
    }

    /// What [`super::canonical`] makes of `text`, which is this amount.
    pub(super) fn key(self, text: &str) -> Cow<'_, str> {
        // Money is compared by its text.
        if let Some(text) = text.strip_prefix('$') {
            return text.into();
        }
        if self.n_places == 0 {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            return if is_plain { text.into() } else { self.digits.to_string().into() };
        }
        let (mut numerator, mut denominator) = (self.digits, 10_u64.pow(self.n_places.into()));
        for prime in [2, 5] {
            while numerator % prime == 0 && denominator % prime == 0 {
                (numerator, denominator) = (numerator / prime, denominator / prime);
            }
        }
        format!("{numerator}/{denominator}").into()
    }
}

/// The number of these digits, of which there is one at least.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    digits.iter().try_fold(0, |value: u64, digit| {
        digit.is_ascii_digit().then(|| 10 * value + u64::from(digit - b'0'))
    })
}
