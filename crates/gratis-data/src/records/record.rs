//! What a line of a data file must look like, and what is wrong with one that does not.
//!
//! A type that is read from files says which fields it has ([`Record::FIELDS`]); where a line does
//! not fit, the field at fault is found by their shapes and named with its line.

use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::reader::{Source, open_files};
use super::reading::Reading;
use super::rollout::Rollout;
use crate::error::Error;
use crate::exact::{self, NotFinite};

/// What to do with a line that is not what its format asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInvalid {
    /// Stop with an error that names file, line and field.
    #[default]
    Stop,
    /// Leave it out and count it.
    Skip,
}

/// A record of a data file: one JSON object, or one row.
pub(crate) trait Record: Sized + 'static {
    /// The record as stored in a file.
    type Columns: DeserializeOwned;

    /// Its fields, for error messages.
    const FIELDS: &'static [Field];

    /// The record whose fields have the right shapes, or what else is wrong with them.
    ///
    /// # Errors
    /// The first fault.
    fn from_columns(columns: Self::Columns) -> Result<Self, Fault>;

    /// Whether a number of a parsed record may be another one than was written, because 64 bits do not
    /// hold it; the line is then searched for such numbers.
    fn may_be_rounded(columns: &Self::Columns) -> bool {
        let _ = columns;
        true
    }

    /// The record of a line in its usual form, or `None`: then [`Self::Columns`] are read.
    fn quick(line: &[u8]) -> Option<Result<Self, Fault>> {
        let _ = line;
        None
    }

    /// Opens a file of such records. A type of which many are read has a function of its own, so that
    /// its reader is compiled with this crate, and as this crate is.
    fn open(path: &Path, reading: Reading) -> crate::error::Result<Box<dyn Source<Self>>> {
        open_files::<Self, Self>(path, reading)
    }

    /// What a row of a Parquet file is.
    const ROWS: RowLayout = RowLayout::Record;

    /// Whether it may stand in a file in any shape that is read as a rollout.
    const IS_ROLLOUT: bool = false;

    /// The record of a rollout that was read from another shape.
    ///
    /// # Errors
    /// What the rollout lacks.
    fn from_rollout(rollout: Rollout) -> Result<Self, Fault> {
        let _ = rollout;
        Err(Fault::new("record", "of its own format", "a rollout"))
    }

    /// Told its line or row, counted from 1.
    fn number(&mut self, line: u64) {
        let _ = line;
    }
}

/// What a row of a Parquet file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowLayout {
    /// A record.
    Record,
    /// A candidate of a record; or a record.
    Candidate,
}

/// A named part of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    name: &'static str,
    aliases: &'static [&'static str],
    shape: &'static Shape,
    required: bool,
}

impl Field {
    /// A field that may be absent or null.
    pub(crate) const fn optional(name: &'static str, shape: &'static Shape) -> Self {
        Self { name, aliases: &[], shape, required: false }
    }

    /// A field that must be there.
    pub(crate) const fn required(name: &'static str, shape: &'static Shape) -> Self {
        Self { name, aliases: &[], shape, required: true }
    }

    /// Whether `name` is its name, or another one that it may go by.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    /// The same field, which may also go by other names.
    #[must_use]
    pub(crate) const fn or(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }
}

