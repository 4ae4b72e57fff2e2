//! Rollouts written as Parquet, the form the authors' data set is published in.
//!
//! The fields of a rollout are its first columns, lists as Parquet lists. A further field becomes a
//! column of its own if each of the first rows has it, in one type (truth values, integers,
//! numbers, texts, or lists of these); a later row without it then has null. All other fields are
//! in one JSON column, `extra`.

use std::path::PathBuf;
use std::sync::Arc;

use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{Type, TypePtr};
use serde_json::{Map, Value, json};

use crate::columns::{Level, MAX_BYTES, MAX_ROWS, Shape, properties, write_error};
use crate::error::Result;
use crate::exact::{self, NotFinite};
use crate::output::Output;
use crate::records::rollout::{CORRECTNESS, Rollout, STEPS};
use crate::records::rows::EXTRA;

/// Writes rollouts, a row group at a time.
pub(crate) struct ParquetWriter {
    path: PathBuf,
    /// Until the first rows say which columns there are.
    output: Option<Output>,
    table: Option<Box<Table>>,
    rows: Vec<Rollout>,
    n_bytes: usize,
}

/// A file with its columns.
struct Table {
    file: SerializedFileWriter<Output>,
    /// Further fields that have a column of their own.
    own: Vec<(String, Shape)>,
}

const SCHEMA: &str = "message rollout {
  optional binary id (STRING);
  required binary prompt (STRING);
  required binary reference (STRING);
  required binary dataset (STRING);
  required group completions (LIST) {
    repeated group list { required binary element (STRING); }
  }
  optional group correctness (LIST) {
    repeated group list { required boolean element; }
  }
  optional group steps (LIST) {
    repeated group list {
      required group element (LIST) {
        repeated group list { required binary element (STRING); }
      }
    }
  }
}";

/// The column of what has none of its own.
const EXTRA_SCHEMA: &str = "message rollout { optional binary extra (JSON); }";

impl ParquetWriter {
    /// Begins a Parquet file.
    pub(crate) fn create(output: Output) -> Self {
        let path = output.path().to_owned();
        Self { path, output: Some(output), table: None, rows: Vec::new(), n_bytes: 0 }
    }

    /// Adds a row.
    pub(crate) fn write(&mut self, rollout: Rollout) -> Result<()> {
        self.n_bytes += rollout.texts().map(str::len).sum::<usize>();
        self.rows.push(rollout);
        let is_full = self.rows.len() == MAX_ROWS || self.n_bytes >= MAX_BYTES;
        if is_full { self.flush() } else { Ok(()) }
    }

    /// Writes the remaining rows and makes the file appear under its name.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.flush()?;
        let error = write_error(&self.path);
        match self.table {
            Some(table) => table.file.into_inner().map_err(error)?.finish(),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let further: Vec<_> = rows.iter().map(Rollout::further_columns).collect();
        self.n_bytes = 0;
        let error = write_error(&self.path);
        if let Some(output) = self.output.take() {
            self.table = Some(Box::new(Table::create(output, &further).map_err(&error)?));
        }
        match &mut self.table {
            Some(table) if !rows.is_empty() => table.write_group(rows, further).map_err(error),
            _ => Ok(()),
        }
    }
}

impl Table {
    fn create(output: Output, first: &[Map<String, Value>]) -> Result<Self, ParquetError> {
        let fields = |schema| parse_message_type(schema).map(|schema| schema.get_fields().to_vec());
        let mut columns: Vec<TypePtr> = fields(SCHEMA)?;
        let is_free = |name: &str| name != EXTRA && columns.iter().all(|c| c.name() != name);
        let own = own_columns(first, &is_free);
        for (name, shape) in &own {
            columns.push(shape.column(name)?);
        }
        columns.extend(fields(EXTRA_SCHEMA)?);
        let schema = Type::group_type_builder("rollout").with_fields(columns).build()?;
        let file = SerializedFileWriter::new(output, Arc::new(schema), properties())?;
        Ok(Self { file, own })
    }

