//! Quantised GGUF files as users have them: described, scored, sampled from, adapted and converted.

use std::path::Path;

use crate::workspace::{Workspace, ok, stderr};

/// Sums in the alphabet of the fixture.
const GRADED: &str = r#"{"prompt": "1+2", "reference": "3", "completions": ["a. 3", "b. 4"], "correctness": [true, false]}
{"prompt": "2+2", "reference": "4", "completions": ["a. 4", "b. 5"], "correctness": [true, false]}
"#;

/// A folder with `NAME.gguf` and `graded.jsonl`.
fn workspace_with(name: &str) -> Workspace {
    let workspace = Workspace::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/gguf");
    let file = format!("{name}.gguf");
    std::fs::copy(fixtures.join(&file), workspace.path(&file)).expect("copied");
    workspace.write("graded.jsonl", GRADED);
    workspace
}

/// A field of every line.
fn values_of(field: &str, lines: &str) -> Vec<serde_json::Value> {
    let of_line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        line[field].clone()
    };
    lines.lines().map(of_line).collect()
}

#[test]
fn a_quantised_file_is_described() {
    let workspace = workspace_with("k");
    let page = ok(&workspace, &["inspect", "k.gguf"]);
    let folder = workspace.path("").canonicalize().expect("a folder");
    let page = page.replace(&format!("{}/", folder.display()), "FOLDER/");
    insta::assert_snapshot!("inspect-quantised", page);
    let report = ok(&workspace, &["inspect", "k.gguf", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["quantised"], true);
    assert!(report["memory_bytes"]["score_loaded"].is_null());
    let per_parameter = report["bytes_per_parameter"].as_f64().expect("a number");
    assert!((0.5..0.7).contains(&per_parameter), "{per_parameter}");
}

#[test]
fn a_quantised_file_scores_as_the_folder_made_of_it() {
    for name in ["q8_0", "q4_1", "k"] {
        let workspace = workspace_with(name);
        let file = format!("{name}.gguf");
        let score = |model: &str, more: &[&str]| {
            let arguments = ["score", "--model", model, "--reference", "none", "graded.jsonl"];
            values_of("scores", &ok(&workspace, &[&arguments[..], more].concat()))
        };
        let of_file = score(&file, &[]);
        assert_eq!(score(&file, &["--weights", "loaded"]), of_file, "it stays mapped");
        let made = workspace.run(&["merge", &file, "-o", "merged"]);
        assert!(made.status.success(), "{}", stderr(&made));
        assert!(stderr(&made).contains("parameters, quantised, mapped"), "{}", stderr(&made));
        let names = workspace.names("merged");
        for expected in
            ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"]
        {
            assert!(names.contains(&expected.to_owned()), "{names:?}");
        }
        assert_eq!(score("merged", &[]), of_file, "{name}: not the same numbers");
        let against = ["score", "--model", "merged", "--reference", &file, "graded.jsonl"];
        for scores in values_of("scores", &ok(&workspace, &against)) {
            let scores = scores.as_array().expect("a list");
            assert!(scores.iter().all(|score| score["outcome"] == 0.0), "{name}: {scores:?}");
        }
        let rollout = |model: &str| {
            let sampled = ["rollout", "--model", model, "graded.jsonl", "-k", "2"];
            let limits = ["--max-tokens", "8", "--temperature", "1", "--template", "chat"];
            values_of("completions", &ok(&workspace, &[&sampled[..], &limits].concat()))
        };
        assert_eq!(rollout(&file), rollout("merged"), "{name}");
    }
}

#[test]
fn an_adapter_to_a_quantised_file_is_trained_scored_and_merged() {
    let workspace = workspace_with("q4_1");
    let train = ["train", "--model", "q4_1.gguf", "--data", "graded.jsonl", "--run"];
    let error = workspace.error_of(&[&train[..], &["full"]].concat());
    assert!(
        error.contains("`q4_1.gguf` has quantised weights, which can only be trained through"),
        "{error}"
    );
    assert!(error.contains("hint: add `--lora-rank`, or write the weights as floats"), "{error}");
    let error = workspace.error_of(&[&train[..], &["full", "--kind", "orm"]].concat());
    assert!(error.contains("which can only be trained through an adapter"), "{error}");
    let pretrain = ["pretrain", "--model", "q4_1.gguf", "--data", "graded.jsonl", "--run", "full"];
    let error = workspace.error_of(&pretrain);
    assert!(error.contains("which can only be trained through an adapter"), "{error}");
    assert!(!workspace.path("full").exists());

    let steps = ["prm", "--lora-rank", "4", "--max-steps", "4", "--learning-rate", "1e-2"];
    ok(&workspace, &[&train[..], &steps].concat());
    let outcomes = |model: &str| {
        let scores = ok(&workspace, &["score", "--model", model, "graded.jsonl"]);
        let scores = values_of("scores", &scores);
        let lines = scores.iter().map(|scores| {
            let scores = scores.as_array().expect("a list").iter();
            scores.map(|score| score["outcome"].as_f64().expect("a number"))
        });
        lines.flatten().collect::<Vec<f64>>()
    };
    let adapted = outcomes("prm");
    assert!(adapted.iter().any(|outcome| outcome.abs() > 1e-3), "{adapted:?}");
    ok(&workspace, &["merge", "prm", "-o", "merged"]);
    for (adapted, merged) in adapted.iter().zip(outcomes("merged")) {
        // Observed: at most 1e-7; the merged weights are rounded once more.
        assert!((adapted - merged).abs() < 2e-6, "{adapted} and {merged}");
    }
}
