//! Records of any kind as Parquet. Their columns are found from the records themselves: JSON lines
//! are read once for the shape that all of them have and once more to be written.
//!
//! Numbers, texts and truth values become columns of their type, lists Parquet lists, objects groups;
//! everything may be null. What has no one shape is kept as JSON text.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};
use serde_json::{Map, Value};

use super::output::Output;
use super::parquet::{MAX_BYTES, MAX_ROWS, properties, write_error};
use crate::error::{Error, Result};

/// The shape of the values of a column.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    /// Nothing but nulls so far.
    Null,
    Bool,
    Integer,
    Number,
    Text,
    List(Box<Shape>),
    Object(Vec<(String, Shape)>),
    /// No one shape: JSON text.
    Json,
}

impl Shape {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_i64() => Self::Integer,
            Value::Number(number) if number.is_u64() => Self::Json,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            Value::Array(items) => {
                Self::List(Box::new(items.iter().map(Self::of).fold(Self::Null, Self::or)))
            }
            // Parquet has no group without a field.
            Value::Object(fields) if fields.is_empty() => Self::Json,
            Value::Object(fields) => Self::Object(
                fields.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect(),
            ),
        }
    }

    /// The shape that holds the values of both.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, shape) | (shape, Self::Null) => shape,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.or(*b))),
            (Self::Object(mut a), Self::Object(b)) => {
                for (name, shape) in b {
                    match a.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => {
                            *known = std::mem::replace(known, Self::Null).or(shape);
                        }
                        None => a.push((name, shape)),
                    }
                }
                Self::Object(a)
            }
            (a, b) if a == b => a,
            _ => Self::Json,
        }
    }

    /// Its column in the schema of a file; every level may be null.
    fn column(&self, name: &str) -> Result<TypePtr, ParquetError> {
        let primitive = |physical, logical: Option<LogicalType>| {
            Type::primitive_type_builder(name, physical)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(logical)
                .build()
        };
        Ok(Arc::new(match self {
            Self::Bool => primitive(Physical::BOOLEAN, None)?,
            Self::Integer => primitive(Physical::INT64, None)?,
            Self::Number => primitive(Physical::DOUBLE, None)?,
            Self::Text | Self::Null => primitive(Physical::BYTE_ARRAY, Some(LogicalType::String))?,
            Self::Json => primitive(Physical::BYTE_ARRAY, Some(LogicalType::Json))?,
            Self::List(element) => {
                let items = Type::group_type_builder("list")
                    .with_repetition(Repetition::REPEATED)
                    .with_fields(vec![element.column("element")?])
                    .build()?;
                Type::group_type_builder(name)
                    .with_repetition(Repetition::OPTIONAL)
                    .with_logical_type(Some(LogicalType::List))
                    .with_fields(vec![Arc::new(items)])
                    .build()?
            }
            Self::Object(fields) => {
                let columns: Result<_, _> =
                    fields.iter().map(|(name, shape)| shape.column(name)).collect();
                Type::group_type_builder(name)
                    .with_repetition(Repetition::OPTIONAL)
                    .with_fields(columns?)
                    .build()?
            }
        }))
    }

    /// An empty column for each of its leaves, in the order of the schema.
    fn leaves(&self, into: &mut Vec<Leaf>) {
        let values = match self {
            Self::Bool => Values::Bool(Vec::new()),
            Self::Integer => Values::Integer(Vec::new()),
            Self::Number => Values::Number(Vec::new()),
            Self::Text | Self::Null | Self::Json => Values::Text(Vec::new()),
            Self::List(element) => return element.leaves(into),
            Self::Object(fields) => {
                return fields.iter().for_each(|(_, shape)| shape.leaves(into));
            }
        };
        into.push(Leaf { values, definitions: Vec::new(), repetitions: Vec::new() });
    }

    /// Adds a value to the leaves of this shape, which come next. `at` says where it stands: how
    /// many optional levels above it are there, at which list it repeats, and in how many it is.
    fn put(&self, value: &Value, at: Level, leaves: &mut std::slice::IterMut<'_, Leaf>) {
        match (self, value) {
            (Self::List(element), Value::Array(items)) if !items.is_empty() => {
                let n_leaves = element.n_leaves();
                let (own, rest) = std::mem::take(leaves).into_slice().split_at_mut(n_leaves);
                *leaves = rest.iter_mut();
                for (idx, item) in items.iter().enumerate() {
                    let repetition = if idx == 0 { at.repetition } else { at.depth + 1 };
                    let within =
                        Level { definition: at.definition + 2, repetition, depth: at.depth + 1 };
                    element.put(item, within, &mut own.iter_mut());
                }
            }
            (Self::List(element), Value::Array(_)) => {
                element.put_absent(Level { definition: at.definition + 1, ..at }, leaves);
            }
            (Self::Object(fields), Value::Object(values)) => {
                let within = Level { definition: at.definition + 1, ..at };
                for (name, shape) in fields {
                    match values.get(name) {
                        Some(value) => shape.put(value, within, leaves),
                        None => shape.put_absent(within, leaves),
                    }
                }
            }
            (_, Value::Null) => self.put_absent(at, leaves),
            (_, value) => {
                if let Some(leaf) = leaves.next() {
                    leaf.values.push(value, *self == Self::Json);
                    leaf.level(Level { definition: at.definition + 1, ..at });
                }
            }
        }
    }

    /// Adds to its leaves that nothing is there.
    fn put_absent(&self, at: Level, leaves: &mut std::slice::IterMut<'_, Leaf>) {
        leaves.by_ref().take(self.n_leaves()).for_each(|leaf| leaf.level(at));
    }

    fn n_leaves(&self) -> usize {
        match self {
            Self::List(element) => element.n_leaves(),
            Self::Object(fields) => fields.iter().map(|(_, shape)| shape.n_leaves()).sum(),
            _ => 1,
        }
    }
}