    fn write_group(
        &mut self,
        rows: Vec<Rollout>,
        further: Vec<Map<String, Value>>,
    ) -> Result<(), ParquetError> {
        let mut ids = Column::default();
        let [mut prompts, mut references, mut datasets] = [const { Column::new() }; 3];
        let mut completions = Column::default();
        let mut correctness = Column::default();
        let mut steps = Column::default();
        let mut extra = Column::default();
        let mut own = Vec::new();
        self.own.iter().for_each(|(_, shape)| shape.leaves(&mut own));
        for (row, mut further) in rows.into_iter().zip(further) {
            let mut leaves = own.iter_mut();
            for (name, shape) in &self.own {
                match further.get(name) {
                    Some(value) if holds(shape, value) => {
                        shape.put(value, Level::default(), &mut leaves);
                        further.shift_remove(name);
                    }
                    _ => shape.put(&Value::Null, Level::default(), &mut leaves),
                }
            }
            // The columns hold no null within a list; a list with one stands among the further fields.
            match row.column(|completion| completion.label) {
                None => correctness.push_absent(0, 0),
                Some(labels) if labels.contains(&None) => {
                    correctness.push_absent(0, 0);
                    further.insert(CORRECTNESS.to_owned(), json!(labels));
                }
                Some(labels) => correctness.push_list(labels.into_iter().flatten(), 1, 0),
            }
            match row.column(|completion| completion.steps.as_ref()) {
                None => steps.push_absent(0, 0),
                Some(lists) if lists.contains(&None) => {
                    steps.push_absent(0, 0);
                    further.insert(STEPS.to_owned(), json!(lists));
                }
                Some(lists) => {
                    for (idx, list) in lists.into_iter().flatten().enumerate() {
                        let repetition = i16::from(idx > 0);
                        steps.push_nested(list.iter().map(|s| text(s)), 2, repetition, 2);
                    }
                }
            }
            let json = (!further.is_empty()).then(|| Value::Object(further));
            extra.push_optional(json.map(|json| owned(exact::to_json(&json, NotFinite::Held))));
            ids.push_optional(row.id.map(owned));
            prompts.push(owned(row.prompt), 0, 0);
            references.push(owned(row.reference), 0, 0);
            datasets.push(owned(row.dataset), 0, 0);
            completions.push_list(row.completions.into_iter().map(|c| owned(c.text)), 0, 0);
        }
        let mut group = self.file.next_row_group()?;
        ids.write::<ByteArrayType>(&mut group)?;
        prompts.write::<ByteArrayType>(&mut group)?;
        references.write::<ByteArrayType>(&mut group)?;
        datasets.write::<ByteArrayType>(&mut group)?;
        completions.write::<ByteArrayType>(&mut group)?;
        correctness.write::<BoolType>(&mut group)?;
        steps.write::<ByteArrayType>(&mut group)?;
        for leaf in &own {
            leaf.write(group.next_column()?.ok_or_else(too_few_columns)?)?;
        }
        extra.write::<ByteArrayType>(&mut group)?;
        group.close()?;
        Ok(())
    }
}

fn too_few_columns() -> ParquetError {
    ParquetError::General("the schema has fewer columns than a rollout".to_owned())
}

/// The fields that every one of these rows has in one type.
fn own_columns(
    rows: &[Map<String, Value>],
    is_free: &dyn Fn(&str) -> bool,
) -> Vec<(String, Shape)> {
    let Some(first) = rows.first() else { return Vec::new() };
    let names = first.keys().filter(|name| is_free(name) && !name.is_empty());
    names
        .filter_map(|name| {
            let values: Vec<&Value> =
                rows.iter().map(|row| row.get(name)).collect::<Option<_>>()?;
            let shapes = values.iter().map(|value| Shape::of(value));
            let shape = shapes.fold(Shape::Null, Shape::or);
            let is_held = is_plain(&shape) && values.iter().all(|value| holds(&shape, value));
            is_held.then(|| (name.clone(), shape))
        })
        .collect()
}

fn is_plain(shape: &Shape) -> bool {
    match shape {
        Shape::Bool | Shape::Integer | Shape::Number | Shape::Text => true,
        Shape::List(element) => is_plain(element),
        Shape::Null | Shape::Small | Shape::Object(_) | Shape::Json => false,
    }
}

/// Whether a column of this plain shape gives back the value as it is: an integer among numbers would
/// become one of them.
fn holds(shape: &Shape, value: &Value) -> bool {
    match (shape, value) {
        (_, Value::Null) => true,
        (Shape::List(element), Value::Array(items)) => {
            items.iter().all(|item| holds(element, item))
        }
        (shape, value) => Shape::of(value) == *shape,
    }
}

fn owned(text: String) -> ByteArray {
    text.into_bytes().into()
}

fn text(text: &str) -> ByteArray {
    text.as_bytes().to_vec().into()
}

/// A column of a row group with its definition and repetition levels.
struct Column<V> {
    values: Vec<V>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl<V> Default for Column<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> Column<V> {
    const fn new() -> Self {
        Self { values: Vec::new(), definitions: Vec::new(), repetitions: Vec::new() }
    }

    fn push(&mut self, value: V, definition: i16, repetition: i16) {
        self.values.push(value);
        self.push_absent(definition, repetition);
    }

    /// A place without a value, absent at the level `definition`.
    fn push_absent(&mut self, definition: i16, repetition: i16) {
        self.definitions.push(definition);
        self.repetitions.push(repetition);
    }

    fn push_optional(&mut self, value: Option<V>) {
        match value {
            Some(value) => self.push(value, 1, 0),
            None => self.push_absent(0, 0),
        }
    }

    /// A list that is itself defined at the level `definition`.
    fn push_list(&mut self, items: impl Iterator<Item = V>, definition: i16, repetition: i16) {
        self.push_nested(items, definition, repetition, 1);
    }

    /// A list at nesting `depth`; its first item repeats at `repetition`.
    fn push_nested(
        &mut self,
        items: impl Iterator<Item = V>,
        definition: i16,
        repetition: i16,
        depth: i16,
    ) {
        let n_before = self.values.len();
        for (idx, item) in items.enumerate() {
            self.push(item, definition + 1, if idx == 0 { repetition } else { depth });
        }
        if self.values.len() == n_before {
            self.push_absent(definition, repetition);
        }
    }

    fn write<T: DataType<T = V>>(
        &self,
        group: &mut SerializedRowGroupWriter<'_, Output>,
    ) -> Result<(), ParquetError> {
        let mut column = group.next_column()?.ok_or_else(too_few_columns)?;
        column.typed::<T>().write_batch(
            &self.values,
            Some(&self.definitions),
            Some(&self.repetitions),
        )?;
        column.close()
    }
}
