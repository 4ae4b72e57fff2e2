//! `gratis data`: what each command keeps, in every format, and the same operations in a training.

use std::path::Path;

use gratis::data::{OnInvalid, RecordReader, Rollout};
use serde_json::Value;

use crate::workspace::{Workspace, gratis, ok, stderr, stdout};

/// Runs `gratis data`, with `out.jsonl` as its output, and answers with its report.
fn report(workspace: &Workspace, arguments: &[&str]) -> Value {
    let to_file = if arguments.contains(&"-o") { &[][..] } else { &["-o", "out.jsonl"] };
    let report = ok(workspace, &[&["data"], arguments, to_file, &["--json"]].concat());
    serde_json::from_str(&report).expect("a report")
}

fn read(path: &Path) -> Vec<Rollout> {
    let reader = RecordReader::<Rollout>::open(path, OnInvalid::Stop).expect("opens");
    reader.collect::<Result<_, _>>().expect("valid")
}

#[test]
fn every_operation_says_what_it_kept_and_dropped() {
    // 12 problems of four responses, two correct copies and two incorrect ones.
    let workspace = Workspace::new();
    workspace.run(&[
        "data",
        "apply",
        "graded.jsonl",
        "--operation",
        "subsample_responses,n=3",
        "-o",
        "three.jsonl",
    ]);
    for (command, n_problems, n_responses, remark) in [
        ("pairs graded.jsonl", 48, 96, None),
        ("pairs graded.jsonl --per-prompt 1", 12, 24, None),
        ("balance graded.jsonl --by dataset", 12, 48, None),
        ("balance three.jsonl --by instruction", 12, 24, Some(("responses dropped", 12))),
        ("subsample graded.jsonl --share 0.25", 3, 12, Some(("problems dropped", 9))),
        ("subsample graded.jsonl --responses 1", 12, 12, Some(("responses dropped", 36))),
        ("dedup graded.jsonl --threshold 1", 12, 36, Some(("responses dropped", 12))),
        ("mix graded.jsonl --with three.jsonl", 24, 84, Some(("problems mixed in", 12))),
        (
            "mix graded.jsonl --with three.jsonl --take one-pair",
            24,
            72,
            Some(("problems mixed in", 12)),
        ),
        ("replace graded.jsonl --with three.jsonl -k 2", 12, 48, Some(("responses replaced", 24))),
        ("steps graded.jsonl --split lines", 12, 48, None),
        ("steps graded.jsonl --split lines --text renumbered", 12, 48, None),
        ("apply graded.jsonl --operation keep_side,side=first,share=0.999999", 12, 48, None),
    ] {
        let report = report(&workspace, &command.split(' ').collect::<Vec<_>>());
        let operation = &report["operations"][0];
        assert_eq!(operation["after"]["n_problems"], n_problems, "{command}: {report}");
        assert_eq!(operation["after"]["n_responses"], n_responses, "{command}: {report}");
        assert_eq!(report["written"], operation["after"]);
        if let Some((what, n)) = remark {
            assert_eq!(operation["remarks"][what], n, "{command}: {report}");
        }
        let written = read(&workspace.path("out.jsonl"));
        assert_eq!(written.len(), n_problems, "{command}");
        assert_eq!(written.iter().map(|r| r.completions.len()).sum::<usize>(), n_responses);
    }
    let output =
        workspace.run(&["data", "balance", "three.jsonl", "--by", "instruction", "-o", "o.jsonl"]);
    let said = stderr(&output);
    let line = "balance_instructions,seed=0: 12 problems, 36 responses (";
    assert!(said.contains(line) && said.contains("responses dropped: 12"), "{said}");
}

