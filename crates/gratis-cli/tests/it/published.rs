//! Published reward models on the command line: scored, inspected, selected by, and named when
//! something of theirs is missing.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::workspace::{Workspace, ok};

/// A workspace with the checkpoint `name` of the fixtures as the folder `rm`.
fn with_model(name: &str) -> Workspace {
    let workspace = Workspace::new();
    add_model(&workspace, name, "rm");
    workspace
}

/// Puts the checkpoint `name` of the fixtures into a folder of the workspace.
pub(crate) fn add_model(workspace: &Workspace, name: &str, folder: &str) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reward_models");
    let text = fs::read_to_string(fixtures.join(name).join("golden.json")).expect("a file");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    let tokenizer = fixtures.join("tokenizers").join(golden["tokenizer"].as_str().expect("a name"));
    fs::create_dir(workspace.path(folder)).expect("made");
    for (from, file) in [
        (fixtures.join(name), "config.json"),
        (fixtures.join(name), "model.safetensors"),
        (tokenizer.clone(), "tokenizer.json"),
        (tokenizer, "tokenizer_config.json"),
    ] {
        fs::copy(from.join(file), workspace.path(folder).join(file)).expect("copied");
    }
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

/// Three problems with four candidates each, whose steps are written as the models of the paper's
/// Table 1 read them.
fn candidates() -> String {
    let line = |idx: usize| {
        let (a, b) = (idx + 2, 2 * idx + 3);
        let candidate = |nth: usize| {
            let sum = a + b + nth % 3;
            let mut steps = vec![format!("Step 1: {a} + {b} = {sum}.")];
            steps.extend((0..nth).map(|n| format!("Step {}: So it is {sum} + 0.", n + 2)));
            steps.push(format!("Step {}: The answer is: {sum}", nth + 2));
            steps
        };
        let steps: Vec<Vec<String>> = (0..4).map(candidate).collect();
        let texts: Vec<String> = steps.iter().map(|steps| steps.join("\n")).collect();
        let problem = serde_json::json!({
            "id": format!("sum-{idx}"), "prompt": format!("What is {a} + {b}?"),
            "reference": (a + b).to_string(), "completions": texts, "steps": steps,
            "correctness": [true, false, false, true],
        });
        problem.to_string() + "\n"
    };
    (0..3).map(line).collect()
}

/// Of [`candidates`], the share of problems whose first candidate with the largest lowest step is
/// correct.
fn accuracy_by_lowest_step(workspace: &Workspace, scores: &str) -> f64 {
    let text = String::from_utf8(workspace.read(scores)).expect("text");
    let lowest = |scored: &Value| -> f64 {
        let steps = scored["steps"].as_array().expect("a list").iter();
        steps.map(|step| step.as_f64().expect("a number")).fold(f64::INFINITY, f64::min)
    };
    let is_correct = |line: &&str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let scores: Vec<f64> =
            line["scores"].as_array().expect("a list").iter().map(lowest).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let first = scores.iter().position(|&score| score == largest).expect("one");
        [0, 3].contains(&first)
    };
    let n_correct = text.lines().filter(is_correct).count();
    n_correct as f64 / text.lines().count() as f64
}

#[test]
fn the_rows_of_table_1_are_scored_and_selected_by_their_authors_rules() {
    let workspace = Workspace::new();
    workspace.write("candidates.jsonl", &candidates());
    // Fixture, published name, and the aggregation that its authors use.
    for (fixture, name, aggregation) in [
        ("eurus-rm", "Eurus-RM-7b", "outcome"),
        ("skywork-reward-llama", "Skywork-Reward-Llama-3.1-8B", "outcome"),
        ("armo-rm", "ArmoRM-Llama3-8B-v0.1", "outcome"),
        ("math-shepherd", "math-shepherd-mistral-7b-prm", "min"),
        ("rlhflow-prm", "Llama3.1-8B-PRM-Mistral-Data", "mean"),
        ("rlhflow-prm", "Llama3.1-8B-PRM-Deepseek-Data", "mean"),
    ] {
        add_model(&workspace, fixture, name);
        let scores = format!("{name}.jsonl");
        ok(&workspace, &["--quiet", "score", "--model", name, "candidates.jsonl", "-o", &scores]);
        let line = first_line(&workspace, &scores);
        assert_eq!(line["origin"]["aggregation"], aggregation, "{name}");
        let n_steps = line["scores"][3]["steps"].as_array().expect("a list").len();
        assert_eq!(n_steps, if aggregation == "outcome" { 1 } else { 5 }, "{name}");

        let generator = format!("g=candidates.jsonl,{scores}");
        let bon = ["evaluate", "bon", &generator, "-n", "2,4"];
        let table = ok(&workspace, &bon);
        let recorded = format!("Aggregation: {aggregation}, recorded in the scores");
        assert!(table.contains(&recorded), "{name}: {table}");
        assert!(table.contains("g @2") && table.contains("g @4"), "{name}: {table}");
        let paper = ok(&workspace, &[&bon[..], &["--aggregation", "min", "--json"]].concat());
        let paper: Value = serde_json::from_str(&paper).expect("JSON");
        let row = paper["table"]["rows"].as_array().expect("rows").iter().find(|row| {
            row["selector"]["method"]["name"] == "best_of_n"
                && row["selector"]["aggregation"] == "min"
        });
        let cells = &row.unwrap_or_else(|| panic!("{name}: {paper:#}"))["cells"];
        let accuracy = cells[1]["accuracy"]["mean"].as_f64().expect("a number");
        let expected = accuracy_by_lowest_step(&workspace, &scores);
        assert!((accuracy - expected).abs() < 1e-9, "{name}: {accuracy} for {expected}");
    }
}
