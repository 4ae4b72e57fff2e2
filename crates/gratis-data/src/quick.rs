//! A faster reader of JSON lines in their usual form: one line, the fields in the order in which they are
//! written, numbers that 64 bits hold. It gives what the general reader gives, or nothing at all: then the
//! general reader reads the line, and finds what is wrong with it if anything is.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::decimal::{MAX_DIGITS, decimal};

/// Bytes of the longest number that is read here.
const MAX_NUMBER: usize = 40;

/// A line of JSON, read up to some byte.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// A string without its escapes.
    unescaped: String,
}

impl<'a> Scanner<'a> {
    /// At the beginning of a line; `None` for what is no text of one line.
    pub(crate) fn new(line: &'a [u8]) -> Option<Self> {
        // JSON strings hold no control characters, and between values they are rare.
        if line.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < b' ' {
            return None;
        }
        let text = simdutf8::basic::from_utf8(line).ok()?;
        Some(Self { text, at: 0, unescaped: String::new() })
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while *bytes.get(self.at)? == b' ' {
            self.at += 1;
        }
        Some(bytes[self.at])
    }

    /// Goes past `byte` if it comes next.
    pub(crate) fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Goes past `byte`, which must come next.
    pub(crate) fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip(byte).then_some(())
    }

    /// Goes past a word, such as `true`, if it comes next.
    pub(crate) fn skip_word(&mut self, word: &str) -> bool {
        self.peek();
        let is_next = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    /// Goes past the name of a field and the colon after it, if they come next.
    #[inline]
    pub(crate) fn skip_name(&mut self, name: &str) -> bool {
        self.peek();
        let rest = &self.text.as_bytes()[self.at..];
        let n = name.len();
        let is_next = rest.len() > n + 1
            && rest[0] == b'"'
            && rest[1..].starts_with(name.as_bytes())
            && rest[n + 1] == b'"';
        if !is_next {
            return false;
        }
        let before = self.at;
        self.at += n + 2;
        if !self.skip(b':') {
            self.at = before;
            return false;
        }
        true
    }

    /// Whether nothing but spaces is left.
    pub(crate) fn is_over(&mut self) -> bool {
        self.peek().is_none()
    }

    /// A string without escapes.
    pub(crate) fn plain_string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        let n = memchr::memchr2(b'"', b'\\', &self.text.as_bytes()[start..])?;
        let is_end = self.text.as_bytes()[start + n] == b'"';
        self.at = start + n + 1;
        is_end.then(|| &self.text[start..start + n])
    }

    /// A string.
    pub(crate) fn string(&mut self) -> Option<Cow<'_, str>> {
        self.expect(b'"')?;
        let (text, bytes) = (self.text, self.text.as_bytes());
        let mut start = self.at;
        self.unescaped.clear();
        loop {
            let end = start + memchr::memchr2(b'"', b'\\', &bytes[start..])?;
            let piece = &text[start..end];
            if bytes[end] == b'"' {
                self.at = end + 1;
                if self.unescaped.is_empty() {
                    return Some(Cow::Borrowed(piece));
                }
                self.unescaped.push_str(piece);
                return Some(Cow::Borrowed(&self.unescaped));
            }
            self.unescaped.push_str(piece);
            start = end + 2;
            self.unescaped.push(match *bytes.get(end + 1)? {
                byte @ (b'"' | b'\\' | b'/') => char::from(byte),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => {
                    let code = four_digits(bytes, start)?;
                    start += 4;
                    // Pairs of surrogates are left to the general reader.
                    char::from_u32(code)?
                }
                _ => return None,
            });
        }
    }

    /// Goes past a list of strings; returns how many there are.
    pub(crate) fn skip_strings(&mut self) -> Option<usize> {
        let mut n = 0;
        self.list(|line| {
            line.string()?;
            n += 1;
            Some(())
        })?;
        Some(n)
    }

    /// A number in 64 bits.
    pub(crate) fn number(&mut self) -> Option<f64> {
        self.peek()?;
        let number = &self.text.as_bytes()[self.at..];
        let (is_negative, whole) = match number {
            [b'-', size @ ..] => (true, size),
            size => (false, size),
        };
        let mut digits = 0;
        // Mostly one digit.
        let mut rest = after_each(whole, &mut digits);
        let n_whole = whole.len() - rest.len();
        if n_whole == 0 || (n_whole > 1 && whole[0] == b'0') {
            return None;
        }
        let mut n_places = 0;
        if let [b'.', places @ ..] = rest {
            rest = after_digits(places, &mut digits);
            n_places = places.len() - rest.len();
            if n_places == 0 {
                return None;
            }
        }
        if !matches!(rest, [b'e' | b'E', ..])
            && n_whole + n_places <= MAX_DIGITS
            && let Some(size) = decimal(digits, n_places)
        {
            self.at = self.text.len() - rest.len();
            return Some(if is_negative { -size } else { size });
        }
        self.long_number(number.len() - rest.len())
    }

    /// A number of which so many bytes come before its exponent, if it has one.
    #[cold]
    fn long_number(&mut self, n_bytes: usize) -> Option<f64> {
        let rest = &self.text.as_bytes()[self.at + n_bytes..];
        let end = n_bytes + exponent_length(rest)?;
        if end > MAX_NUMBER {
            return None;
        }
        let number = self.text[self.at..self.at + end].parse().ok();
        self.at += end;
        number
    }

    /// A whole number of few digits.
    pub(crate) fn count(&mut self) -> Option<usize> {
        self.peek()?;
        let rest = &self.text.as_bytes()[self.at..];
        let mut value = 0;
        let n = rest.len() - after_each(rest, &mut value).len();
        if n == 0 || n > 15 || (n > 1 && rest[0] == b'0') {
            return None;
        }
        // `3.0` and `3e2` are not.
        if matches!(rest.get(n), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.at += n;
        usize::try_from(value).ok()
    }

    /// A list, whose items `item` reads.
    pub(crate) fn list(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.skip(b']') {
            return Some(());
        }
        loop {
            item(self)?;
            if !self.skip(b',') {
                return self.expect(b']');
            }
        }
    }

    /// A value as the general reader reads it.
    pub(crate) fn value<T: DeserializeOwned>(&mut self) -> Option<T> {
        let mut values = serde_json::Deserializer::from_str(&self.text[self.at..]).into_iter();
        let value = values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(value)
    }
}

