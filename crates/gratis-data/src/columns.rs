//! Columns of Parquet for values of any shape: the shape that all values of a column have, and the
//! values as leaves with their levels.
//!
//! Numbers, texts and truth values become columns of their type, lists Parquet lists, objects groups;
//! everything may be null. What has no one shape is kept as JSON text.

use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::{Type, TypePtr};
use serde_json::Value;

use crate::error::Error;
use crate::exact::{self, NotFinite};

/// Rows held in memory and written together: at most this many,
pub(crate) const MAX_ROWS: usize = 1024;
/// and at most about this much text.
pub(crate) const MAX_BYTES: usize = 8 << 20;

/// The settings of every Parquet file that is written.
pub(crate) fn properties() -> Arc<WriterProperties> {
    let compression = Compression::ZSTD(ZstdLevel::default());
    Arc::new(WriterProperties::builder().set_compression(compression).build())
}

pub(crate) fn write_error(path: &Path) -> impl Fn(ParquetError) -> Error {
    move |error| Error::io("write", path)(std::io::Error::other(error))
}

/// The shape of the values of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// Nothing but nulls so far.
    Null,
    Bool,
    /// Integers of 32 bits, where a column is known to hold such.
    Small,
    Integer,
    Number,
    Text,
    List(Box<Shape>),
    Object(Vec<(String, Shape)>),
    /// No one shape: JSON text.
    Json,
}

impl Shape {
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_i64() => Self::Integer,
            // Beyond the largest signed integer.
            Value::Number(number) if number.is_u64() => Self::Json,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            Value::Array(items) => {
                Self::List(Box::new(items.iter().map(Self::of).fold(Self::Null, Self::or)))
            }
            // Parquet has no group without a field.
            Value::Object(fields) if fields.is_empty() => Self::Json,
            value if exact::is_not_finite(value) => Self::Number,
            value if exact::text_of(value).is_some() => Self::Json,
            Value::Object(fields) => Self::Object(
                fields.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect(),
            ),
        }
    }

    /// The shape that holds the values of both.
    pub(crate) fn or(self, other: Self) -> Self {
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
    pub(crate) fn column(&self, name: &str) -> Result<TypePtr, ParquetError> {
        let primitive = |physical, logical: Option<LogicalType>| {
            Type::primitive_type_builder(name, physical)
                .with_repetition(Repetition::OPTIONAL)
                .with_logical_type(logical)
                .build()
        };
        Ok(Arc::new(match self {
            Self::Bool => primitive(Physical::BOOLEAN, None)?,
            Self::Small => primitive(Physical::INT32, None)?,
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
    pub(crate) fn leaves(&self, into: &mut Vec<Leaf>) {
        let values = match self {
            Self::Bool => Values::Bool(Vec::new()),
            Self::Small => Values::Small(Vec::new()),
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
    pub(crate) fn put(&self, value: &Value, at: Level, leaves: &mut std::slice::IterMut<'_, Leaf>) {
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
pub(crate) struct Level {
    definition: i16,
    repetition: i16,
    depth: i16,
}

/// A column of a row group.
pub(crate) struct Leaf {
    values: Values,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

enum Values {
    Bool(Vec<bool>),
    Small(Vec<i32>),
    Integer(Vec<i64>),
    Number(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl Values {
    fn push(&mut self, value: &Value, as_json: bool) {
        // The shape of the column holds every value: the defaults are never taken.
        match self {
            Self::Bool(values) => values.push(value.as_bool().unwrap_or_default()),
            Self::Small(values) => {
                let value = value.as_i64().and_then(|value| i32::try_from(value).ok());
                values.push(value.unwrap_or_default());
            }
            Self::Integer(values) => values.push(value.as_i64().unwrap_or_default()),
            Self::Number(values) => values.push(exact::as_f64(value).unwrap_or_default()),
            Self::Text(values) => {
                let text = match value {
                    Value::String(text) if !as_json => text.clone(),
                    value => exact::to_json(value, NotFinite::Held),
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

    pub(crate) fn write(&self, mut column: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let (definitions, repetitions) = (Some(&self.definitions[..]), Some(&self.repetitions[..]));
        match &self.values {
            Values::Bool(values) => {
                column.typed::<BoolType>().write_batch(values, definitions, repetitions)?
            }
            Values::Small(values) => {
                column.typed::<Int32Type>().write_batch(values, definitions, repetitions)?
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
