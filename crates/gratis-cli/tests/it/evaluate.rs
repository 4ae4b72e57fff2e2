//! `gratis evaluate`: benchmarks from end to end.

use serde_json::{Value, json};

use crate::workspace::{Workspace, stderr, stdout};

/// Solutions in ProcessBench's format, in words that the test model knows.
fn subset(n: usize) -> Value {
    (0..n)
        .map(|idx| {
            let label = if idx % 2 == 0 { -1 } else { 1 };
            json!({ "id": format!("g-{idx}"), "generator": "g", "problem": format!("{idx} + 1"),
                    "steps": [format!("{idx} + 1"), format!("= {}", idx + idx % 2)],
                    "final_answer_correct": label == -1, "label": label })
        })
        .collect()
}

#[test]
fn process_bench_follows_its_protocol_with_any_model() {
    let workspace = Workspace::new();
    std::fs::create_dir(workspace.path("bench")).expect("a folder");
    for name in ["gsm8k", "math"] {
        workspace.write(&format!("bench/{name}.json"), &subset(8).to_string());
    }
    let arguments =
        ["evaluate", "processbench", "bench", "--model", "model", "--reference", "none"];
    let output = workspace.run(&[&arguments[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let result = &result["result"];
    assert_eq!(result["missing"], json!(["olympiadbench", "omnimath"]));
    let subsets = result["subsets"].as_array().expect("subsets");
    assert_eq!(subsets.len(), 2);
    for subset in subsets {
        assert_eq!(subset["score"]["threshold"], result["threshold"], "tuned on GSM8K alone");
        assert_eq!(subset["score"]["n_erroneous"], 4);
        let own = |key: &str| subset[key]["f1"].as_f64().expect("a number");
        assert!(own("tuned_on_itself") >= own("score"));
    }

    // Text names everything that was chosen.
    let output = workspace.run(&arguments);
    let text = stdout(&output);
    for part in ["tuned on gsm8k only", "without a reference", "Not there: olympiadbench"] {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }

    // Wrong files are the user's.
    workspace.write("bench/math.json", "[{}]");
    let output = workspace.run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("math.json"), "{}", stderr(&output));
    let output = workspace.run(&["evaluate", "processbench", "nowhere", "--model", "model"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("gsm8k.json"), "{}", stderr(&output));
}

#[test]
fn a_policy_is_sampled_and_graded() {
    let workspace = Workspace::new();
    let policy = ["evaluate", "policy", "--model", "model", "graded.jsonl", "-k", "2"];
    let output = workspace.run(&[&policy[..], &["--max-tokens", "4", "--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(result["n_problems"], 12);
    assert_eq!(result["sampling"]["temperature"].as_f64().map(|t| (t * 10.0).round()), Some(7.0));
    let mean = result["pass_at_1"]["mean"].as_f64().expect("a number");
    assert!((0.0..=1.0).contains(&mean));
}

#[test]
fn generators_stand_side_by_side_in_one_table() {
    let workspace = Workspace::new();
    let score = ["score", "--model", "model", "--reference", "none", "graded.jsonl"];
    let scores = stdout(&workspace.run(&score));
    workspace.write("scores.jsonl", &scores);
    let bon = ["evaluate", "bon", "a=graded.jsonl,scores.jsonl", "b=graded.jsonl,scores.jsonl"];
    let output = workspace.run(&[&bon[..], &["-n", "2,4", "--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let table: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    for row in table["rows"].as_array().expect("rows") {
        let cells = row["cells"].as_array().expect("cells");
        assert_eq!(cells.len(), 4);
        assert_eq!(cells[0]["accuracy"], cells[2]["accuracy"], "the same files");
    }
    let output = workspace.run(&["evaluate", "bon", "graded.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("NAME=ROLLOUTS,SCORES"), "{}", stderr(&output));
}
