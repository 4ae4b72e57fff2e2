//! Reading one number: decimals, thousands separators, scientific notation, repetends.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

use crate::fraction::{decimal, fraction};
use crate::syntax::Number;

/// More digits than this are not read as a number.
const MAX_DIGITS: usize = 2_000;
/// The largest power of ten of scientific notation.
const MAX_EXPONENT: i32 = 2_000;

/// What the letter in `3e-2` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exponents {
    /// It begins a power of ten: 0.03.
    Scientific,
    /// It is the base of the natural logarithm: `3e - 2`.
    Euler,
}

/// Reads the number at the start of `text`; gives it and the bytes it covers.
///
/// `in_brackets` says that a comma separates items rather than thousands, unless it is
/// written `{,}` or `,\!`.
pub(crate) fn read_number(
    text: &str,
    in_brackets: bool,
    exponents: Exponents,
) -> Option<(Number, usize)> {
    let (mut whole, mut at) = grouped_digits(text, in_brackets)?;
    let mut places = String::new();
    let mut repetend = String::new();
    let rest = &text[at..];
    let point = if rest.starts_with('.') {
        1
    } else if rest.starts_with("{,}") {
        3
    } else {
        0
    };
    if point > 0 {
        let digits = leading_digits(&rest[point..]);
        let (repeated, repeated_len) = read_repetend(&rest[point + digits.len()..]);
        if !digits.is_empty() || !repeated.is_empty() {
            digits.clone_into(&mut places);
            repetend = repeated;
            at += point + digits.len() + repeated_len;
        } else if point == 1 && !whole.is_empty() && !rest[1..].starts_with('.') {
            at += 1;
        }
    }
    if whole.is_empty() && places.is_empty() && repetend.is_empty() {
        return None;
    }
    // `1.000,99`: points between thousands, a comma before the decimals.
    let may_group = repetend.is_empty() && places.len() == 3 && (1..=3).contains(&whole.len());
    if may_group && let Some((value, length)) = continental(&text[at..]) {
        whole.push_str(&places);
        whole.push_str(&value.0);
        places = value.1;
        at += length;
    }
    if whole.len() + places.len() + repetend.len() > MAX_DIGITS {
        return None;
    }
    let (exponent, exponent_len) = match exponents {
        Exponents::Scientific => read_exponent(&text[at..]),
        Exponents::Euler => (0, 0),
    };
    at += exponent_len;
    if exponent.abs() > MAX_EXPONENT {
        return None;
    }
    Some((build(&whole, &places, &repetend, exponent)?, at))
}

/// The value of the parts of a number.
fn build(whole: &str, places: &str, repetend: &str, exponent: i32) -> Option<Number> {
    let ten = BigInt::from(10);
    let digits = [whole, places].concat();
    let n_places = u32::try_from(places.len()).ok()?;
    let integer = match digits.parse::<u64>() {
        Ok(small) => BigInt::from(small),
        Err(_) if digits.is_empty() => BigInt::zero(),
        Err(_) => digits.parse().ok()?,
    };
    let mut value = match n_places {
        0 => BigRational::from_integer(integer),
        _ => decimal(integer, n_places),
    };
    if !repetend.is_empty() {
        let n_repeated = u32::try_from(repetend.len()).ok()?;
        let cycle: BigInt = repetend.parse().ok()?;
        let nines = ten.pow(n_repeated) - BigInt::one();
        value += fraction(cycle, nines * ten.pow(n_places));
    }
    if exponent != 0 {
        let scale = BigRational::from_integer(ten.pow(exponent.unsigned_abs()));
        value = if exponent < 0 { value / scale } else { value * scale };
    }
    let is_decimal = repetend.is_empty() && n_places > 0;
    Some(Number {
        value,
        n_places: n_places.saturating_add_signed(-exponent),
        n_significant: u32::try_from(digits.trim_start_matches('0').len()).ok()?,
        is_decimal,
    })
}

/// The digits `text` starts with.
fn leading_digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

/// The digits of the whole part without their separators, and the bytes they cover.
fn grouped_digits(text: &str, in_brackets: bool) -> Option<(String, usize)> {
    let first = leading_digits(text);
    if first.is_empty() && !text.starts_with('.') {
        return None;
    }
    let mut digits = first.to_owned();
    let mut at = first.len();
    if first.is_empty() || first.len() > 3 || (first.starts_with('0') && first.len() > 1) {
        return Some((digits, at));
    }
    let Some(separator) = separator_at(&text[at..], in_brackets) else {
        return Some((digits, at));
    };
    if first == "0" {
        return Some((digits, at));
    }
    while let Some(length) = separator_length(&text[at..], separator) {
        let group = leading_digits(&text[at + length..]);
        if group.len() != 3 {
            break;
        }
        digits.push_str(group);
        at += length + 3;
    }
    Some((digits, at))
}

