//! Records read from Parquet, one row at a time.
//!
//! A column with the name of a record's field is read as that field, wherever null is allowed; other
//! columns are carried along with their nulls, NaN and types. The column `extra`, if it holds JSON
//! objects, holds further fields. Dates and times become text (ISO 8601, UTC), whatever their sign.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use gratis_model::guard;
use parquet::basic::{Compression, LogicalType};
use parquet::data_type::Decimal;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Map as Pairs, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::record::{Fault, Record};
use crate::error::{Error, Result};
use crate::exact::{self, NotFinite};

/// Column that holds the fields a rollout has beside its own.
pub(crate) const EXTRA: &str = "extra";

/// What to do about bytes in the place of text.
const BYTES: &str = "leave the column out of the file, or write its bytes as text, such as base64";

/// Fields that are never taken from [`EXTRA`].
const NEVER_EXTRA: [&str; 5] = ["id", "prompt", "reference", "dataset", "completions"];

/// Gives the next row with its number from 1, or what is wrong with it.
pub(crate) type Values = Box<dyn FnMut() -> Result<Option<(u64, Result<Value, Fault>)>>>;

/// The rows of a Parquet file as records, one page of each column in memory at a time.
pub(crate) fn values<T: Record>(path: &Path) -> Result<Values> {
    let reader = open(path)?;
    let json_columns = json_columns(reader.metadata().file_metadata().schema());
    let mut rows = RowIter::from_file_into(Box::new(reader));
    let path = path.to_owned();
    let mut number = 0;
    Ok(Box::new(move || {
        let row = match guard::run(|| rows.next()) {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(row))) => Ok(row),
            Ok(Some(Err(error))) => Err(reason(&error)),
            Err(panic) => Err(panic),
        };
        number += 1;
        let row = row.map_err(|reason| unreadable(&path, number, reason))?;
        let value = record_of::<T>(row, &json_columns);
        Ok(Some((number, value)))
    }))
}

fn open(path: &Path) -> Result<SerializedFileReader<File>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let reader = guard::run(|| SerializedFileReader::new(file));
    let reader = reader.map_err(|panic| damaged(path, panic))?;
    let reader = reader.map_err(|error| damaged(path, reason(&error)))?;
    let mut columns = reader.metadata().row_groups().iter().flat_map(RowGroupMetaData::columns);
    match columns.find(|column| !is_known(column.compression())) {
        None => Ok(reader),
        Some(column) => Err(Error::InvalidFile {
            path: path.to_owned(),
            expected: "compressed with anything but lzo".to_owned(),
            got: format!(
                "{} in the column `{}`",
                name_of(column.compression()),
                column.column_path().string()
            ),
        }),
    }
}

fn is_known(compression: Compression) -> bool {
    !matches!(compression, Compression::LZO)
}

fn name_of(compression: Compression) -> String {
    let name = format!("{compression:?}").to_ascii_lowercase();
    name.split('(').next().unwrap_or_default().to_owned()
}

