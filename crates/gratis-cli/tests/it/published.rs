//! Published reward models on the command line: scored, inspected, selected by, and named when
//! something of theirs is missing.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::workspace::{Workspace, ok};

/// A workspace with the checkpoint `name` of the fixtures as the folder `rm`.
fn with_model(name: &str) -> Workspace {
    let workspace = Workspace::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reward_models");
    let text = fs::read_to_string(fixtures.join(name).join("golden.json")).expect("a file");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    let tokenizer = fixtures.join("tokenizers").join(golden["tokenizer"].as_str().expect("a name"));
    fs::create_dir(workspace.path("rm")).expect("made");
    for (from, file) in [
        (fixtures.join(name), "config.json"),
        (fixtures.join(name), "model.safetensors"),
        (tokenizer.clone(), "tokenizer.json"),
        (tokenizer, "tokenizer_config.json"),
    ] {
        fs::copy(from.join(file), workspace.path("rm").join(file)).expect("copied");
    }
    workspace
}

fn first_line(workspace: &Workspace, name: &str) -> Value {
    let text = String::from_utf8(workspace.read(name)).expect("text");
    serde_json::from_str(text.lines().next().expect("a line")).expect("JSON")
}

#[test]
fn a_process_reward_model_is_recognised_and_scored() {
    let workspace = with_model("qwen-prm");
    let page = ok(&workspace, &["inspect", "rm"]);
    assert!(page.contains("published process reward model, format `qwen-prm`"), "{page}");
    assert!(page.contains("aggregated by prod") && page.contains("Qwen2Model"), "{page}");
    assert!(page.contains("{prompt}<|im_end|>") && page.contains("{steps}<extra_0>"), "{page}");
    assert!(!page.contains("missing"), "{page}");

    let score = ["--quiet", "score", "--model", "rm", "graded.jsonl", "--step-split", "lines"];
    ok(&workspace, &[&score[..], &["-o", "scores.jsonl"]].concat());
    let line = first_line(&workspace, "scores.jsonl");
    assert_eq!(
        (&line["origin"]["kind"], &line["origin"]["aggregation"]),
        (&"qwen-prm".into(), &"prod".into())
    );
    let steps = line["scores"][0]["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 2);
    assert!(steps.iter().all(|step| (0.0..=1.0).contains(&step.as_f64().expect("a number"))));
    let cost = first_cost(&workspace);
    assert_eq!(cost["name"], "scoring");
    assert!(cost["as_run"]["n_tokens"].as_u64() < cost["as_counted"]["n_tokens"].as_u64());

    // The paper's aggregation is a flag away.
    ok(&workspace, &[&score[..], &["--aggregation", "min", "-o", "min.jsonl"]].concat());
    assert_eq!(first_line(&workspace, "min.jsonl")["origin"]["aggregation"], "min");
    let select = ["select", "--rollouts", "graded.jsonl", "--scores", "scores.jsonl"];
    assert!(ok(&workspace, &select).contains("Aggregation: prod, recorded in the scores"));
}

fn first_cost(workspace: &Workspace) -> Value {
    let record: Value =
        serde_json::from_slice(&workspace.read("scores.jsonl.cost.json")).expect("JSON");
    record["phases"][0].clone()
}

#[test]
fn what_a_folder_lacks_is_said() {
    let workspace = with_model("qwen-prm");
    let config = String::from_utf8(workspace.read("rm/config.json")).expect("text");
    let other = config.replace("Qwen2ForProcessRewardModel", "LlamaForRewardModelWithGating");
    workspace.write("rm/config.json", &other);
    let page = ok(&workspace, &["inspect", "rm"]);
    assert!(page.contains("published outcome reward model, format `armo-rm`"), "{page}");
    assert!(page.contains("missing         tensor `regression_layer.weight`"), "{page}");
    assert!(page.contains("does not open the turn of the assistant"), "{page}");
    let score = ["--quiet", "score", "--model", "rm", "graded.jsonl"];
    let error = workspace.error_of(&score);
    assert!(error.contains("no tensor `regression_layer.weight`"), "{error}");
    assert!(error.contains("the kind `armo-rm`") && error.contains("hint: "), "{error}");

    let asked = ok(&workspace, &["inspect", "rm", "--kind", "qwen-prm"]);
    assert!(asked.contains("format `qwen-prm`") && !asked.contains("missing"), "{asked}");

    // A plain language model is none, until a kind is asked for that it can be.
    let plain = ["--quiet", "score", "--model", "model", "graded.jsonl"];
    assert!(workspace.error_of(&plain).contains("no `gratis.json`"));
    let asked = workspace.error_of(&[&plain[..], &["--kind", "rlhflow-prm"]].concat());
    assert!(asked.contains("`model` has no chat template"), "{asked}");
    // Commands that need a language model reject a reward model.
    let rollout = ["--quiet", "rollout", "--model", "rm", "graded.jsonl", "-o", "out.jsonl"];
    assert!(workspace.error_of(&rollout).contains("`architectures`"));
}

#[test]
fn a_benchmark_of_steps_is_judged_by_a_process_reward_model_only() {
    let entry = |idx: usize| {
        let is_right = idx.is_multiple_of(2);
        serde_json::json!({ "id": format!("gsm8k-{idx}"), "problem": "What is 3 + 4?",
                            "steps": ["3 + 4 = 7", format!("The answer is {idx}")],
                            "label": if is_right { -1 } else { 1 },
                            "final_answer_correct": is_right, "generator": "g" })
    };
    let entries: Value = (0..6).map(entry).collect();
    let with_bench = |name: &str| {
        let workspace = with_model(name);
        fs::create_dir(workspace.path("bench")).expect("made");
        workspace.write("bench/gsm8k.json", &entries.to_string());
        workspace
    };
    let arguments = ["--quiet", "evaluate", "processbench", "bench", "--model", "rm"];
    let text = ok(&with_bench("value-head-prm"), &arguments);
    assert!(text.contains("kind value-head-prm, 0 truncated"), "{text}");
    let error = with_bench("eurus-rm").error_of(&arguments);
    assert!(error.contains("gives one reward to a whole solution"), "{error}");
}