/// The ways thousands are separated.
#[derive(Clone, Copy, PartialEq)]
enum Grouping {
    /// `1,000`
    Comma,
    /// `1{,}000`, `1,\!000`, `1\,000`, `1\ 000`
    Latex,
    /// `1 000`
    Space,
    /// `1'000`
    Apostrophe,
    /// `1.000.000`
    Point,
}

/// The separator of thousands that `text` starts with, if three digits follow it.
fn separator_at(text: &str, in_brackets: bool) -> Option<Grouping> {
    // Most numbers have none.
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    [Grouping::Latex, Grouping::Comma, Grouping::Space, Grouping::Apostrophe, Grouping::Point]
        .into_iter()
        .filter(|&grouping| !(in_brackets && grouping == Grouping::Comma))
        .find(|&grouping| {
            let follows = |text: &str| {
                separator_length(text, grouping)
                    .filter(|&len| leading_digits(&text[len..]).len() == 3)
            };
            match (grouping, follows(text)) {
                // One point is a decimal point.
                (Grouping::Point, Some(len)) => follows(&text[len + 3..]).is_some(),
                (_, length) => length.is_some(),
            }
        })
}

/// The bytes of the separator `text` starts with, if it is of this kind.
fn separator_length(text: &str, grouping: Grouping) -> Option<usize> {
    let options: &[&str] = match grouping {
        Grouping::Comma => &[","],
        Grouping::Latex => &[
            "{,}\\!", "{,}", ",\\!\\!", ",\\! ", ",\\!", ",\\, ", ",\\,", "\\,", "\\ ", "\\!",
            "{\\,}", "~", "\u{202f}", "\u{2009}", "\u{a0}",
        ],
        Grouping::Space => &[" "],
        Grouping::Apostrophe => &["'", "\u{2019}"],
        Grouping::Point => &["."],
    };
    options.iter().find(|option| text.starts_with(**option)).map(|option| option.len())
}

/// The rest of `1.000.000,99` after its first group: whole digits, decimals, bytes.
fn continental(text: &str) -> Option<((String, String), usize)> {
    let mut whole = String::new();
    let mut at = 0;
    while text[at..].starts_with('.') && leading_digits(&text[at + 1..]).len() == 3 {
        whole.push_str(&text[at + 1..at + 4]);
        at += 4;
    }
    let decimals = text[at..].strip_prefix(',').map(leading_digits)?;
    if decimals.is_empty() || decimals.len() == 3 {
        return None;
    }
    Some(((whole, decimals.to_owned()), at + 1 + decimals.len()))
}

/// The repeated digits `\overline{73}`, `\bar{3}`, `\dot{3}` or `(3)`, and their bytes.
fn read_repetend(text: &str) -> (String, usize) {
    let body =
        ["\\overline", "\\bar", "\\dot"].iter().find_map(|command| text.strip_prefix(command));
    let Some(body) = body else {
        if let Some(inner) = text.strip_prefix('(') {
            let digits = leading_digits(inner);
            if !digits.is_empty() && inner[digits.len()..].starts_with(')') {
                return (digits.to_owned(), digits.len() + 2);
            }
        }
        return (String::new(), 0);
    };
    if let Some(dotted) = between_dots(text) {
        return dotted;
    }
    let command_len = text.len() - body.len();
    let open = body.len() - body.trim_start_matches(['{', ' ']).len();
    let digits = leading_digits(&body[open..]);
    let is_closed = open == 0 || body[open + digits.len()..].starts_with('}');
    if digits.is_empty() || !is_closed {
        return (String::new(), 0);
    }
    let used = if open == 0 { &digits[..1] } else { digits };
    let close = usize::from(body.starts_with('{'));
    (used.to_owned(), command_len + open + used.len() + close)
}

/// The digits from the first dotted one to the last: `\dot{2}\dot{7}`, `\dot{1}4285\dot{7}`.
fn between_dots(text: &str) -> Option<(String, usize)> {
    let digit = |rest: &str| {
        let digit = leading_digits(rest.strip_prefix("\\dot{")?);
        (digit.len() == 1 && rest[6..].starts_with('}')).then(|| digit.to_owned())
    };
    let first = digit(text)?;
    let inner = leading_digits(&text[7..]);
    let last = digit(&text[7 + inner.len()..])?;
    Some((format!("{first}{inner}{last}"), 14 + inner.len()))
}

/// The power of ten of `e-5`, and its bytes; zero when there is none.
fn read_exponent(text: &str) -> (i32, usize) {
    let Some(body) = text.strip_prefix(['e', 'E']) else {
        return (0, 0);
    };
    let sign_len = usize::from(body.starts_with(['+', '-']));
    let digits = leading_digits(&body[sign_len..]);
    if digits.is_empty() {
        return (0, 0);
    }
    let value = digits.parse::<i32>().unwrap_or(i32::MAX);
    let signed = if body.starts_with('-') { -value } else { value };
    (signed, 1 + sign_len + digits.len())
}
