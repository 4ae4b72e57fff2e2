//! Training by the binary: its defaults, its warnings, and taking a run up again.

use crate::workspace::{Workspace, stderr};

const TRAIN: [&str; 5] = ["train", "--model", "model", "--data", "graded.jsonl"];

/// What a training with these flags said on stderr; it must succeed.
fn log_of(workspace: &Workspace, more: &[&str]) -> String {
    let place: &[&str] = if more.contains(&"--run") { &[] } else { &["--run", "run"] };
    let output = workspace.run(&[&TRAIN[..], place, more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn the_learning_rate_and_its_source_are_printed_and_kept() {
    let workspace = Workspace::new();
    let log = log_of(&workspace, &["--max-steps", "1"]);
    assert!(log.contains("learning rate 1e-3 (default for all "), "{log}");
    assert!(log.contains(" parameters of a reward model)"), "{log}");
    let config = String::from_utf8(workspace.read("run/config.toml")).expect("text");
    assert!(config.contains("learning_rate = 0.001\n"), "{config}");

    let adapter = ["--max-steps", "1", "--lora-rank", "2", "--run", "adapter"];
    let log = log_of(&workspace, &adapter);
    assert!(log.contains("learning rate 1e-3 (default for an adapter of "), "{log}");
    let pretrain = ["pretrain", "--model", "model", "--data", "graded.jsonl", "--run", "base"];
    let log = stderr(&workspace.run(&pretrain));
    assert!(log.contains(" parameters of a language model from scratch)"), "{log}");
}

#[test]
fn a_small_learning_rate_keeps_its_digits() {
    let workspace = Workspace::new();
    let rate = ["--learning-rate", "5e-7", "--warmup", "0", "--decay", "constant"];
    let log = log_of(&workspace, &[&rate[..], &["--max-steps", "1", "--verbose"]].concat());
    assert!(log.contains("learning rate 5e-7 (as set)"), "{log}");
    assert!(log.contains("loss 0.6931, learning rate 5e-7"), "{log}");
    let metrics = workspace.metrics("run");
    assert!(metrics.contains(r#""learning_rate":5e-7"#), "{metrics}");
}