fn reason(error: &ParquetError) -> String {
    let text = error.to_string();
    // Bytes are quoted in full.
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn damaged(path: &Path, got: String) -> Error {
    Error::InvalidFile { path: path.to_owned(), expected: "a whole Parquet file".to_owned(), got }
}

/// The error of a row that cannot be read, with the column at fault where it can be found.
fn unreadable(path: &Path, number: u64, reason: String) -> Error {
    let column = column_at_fault(path, number);
    match column {
        Some((column, true)) => Error::InvalidRecord {
            path: path.to_owned(),
            line: number,
            field: column,
            expected: "UTF-8 text".to_owned(),
            got: "bytes that are not".to_owned(),
            hint: BYTES,
        },
        Some((column, false)) => Error::InvalidRecord {
            path: path.to_owned(),
            line: number,
            field: column,
            expected: "values that can be read".to_owned(),
            got: reason,
            hint: "write the file anew, or leave the column out",
        },
        None => damaged(path, reason),
    }
}

/// The first column that has no value of row `number`, and whether that is for its UTF-8: each is
/// read alone.
fn column_at_fault(path: &Path, number: u64) -> Option<(String, bool)> {
    let schema = open(path).ok()?.metadata().file_metadata().schema().clone();
    schema.get_fields().iter().find_map(|column| {
        let alone = Type::group_type_builder(schema.name()).with_fields(vec![Arc::clone(column)]);
        let reader = open(path).ok()?;
        let rows = RowIter::from_file_into(Box::new(reader)).project(alone.build().ok());
        let mut rows = rows.ok()?;
        let read = guard::run(|| rows.nth(number as usize - 1));
        match read {
            Ok(Some(Ok(_)) | None) => None,
            Ok(Some(Err(error))) => {
                Some((column.name().to_owned(), error.to_string().contains("as String")))
            }
            Err(_) => Some((column.name().to_owned(), false)),
        }
    })
}

/// The columns whose texts are JSON by their type.
fn json_columns(schema: &Type) -> HashSet<String> {
    let is_json = |column: &&Arc<Type>| {
        column.get_basic_info().logical_type_ref() == Some(&LogicalType::Json)
    };
    let columns = schema.get_fields().iter().filter(is_json);
    columns.map(|column| column.name().to_owned()).filter(|name| name != EXTRA).collect()
}

/// What becomes of the nulls in a group: the fields of a record may be absent, others are what they
/// are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nulls {
    LeftOut,
    Kept,
}

fn record_of<T: Record>(row: Row, json_columns: &HashSet<String>) -> Result<Value, Fault> {
    let mut object = Map::new();
    let mut extra = None;
    for (name, field) in row.into_columns() {
        let is_own = T::FIELDS.iter().any(|known| known.is_called(&name));
        let nulls = if is_own { Nulls::LeftOut } else { Nulls::Kept };
        let mut value = to_json(&Place::Column(&name), &field, nulls)?;
        if json_columns.contains(&name)
            && let Some(parsed) = value.as_str().and_then(parse)
        {
            value = parsed;
        }
        if name == EXTRA
            && let Some(Value::Object(fields)) = value.as_str().and_then(parse)
        {
            extra = Some(fields);
        } else if !(value.is_null() && (is_own || name == EXTRA)) {
            object.insert(name, value);
        }
    }
    for (name, value) in extra.into_iter().flatten() {
        let is_taken = object.get(&name).is_some_and(|value| !value.is_null());
        if is_taken || NEVER_EXTRA.contains(&&*name) {
            let expected = "absent: the file has this column itself";
            let got = format!("`{}`", exact::to_json(&value, NotFinite::Named));
            return Err(Fault::new(format!("{EXTRA}.{name}"), expected, got));
        }
        object.insert(name, value);
    }
    Ok(Value::Object(object))
}

/// A value of JSON text, with numbers as they are written there.
fn parse(text: &str) -> Option<Value> {
    match exact::hold(text.as_bytes()) {
        Some(held) => serde_json::from_slice(&held).ok(),
        None => serde_json::from_str(text).ok(),
    }
}

/// Where a value stands in its row; it becomes text only if something is wrong there.
enum Place<'a> {
    Column(&'a str),
    Field(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(name) => f.write_str(name),
            Self::Field(group, name) => write!(f, "{group}.{name}"),
            Self::Item(list, idx) => write!(f, "{list}[{idx}]"),
        }
    }
}

