//! Grading what was read from a file, and what is then written.

use std::fs;
use std::path::{Path, PathBuf};

use gratis::data::{Case, OnInvalid, RecordReader, RecordWriter, Rollout};
use gratis::grade_cases;
use gratis::rollout::{GradeCounts, grade};

fn write(path: &Path, rollouts: &[Rollout]) {
    let mut writer = RecordWriter::create(path).expect("a writable folder");
    for rollout in rollouts {
        writer.write(rollout.clone()).expect("written");
    }
    writer.finish().expect("finished");
}

fn read(path: &Path) -> Vec<Rollout> {
    let reader = RecordReader::<Rollout>::open(path, OnInvalid::Stop).expect("opens");
    reader.collect::<Result<_, _>>().expect("valid")
}

/// A folder and a file in it with these lines.
fn file_of(lines: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rollouts.jsonl");
    fs::write(&path, lines).expect("written");
    (folder, path)
}

#[test]
fn an_empty_completion_is_a_completion() {
    let line = r#"{"id":"a","prompt":"p","reference":"4","dataset":"","completions":[""," \n","4"],"steps":[[],[""],["4"]]}"#;
    let (folder, path) = file_of(line);
    let mut rollouts = read(&path);
    assert_eq!(rollouts[0].texts().collect::<Vec<_>>(), ["", " \n", "4"]);
    let mut counts = GradeCounts::default();
    let options = gratis_grading::Options::default();
    assert_eq!(grade(&mut rollouts[0], &options, &mut counts).len(), 3);
    assert_eq!(rollouts[0].labels("the test").expect("graded"), [false, false, true]);
    assert_eq!(counts.no_answer, 2);
    write(&folder.path().join("b.jsonl"), &rollouts);
    assert_eq!(read(&folder.path().join("b.jsonl")), rollouts);
}

#[test]
fn a_problem_without_a_reference_keeps_its_labels() {
    let line = r#"{"prompt": "p", "key": "4", "completions": ["4"], "correctness": [true]}"#;
    let (_folder, path) = file_of(line);
    let mut rollouts = read(&path);
    let before = rollouts.clone();
    let mut counts = GradeCounts::default();
    let grades = grade(&mut rollouts[0], &gratis_grading::Options::default(), &mut counts);
    assert!(grades.is_empty());
    assert_eq!((counts.n(), counts.without_reference), (0, 1));
    assert_eq!(rollouts, before);
}

#[test]
fn a_long_gold_answer_is_compared_digit_by_digit() {
    let big = "123456789012345678901234567890";
    let lines =
        format!("{{\"gold\":{big},\"pred\":\"{big}\"}}\n{{\"gold\":{big},\"pred\":\"{big}1\"}}\n");
    let (folder, path) = file_of(&lines);
    let reader = RecordReader::<Case>::open(&path, OnInvalid::Stop).expect("opens");
    let mut cases = reader.collect::<Result<Vec<_>, _>>().expect("valid");
    let grades = grade_cases(&mut cases, &gratis_grading::Options::default());
    let verdicts: Vec<_> =
        grades.iter().flatten().map(|grade| grade.verdict.is_correct()).collect();
    assert_eq!(verdicts, [true, false]);
    let out = folder.path().join("out.jsonl");
    let mut writer = RecordWriter::create(&out).expect("opens");
    for case in &cases {
        writer.write(case.clone()).expect("written");
    }
    writer.finish().expect("finished");
    let text = fs::read_to_string(&out).expect("read");
    assert!(text.starts_with(&format!("{{\"gold\":{big},\"pred\"")), "{text}");
}
