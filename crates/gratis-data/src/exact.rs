//! Numbers as they were written.
//!
//! A JSON value holds a number in 64 bits. An integer beyond 2^64 or a decimal of many digits would
//! come out changed; here it is held as its text, in an object with the one field [`KEY`], and is
//! written as it was read. So are the numbers of Parquet that JSON has none for: NaN and infinities.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::{Map, Number, Value};

/// The field of an object that stands for a number.
const KEY: &str = "$gratis:number";
/// Compact JSON before its text.
const BEFORE: &[u8] = b"{\"$gratis:number\":\"";
/// Compact JSON after its text.
const AFTER: &[u8] = b"\"}";
/// Texts of fewer bytes and without an exponent are exact in 64 bits: 15 digits always are.
const ALWAYS_EXACT: usize = 16;

/// What becomes of a number that JSON has none for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotFinite {
    /// Null, as in JSON lines.
    Null,
    /// It stays an object, to be read again.
    Held,
    /// Its name, for messages.
    Named,
}

/// A number of this text, as a JSON value.
pub(crate) fn held(text: &str) -> Value {
    Value::Object(Map::from_iter([(KEY.to_owned(), text.into())]))
}

/// A number of Parquet as a JSON value.
pub(crate) fn of_f64(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| held(&value.to_string()), Value::Number)
}

/// The text of a number that is held as text.
pub(crate) fn text_of(value: &Value) -> Option<&str> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    fields.get(KEY)?.as_str()
}

/// A number in 64 bits, however it is held.
pub(crate) fn as_f64(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| text_of(value)?.parse().ok())
}

/// Whether a number that is held as text is NaN or infinite.
pub(crate) fn is_not_finite(value: &Value) -> bool {
    text_of(value).is_some_and(|text| !text.ends_with(|c: char| c.is_ascii_digit()))
}

/// An integer as its digits, however it is held.
pub(crate) fn integer_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            Some(number.to_string().into())
        }
        value => {
            let text = text_of(value)?;
            let digits = text.strip_prefix('-').unwrap_or(text);
            let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_integer.then_some(text.into())
        }
    }
}

/// Replaces numbers that are held as text by those in 64 bits, where a type wants these.
pub(crate) fn round(value: &mut Value) {
    if let Some(text) = text_of(value) {
        if let Some(number) = text.parse().ok().and_then(Number::from_f64) {
            *value = Value::Number(number);
        }
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(round),
        Value::Object(fields) => fields.values_mut().for_each(round),
        _ => {}
    }
}

/// The compact JSON of a value, with numbers as they were written.
pub(crate) fn to_json(value: &Value, not_finite: NotFinite) -> String {
    let json = restore(value.to_string().into_bytes(), not_finite);
    String::from_utf8_lossy(&json).into_owned()
}

/// A line of JSON with every number that 64 bits do not hold replaced by an object that holds its
/// text; `None` if there is no such number.
pub(crate) fn hold(line: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut at, mut copied) = (0, 0);
    while at < line.len() {
        // Other programs write NaN and infinities, though JSON has none.
        if matches!(line[at], b'N' | b'I' | b'-')
            && let Some(name) = name_at(&line[at..])
        {
            out.extend([&line[copied..at], BEFORE, name, AFTER].concat());
            copied = at + name.len();
            at = copied;
            continue;
        }
        match line[at] {
            b'"' => at = end_of_string(line, at + 1),
            b'-' | b'0'..=b'9' => {
                let is_part =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let n = line[at..].iter().take_while(|byte| is_part(byte)).count();
                let text = &line[at..at + n];
                if !is_exact(text) {
                    out.extend([&line[copied..at], BEFORE, text, AFTER].concat());
                    copied = at + n;
                }
                at += n;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return None;
    }
    out.extend(&line[copied..]);
    Some(out)
}

/// The name of a number that JSON has not, at the beginning of `rest`.
fn name_at(rest: &[u8]) -> Option<&[u8]> {
    let names: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    let name = names.into_iter().find(|name| rest.starts_with(name))?;
    let ends = rest.get(name.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    ends.then_some(&rest[..name.len()])
}

/// The byte after the quote that ends a string.
fn end_of_string(line: &[u8], mut at: usize) -> usize {
    while let Some(n) = line.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += n;
        match line[at] {
            b'"' => return at + 1,
            _ => at += 2,
        }
    }
    line.len()
}

/// Whether 64 bits hold a number as it is written. What is no number is left to the parser.
fn is_exact(text: &[u8]) -> bool {
    let has_exponent = text.iter().any(|byte| matches!(byte, b'e' | b'E'));
    if text.len() < ALWAYS_EXACT && !has_exponent {
        return true;
    }
    let Ok(text) = std::str::from_utf8(text) else { return true };
    if text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() {
        return true;
    }
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return true;
    }
    let Ok(number) = text.parse::<f64>() else { return true };
    // The shortest text that means this number.
    let is_integer = !has_exponent && !text.contains('.');
    !is_integer && number.is_finite() && decimal(text) == decimal(&format!("{number:e}"))
}

