//! Parquet that other programs wrote: types, nulls, NaN, dates, bytes, and what is refused by name.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::write;
use gratis_data::Error;
use gratis_data::{Extent, OnInvalid, ProblemScores, RecordReader, RecordWriter, Rollout, Scored};
use parquet::basic::{Compression, Type as Physical};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

/// A column of three rows: its type in the language of schemas, and how it is written.
type Column<'a> = (&'a str, &'a dyn Fn(&mut SerializedRowGroupWriter<'_, File>));

fn put<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    definitions: Option<&[i16]>,
    repetitions: Option<&[i16]>,
) {
    let mut column = group.next_column().expect("opens").expect("one more");
    column.typed::<T>().write_batch(values, definitions, repetitions).expect("written");
    column.close().expect("closed");
}

fn texts(group: &mut SerializedRowGroupWriter<'_, File>, values: &[&[u8]]) {
    let values: Vec<ByteArray> = values.iter().map(|text| text.to_vec().into()).collect();
    put::<ByteArrayType>(group, &values, None, None);
}

/// A file of three problems, `a`, `b` and `c`, with these columns besides.
fn file(columns: &[Column<'_>]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("foreign.parquet");
    let types: Vec<&str> = columns.iter().map(|(column, _)| *column).collect();
    let schema = format!("message m {{ required binary prompt (STRING);\n{} }}", types.join("\n"));
    let schema = Arc::new(parse_message_type(&schema).expect("a schema"));
    let properties = Arc::new(WriterProperties::builder().build());
    let out = File::create(&path).expect("created");
    let mut writer = SerializedFileWriter::new(out, schema, properties).expect("begun");
    let mut group = writer.next_row_group().expect("a group");
    texts(&mut group, &[b"a", b"b", b"c"]);
    for (_, write) in columns {
        write(&mut group);
    }
    group.close().expect("closed");
    writer.close().expect("closed");
    (folder, path)
}

fn read(path: &Path) -> Result<Vec<Rollout>, Error> {
    RecordReader::<Rollout>::open(path, OnInvalid::Stop)?.collect()
}

/// The physical type of a file's column.
fn physical(path: &Path, column: &str) -> Option<Physical> {
    let reader = SerializedFileReader::new(File::open(path).expect("opens")).expect("Parquet");
    let schema = reader.metadata().file_metadata().schema_descr();
    let found = schema.columns().iter().find(|c| c.path().parts()[0] == column);
    found.map(|column| column.physical_type())
}

#[test]
fn types_nulls_and_nan_of_further_columns_come_back() {
    let list: Column<'_> = (
        "optional group tags (LIST) { repeated group list { optional binary element (STRING); } }",
        &|group| {
            let values = [b"x".to_vec().into(), b"y".to_vec().into()];
            // ["x", null, "y"], null, []
            put::<ByteArrayType>(group, &values, Some(&[3, 2, 3, 0, 1]), Some(&[0, 1, 1, 0, 0]));
        },
    );
    let (folder, path) = file(&[
        ("required int64 n;", &|group| put::<Int64Type>(group, &[1, -2, i64::MAX], None, None)),
        ("optional int64 maybe;", &|group| put::<Int64Type>(group, &[5], Some(&[0, 1, 0]), None)),
        ("required double x;", &|g| {
            put::<DoubleType>(g, &[1.0, f64::NAN, f64::INFINITY], None, None);
        }),
        ("required float y;", &|group| put::<FloatType>(group, &[0.5, -0.0, 2.0], None, None)),
        ("required boolean flag;", &|g| put::<BoolType>(g, &[true, false, true], None, None)),
        ("required binary digits (STRING);", &|group| texts(group, &[b"1", b"2", b"3"])),
        list,
        ("optional int64 nothing;", &|group| put::<Int64Type>(group, &[], Some(&[0; 3]), None)),
    ]);
    let rollouts = read(&path).expect("valid");
    let column = |rollouts: &[Rollout], name: &str| -> Vec<Value> {
        rollouts.iter().map(|rollout| rollout.extra[name].clone()).collect()
    };
    assert_eq!(column(&rollouts, "n"), [json!(1), json!(-2), json!(i64::MAX)]);
    assert_eq!(column(&rollouts, "maybe"), [json!(null), json!(5), json!(null)]);
    assert_eq!(column(&rollouts, "y"), [json!(0.5), json!(-0.0), json!(2.0)]);
    assert_eq!(column(&rollouts, "digits"), [json!("1"), json!("2"), json!("3")]);
    assert_eq!(column(&rollouts, "tags"), [json!(["x", null, "y"]), json!(null), json!([])]);
    assert_eq!(column(&rollouts, "nothing"), [json!(null), json!(null), json!(null)]);

    let again = folder.path().join("again.parquet");
    write(&again, &rollouts);
    assert_eq!(read(&again).expect("valid"), rollouts, "and NaN with it");
    for (name, expected) in [
        ("n", Physical::INT64),
        ("maybe", Physical::INT64),
        ("x", Physical::DOUBLE),
        ("flag", Physical::BOOLEAN),
        ("digits", Physical::BYTE_ARRAY),
        ("tags", Physical::BYTE_ARRAY),
    ] {
        assert_eq!(physical(&again, name), Some(expected), "{name}");
    }
    assert_eq!(physical(&again, "nothing"), None, "no type is known");

    // JSON has no NaN.
    let lines = folder.path().join("lines.jsonl");
    write(&lines, &rollouts);
    let text = fs::read_to_string(&lines).expect("read");
    assert!(text.contains(r#""n":1,"maybe":null,"x":1.0,"y":0.5"#), "{text}");
    assert!(text.contains(r#""x":null"#), "{text}");
}

#[test]
fn a_field_with_several_types_or_gaps_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = folder.path().join("a.jsonl");
    let text = r#"{"id":"1","prompt":"p","reference":"","dataset":"","completions":[],"mixed":1,"late":[1],"gap":2}
{"id":"2","prompt":"p","reference":"","dataset":"","completions":[],"mixed":1.5,"late":[0.5],"nested":{"a":null}}
"#;
    fs::write(&lines, text).expect("written");
    let rollouts = read(&lines).expect("valid");
    let table = folder.path().join("a.parquet");
    write(&table, &rollouts);
    assert_eq!(physical(&table, "mixed"), None);
    assert_eq!(read(&table).expect("valid"), rollouts);
    let back = folder.path().join("b.jsonl");
    write(&back, &read(&table).expect("valid"));
    assert_eq!(fs::read_to_string(&back).expect("read"), text);
}

#[test]
fn dates_and_times_of_every_sign_are_kept() {
    let (_folder, path) = file(&[
        ("required int32 day (DATE);", &|g| put::<Int32Type>(g, &[-1, 0, i32::MIN], None, None)),
        ("required int64 at (TIMESTAMP(MILLIS,true));", &|group| {
            put::<Int64Type>(group, &[-1, 0, i64::MIN], None, None);
        }),
        ("required int64 us (TIMESTAMP(MICROS,true));", &|group| {
            put::<Int64Type>(group, &[-1, 1_700_000_000_123_456, i64::MAX], None, None);
        }),
        ("required int32 clock (TIME(MILLIS,true));", &|group| {
            put::<Int32Type>(group, &[3_723_004, -1, 0], None, None);
        }),
        ("required int64 ns (TIMESTAMP(NANOS,true));", &|group| {
            put::<Int64Type>(group, &[-1, 0, 1], None, None);
        }),
    ]);
    let rollouts = read(&path).expect("no panic");
    let extra = &rollouts[0].extra;
    assert_eq!(extra["day"], "1969-12-31");
    assert_eq!(extra["at"], "1969-12-31 23:59:59.999 +00:00");
    assert_eq!(extra["us"], "1969-12-31 23:59:59.999999 +00:00");
    assert_eq!(extra["clock"], "01:02:03.004");
    assert_eq!(extra["ns"], -1);
    assert_eq!(rollouts[1].extra["us"], "2023-11-14 22:13:20.123456 +00:00");
    assert_eq!(rollouts[1].extra["clock"], -1, "no time of day");
    assert!(rollouts[2].extra["day"].as_str().is_some_and(|day| day.starts_with('-')));
}

#[test]
fn bytes_that_are_no_text_are_named_with_their_column() {
    for annotation in ["(STRING)", ""] {
        let column = format!("required binary note {annotation};");
        let write = |group: &mut SerializedRowGroupWriter<'_, File>| {
            texts(group, &[b"fine", b"\xff\xfe", b"fine"]);
        };
        let (_folder, path) = file(&[(&column, &write)]);
        let error = read(&path).expect_err("no text").to_string();
        let expected =
            "foreign.parquet`, line 2: `note` should be UTF-8 text, got bytes that are not";
        assert!(error.contains(expected), "{annotation}: {error}");
    }
}

#[test]
fn extra_fields_do_not_override_columns() {
    let extra = |first: &'static [u8]| -> (tempfile::TempDir, PathBuf) {
        file(&[
            ("required binary reference (STRING);", &|group| texts(group, &[b"1", b"2", b"3"])),
            ("required int64 level;", &|group| put::<Int64Type>(group, &[1, 2, 3], None, None)),
            ("required binary extra (JSON);", &move |group| texts(group, &[first, b"{}", b"{}"])),
        ])
    };
    for (json, name) in [
        (&br#"{"prompt": "another"}"#[..], "prompt"),
        (br#"{"reference": "7"}"#, "reference"),
        (br#"{"completions": ["x"]}"#, "completions"),
        (br#"{"level": 9}"#, "level"),
    ] {
        let (_folder, path) = extra(json);
        let error = read(&path).expect_err(name).to_string();
        let expected = format!("line 1: `extra.{name}` should be absent: the file has this column");
        assert!(error.contains(&expected), "{error}");
    }
    let (_folder, path) = extra(br#"{"source": "x"}"#);
    assert_eq!(read(&path).expect("valid")[0].extra["source"], "x");
}

#[test]
fn a_compression_that_is_not_read_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lzo.parquet");
    let text = "message m { required binary prompt (STRING); }";
    let schema = Arc::new(parse_message_type(text).expect("a schema"));
    let snappy = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let out = File::create(&path).expect("created");
    let mut writer = SerializedFileWriter::new(out, schema, Arc::new(snappy)).expect("begun");
    let mut group = writer.next_row_group().expect("a group");
    texts(&mut group, &[b"a"]);
    group.close().expect("closed");
    writer.close().expect("closed");
    assert_eq!(read(&path).expect("snappy is read").len(), 1);

    // The footer names the codec after the column's path: 1 for snappy, 3 for lzo, as zigzag numbers.
    let mut bytes = fs::read(&path).expect("read");
    let snappy = b"prompt\x15\x02";
    let at = bytes.windows(snappy.len()).position(|window| window == snappy).expect("the codec");
    bytes[at + snappy.len() - 1] = 0x06;
    fs::write(&path, bytes).expect("written");
    let error = read(&path).expect_err("lzo").to_string();
    assert!(
        error.contains("compressed with anything but lzo, got lzo in the column `prompt`"),
        "{error}"
    );
}

#[test]
fn scores_have_a_row_per_candidate_and_typed_lists() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scores.parquet");
    let whole = Scored {
        hash: Some("00ff".to_owned()),
        outcome: 0.25,
        steps: vec![0.5, -0.25],
        q_values: vec![0.5, 0.25],
        step_ends: vec![3, 9],
        tokens: Some(vec![0.5, 0.0, -0.25]),
        token_ids: Some(vec![151_643, 7, 0]),
        token_step_ends: Some(vec![1, 3]),
        masked_tokens: Some(vec![(1, 2)]),
        ..Scored::default()
    };
    let cut = Scored {
        extent: Some(Extent::Truncated),
        outcome: f64::NAN,
        steps: vec![0.5, f64::NAN],
        q_values: vec![0.5, f64::NAN],
        masked_tokens: None,
        ..whole.clone()
    };
    let skipped = Scored {
        hash: Some("11".to_owned()),
        extent: Some(Extent::Skipped),
        outcome: f64::NAN,
        ..Scored::default()
    };
    let origin = serde_json::from_value(json!({
        "model": "m", "kind": "implicit", "beta": 0.05, "step_split": "lines",
    }));
    let origin = Some(origin.expect("an origin"));
    let problem = |id: &str, scores: Vec<Scored>| ProblemScores {
        origin: origin.clone(),
        ..ProblemScores::new(id, scores)
    };
    let problems = [
        problem("a", vec![whole.clone(), cut, skipped]),
        problem("none", Vec::new()),
        problem("same", vec![whole.clone()]),
        problem("same", vec![whole.clone(), whole]),
    ];
    let mut writer = RecordWriter::create(&path).expect("opens");
    for problem in &problems {
        writer.write(problem.clone()).expect("written");
    }
    writer.finish().expect("finished");

    let reader = SerializedFileReader::new(File::open(&path).expect("there")).expect("Parquet");
    let meta = reader.metadata().file_metadata();
    assert_eq!(meta.num_rows(), 3 + 1 + 1 + 2);
    let types: Vec<String> = meta
        .schema_descr()
        .columns()
        .iter()
        .map(|column| format!("{} {}", column.path().string(), column.physical_type()))
        .collect();
    for expected in [
        "candidate INT32",
        "outcome DOUBLE",
        "steps.list.element DOUBLE",
        "step_ends.list.element INT32",
        "tokens.list.element DOUBLE",
        "token_ids.list.element INT32",
        "token_step_ends.list.element INT32",
        "masked_tokens.list.element.list.element INT32",
    ] {
        assert!(types.iter().any(|found| found == expected), "{expected} in {types:?}");
    }
    // NaN is not equal to itself, and its text is.
    let again = RecordReader::<ProblemScores>::open(&path, OnInvalid::Stop).expect("opens");
    let again: Vec<ProblemScores> = again.collect::<Result<_, _>>().expect("valid");
    assert_eq!(format!("{again:?}"), format!("{problems:?}"));
}

#[test]
fn rows_of_candidates_out_of_order_are_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scores.parquet");
    let schema = "message m { required binary id (STRING); required int32 candidate; }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    for (candidates, expected) in [
        ([1, 2, 3], "line 1: `candidate` should be 0 in the first row, got 1"),
        ([0, 2, 1], "line 2: `candidate` should be 0, or 1 as the next candidate"),
    ] {
        let out = File::create(&path).expect("created");
        let properties = Arc::new(WriterProperties::builder().build());
        let mut writer =
            SerializedFileWriter::new(out, Arc::clone(&schema), properties).expect("begun");
        let mut group = writer.next_row_group().expect("a group");
        texts(&mut group, &[b"a", b"a", b"a"]);
        put::<Int32Type>(&mut group, &candidates, None, None);
        group.close().expect("closed");
        writer.close().expect("closed");
        let mut reader =
            RecordReader::<ProblemScores>::open(&path, OnInvalid::Stop).expect("opens");
        let error = reader.find_map(Result::err).expect("out of order").to_string();
        assert!(error.contains(expected), "{error}");
    }
}