/// Appends the digits at the beginning of `bytes` to `value`, which wraps around; returns what follows them.
fn after_digits<'a>(mut bytes: &'a [u8], value: &mut u64) -> &'a [u8] {
    while let Some((eight, rest)) = bytes.split_first_chunk()
        && let Some(eight) = eight_digits(*eight)
    {
        *value = value.wrapping_mul(100_000_000).wrapping_add(eight);
        bytes = rest;
    }
    after_each(bytes, value)
}

/// As [`after_digits`], one by one: faster for few.
fn after_each<'a>(mut bytes: &'a [u8], value: &mut u64) -> &'a [u8] {
    while let [digit @ b'0'..=b'9', rest @ ..] = bytes {
        *value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        bytes = rest;
    }
    bytes
}

/// Bytes of the exponent that `bytes` begin with, 0 for none; `None` unless it has one digit or two: others
/// may be out of range.
fn exponent_length(bytes: &[u8]) -> Option<usize> {
    let [b'e' | b'E', digits @ ..] = bytes else {
        return Some(0);
    };
    let n_signs = usize::from(matches!(digits, [b'+' | b'-', ..]));
    let n = digits[n_signs..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=2).contains(&n).then_some(1 + n_signs + n)
}

/// The number of eight digits, each in one byte of a word: pairs of them, then fours, then all.
fn eight_digits(bytes: [u8; 8]) -> Option<u64> {
    const UPPER_HALVES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);
    let word = u64::from_le_bytes(bytes);
    // The sign after `9` is the first that six more take out of the upper half of `0`.
    let after = word.wrapping_add(u64::from_le_bytes([6; 8]));
    if word & UPPER_HALVES != ZEROS || after & UPPER_HALVES != ZEROS {
        return None;
    }
    let ones = word - ZEROS;
    let pairs = (10 * ones + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (100 * pairs + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((10_000 * fours + (fours >> 32)) & 0xffff_ffff)
}

/// The number of four hexadecimal digits.
fn four_digits(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .iter()
        .try_fold(0, |code, digit| Some(16 * code + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_and_strings_are_those_of_the_general_reader(
            text in prop_oneof![
                any::<f64>().prop_map(|number| format!("{number:?}")),
                (-1.0..1.0).prop_map(|number: f64| number.to_string()),
                any::<i64>().prop_map(|number| number.to_string()),
                "-?[0-9]{1,22}([.][0-9]{0,22})?([eE][-+]?[0-9]{0,4})?",
                "\"[a-z\\\\\"/nu0-9é×]{0,12}\"",
                any::<String>().prop_map(|text| serde_json::to_string(&text).expect("JSON")),
            ],
            rest in "[ ,}]{0,2}",
        ) {
            let line = format!("{text}{rest}");
            let general = |line: &str| {
                serde_json::Deserializer::from_str(line).into_iter::<serde_json::Value>().next()
            };
            if let Some(mut scanner) = Scanner::new(line.as_bytes())
                && let Some(number) = scanner.number()
                && matches!(scanner.peek(), None | Some(b',' | b'}'))
            {
                let general = general(&line).expect("a value").expect("a number");
                prop_assert_eq!(general.as_f64().map(f64::to_bits), Some(number.to_bits()));
            }
            if let Some(mut scanner) = Scanner::new(line.as_bytes())
                && let Some(read) = scanner.string()
            {
                let general = general(&line).expect("a value").expect("a string");
                prop_assert_eq!(general.as_str(), Some(&*read));
            }
        }
    }

    proptest! {
        #[test]
        fn eight_digits_are_read_at_once(
            text in prop_oneof!["[0-9]{8}", "[0-9]{0,7}[/:;.e ][0-9]{7}", "[0-9]{7}[\\x00-\\x7f]"],
            any in any::<[u8; 8]>(),
        ) {
            for bytes in [text.as_bytes().first_chunk().copied().unwrap_or(any), any] {
                let is_number = bytes.iter().all(u8::is_ascii_digit);
                let number = std::str::from_utf8(&bytes).ok().filter(|_| is_number);
                let number = number.map(|digits| digits.parse().expect("a number"));
                prop_assert_eq!(eight_digits(bytes), number);
            }
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_general_reader() {
        for text in ["01", "-", "1.", ".5", "1e400", "NaN", "+1", "1e", "\"\\ud83d\""] {
            let mut scanner = Scanner::new(text.as_bytes()).expect("a line");
            assert!(scanner.number().is_none(), "{text}");
            let mut scanner = Scanner::new(text.as_bytes()).expect("a line");
            assert!(scanner.string().is_none(), "{text}");
        }
        assert!(Scanner::new(b"\"a\tb\"").is_none() && Scanner::new(b"\"\xff\"").is_none());
    }
}
