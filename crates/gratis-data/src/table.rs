//! Records of any kind as Parquet. Their columns are found from the records themselves: JSON lines
//! are read once for the shape that all of them have and once more to be written. Scores have a table
//! of their own ([`score_table`]).

use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use crate::columns::{Level, MAX_BYTES, MAX_ROWS, Shape, properties, write_error};
use crate::error::{Error, Result};
use crate::exact;
use crate::output::Output;
use crate::records::score_table;

/// Writes the JSON lines of a file, which is at its beginning, as a Parquet file.
pub(crate) fn write(mut lines: File, output: Output) -> Result<Output> {
    let path = output.path().to_owned();
    let mut shape = Shape::Object(Vec::new());
    read(&lines, &path, &mut |record, _| {
        shape = std::mem::replace(&mut shape, Shape::Null).or(Shape::of(&Value::Object(record)));
        Ok(())
    })?;
    lines.rewind().map_err(Error::io("read", &path))?;
    let holds_scores = score_table::holds_scores(&shape);
    let fields = match shape {
        shape if holds_scores => score_table::columns(&shape),
        Shape::Object(fields) => fields,
        _ => {
            let error = ParquetError::General("no record has a field".to_owned());
            return Err(write_error(&path)(error));
        }
    };
    let fields = fields.as_slice();
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
        if holds_scores {
            rows.extend(score_table::rows_of(record));
        } else {
            rows.push(record);
        }
        n_bytes += n;
        if rows.len() >= MAX_ROWS || n_bytes >= MAX_BYTES {
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
        let held = exact::hold(line.as_bytes());
        let record = serde_json::from_slice(held.as_deref().unwrap_or(line.as_bytes()));
        each(record.map_err(|error| Error::io("read", path)(error.into()))?, line.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::*;
    use crate::records::record::{Fault, Field, Record};
    use crate::records::rows::values;

    #[derive(Debug, PartialEq)]
    struct Any(Map<String, Value>);

    impl Record for Any {
        type Columns = Map<String, Value>;
        const FIELDS: &'static [Field] = &[];

        fn from_columns(columns: Self::Columns) -> Result<Self, Fault> {
            Ok(Self(columns))
        }
    }

    fn without_nulls(value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
                Value::Object(fields.map(|(name, value)| (name, without_nulls(value))).collect())
            }
            Value::Array(items) => items.into_iter().map(without_nulls).collect(),
            value => value,
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

        let mut next = values::<Any>(&path).expect("a Parquet file");
        for expected in &records {
            let (_, found) = next().expect("a row").expect("not the end");
            // What one record lacks and another has is null.
            let found = without_nulls(found.expect("a record"));
            assert_eq!(found, *expected);
        }
        assert!(next().expect("the end").is_none());
    }
}