/// Where a value stands among nulls and lists, in the terms of the format.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    definition: i16,
    repetition: i16,
    depth: i16,
}

/// A column of a row group.
struct Leaf {
    values: Values,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

enum Values {
    Bool(Vec<bool>),
    Integer(Vec<i64>),
    Number(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl Values {
    fn push(&mut self, value: &Value, as_json: bool) {
        // The shape of the column holds every value: the defaults are never taken.
        match self {
            Self::Bool(values) => values.push(value.as_bool().unwrap_or_default()),
            Self::Integer(values) => values.push(value.as_i64().unwrap_or_default()),
            Self::Number(values) => values.push(value.as_f64().unwrap_or_default()),
            Self::Text(values) => {
                let text = match value {
                    Value::String(text) if !as_json => text.clone(),
                    value => value.to_string(),
                };
                values.push(text.into_bytes().into());
            }
        }
    }
}

impl Leaf {
    fn level(&mut self, at: Level) {
        self.definitions.push(at.definition);
        self.repetitions.push(at.repetition);
    }

    fn write(&self, mut column: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let (definitions, repetitions) = (Some(&self.definitions[..]), Some(&self.repetitions[..]));
        match &self.values {
            Values::Bool(values) => {
                column.typed::<BoolType>().write_batch(values, definitions, repetitions)?
            }
            Values::Integer(values) => {
                column.typed::<Int64Type>().write_batch(values, definitions, repetitions)?
            }
            Values::Number(values) => {
                column.typed::<DoubleType>().write_batch(values, definitions, repetitions)?
            }
            Values::Text(values) => {
                column.typed::<ByteArrayType>().write_batch(values, definitions, repetitions)?
            }
        };
        column.close()
    }
}

/// Writes the JSON lines of a file, which is at its beginning, as a Parquet file.
pub(super) fn write(mut lines: File, output: Output) -> Result<Output> {
    let path = output.path().to_owned();
    let mut shape = Shape::Object(Vec::new());
    read(&lines, &path, &mut |record, _| {
        shape = std::mem::replace(&mut shape, Shape::Null).or(Shape::of(&Value::Object(record)));
        Ok(())
    })?;
    lines.rewind().map_err(Error::io("read", &path))?;
    let Shape::Object(fields) = &shape else {
        return Err(write_error(&path)(ParquetError::General("no record has a field".to_owned())));
    };
    let schema = || {
        let columns: Result<Vec<_>, _> =
            fields.iter().map(|(name, shape)| shape.column(name)).collect();
        Type::group_type_builder("record").with_fields(columns?).build()
    };
    let schema = schema().map_err(write_error(&path))?;
    let file = SerializedFileWriter::new(output, Arc::new(schema), properties());
    let mut file = file.map_err(write_error(&path))?;
    let (mut rows, mut n_bytes) = (Vec::new(), 0);
    read(&lines, &path, &mut |record, n| {
        rows.push(record);
        n_bytes += n;
        if rows.len() == MAX_ROWS || n_bytes >= MAX_BYTES {
            n_bytes = 0;
            write_group(&mut file, fields, &std::mem::take(&mut rows))
                .map_err(write_error(&path))?;
        }
        Ok(())
    })?;
    write_group(&mut file, fields, &rows).map_err(write_error(&path))?;
    file.into_inner().map_err(write_error(&path))
}

fn write_group(
    file: &mut SerializedFileWriter<Output>,
    fields: &[(String, Shape)],
    rows: &[Map<String, Value>],
) -> Result<(), ParquetError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut group = file.next_row_group()?;
    for (name, shape) in fields {
        let mut leaves = Vec::new();
        shape.leaves(&mut leaves);
        for row in rows {
            let value = row.get(name).unwrap_or(&Value::Null);
            shape.put(value, Level::default(), &mut leaves.iter_mut());
        }
        for leaf in &leaves {
            let column = group.next_column()?;
            leaf.write(column.ok_or_else(|| {
                ParquetError::General("the schema has fewer columns than the records".to_owned())
            })?)?;
        }
    }
    group.close()?;
    Ok(())
}

/// Hands over each record with the length of its line.
fn read(
    lines: &File,
    path: &Path,
    each: &mut dyn FnMut(Map<String, Value>, usize) -> Result<()>,
) -> Result<()> {
    for line in BufReader::new(lines).lines() {
        let line = line.map_err(Error::io("read", path))?;
        let record = serde_json::from_str(&line);
        each(record.map_err(|error| Error::io("read", path)(error.into()))?, line.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::super::parquet::rows;
    use super::super::record::{Fault, Field, Record};
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Any(Map<String, Value>);

    impl Record for Any {
        type Columns = Map<String, Value>;
        const FIELDS: &'static [Field] = &[];

        fn from_columns(columns: Self::Columns) -> Result<Self, Fault> {
            Ok(Self(columns))
        }
    }

    #[test]
    fn records_of_any_shape_come_back() {
        let records = [
            json!({ "id": "a", "scores": [{ "outcome": 0.5, "steps": [0.1, -0.0] }, { "outcome": 1.0, "steps": [] }],
                    "n": 3, "mixed": 1, "ok": true, "empty": [], "nested": [[1, 2], [], [3]] }),
            json!({ "id": "b", "scores": [], "n": -4, "mixed": "two", "late": [null, 2.5],
                    "nested": [] }),
            json!({ "id": "c", "scores": [{ "outcome": 2.0, "steps": [4.0], "tokens": [1.5] }],
                    "n": i64::MAX, "mixed": { "three": 3 }, "ok": false }),
        ];
        let mut lines = tempfile::tempfile().expect("a file");
        for record in &records {
            writeln!(lines, "{record}").expect("written");
        }
        lines.rewind().expect("rewound");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("records.parquet");
        write(lines, Output::create(&path).expect("begun"))
            .expect("written")
            .finish()
            .expect("there");

        let mut next = rows::<Any>(&path).expect("a Parquet file");
        for expected in &records {
            let (_, found) = next().expect("a row").expect("not the end");
            let mut expected = expected.as_object().expect("an object").clone();
            // What has no one shape comes back as JSON text.
            let mixed = expected["mixed"].to_string();
            expected.insert("mixed".to_owned(), mixed.into());
            assert_eq!(Value::Object(found.expect("a record").0), Value::Object(expected));
        }
        assert!(next().expect("the end").is_none());
    }
}
