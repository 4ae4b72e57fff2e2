//! Rollout and score files: every format, faults, and what is left behind.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{read, write};
use gratis_data::Error;
use gratis_data::score::completion_hash;
use gratis_data::{
    Completion, Mask, OnInvalid, ProblemScores, RecordReader, RecordWriter, Rollout, RolloutFiles,
    Scored,
};
use gratis_engine::FinishReason;
use serde_json::json;

fn rollouts() -> Vec<Rollout> {
    let text = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let graded = Rollout {
        id: Some("a".into()),
        prompt: "2 + 3?".into(),
        reference: "5".into(),
        dataset: "sums".into(),
        completions: vec![
            Completion::graded("5", true).with_steps(text(&["5"])),
            Completion::graded("é\n6", false).with_steps(text(&["é", "6"])),
            Completion::graded("7", false).with_steps(text(&["7"])),
        ],
        extra: json!({"level": 3, "tags": ["x", "y"]}).as_object().expect("an object").clone(),
        context: Vec::new(),
    };
    let sampled = Rollout {
        id: Some("b".into()),
        prompt: "4?".into(),
        completions: vec!["4".into()],
        ..Rollout::default()
    };
    let problem = Rollout { id: Some("c".into()), prompt: "5?".into(), ..Rollout::default() };
    vec![graded, sampled, problem]
}

/// A folder and a file in it with these lines.
fn file_of(lines: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rollouts.jsonl");
    fs::write(&path, lines).expect("written");
    (folder, path)
}

#[test]
fn every_format_reads_back_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a.jsonl", "a.jsonl.zst", "a.parquet"] {
        let path = folder.path().join(name);
        write(&path, &rollouts());
        assert_eq!(read(&path), rollouts(), "{name}");
    }
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 3, "no temporary file is left");
}

#[test]
fn many_row_groups_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.parquet");
    let many: Vec<Rollout> = (0..1000)
        .flat_map(|i| rollouts().into_iter().map(move |r| Rollout { id: Some(i.to_string()), ..r }))
        .collect();
    write(&path, &many);
    assert_eq!(read(&path), many);
}

#[test]
fn the_published_columns_load_as_they_are() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data/published_columns.parquet");
    let rollouts = read(&path);
    assert_eq!(rollouts.len(), 2);
    assert_eq!(rollouts[0].prompt, "How many are 2 + 3?");
    assert_eq!(rollouts[0].completions[1].text, "6");
    assert_eq!(rollouts[0].labels("the test").expect("graded"), [true, false]);
    assert_eq!(rollouts[0].extra["level"], 1);
    assert_eq!(rollouts[1].completions[0].steps, Some(vec!["-2".to_owned()]));
    assert_eq!(rollouts[1].id.as_deref(), Some("2"), "the row where there is no id");
}

