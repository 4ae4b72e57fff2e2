//! JSON as Python's `json.dumps` writes it, which is what `tojson` prints in a chat template.

use std::fmt::Write;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::guards;
use super::limits::Budget;

/// How `json.dumps` lays out its text.
struct Layout<'a> {
    budget: &'a Budget,
    indent: Option<usize>,
    item_separator: String,
    key_separator: String,
    is_ascii: bool,
    is_sorted: bool,
}

/// The filter `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
///
/// A depth that the budget of the rendering does not allow, or a text, is an error.
pub(super) fn tojson(
    state: &State,
    value: &Value,
    indent: Option<Value>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let budget = Budget::of(state)?;
    budget.measure("tojson", value)?;
    let indent = match kwargs.get::<Option<Value>>("indent")? {
        None => indent,
        given => given,
    };
    let indent = indent
        .filter(|indent| !indent.is_none())
        .map(|indent| guards::count("tojson(indent)", &indent))
        .transpose()?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let (item_separator, key_separator) = match separators.as_deref() {
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => {
            return Err(Error::new(ErrorKind::InvalidOperation, "`separators` takes two strings"));
        }
    };
    let layout = Layout {
        budget: &budget,
        indent,
        item_separator,
        key_separator,
        is_ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        is_sorted: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    let mut out = String::new();
    layout.write(&mut out, value, 0)?;
    Ok(Value::from(out))
}

impl Layout<'_> {
    fn write(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => out.push_str(&value.to_string()),
            ValueKind::Number => out.push_str(&float(f64::try_from(value.clone())?)),
            ValueKind::String => self.write_string(out, value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.collect::<Vec<_>>();
                self.write_all(out, ['[', ']'], &items, depth, |out, item| {
                    self.write(out, item, depth + 1)
                })?;
            }
            ValueKind::Map => {
                let mut keys = value.try_iter()?.collect::<Vec<_>>();
                if self.is_sorted {
                    keys.sort();
                }
                self.write_all(out, ['{', '}'], &keys, depth, |out, key| {
                    self.write_string(out, &key_text(key));
                    out.push_str(&self.key_separator);
                    self.write(out, &value.get_item(key)?, depth + 1)
                })?;
            }
            kind => {
                let reason = format!("{kind} has no JSON form");
                return Err(Error::new(ErrorKind::BadSerialization, reason));
            }
        }
        Ok(())
    }

    fn write_all(
        &self,
        out: &mut String,
        [open, close]: [char; 2],
        items: &[Value],
        depth: usize,
        mut write_one: impl FnMut(&mut String, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(open);
        for (item_idx, item) in items.iter().enumerate() {
            if item_idx > 0 {
                out.push_str(&self.item_separator);
            }
            self.break_line(out, depth + 1);
            self.budget.check_size("tojson", out.len())?;
            write_one(out, item)?;
        }
        if !items.is_empty() {
            self.break_line(out, depth);
        }
        out.push(close);
        self.budget.check_size("tojson", out.len())
    }

    fn break_line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn write_string(&self, out: &mut String, text: &str) {
        out.push('"');
        for character in text.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                character if character < ' ' || (self.is_ascii && !character.is_ascii()) => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        let written = write!(out, "\\u{unit:04x}");
                        debug_assert!(written.is_ok(), "a string takes all that is written to it");
                    }
                }
                character => out.push(character),
            }
        }
        out.push('"');
    }
}

/// A key as JSON, whose keys are strings.
fn key_text(key: &Value) -> String {
    match key.kind() {
        ValueKind::None => "null".to_owned(),
        ValueKind::Bool => key.is_true().to_string(),
        _ => key.to_string(),
    }
}

/// A float as Python's `repr` writes it: the shortest digits, an exponent outside of
/// `1e-4 <= |x| < 1e16`.
fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let magnitude = number.abs();
    if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (number, expected) in [
            (0.0, "0.0"),
            (-0.5, "-0.5"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (-2.5e300, "-2.5e+300"),
        ] {
            assert_eq!(float(number), expected);
        }
    }
}