/// The shape of a JSON value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// `true` or `false`.
    Bool,
    /// A number.
    Number,
    /// A string.
    Text,
    /// A string or a whole number.
    TextOrInteger,
    /// A list of such values.
    List(&'static Shape),
    /// Such a value, or null.
    OrNull(&'static Shape),
    /// An object with such fields.
    Object(&'static [Field]),
}

impl Shape {
    fn describe(&self) -> &'static str {
        match self {
            Self::Bool => "`true` or `false`",
            Self::Number => "a number",
            Self::Text => "a string",
            Self::TextOrInteger => "a string or an integer",
            Self::List(_) => "a list",
            Self::OrNull(shape) => shape.describe(),
            Self::Object(_) => "an object",
        }
    }

    /// Whether numbers are read in 64 bits.
    fn has_numbers(&self) -> bool {
        match self {
            Self::Number => true,
            Self::List(shape) | Self::OrNull(shape) => shape.has_numbers(),
            Self::Object(fields) => fields.iter().any(|field| field.shape.has_numbers()),
            Self::Bool | Self::Text | Self::TextOrInteger => false,
        }
    }

    /// The first part of `value` that has another shape; its name begins after that of `value`.
    fn fault(&self, value: &Value) -> Option<Fault> {
        let fits = match self {
            Self::Bool => value.is_boolean(),
            Self::Number => value.is_number(),
            Self::Text => value.is_string(),
            Self::TextOrInteger => value.is_string() || exact::integer_text(value).is_some(),
            Self::List(_) => value.is_array(),
            Self::OrNull(shape) if !value.is_null() => return shape.fault(value),
            Self::OrNull(_) => true,
            Self::Object(_) => value.is_object(),
        };
        match (self, value) {
            _ if !fits => Some(Fault::new("", self.describe(), shown(value))),
            (Self::List(shape), Value::Array(items)) => items
                .iter()
                .enumerate()
                .find_map(|(idx, item)| Some(shape.fault(item)?.after(&format!("[{idx}]")))),
            (Self::Object(fields), _) => Some(fields_fault(fields, value)?.after(".")),
            _ => None,
        }
    }
}

/// The first field of `value` that is absent or has another shape.
fn fields_fault(fields: &[Field], value: &Value) -> Option<Fault> {
    fields.iter().find_map(|field| {
        let names = || std::iter::once(&field.name).chain(field.aliases);
        let given = names().find(|name| value.get(name).is_some()).unwrap_or(&field.name);
        match value.get(given) {
            None if field.required => Some(Fault::new(*given, field.shape.describe(), "nothing")),
            None => None,
            Some(Value::Null) if !field.required => None,
            Some(value) => Some(field.shape.fault(value)?.after(given)),
        }
    })
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    field: String,
    expected: String,
    got: String,
    hint: &'static str,
}

/// The hint of most faults.
const FIX: &str = "fix the line, or skip and count invalid lines (`--skip-invalid`)";

impl Fault {
    /// `field` should be `expected` but is `got`.
    pub(crate) fn new(
        field: impl Into<String>,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), expected: expected.into(), got: got.into(), hint: FIX }
    }

    /// The same fault of a part of a larger record.
    #[must_use]
    pub(crate) fn within(self, place: &str) -> Self {
        self.after(&format!("{place}."))
    }

    /// The same fault with `start` before the name of its field.
    fn after(self, start: &str) -> Self {
        Self { field: format!("{start}{}", self.field), ..self }
    }

    /// The same fault with something else to do about it.
    #[must_use]
    pub(crate) fn hinted(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    /// The error for this fault at a line of a file.
    pub(crate) fn at(self, path: &Path, line: u64) -> Error {
        let Self { field, expected, got, hint } = self;
        Error::InvalidRecord { path: path.to_owned(), line, field, expected, got, hint }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` should be {}, got {}", self.field, self.expected, self.got)
    }
}

/// A record from one line of JSON.
pub(crate) fn from_json<T: Record>(line: &[u8]) -> Result<T, Fault> {
    let line = line.trim_ascii_end();
    if let Some(record) = T::quick(line) {
        return record;
    }
    let parsed = parse::<T::Columns>(line);
    // Most lines have no number that could have been rounded, and need no search for one.
    let is_exact = parsed.as_ref().is_ok_and(|columns| !T::may_be_rounded(columns));
    if !is_exact
        && let Some(held) = exact::hold(line)
        && let Ok(value) = serde_json::from_slice(&held)
    {
        return from_value(value);
    }
    let columns = parsed.map_err(|error| {
        let value = serde_json::from_slice::<Value>(line);
        value.map_or_else(|error| not_json(line, &error), |value| wrong_shape::<T>(&value, &error))
    })?;
    T::from_columns(columns)
}

/// A line of JSON as a type. UTF-8 is checked for the whole line at once.
fn parse<C: DeserializeOwned>(line: &[u8]) -> Result<C, serde_json::Error> {
    match simdutf8::basic::from_utf8(line) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(line),
    }
}

/// A line of JSON as a value, with numbers as they were written.
pub(crate) fn value_of(line: &[u8]) -> Result<Value, Fault> {
    let line = line.trim_ascii_end();
    if let Some(held) = exact::hold(line)
        && let Ok(value) = serde_json::from_slice(&held)
    {
        return Ok(value);
    }
    serde_json::from_slice(line).map_err(|error| not_json(line, &error))
}

/// The fields of a record.
pub(crate) fn object_of(value: Value) -> Result<Map<String, Value>, Fault> {
    match value {
        Value::Object(fields) => Ok(fields),
        other => Err(Fault::new("record", "a JSON object", shown(&other))),
    }
}

/// A record from a JSON value.
pub(crate) fn from_value<T: Record>(mut value: Value) -> Result<T, Fault> {
    for (name, value) in value.as_object_mut().into_iter().flatten() {
        if T::FIELDS.iter().any(|field| field.is_called(name) && field.shape.has_numbers()) {
            exact::round(value);
        }
    }
    // Texts are moved out of a record of the right shape, not copied.
    let columns = if value.is_object() && fields_fault(T::FIELDS, &value).is_none() {
        T::Columns::deserialize(value).map_err(|error| of_its_format(&error))
    } else {
        T::Columns::deserialize(&value).map_err(|error| wrong_shape::<T>(&value, &error))
    };
    T::from_columns(columns?)
}

fn not_json(line: &[u8], error: &serde_json::Error) -> Fault {
    let reason = error.to_string();
    // The line that counts is that of the file.
    let reason = reason.split(" at line ").next().unwrap_or_default();
    let column = error.column();
    let advice = advice(line, reason);
    let found = |got: String| Fault::new("record", "a JSON object", got);
    // Neither bytes of another encoding nor those of another format are shown.
    match std::str::from_utf8(line) {
        Err(error) => {
            let at = error.valid_up_to() + 1;
            found(format!("bytes that are not UTF-8 (at byte {at}{advice})"))
        }
        Ok(text) if text.contains('\0') => found(format!("null bytes ({reason}{advice})")),
        Ok(text) => found(format!("{} ({reason} at column {column}{advice})", excerpt(text))),
    }
}

/// What usually is the reason.
fn advice(line: &[u8], reason: &str) -> &'static str {
    if std::str::from_utf8(line).is_err() {
        "; the file is not UTF-8: convert it, for instance by `iconv -f LATIN1 -t UTF-8`"
    } else if reason == "trailing characters" {
        "; one record per line, with nothing between them"
    } else if line.starts_with(b"{'") {
        "; JSON has double quotes: write the file by `json.dumps`"
    } else {
        ""
    }
}

fn wrong_shape<T: Record>(value: &Value, error: &serde_json::Error) -> Fault {
    if !value.is_object() {
        return Fault::new("record", "a JSON object", shown(value));
    }
    fields_fault(T::FIELDS, value).unwrap_or_else(|| of_its_format(error))
}

fn of_its_format(error: &serde_json::Error) -> Fault {
    Fault::new("record", "of its format", error.to_string())
}

/// The beginning of a value, in backticks.
pub(crate) fn shown(value: &Value) -> String {
    excerpt(&exact::to_json(value, NotFinite::Named))
}

/// The beginning of `text`, in backticks.
pub(crate) fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    match text.trim_end().char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("`{}...`", &text[..end]),
        None => format!("`{}`", text.trim_end()),
    }
}