#[test]
fn faults_name_file_line_and_field() {
    let cases = [
        (
            r#"{"prompt": "p", "correctness": [true]}"#,
            "`correctness` should be one entry for each of 0",
        ),
        (
            r#"{"prompt": "p", "completions": ["a"], "correctness": ["yes"]}"#,
            "`correctness[0]` should be `true` or `false`, got `\"yes\"`",
        ),
        (
            r#"{"prompt": "p", "completions": ["a", "b"], "labels": [true, false]}"#,
            "`labels` should be absent beside `completions`: this is TRL's stepwise shape",
        ),
        (r#"{"prompt": "p", "completions": "a"}"#, "`completions` should be a list"),
        (r#"{"completions": ["a"]}"#, "`prompt` should be a string, got nothing"),
        (
            r#"{"prompt": "p", "completions": ["a"], "steps": [[]]}"#,
            "`steps[0]` should be at least one step",
        ),
        (
            r#"{"prompt": "p", "completions": ["a"], "steps": [["a", ""]]}"#,
            "`steps[0][1]` should be a step",
        ),
        (r#"{"prompt": "p", "#, "`record` should be a JSON object, got `{\"prompt\": \"p\",`"),
        ("[1]", "`record` should be a JSON object, got `[1]`"),
    ];
    for (line, expected) in cases {
        let valid = r#"{"prompt": "p", "id": 7}"#;
        let (_folder, path) = file_of(&format!("{valid}\n\n{line}\n{valid}\n"));
        let reader = RecordReader::<Rollout>::open(&path, OnInvalid::Stop).expect("opens");
        let error = reader.collect::<Result<Vec<_>, _>>().expect_err(line);
        let message = error.to_string();
        assert!(message.contains("rollouts.jsonl`, line 3: "), "{message}");
        assert!(message.contains(expected), "{message}\nexpected {expected}");
        assert!(error.hint().is_some(), "{message}");

        let mut reader = RecordReader::<Rollout>::open(&path, OnInvalid::Skip).expect("opens");
        let ids: Vec<_> = reader.by_ref().map(|r| r.expect("skips").id).collect();
        assert_eq!(ids, [Some("7".to_owned()), Some("7".to_owned())]);
        assert_eq!(reader.n_skipped(), 1);
    }
}

#[test]
fn damaged_and_unknown_files_are_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let parquet = folder.path().join("a.parquet");
    write(&parquet, &rollouts());
    let bytes = fs::read(&parquet).expect("read");
    fs::write(&parquet, &bytes[..bytes.len() / 2]).expect("written");
    assert!(matches!(
        RecordReader::<Rollout>::open(&parquet, OnInvalid::Stop).err(),
        Some(Error::InvalidFile { .. })
    ));

    let zstd = folder.path().join("a.jsonl.zst");
    write(&zstd, &rollouts());
    let bytes = fs::read(&zstd).expect("read");
    fs::write(&zstd, &bytes[..bytes.len() / 2]).expect("written");
    let truncated = RecordReader::<Rollout>::open(&zstd, OnInvalid::Skip);
    let error = truncated.and_then(|reader| reader.last().transpose()).expect_err("cut");
    assert!(matches!(error, Error::Io { .. }), "{error}");

    for path in ["absent.jsonl", "a.csv"] {
        assert!(RecordReader::<Rollout>::open(folder.path().join(path), OnInvalid::Stop).is_err());
    }
    assert!(RecordWriter::<Rollout>::create(folder.path().join("no/folder.jsonl")).is_err());
}

#[test]
fn an_unfinished_file_does_not_appear() {
    let (folder, path) = file_of("before\n");
    let mut writer = RecordWriter::create(&path).expect("opens");
    writer.write(rollouts()[0].clone()).expect("written");
    drop(writer);
    assert_eq!(fs::read_to_string(&path).expect("read"), "before\n");
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1, "no temporary file is left");
}

#[test]
fn scores_read_back_and_newer_versions_are_errors() {
    let (_folder, path) = file_of("");
    let completion = Scored {
        extent: None,
        hash: Some("00".to_owned()),
        outcome: -0.1,
        steps: vec![0.2, -0.3],
        q_values: vec![0.2, 0.2 - 0.3],
        step_ends: vec![3, 9],
        tokens: Some(vec![0.25, -0.25, -0.1]),
        token_ids: Some(vec![7, 1, 0]),
        token_step_ends: Some(vec![1, 3]),
        masked_tokens: None,
    };
    let score = ProblemScores::new("a", vec![completion.clone(), completion]);
    let mut writer = RecordWriter::create(&path).expect("opens");
    writer.write(score.clone()).expect("written");
    writer.finish().expect("finished");
    let read = |path: &Path| {
        let reader = RecordReader::<ProblemScores>::open(path, OnInvalid::Stop).expect("opens");
        reader.collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(read(&path).expect("valid"), [score]);

    let line = fs::read_to_string(&path).expect("read");
    fs::write(&path, line.replace("\"version\":2", "\"version\":3")).expect("written");
    let error = read(&path).expect_err("too new").to_string();
    assert!(error.contains("`version` should be at most 2, got 3"), "{error}");
    fs::write(&path, line.replace("\"outcome\":-0.1", "\"outcome\":\"-\"")).expect("written");
    let error = read(&path).expect_err("no number").to_string();
    assert!(error.contains("`scores[0].outcome` should be a number"), "{error}");
}

#[test]
fn problems_go_by_other_names_and_faults_use_the_name_that_is_there() {
    let text =
        "{\"question\": \"1 + 1?\", \"answer\": \"2\"}\n\n{\"problem\": \"2?\", \"id\": 7}\n";
    let (_folder, path) = file_of(text);
    let reader = RecordReader::problems(&path, OnInvalid::Stop).expect("opens");
    let problems = reader.collect::<Result<Vec<_>, _>>().expect("valid");
    assert_eq!((problems[0].prompt.as_str(), problems[0].reference.as_str()), ("1 + 1?", "2"));
    let ids: Vec<_> = problems.iter().map(|problem| problem.id.as_deref()).collect();
    assert_eq!(ids, [Some("1"), Some("7")]);
    for (line, expected) in [
        (r#"{"question": 3}"#, "`question` should be a string, got `3`"),
        ("{}", "needs `prompt`"),
        (r#"{"prompt": " "}"#, "`prompt` should be a problem, got empty text"),
    ] {
        let (_folder, path) = file_of(line);
        let reader = RecordReader::problems(&path, OnInvalid::Stop).expect("opens");
        let error = reader.collect::<Result<Vec<_>, _>>().expect_err(line).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Everything a completion can hold, as a line.
const WHOLE: &str = r#"{"id":"a","prompt":"2 + 3?","reference":"5","dataset":"","completions":["5","é\n6"],"correctness":[true,null],"steps":[null,["é","6"]],"level":[1,2],"extracted":["5",null],"how":["bare",null],"step_labels":[null,[1.0,null]],"finish_reasons":["stop","length"],"token_ids":[[7,0],null],"masks":[{"chars":[[0,1]]},{"tokens":[[1,2],[3,4]]}]}"#;

#[test]
fn completions_are_columns_in_files() {
    let (folder, path) = file_of(WHOLE);
    let rollouts = read(&path);
    let [first, second] = &rollouts[0].completions[..] else { panic!("two completions") };
    assert_eq!((first.label, second.label), (Some(true), None));
    assert_eq!(second.steps, Some(vec!["é".to_owned(), "6".to_owned()]));
    assert_eq!(second.step_labels, Some(vec![Some(1.0), None]));
    assert_eq!(first.finish_reason, Some(FinishReason::Stop));
    assert_eq!(first.token_ids, Some(vec![7, 0]));
    assert_eq!(second.mask, Some(Mask::Tokens(vec![(1, 2), (3, 4)])));
    assert_eq!(second.extra["how"], json!(null));
    for name in ["b.jsonl", "b.parquet"] {
        let path = folder.path().join(name);
        write(&path, &rollouts);
        assert_eq!(read(&path), rollouts, "{name}");
    }
    let text = fs::read_to_string(folder.path().join("b.jsonl")).expect("read");
    assert_eq!(text.trim_end(), WHOLE);
}

#[test]
fn a_foreign_list_as_long_as_the_completions_stays_as_it_is() {
    let (_folder, path) = file_of(WHOLE);
    let picked = read(&path)[0].with_completions(&[1, 0]);
    assert_eq!(picked.extra["level"], json!([1, 2]), "a column of the problem");
    let texts: Vec<&str> = picked.texts().collect();
    assert_eq!(texts, ["é\n6", "5"]);
    let line = serde_json::to_value(&picked).expect("JSON");
    assert_eq!(line["how"], json!([null, "bare"]));
    assert_eq!(line["token_ids"], json!([null, [7, 0]]));
    let one = serde_json::to_value(picked.with_completions(&[0])).expect("JSON");
    assert_eq!(one["level"], json!([1, 2]));
    assert!(one.get("token_ids").is_none(), "no entry is left");
}

#[test]
fn columns_of_completions_have_an_entry_for_each() {
    for (column, expected) in [
        (r#""finish_reasons": ["stop"]"#, "`finish_reasons` should be one entry for each of 2"),
        (r#""finish_reasons": ["stop", "eos"]"#, "should be `stop`, `length` or null, got `eos`"),
        (r#""token_ids": [1, 2]"#, "`token_ids[0]` should be a list"),
        (r#""masks": [[0, 1], null]"#, "`masks[0]` should be an object"),
        (r#""step_labels": [1, 1]"#, "`step_labels[0]` should be a list"),
        (r#""how": ["bare"]"#, "`how` should be one entry for each of 2"),
    ] {
        let line = format!(r#"{{"prompt": "p", "completions": ["a", "b"], {column}}}"#);
        let (_folder, path) = file_of(&line);
        let reader = RecordReader::<Rollout>::open(&path, OnInvalid::Stop).expect("opens");
        let error = reader.collect::<Result<Vec<_>, _>>().expect_err(column).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn flags_of_other_programs_become_masks_or_are_refused_by_name() {
    let line = |columns: &str| {
        format!(r#"{{"prompt": "p", "completions": ["a tool b", "c"], {columns}}}"#)
    };
    let steps = r#""steps": [["a", "tool", "b"], ["c"]]"#;
    let ids = r#""token_ids": [[1, 2, 3, 4], [5, 0]]"#;
    let masks = |columns: &str| -> Vec<Option<Mask>> {
        let (_folder, path) = file_of(&line(columns));
        let rollouts = read(&path);
        assert!(rollouts[0].extra.is_empty(), "{:?}", rollouts[0].extra);
        rollouts[0].completions.iter().map(|completion| completion.mask.clone()).collect()
    };
    for name in ["loss_mask", "mask", "step_mask", "response_mask"] {
        let by_step = masks(&format!(r#"{steps}, "{name}": [[1, 0, 1], null]"#));
        assert_eq!(by_step, [Some(Mask::Chars(vec![(2, 7)])), None], "{name}");
    }
    let by_token = masks(&format!(r#"{ids}, "loss_mask": [[1, 0, 0, 1], [true, true]]"#));
    assert_eq!(by_token, [Some(Mask::Tokens(vec![(1, 3)])), Some(Mask::Tokens(vec![]))]);
    let thrice = r#""loss_mask": [[1, 0, 1], [1]], "mask": [[1, 0, 1], [1]]"#;
    assert_eq!(masks(&format!("{steps}, {thrice}"))[0], Some(Mask::Chars(vec![(2, 7)])));

    for (columns, expected) in [
        (r#""loss_mask": [1, 0]"#.to_owned(), "`loss_mask` should be a list of 0 and 1 for each"),
        (r#""loss_mask": [[1], [1, 0]]"#.to_owned(), "`loss_mask[0]` should be a flag for each of"),
        (
            format!(r#"{steps}, "loss_mask": [[1, 0, 1], [1]], "mask": [[0, 1, 1], [1]]"#),
            "`mask[0]` should be the same as the other mask of this completion",
        ),
        (
            r#""masks": [{"chars": [[2, 9]]}, null]"#.to_owned(),
            "`masks[0]` should be ranges within the 8 characters of the completion, got [2, 9]",
        ),
        (
            r#""masks": [{"tokens": [[3, 2]]}, null]"#.to_owned(),
            "`masks[0]` should be ranges of tokens that begin before they end, got [3, 2]",
        ),
    ] {
        let (_folder, path) = file_of(&line(&columns));
        let reader = RecordReader::<Rollout>::open(&path, OnInvalid::Stop).expect("opens");
        let error = reader.collect::<Result<Vec<_>, _>>().expect_err(&columns).to_string();
        assert!(error.contains(expected), "{error}");
    }
    // What only has such a name stays.
    let (_folder, path) = file_of(&line(r#""mask": "cat.png""#));
    assert_eq!(read(&path)[0].extra["mask"], "cat.png");
}

#[test]
fn scores_are_joined_with_their_own_completions_only() {
    let rollout = Rollout {
        id: Some("a".to_owned()),
        prompt: "p".to_owned(),
        completions: vec!["one".into(), "two".into()],
        ..Rollout::default()
    };
    let scored = |text: &str, hash: bool| Scored {
        hash: hash.then(|| completion_hash("p", text)),
        steps: vec![1.0],
        q_values: vec![1.0],
        step_ends: vec![text.chars().count()],
        ..Scored::default()
    };
    let scores = |texts: [&str; 2], hash| {
        ProblemScores::new("a", texts.map(|text| scored(text, hash)).to_vec())
    };
    scores(["one", "two"], true).check(&rollout).expect("its own");
    scores(["one", "two"], false).check(&rollout).expect("of version 1");
    let other_prompt = Rollout { prompt: "q".to_owned(), ..rollout.clone() };
    for (scores, rollout, reason) in [
        (scores(["two", "one"], true), &rollout, "completion 1 has another text than was scored"),
        (scores(["one", "two"], true), &other_prompt, "completion 1 has another text"),
        (scores(["one", "three"], false), &rollout, "completion 2 has 3 characters"),
        (ProblemScores::new("b", Vec::new()), &rollout, "the scores in its place are those of `b`"),
    ] {
        let error = scores.check(rollout).expect_err(reason);
        let message = error.to_string();
        assert!(message.contains("problem `a`") && message.contains(reason), "{message}");
        assert!(error.hint().is_some());
    }
    // A change of this number orphans every score file.
    assert_eq!(completion_hash("p", "one").len(), 32);
    assert_ne!(completion_hash("p", "one"), completion_hash("po", "ne"));
}

#[test]
fn completions_under_another_name_are_named_with_the_fields_found() {
    let line = r#"{"prompt": "p", "reference": "4", "texts": ["4"]}"#;
    let (_folder, path) = file_of(&format!("{line}\n"));
    let files = RolloutFiles::new(vec![path.clone()], OnInvalid::Stop);
    assert_eq!(files.read().count(), 1, "a problem");
    let error = files.answered().read().next().expect("a line").expect_err("no completions");
    let expected = "line 1: `completions` should be a list of responses, got no such field among \
                    `prompt`, `reference`, `texts`";
    assert!(error.to_string().contains(expected), "{error}");
    let (_folder, path) = file_of(r#"{"prompt": "p", "completions": []}"#);
    let files = RolloutFiles::new(vec![path], OnInvalid::Stop).answered();
    assert!(files.read().all(|rollout| rollout.is_ok()));
}

#[test]
fn numbers_are_written_as_they_were_read() {
    let line = r#"{"id":"123456789012345678901234567890","prompt":"p","reference":"","dataset":"","completions":[],"uid":9007199254740993123456,"seed":10000000000000000000000000000000000000000,"deep":{"x":[0.1000000000000000000001,1e400,18446744073709551615,1.0]}}"#;
    let (folder, path) = file_of(
        &line.replace("\"123456789012345678901234567890\"", "123456789012345678901234567890"),
    );
    let rollouts = read(&path);
    for name in ["b.jsonl", "b.jsonl.zst", "b.parquet"] {
        let written = folder.path().join(name);
        write(&written, &rollouts);
        let back = folder.path().join(format!("{name}.jsonl"));
        write(&back, &read(&written));
        assert_eq!(fs::read_to_string(&back).expect("read").trim_end(), line, "{name}");
    }
    let (_folder, path) = file_of(r#"{"id": 18446744073709551615, "prompt": "p"}"#);
    assert_eq!(read(&path)[0].id.as_deref(), Some("18446744073709551615"));
    // Where a field is a number, it is read as one, whatever its digits.
    let line = r#"{"prompt": "p", "completions": ["a"], "steps": [["a"]], "step_labels": [[0.1000000000000000000001]], "uid": 36893488147419103232}"#;
    let (_folder, path) = file_of(line);
    assert_eq!(read(&path)[0].completions[0].step_labels, Some(vec![Some(0.1)]));
    let (_folder, path) = file_of(&line.replace("\"p\"", "36893488147419103233"));
    let reader = RecordReader::<Rollout>::open(&path, OnInvalid::Stop).expect("opens");
    let error = reader.collect::<Result<Vec<_>, _>>().expect_err("no text").to_string();
    assert!(error.contains("`prompt` should be a string, got `36893488147419103"), "{error}");
}

#[test]
fn an_input_that_changes_between_two_passes_is_an_error() {
    let (_folder, path) = file_of("{\"prompt\": \"p\"}\n");
    let files = RolloutFiles::new(vec![path.clone()], OnInvalid::Stop);
    assert_eq!(files.read().filter_map(Result::ok).count(), 1);
    assert!(files.read().all(|rollout| rollout.is_ok()), "the same");
    fs::write(&path, "{\"prompt\": \"p\"}\n{\"prompt\": \"q\"}\n").expect("written");
    let found: Vec<_> = files.read().collect();
    let expected = format!("`{}` changed while it was read", path.display());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].as_ref().expect_err("changed").to_string(), expected);

    // While it is read.
    let files = RolloutFiles::new(vec![path.clone()], OnInvalid::Stop);
    let mut reading = files.read();
    assert!(reading.next().expect("a line").is_ok());
    fs::write(&path, "{\"prompt\": \"other\"}\n").expect("written");
    assert!(matches!(reading.last(), Some(Err(Error::InputChanged { .. }))));
}
