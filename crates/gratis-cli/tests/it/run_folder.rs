//! What stands in the folder of a run beside the weights: metrics for other tools, model cards, and the
//! page of the run.

use std::fs;

use crate::workspace::{Workspace, browser, ok, stderr};

const TRAIN: [&str; 7] =
    ["train", "--model", "model", "--data", "graded.jsonl", "--batch-size", "8"];

fn train(workspace: &Workspace, more: &[&str]) {
    ok(workspace, &[&TRAIN[..], &["--run", "run", "--checkpoint-every", "2"], more].concat());
}

fn text(workspace: &Workspace, name: &str) -> String {
    String::from_utf8(workspace.read(name)).expect("text")
}

/// Removes the last checkpoint and the model, as if the run had been killed before its end.
fn forget_the_end(workspace: &Workspace) {
    fs::remove_dir_all(workspace.path("run/checkpoints/step-00000005")).expect("removed");
    fs::remove_dir_all(workspace.path("run/model")).expect("removed");
}

/// The rows of `metrics.csv` without the two columns of time.
fn rows(workspace: &Workspace) -> Vec<String> {
    let csv = text(workspace, "run/metrics.csv");
    let known = |row: &str| row.rsplitn(3, ',').nth(2).map(str::to_owned);
    csv.lines().map(|row| known(row).expect("three columns")).collect()
}

/// The number of records of an event file, whose lengths must add up to its size.
fn n_records(bytes: &[u8]) -> usize {
    let (mut at, mut n) = (0, 0);
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        at += 8 + 4 + length as usize + 4;
        n += 1;
    }
    assert_eq!(at, bytes.len());
    n
}

#[test]
fn metrics_are_written_for_other_tools_and_resumed() {
    let workspace = Workspace::new();
    let log = ["--log", "csv", "--log", "tensorboard"];
    train(&workspace, &[&log[..], &["--validation-share", "0.25"]].concat());
    let whole = rows(&workspace);
    // A header, five steps and a validation.
    assert_eq!(whole.len(), 7, "{whole:#?}");
    assert!(whole[0].starts_with("step,train/loss,train/accuracy,"), "{}", whole[0]);
    let metrics = workspace.metrics("run");
    let first: serde_json::Value =
        serde_json::from_str(metrics.lines().next().expect("a line")).expect("JSON");
    assert!(whole[1].starts_with(&format!("1,{},", first["loss"])), "{}", whole[1]);
    let events = "run/tensorboard/events.out.tfevents.0.gratis";
    let bytes = workspace.read(events);
    assert_eq!(n_records(&bytes), 7);
    for tag in ["train/margin", "train/learning_rate", "validation/accuracy"] {
        assert!(bytes.windows(tag.len()).any(|part| part == tag.as_bytes()), "{tag}");
    }
    forget_the_end(&workspace);
    // The files of the run go on without the flag.
    ok(&workspace, &["train", "--run", "run", "--resume"]);
    assert_eq!((rows(&workspace), workspace.metrics("run")), (whole, metrics));
    assert_eq!(n_records(&workspace.read(events)), 7);

    let texts = ["pretrain", "--model", "model", "--data", "graded.jsonl", "--run", "base"];
    ok(
        &workspace,
        &[&texts[..], &["--batch-size", "16", "--max-steps", "2", "--log", "csv"]].concat(),
    );
    let csv = text(&workspace, "base/metrics.csv");
    assert!(csv.lines().count() == 3 && !workspace.path("base/tensorboard").exists(), "{csv}");
}

#[test]
fn every_trained_reward_model_has_a_card() {
    let workspace = Workspace::new();
    train(&workspace, &["--objective", "dpo,beta=0.25", "--validation-share", "0.25"]);
    let card = text(&workspace, "run/model/README.md");
    for part in [
        "library_name: gratis",
        "- implicit-prm",
        "| objective | dpo,beta=0.25,",
        "| beta | 0.25 |",
        "| aggregation | `min` |",
        "`graded.jsonl`; 9 problems, 36 responses, 18 correct",
        "0.25 of the problems, 12 responses",
        "validation | last training batch |",
        "gratis score --model FOLDER",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    assert!(text(&workspace, "run/best/README.md").contains("- implicit-prm"));
    // A run that was killed before its end writes the same card.
    forget_the_end(&workspace);
    ok(&workspace, &["train", "--run", "run", "--resume"]);
    assert_eq!(text(&workspace, "run/model/README.md"), card);
    // One that somebody changed is kept.
    let own = format!("My words.\n{card}");
    workspace.write("run/model/README.md", &own);
    ok(&workspace, &["train", "--run", "run", "--resume"]);
    assert_eq!(text(&workspace, "run/model/README.md"), own);
    // The folder is still a model.
    ok(&workspace, &["score", "--model", "run", "graded.jsonl", "-o", "scores.jsonl"]);

    let orm = ["--kind", "orm", "--run", "orm"];
    ok(&workspace, &[&TRAIN[..], &orm].concat());
    let card = text(&workspace, "orm/model/README.md");
    assert!(card.contains("scalar head") && card.contains("No problems were held out"), "{card}");
    assert!(card.contains("| reference | none |"), "{card}");
}

#[test]
fn a_training_run_is_shown_as_a_page() {
    let workspace = Workspace::new();
    train(&workspace, &[]);
    // Without a validation split, the rewards of the last epoch.
    let metrics = workspace.metrics("run");
    let rewards = metrics.lines().last().expect("a line");
    assert!(rewards.contains(r#""kind":"rewards""#) && rewards.contains("training"), "{rewards}");
    let line: serde_json::Value = serde_json::from_str(rewards).expect("JSON");
    let bins = line["bins"].as_array().expect("bins");
    let n_of =
        |nth: usize| bins.iter().map(|bin| bin[nth].as_u64().expect("a number")).sum::<u64>();
    assert_eq!((n_of(1), n_of(2)), (24, 24));
    ok(&workspace, &["view", "run"]);
    let page = text(&workspace, "run/training.html");
    assert!(page.contains(r#""kind":"rewards""#) && page.contains("graded.jsonl"));
    // A line that is being written is left out; one that is broken is an error.
    workspace.write("run/metrics.jsonl", &format!("{metrics}{{\"kind\": \"st"));
    ok(&workspace, &["view", "run", "-o", "page.html"]);
    assert_eq!(text(&workspace, "page.html").matches(r#""kind":"step""#).count(), 6);
    workspace.write("run/metrics.jsonl", &format!("oops\n{metrics}"));
    let error = workspace.error_of(&["view", "run"]);
    assert!(
        error.contains("metrics.jsonl") && error.contains("one JSON object per line"),
        "{error}"
    );
    let error = workspace.error_of(&["view", "run", "--aggregation", "min"]);
    assert!(error.contains("is a folder, not a score file"), "{error}");
    let error = workspace.error_of(&["view", "model"]);
    assert!(error.contains("metrics.jsonl"), "{error}");
}

#[test]
fn the_page_of_a_run_works_in_a_browser() {
    let Some(browser) = browser() else { return };
    let workspace = Workspace::new();
    train(&workspace, &["--validation-share", "0.25"]);
    ok(&workspace, &["view", "run"]);
    let output = workspace.browse(browser, "run/training.html");
    let document = String::from_utf8_lossy(&output.stdout);
    // Written by the script of the page.
    for part in ["Margin: correct less incorrect</h3>", "<path d=\"M", "incorrect (6)", "5 steps"] {
        assert!(document.contains(part), "{part}: {document}\n{}", stderr(&output));
    }
}