#[test]
fn a_seed_repeats_to_the_byte_and_pipes_and_formats_give_the_same() {
    let workspace = Workspace::new();
    let subsample = |seed: &'static str, output: &'static str| {
        report(
            &workspace,
            &[
                "subsample",
                "graded.jsonl",
                "--share",
                "0.5",
                "--responses",
                "2",
                "--seed",
                seed,
                "-o",
                output,
            ],
        );
        read(&workspace.path(output))
    };
    let first = subsample("1", "a.jsonl");
    assert_eq!(subsample("1", "b.jsonl"), first);
    assert_eq!(workspace.read("a.jsonl"), workspace.read("b.jsonl"));
    assert_eq!(subsample("1", "c.parquet"), first);
    assert_eq!(subsample("1", "d.jsonl.zst"), first);
    assert_ne!(subsample("2", "e.jsonl"), first);

    // Standard input is read once, though the operation needs it twice.
    let input = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    let arguments = ["data", "subsample", "--share", "0.5", "--responses", "2", "--seed", "1"];
    let piped = workspace.run_with_input(&arguments, &input);
    assert!(piped.status.success(), "{}", stderr(&piped));
    assert_eq!(stdout(&piped).into_bytes(), workspace.read("a.jsonl"));
    let left: Vec<_> =
        workspace.names(".").into_iter().filter(|name| name.starts_with('.')).collect();
    assert!(left.is_empty(), "temporary files are left: {left:?}");
}

#[test]
fn a_split_shares_no_problem_and_a_summary_counts() {
    let workspace = Workspace::new();
    let report = report(
        &workspace,
        &["split", "graded.jsonl", "--share", "0.5", "-o", "a.jsonl", "--rest", "b.parquet"],
    );
    let (a, b) = (read(&workspace.path("a.jsonl")), read(&workspace.path("b.parquet")));
    assert_eq!(a.len() + b.len(), 12);
    assert_eq!(report["first"]["n_problems"], a.len());
    assert!(a.iter().all(|one| b.iter().all(|other| one.prompt != other.prompt)));

    let output = workspace.run(&["data", "summary", "graded.jsonl", "--json"]);
    let summary: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(summary["n_pairs"], 48);
    assert_eq!(summary["n_copies"], 12);
    let table = stdout(&workspace.run(&["data", "summary", "graded.jsonl"]));
    assert!(table.contains("with correct and incorrect responses"), "{table}");
}

