//! The commands from end to end, and what they say of themselves.

use crate::workspace::{Workspace, gratis, stderr, stdout};

#[test]
fn the_main_job_runs_from_fresh_weights_to_a_selected_solution() {
    let workspace = Workspace::new();
    let ok = |arguments: &[&str]| {
        let output = workspace.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    };
    ok(&[
        "pretrain",
        "--model",
        "model",
        "--data",
        "graded.jsonl",
        "--run",
        "base",
        "--batch-size",
        "16",
    ]);
    ok(&[
        "rollout",
        "--model",
        "base",
        "graded.jsonl",
        "-k",
        "2",
        "--max-tokens",
        "8",
        "-o",
        "new.jsonl",
    ]);
    ok(&["grade", "graded.jsonl", "-o", "again.jsonl"]);
    let again = String::from_utf8(workspace.read("again.jsonl")).expect("text");
    assert_eq!(again.matches(r#""correctness":[true,false,false,true]"#).count(), 12);
    ok(&[
        "train",
        "--model",
        "base",
        "--data",
        "again.jsonl",
        "--run",
        "prm",
        "--batch-size",
        "16",
    ]);
    let manifest = String::from_utf8(workspace.read("prm/model/gratis.json")).expect("text");
    assert!(manifest.contains(r#""name": "ce""#), "{manifest}");
    let scores = ok(&["score", "--model", "prm", "again.jsonl", "--tokens"]);
    assert_eq!(scores.lines().count(), 12);
    workspace.write("scores.jsonl", &scores);
    let first: serde_json::Value =
        serde_json::from_str(scores.lines().next().expect("a line")).expect("JSON");
    let score = &first["scores"][0];
    let sum = |key: &str| -> f64 {
        score[key].as_array().expect("a list").iter().filter_map(serde_json::Value::as_f64).sum()
    };
    let outcome = score["outcome"].as_f64().expect("a number");
    // Steps and tokens both telescope to the outcome; only the order of summation differs.
    assert!((sum("steps") - outcome).abs() < 1e-9 && (sum("tokens") - outcome).abs() < 1e-9);
    assert_eq!(score["steps"].as_array().expect("a list").len(), 2, "one a line");

    let table = ok(&["select", "--rollouts", "again.jsonl", "--scores", "scores.jsonl"]);
    assert!(table.contains("best of N by min") && table.contains("ties to the first"), "{table}");
    let json = ok(&["select", "--rollouts", "again.jsonl", "--scores", "scores.jsonl", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["table"]["n_problems"], 12);
    let selected = ok(&[
        "select",
        "--rollouts",
        "again.jsonl",
        "--scores",
        "scores.jsonl",
        "-o",
        "best.jsonl",
    ]);
    assert!(!selected.is_empty() && workspace.path("best.jsonl").exists());
}

#[test]
fn a_pipe_gives_the_same_scores_as_a_file() {
    let workspace = Workspace::new();
    let arguments = ["score", "--model", "model", "--reference", "none", "--chunk", "32"];
    let input = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    let piped = workspace.run_with_input(&[&arguments[..], &["-"]].concat(), &input);
    assert!(piped.status.success(), "{}", stderr(&piped));
    let filed = workspace.run(&[&arguments[..], &["graded.jsonl", "-o", "scores.jsonl"]].concat());
    assert!(filed.status.success(), "{}", stderr(&filed));
    let filed = String::from_utf8(workspace.read("scores.jsonl")).expect("text");
    assert_eq!(filed, stdout(&piped));
    let both = [&arguments[..], &["-", "-o", "piped.jsonl"]].concat();
    let both = workspace.run_with_input(&both, &input);
    assert!(both.status.success(), "{}", stderr(&both));
    assert_eq!(workspace.read("piped.jsonl"), filed.as_bytes());
}

#[test]
fn flags_overrule_the_configuration_and_a_run_repeats_from_its_own() {
    let workspace = Workspace::new();
    let train = |arguments: &[&str]| {
        let output = workspace.run(&[&["train"], arguments].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    };
    train(&[
        "--model",
        "model",
        "--data",
        "graded.jsonl",
        "--run",
        "a",
        "--beta",
        "0.3",
        "--objective",
        "dpo",
        "--seed",
        "7",
    ]);
    train(&["--config", "a/config.toml", "--run", "b"]);
    assert_eq!(workspace.read("a/config.toml"), workspace.read("b/config.toml"));
    assert_eq!(workspace.metrics("a"), workspace.metrics("b"));
    train(&["--config", "a/config.toml", "--run", "c", "--seed", "8"]);
    let config = String::from_utf8(workspace.read("c/config.toml")).expect("text");
    assert!(config.contains("seed = 8") && config.contains("beta = 0.3"), "{config}");
    assert!(config.contains(r#"name = "dpo""#), "{config}");
}

#[test]
fn help_teaches() {
    for command in
        [None, Some("train"), Some("score"), Some("select"), Some("serve"), Some("rollout")]
    {
        let output = gratis().args(command).arg("--help").output().expect("it runs");
        assert!(output.status.success());
        let name = format!("help-{}", command.unwrap_or("gratis"));
        insta::assert_snapshot!(name, stdout(&output));
    }
}

#[test]
fn the_estimate_on_servers_is_that_of_the_document() {
    let workspace = Workspace::new();
    let run = |arguments: &[&str]| workspace.run(&[&["cost", "--servers"], arguments].concat());
    let printed = stdout(&run(&[]));
    let document = include_str!("../../../../docs/scale.md");
    assert!(document.contains(printed.trim_end()), "docs/scale.md lacks this:\n{printed}");
    // Small optimizer steps are limited by round trips.
    let small = stdout(&run(&["--batch-size", "8", "--json"]));
    let small: serde_json::Value = serde_json::from_str(&small).expect("JSON");
    assert_eq!(small["assumptions"]["batch_size"], 8.0);
    assert_eq!(small["jobs"][2]["limit"], "round_trips");
    let refused = stderr(&run(&["--gpus", "0"]));
    assert!(refused.contains("`--gpus 0` is no size or rate"), "{refused}");
    let alone = stderr(&workspace.run(&["cost", "--paper", "--gpus", "3"]));
    assert!(alone.contains("--servers"), "{alone}");
}