/// Sign, digits without zeros at either end, and the power of ten of the last of them.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_end_matches('0');
    let n_zeros = (digits.len() - trimmed.len()) as i64;
    let digits = trimmed.trim_start_matches('0').to_owned();
    let power = if digits.is_empty() { 0 } else { exponent - fraction.len() as i64 + n_zeros };
    Some((is_negative, digits, power))
}

/// JSON with the numbers that are held as text written as they were read.
pub(crate) fn restore(json: Vec<u8>, not_finite: NotFinite) -> Vec<u8> {
    let find = |from: usize| memchr::memmem::find(&json[from..], BEFORE).map(|n| from + n);
    let Some(mut at) = find(0) else { return json };
    let (mut out, mut copied) = (Vec::with_capacity(json.len()), 0);
    loop {
        let start = at + BEFORE.len();
        let n = json[start..].iter().position(|&byte| byte == b'"').unwrap_or(0);
        let (text, end) = (&json[start..start + n], start + n + AFTER.len());
        if json[start + n..].starts_with(AFTER) {
            let is_json = text.last().is_some_and(u8::is_ascii_digit);
            let is_number = is_json && serde_json::from_slice::<IgnoredAny>(text).is_ok();
            let written = match (is_number, not_finite) {
                (true, _) | (false, NotFinite::Named) => Some(text),
                (false, NotFinite::Null) => Some(&b"null"[..]),
                (false, NotFinite::Held) => None,
            };
            if let Some(written) = written {
                out.extend([&json[copied..at], written].concat());
                copied = end;
            }
        }
        match find(start) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend(&json[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(line: &str) -> (Option<String>, String) {
        let held = hold(line.as_bytes());
        let text = held.clone().map(|held| String::from_utf8(held).expect("text"));
        let back = restore(held.unwrap_or_else(|| line.into()), NotFinite::Null);
        (text, String::from_utf8(back).expect("text"))
    }

    #[test]
    fn what_64_bits_hold_is_left_alone() {
        for line in [
            r#"{"a":18446744073709551615,"b":-9223372036854775808,"c":[0.1,1e-7,1E+22,-0.0]}"#,
            r#"{"a":0.30000000000000004,"b":1.7976931348623157e308,"c":5e-324,"d":1000000000000000.5}"#,
            r#"{"a":"12345678901234567890123456789","b\"":"\\","c":1.50,"d":100e0}"#,
            "{\"torn\": \"12345678901234567890123456789",
            "{\"torn\": \"\\",
        ] {
            assert_eq!(there_and_back(line), (None, line.to_owned()));
        }
    }

    #[test]
    fn other_numbers_are_written_as_they_were_read() {
        for number in [
            "18446744073709551616",
            "-9223372036854775809",
            "123456789012345678901234567890",
            "0.1000000000000000000001",
            "1e400",
            "-1e-400",
            "1e99999999999999999999",
        ] {
            let line = format!(r#"{{"a": [{number}, "{number}"], "b": {{"c": {number}}}}}"#);
            let (held, back) = there_and_back(&line);
            assert_eq!(back, line);
            let value: Value = serde_json::from_str(&held.expect("held")).expect("JSON");
            assert_eq!(text_of(&value["a"][0]), Some(number));
            assert_eq!(value["a"][1], number);
        }
    }

    #[test]
    fn numbers_that_json_has_not_are_null_or_held() {
        let value = serde_json::json!([of_f64(f64::NAN), of_f64(-f64::INFINITY), of_f64(0.5)]);
        assert!(is_not_finite(&value[0]) && is_not_finite(&value[1]) && !is_not_finite(&value[2]));
        assert_eq!(to_json(&value, NotFinite::Null), "[null,null,0.5]");
        assert_eq!(to_json(&value, NotFinite::Named), "[NaN,-inf,0.5]");
        let again: Value = serde_json::from_str(&to_json(&value, NotFinite::Held)).expect("JSON");
        assert_eq!(again, value);
        assert_eq!(as_f64(&again[1]), Some(-f64::INFINITY));
    }

    #[test]
    fn integers_of_any_size_are_told_from_decimals() {
        let line = hold(b"[7, 123456789012345678901234567890, 0.1000000000000000000001, \"7\"]");
        let values: Value = serde_json::from_slice(&line.expect("held")).expect("JSON");
        let texts: Vec<_> = values.as_array().expect("a list").iter().map(integer_text).collect();
        assert_eq!(texts[0].as_deref(), Some("7"));
        assert_eq!(texts[1].as_deref(), Some("123456789012345678901234567890"));
        assert_eq!(texts[2..], [None, None]);
        let mut rounded = values;
        round(&mut rounded);
        assert_eq!(rounded[1], 1.234_567_890_123_456_8e29);
    }
}