#[test]
fn what_an_operation_cannot_do_is_said_with_a_hint() {
    let workspace = Workspace::new();
    let good = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    let labels = "[true, false, false, true]";
    workspace.write("one-class.jsonl", &good.replace(labels, "[false, false, false, false]"));
    workspace.write("ungraded.jsonl", &good.replace(&format!(r#", "correctness": {labels}"#), ""));
    workspace.write("numbers.jsonl", &good.replace(labels, "[1, 0, 0.5, 1]"));
    let error = |command: &str| {
        workspace
            .error_of(&[&["--quiet", "data"], &command.split(' ').collect::<Vec<_>>()[..]].concat())
    };
    insta::assert_snapshot!("data-pairs-one-class", error("pairs one-class.jsonl -o o.jsonl"));
    insta::assert_snapshot!(
        "data-balance-one-class",
        error("balance one-class.jsonl --by dataset")
    );
    insta::assert_snapshot!(
        "data-balance-ungraded",
        error("balance ungraded.jsonl --by instruction")
    );
    insta::assert_snapshot!("data-labels-numbers", error("pairs numbers.jsonl -o o.jsonl"));
    insta::assert_snapshot!("data-json-to-stdout", error("convert graded.jsonl --json"));
    insta::assert_snapshot!("data-share", error("subsample graded.jsonl --share 1.5"));
    insta::assert_snapshot!("data-extension", error("convert graded.jsonl -o graded.csv"));
    let same = error("split graded.jsonl --share 0.5 -o o.jsonl --rest o.jsonl");
    assert!(same.contains("both outputs are `o.jsonl`"), "{same}");
    let unknown = error("apply graded.jsonl --operation balance");
    assert!(
        unknown.contains("one of `balance_dataset`, ") && unknown.contains("got `balance`"),
        "{unknown}"
    );
    assert!(!workspace.path("o.jsonl").exists(), "nothing was written");
}

#[test]
fn a_training_applies_operations_and_knows_them_again() {
    let workspace = Workspace::new();
    let data = ["train", "--model", "model", "--data", "graded.jsonl", "--batch-size", "8"];
    let train = |more: &[&str]| {
        let output = workspace.run(&[&data[..], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let operations = [
        "--operation",
        "subsample_instructions,share=0.5",
        "--operation",
        "subsample_responses,n=2,seed=1",
    ];
    let said = train(&[&["--run", "a"], &operations[..]].concat());
    assert!(
        said.contains("subsample_instructions,share=0.5,seed=0: 12 problems, 48 responses"),
        "{said}"
    );
    assert!(said.contains("6 problems, 12 completions"), "{said}");
    let config = String::from_utf8(workspace.read("a/config.toml")).expect("text");
    assert!(config.contains("[[operations]]\nname = \"subsample_instructions\""), "{config}");

    // From its own configuration, and on a file that the same operations were applied to.
    train(&["--config", "a/config.toml", "--run", "b"]);
    assert_eq!(workspace.metrics("a"), workspace.metrics("b"));
    let apply =
        [&["data", "apply", "graded.jsonl", "-o", "applied.jsonl"], &operations[..]].concat();
    assert!(workspace.run(&apply).status.success());
    let applied = ["train", "--model", "model", "--data", "applied.jsonl", "--batch-size", "8"];
    assert!(workspace.run(&[&applied[..], &["--run", "c"]].concat()).status.success());
    assert_eq!(workspace.metrics("a"), workspace.metrics("c"));

    // They are part of the run.
    let resume = [&["--quiet"], &data[..], &["--run", "a", "--resume"]].concat();
    let same = workspace.run(&resume);
    assert!(same.status.success(), "they are those of the run: {}", stderr(&same));
    let turned = [
        "--operation",
        "subsample_responses,n=2,seed=1",
        "--operation",
        "subsample_instructions,share=0.5",
    ];
    let error = workspace.error_of(&[&resume[..], &turned].concat());
    assert!(
        error.contains("was started with other settings")
            && error.contains("`operations` (it has "),
        "{error}"
    );
    let same = workspace.run(&[&resume[..], &operations].concat());
    assert!(same.status.success(), "{}", stderr(&same));
}

#[test]
fn a_training_reads_standard_input_as_it_reads_a_file() {
    let workspace = Workspace::new();
    let train = [
        "train",
        "--model",
        "model",
        "--batch-size",
        "4",
        "--validation-share",
        "0.25",
        "--operation",
        "balance_dataset",
        "--operation",
        "make_pairs,per_prompt=1",
        "--objective",
        "dpo",
    ];
    let filed = workspace.run(&[&train[..], &["--data", "graded.jsonl", "--run", "a"]].concat());
    assert!(filed.status.success(), "{}", stderr(&filed));
    // 9 problems of 12 are learnt from, a pair of each: 3 steps of at most 4.
    assert!(stderr(&filed).contains("9 problems, 18 completions (9 correct"), "{}", stderr(&filed));
    assert!(stderr(&filed).contains("step 3 of 3: "), "{}", stderr(&filed));
    let input = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    let piped =
        workspace.run_with_input(&[&train[..], &["--data", "-", "--run", "b"]].concat(), &input);
    assert!(piped.status.success(), "{}", stderr(&piped));
    assert_eq!(workspace.metrics("a"), workspace.metrics("b"));
    assert_eq!(
        workspace.read("a/model/model.safetensors"),
        workspace.read("b/model/model.safetensors")
    );
}

#[test]
fn labels_are_part_of_a_run() {
    let workspace = Workspace::new();
    let data = ["train", "--model", "model", "--data", "graded.jsonl", "--run", "a", "--resume"];
    assert!(workspace.run(&data).status.success());
    let good = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    workspace.write("graded.jsonl", &good.replacen("[true, false", "[false, false", 1));
    let error = workspace.error_of(&[&["--quiet"], &data[..]].concat());
    assert!(error.contains("the data or the starting weights differs"), "{error}");
}

#[test]
fn help_of_the_data_commands() {
    for command in ["", "balance", "dedup", "apply", "replace"] {
        let command: Vec<_> = std::iter::once("data").chain(command.split_whitespace()).collect();
        let output = gratis().args(&command).arg("--help").output().expect("it runs");
        assert!(output.status.success());
        insta::assert_snapshot!(format!("help-{}", command.join("-")), stdout(&output));
    }
}