fn to_json(place: &Place<'_>, field: &Field, nulls: Nulls) -> Result<Value, Fault> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Float16(value) => exact::of_f64((*value).into()),
        Field::Float(value) => exact::of_f64((*value).into()),
        Field::Double(value) => exact::of_f64(*value),
        Field::Decimal(value) => decimal(value),
        Field::Str(text) => text.as_str().into(),
        Field::Bytes(bytes) => {
            let Ok(text) = std::str::from_utf8(bytes.data()) else {
                let fault = Fault::new(place.to_string(), "UTF-8 text", "bytes that are not");
                return Err(fault.hinted(BYTES));
            };
            text.into()
        }
        Field::Date(days) => date((*days).into()).into(),
        Field::TimeMillis(ms) => time((*ms).into(), 1000),
        Field::TimeMicros(us) => time(*us, 1_000_000),
        Field::TimestampMillis(ms) => timestamp(*ms, 1000).into(),
        Field::TimestampMicros(us) => timestamp(*us, 1_000_000).into(),
        Field::Group(row) => {
            let mut fields = Map::new();
            for (field, value) in row.get_column_iter() {
                let value = to_json(&Place::Field(place, field), value, nulls)?;
                if nulls == Nulls::Kept || !value.is_null() {
                    fields.insert(field.clone(), value);
                }
            }
            Value::Object(fields)
        }
        Field::ListInternal(list) => {
            let item =
                |(idx, item): (usize, &Field)| to_json(&Place::Item(place, idx), item, nulls);
            Value::Array(list.elements().iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        Field::MapInternal(pairs) => map(place, pairs, nulls)?,
    })
}

/// A map as an object if its keys are texts, or else as a list of pairs.
fn map(place: &Place<'_>, pairs: &Pairs, nulls: Nulls) -> Result<Value, Fault> {
    let mut values = Vec::new();
    for (key, value) in pairs.entries() {
        let key = to_json(place, key, nulls)?;
        values.push((key, to_json(place, value, nulls)?));
    }
    let named = values.iter().map(|(key, value)| Some((key.as_str()?.to_owned(), value.clone())));
    Ok(match named.collect::<Option<Map<String, Value>>>() {
        Some(fields) => Value::Object(fields),
        None => values.into_iter().map(|(key, value)| Value::Array(vec![key, value])).collect(),
    })
}

/// A decimal as the number that it is.
fn decimal(value: &Decimal) -> Value {
    let text = Field::Decimal(value.clone()).to_string();
    let line = exact::hold(text.as_bytes()).unwrap_or_else(|| text.clone().into_bytes());
    serde_json::from_slice(&line).unwrap_or(Value::String(text))
}

/// `YYYY-MM-DD` of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn date(days: i64) -> String {
    // Years of this count begin in March, so that the leap day is their last; 400 of them repeat.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let sign = if year < 0 { "-" } else { "" };
    format!("{sign}{:04}-{month:02}-{day:02}", year.abs())
}

/// `HH:MM:SS.fff` of a time of day in units of which `per_second` are a second; what is no time of
/// day stays a number.
fn time(value: i64, per_second: i64) -> Value {
    if (0..86_400 * per_second).contains(&value) {
        clock(value, per_second).into()
    } else {
        value.into()
    }
}

fn clock(value: i64, per_second: i64) -> String {
    let (seconds, fraction) = (value / per_second, value % per_second);
    let n_digits = per_second.ilog10() as usize;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{fraction:0n_digits$}")
}

/// A moment in UTC, counted from the beginning of 1970 in units of which `per_second` are a second.
fn timestamp(value: i64, per_second: i64) -> String {
    let per_day = 86_400 * per_second;
    let (day, time) = (value.div_euclid(per_day), value.rem_euclid(per_day));
    format!("{} {} +00:00", date(day), clock(time, per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_every_sign() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (-25_509, "1900-02-28"),
            (-25_508, "1900-03-01"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (2_932_897, "10000-01-01"),
        ] {
            assert_eq!(date(days), expected);
        }
        assert_eq!(timestamp(-1, 1000), "1969-12-31 23:59:59.999 +00:00");
        assert_eq!(
            timestamp(1_700_000_000_123_456, 1_000_000),
            "2023-11-14 22:13:20.123456 +00:00"
        );
        // The ends of the range.
        assert!(timestamp(i64::MIN, 1000).starts_with('-'), "{}", timestamp(i64::MIN, 1000));
        assert!(timestamp(i64::MAX, 1000).ends_with("+00:00"));
        assert_eq!(time(3_723_004, 1000), "01:02:03.004");
        assert_eq!(time(-1, 1_000_000), -1);
    }
}
