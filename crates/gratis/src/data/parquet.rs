//! Rollouts in Parquet, the form the authors' data set is published in.
//!
//! Reading takes any file whose columns have the names of a record's fields, wherever null is allowed; other
//! columns are carried along. Writing gives each field its column, lists as Parquet lists, and
//! gathers further fields in one JSON column, `extra`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::SerializedFileReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::parser::parse_message_type;
use serde_json::{Map, Value, json};

use super::output::Output;
use super::reader::Next;
use super::record::{self, Record};
use super::rollout::{CORRECTNESS, Rollout, STEPS};
use crate::error::{Error, Result};

/// Column that holds the fields a rollout has beside its own.
const EXTRA: &str = "extra";

/// The rows of a Parquet file as records, one page of each column in memory at a time.
pub(super) fn rows<T: Record>(path: &Path) -> Result<Next<T>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let reader = SerializedFileReader::new(file).map_err(|e| invalid(path, &e))?;
    let mut rows = RowIter::from_file_into(Box::new(reader));
    let path = path.to_owned();
    let mut number = 0;
    Ok(Box::new(move || {
        let Some(row) = rows.next() else { return Ok(None) };
        let row = row.map_err(|e| invalid(&path, &e))?;
        number += 1;
        Ok(Some((number, record::from_value(row_to_json(row)))))
    }))
}

fn row_to_json(row: Row) -> Value {
    let mut object: Map<String, Value> =
        row.into_columns().into_iter().map(|(name, field)| (name, to_json(field))).collect();
    let packed = object.get(EXTRA).and_then(Value::as_str).map(serde_json::from_str);
    object.retain(|_, value| !value.is_null());
    if let Some(Ok(Value::Object(extra))) = packed {
        object.remove(EXTRA);
        for (name, value) in extra {
            // A column of the file's own stands above a field of the same name.
            object.entry(name).or_insert(value);
        }
    }
    Value::Object(object)
}

fn to_json(field: Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => value.into(),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float(value) => value.into(),
        Field::Double(value) => value.into(),
        Field::Str(text) => text.into(),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into(),
        Field::Group(row) => row_to_json(row),
        Field::ListInternal(list) => list.elements().iter().cloned().map(to_json).collect(),
        other => other.to_string().into(),
    }
}

fn invalid(path: &Path, error: &ParquetError) -> Error {
    Error::InvalidFile {
        path: path.to_owned(),
        expected: "a whole Parquet file".to_owned(),
        got: error.to_string(),
    }
}

/// Writes rollouts, a row group at a time.
pub(super) struct ParquetWriter {
    path: PathBuf,
    file: SerializedFileWriter<Output>,
    rows: Vec<Rollout>,
    n_bytes: usize,
}

/// Rows held in memory and written together: at most this many,
pub(super) const MAX_ROWS: usize = 1024;
/// and at most about this much text.
pub(super) const MAX_BYTES: usize = 8 << 20;

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
  optional binary extra (JSON);
}";

impl ParquetWriter {
    /// Begins a Parquet file.
    pub(super) fn create(output: Output) -> Result<Self> {
        let path = output.path().to_owned();
        let schema = parse_message_type(SCHEMA).map_err(write_error(&path))?;
        let file = SerializedFileWriter::new(output, Arc::new(schema), properties());
        let file = file.map_err(write_error(&path))?;
        Ok(Self { path, file, rows: Vec::new(), n_bytes: 0 })
    }

    /// Adds a row.
    pub(super) fn write(&mut self, rollout: &Rollout) -> Result<()> {
        self.n_bytes += rollout.texts().map(str::len).sum::<usize>();
        self.rows.push(rollout.clone());
        let is_full = self.rows.len() == MAX_ROWS || self.n_bytes >= MAX_BYTES;
        if is_full { self.flush() } else { Ok(()) }
    }

    /// Writes the remaining rows and makes the file appear under its name.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.file.into_inner().map_err(write_error(&self.path))?.finish()
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.n_bytes = 0;
        self.write_group(&rows).map_err(write_error(&self.path))
    }

    fn write_group(&mut self, rows: &[Rollout]) -> Result<(), ParquetError> {
        let mut ids = Column::default();
        let [mut prompts, mut references, mut datasets] = [const { Column::new() }; 3];
        let mut completions = Column::default();
        let mut correctness = Column::default();
        let mut steps = Column::default();
        let mut extra = Column::default();
        for row in rows {
            ids.push_optional(row.id.as_deref().map(text));
            prompts.push(text(&row.prompt), 0, 0);
            references.push(text(&row.reference), 0, 0);
            datasets.push(text(&row.dataset), 0, 0);
            completions.push_list(row.texts().map(text), 0, 0);
            let mut further = row.further_columns();
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
            extra.push_optional(json.map(|json| text(&json.to_string())));
        }
        let mut group = self.file.next_row_group()?;
        ids.write::<ByteArrayType>(&mut group)?;
        prompts.write::<ByteArrayType>(&mut group)?;
        references.write::<ByteArrayType>(&mut group)?;
        datasets.write::<ByteArrayType>(&mut group)?;
        completions.write::<ByteArrayType>(&mut group)?;
        correctness.write::<BoolType>(&mut group)?;
        steps.write::<ByteArrayType>(&mut group)?;
        extra.write::<ByteArrayType>(&mut group)?;
        group.close()?;
        Ok(())
    }
}

/// The settings of every Parquet file that is written.
pub(super) fn properties() -> Arc<WriterProperties> {
    let compression = Compression::ZSTD(ZstdLevel::default());
    Arc::new(WriterProperties::builder().set_compression(compression).build())
}

fn text(text: &str) -> ByteArray {
    text.as_bytes().to_vec().into()
}

pub(super) fn write_error(path: &Path) -> impl Fn(ParquetError) -> Error {
    move |error| Error::io("write", path)(std::io::Error::other(error))
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
        let mut column = group.next_column()?.ok_or_else(|| {
            ParquetError::General("the schema has fewer columns than a rollout".to_owned())
        })?;
        column.typed::<T>().write_batch(
            &self.values,
            Some(&self.definitions),
            Some(&self.repetitions),
        )?;
        column.close()
    }
}
