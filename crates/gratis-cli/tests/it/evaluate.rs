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
        assert_eq!(subset["f1"]["mean"].as_f64(), Some(own("score")));
    }

    // Kept scores are gone on with, and give the same table without the model.
    let kept =
        workspace.run(&[&arguments[..], &["--json", "--save-scores", "kept.jsonl"]].concat());
    assert_eq!(stdout(&kept), stdout(&output));
    let lines = String::from_utf8(workspace.read("kept.jsonl")).expect("text");
    let scores = ["evaluate", "processbench", "bench", "--scores", "kept.jsonl", "--json"];
    let from_file: Value = serde_json::from_str(&stdout(&workspace.run(&scores))).expect("JSON");
    assert_eq!(&from_file["result"], result);
    assert_eq!(from_file["by"].get("precision"), None, "f32 goes without saying");
    // Scores that were rounded say so.
    let rounded = lines.replace("\"origin\":{", "\"origin\":{\"precision\":\"bf16\",");
    assert_ne!(rounded, lines);
    workspace.write("rounded.jsonl", &rounded);
    let scores = ["evaluate", "processbench", "bench", "--scores", "rounded.jsonl", "--json"];
    let by: Value = serde_json::from_str(&stdout(&workspace.run(&scores))).expect("JSON");
    assert_eq!(by["by"]["precision"], json!("bf16"));
    let table = stdout(&workspace.run(&scores[..5]));
    assert!(table.contains("products rounded to bf16"), "{table}");
    workspace.write("short.jsonl", lines.lines().next().expect("a line"));
    let scores = ["evaluate", "processbench", "bench", "--scores", "short.jsonl"];
    assert!(workspace.error_of(&scores).contains("16 problems, but scores of 1"));

    // Text names everything that was chosen.
    let output = workspace.run(&arguments);
    let text = stdout(&output);
    for part in
        ["(tuned on gsm8k", "by chance", "without a reference", "Missing subsets: olympiadbench"]
    {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }

    // A fixed threshold is used as it is; without GSM8K the run says what it could not tune.
    let fixed = workspace.run(&[&arguments[..], &["--threshold", "-0.5", "--json"]].concat());
    let fixed: Value = serde_json::from_str(&stdout(&fixed)).expect("JSON");
    assert_eq!(fixed["result"]["threshold"], json!(-0.5));
    std::fs::create_dir(workspace.path("math_only")).expect("a folder");
    workspace.write("math_only/math.json", &subset(8).to_string());
    let mut math_only = arguments;
    math_only[2] = "math_only";
    let text = stdout(&workspace.run(&math_only));
    assert!(text.contains("No threshold: it is tuned on gsm8k, which is missing"), "{text}");
    let text = stdout(&workspace.run(&[&math_only[..], &["--threshold", "-0.5"]].concat()));
    assert!(text.contains("-0.5000 (fixed, not tuned)"), "{text}");

    // Wrong files are the user's.
    workspace.write("bench/math.json", "[{}]");
    let output = workspace.run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("math.json"), "{}", stderr(&output));
    let output = workspace.run(&["evaluate", "processbench", "nowhere", "--model", "model"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("gsm8k.json"), "{}", stderr(&output));
}

/// Entries in PRMBench's format, in words that the test model knows.
fn prm_bench(category: &str, n: usize) -> String {
    let entry = |idx: usize| {
        let wrong: &[usize] = if category == "multi_solutions" { &[] } else { &[2] };
        let entry = json!({ "idx": format!("p{idx}"), "classification": category,
                            "original_question": "1", "modified_question": format!("{idx} + 1"),
                            "original_process": ["= 2"], "modified_steps": wrong,
                            "modified_process": [format!("{idx} + 1"), "= 9", "Answer: 9"],
                            "error_steps": wrong, "reason": "", "question": "" });
        format!("{entry}\n")
    };
    (0..n).map(entry).collect()
}

#[test]
fn prm_bench_counts_steps_by_kind_of_error() {
    let workspace = Workspace::new();
    workspace.write("one.jsonl", &(prm_bench("circular", 4) + &prm_bench("circular", 2)));
    workspace.write("two.jsonl", &prm_bench("multi_solutions", 3));
    let arguments = ["evaluate", "prmbench", "one.jsonl", "two.jsonl"];
    let by_model = [&arguments[..], &["--model", "model", "--reference", "none"]].concat();
    let keep = [&by_model[..], &["--json", "--save-scores", "scores.jsonl"]].concat();
    let output = workspace.run(&keep);
    assert!(output.status.success(), "{}", stderr(&output));
    let of_model: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!((&of_model["n_repeated"], &of_model["signal"]), (&json!(2), &json!("reward")));
    // Log-probabilities are below 0: every step is called wrong.
    let overall = &of_model["result"]["overall"];
    assert_eq!(overall["n_solutions"], 7);
    assert_eq!(
        overall["counts"],
        json!({ "right_kept": 0, "right_refused": 17,
                                          "wrong_found": 4, "wrong_missed": 0 })
    );
    assert_eq!(overall["negative_f1"].as_f64(), Some(8.0 / 25.0));

    // The same steps with a threshold below all of them: every step is called right.
    let kept = [&arguments[..], &["--scores", "scores.jsonl", "--threshold", "-1e9"]].concat();
    let output = workspace.run(&[&kept[..], &["--json"]].concat());
    let from_file: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let result = &from_file["result"];
    assert_eq!(result["tuned_on_itself"], of_model["result"]["tuned_on_itself"]);
    let categories = result["categories"].as_array().expect("categories");
    let scores: Vec<_> = categories.iter().map(|of| of["score"]["mean"].as_f64()).collect();
    // F1 of right steps: 8 of 12 and all; of wrong ones: none. The second has no wrong steps.
    assert_eq!(scores, [Some(0.4), Some(1.0)]);
    let text = stdout(&workspace.run(&kept));
    for part in
        ["MS multi_solutions", "below a process reward of -1000000000", "Missing categories: NR"]
    {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }

    // A problem that leaves no room for a step stops nobody: its steps are held for right.
    workspace.write("long.jsonl", &prm_bench("deception", 2).replace("1 + 1", &"7 + ".repeat(99)));
    let long = ["evaluate", "prmbench", "long.jsonl", "--model", "model", "--reference", "none"];
    let output = workspace.run(&[&long[..], &["--json"]].concat());
    let of_long: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!((&of_long["by"]["n_cut"], &of_long["by"]["n_without_room"]), (&json!(1), &json!(1)));
    assert_eq!(
        of_long["result"]["overall"]["counts"],
        json!({ "right_kept": 2, "right_refused": 2,
                                                               "wrong_found": 1, "wrong_missed": 1 })
    );

    // Files of another format, or partly missing, are the user's.
    workspace.write("two.jsonl", r#"{"idx": "p0", "modified_question": "q"}"#);
    let error = workspace.error_of(&by_model);
    assert!(error.contains("two.jsonl`, line 1: `modified_process`"), "{error}");
    let half = prm_bench("circular", 1);
    workspace.write("two.jsonl", &half[..half.len() / 2]);
    let error = workspace.error_of(&by_model);
    assert!(error.contains("two.jsonl`, line 1"), "{error}");
    let error = workspace.error_of(&["evaluate", "prmbench", "nowhere.jsonl", "--model", "model"]);
    assert!(error.contains("nowhere.jsonl"), "{error}");
}

#[test]
fn a_policy_is_sampled_and_graded() {
    let workspace = Workspace::new();
    let policy = ["evaluate", "policy", "--model", "model", "graded.jsonl", "-k", "2"];
    let output = workspace.run(&[&policy[..], &["--max-tokens", "4", "--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(result["n_problems"], 12);
    assert_eq!(result["sampling"]["temperature"], 0.7);
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
    assert_eq!(table["sampling"], json!({ "a": "not recorded", "b": "not recorded" }));
    for row in table["table"]["rows"].as_array().expect("rows") {
        let cells = row["cells"].as_array().expect("cells");
        assert_eq!(cells.len(), 4);
        assert_eq!(cells[0]["accuracy"], cells[2]["accuracy"], "the same files");
    }
    assert_eq!(table["lengths"][0]["statistics"], table["lengths"][1]["statistics"]);
    let output = workspace.run(&["evaluate", "bon", "graded.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("NAME=ROLLOUTS,SCORES"), "{}", stderr(&output));
}

/// Rollouts without ids, and scores in the form of version 2, one completion right by `outcome`.
fn scored(workspace: &Workspace, aggregation: &str) {
    workspace.write("plain.jsonl", &graded(["right", "wrong"], [true, false]));
    let hash = |text| gratis::data::score::completion_hash("p", text);
    let score = |text, outcome: f64, step: f64| {
        json!({ "hash": hash(text), "outcome": outcome, "steps": [step], "q_values": [outcome],
                "step_ends": [5] })
    };
    let line = json!({
        "version": 2, "id": "1",
        "origin": { "model": "runs/orm", "kind": "head", "aggregation": aggregation, "beta": 1.0,
                    "step_split": "lines" },
        "scores": [score("right", 2.0, -1.0), score("wrong", 1.0, 3.0)],
    });
    workspace.write("scores.jsonl", &format!("{line}\n"));
}

fn graded<const N: usize>(texts: [&str; N], labels: [bool; N]) -> String {
    let (texts, labels) = (texts.to_vec(), labels.to_vec());
    format!("{}\n", json!({ "prompt": "p", "completions": texts, "correctness": labels }))
}

#[test]
fn selection_uses_the_recorded_aggregation_unless_told_otherwise() {
    let workspace = Workspace::new();
    scored(&workspace, "outcome");
    let select = ["select", "--rollouts", "plain.jsonl", "--scores", "scores.jsonl"];
    let table = stdout(&workspace.run(&select));
    assert!(table.contains("best of N by outcome") && table.contains("100.0"), "{table}");
    assert!(table.contains("Aggregation: outcome, recorded in the scores"), "{table}");
    let table = stdout(&workspace.run(&[&select[..], &["--aggregation", "min"]].concat()));
    assert!(table.contains("best of N by min") && table.contains("min, as asked for"), "{table}");
    let bon = ["evaluate", "bon", "g=plain.jsonl,scores.jsonl", "-n", "2"];
    let table = stdout(&workspace.run(&bon));
    assert!(table.contains("best of N by outcome"), "{table}");
    assert!(table.contains("Aggregation: outcome, recorded in the scores"), "{table}");
}

#[test]
fn a_reward_that_is_only_the_length_is_reported() {
    let workspace = Workspace::new();
    let texts = ["a", "bb", "cccc"];
    let labels = [true, false, true];
    workspace.write("plain.jsonl", &graded(texts, labels));
    // The outcome rises with the length and the lowest step falls with the number of steps.
    let score = |text: &str, n: usize, with_tokens: bool| {
        let steps: Vec<f64> = (0..n).map(|idx| -(idx as f64)).collect();
        let mut score = json!({ "hash": gratis::data::score::completion_hash("p", text),
                                "outcome": n as f64, "steps": steps, "q_values": steps,
                                "step_ends": vec![text.len(); n] });
        if with_tokens {
            // Fewer tokens for the longer text.
            score["tokens"] = json!(vec![0.0; 10 - n]);
        }
        score
    };
    let lines = |with_tokens| {
        let scores: Vec<Value> =
            texts.iter().zip(1..).map(|(t, n)| score(t, n, with_tokens)).collect();
        format!("{}\n", json!({ "version": 2, "id": "1", "scores": scores }))
    };
    let bon = ["evaluate", "bon", "g=plain.jsonl,scores.jsonl", "--aggregation", "outcome"];
    let of = |with_tokens| {
        workspace.write("scores.jsonl", &lines(with_tokens));
        let output = workspace.run(&[&bon[..], &["--json"]].concat());
        let found: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        found["lengths"][0]["statistics"].clone()
    };
    let found = of(false);
    assert_eq!(found["unit"], "characters");
    assert_eq!(found["score_and_length"]["correlation"]["mean"], json!(1.0));
    assert_eq!(found["lowest_step_and_steps"]["correlation"]["mean"], json!(-1.0));
    let text = stdout(&workspace.run(&bon));
    assert!(text.contains("+1.00") && text.contains("record tokens"), "{text}");
    let found = of(true);
    assert_eq!(found["unit"], "tokens");
    assert_eq!(found["score_and_length"]["correlation"]["mean"], json!(-1.0));
}

#[test]
fn permuted_candidates_are_not_joined_with_the_scores_of_others() {
    let workspace = Workspace::new();
    scored(&workspace, "min");
    workspace.write("permuted.jsonl", &graded(["wrong", "right"], [false, true]));
    let message =
        "the scores of problem `1` do not belong to its completions: completion 1 has another text";
    let select = ["select", "--rollouts", "permuted.jsonl", "--scores", "scores.jsonl"];
    let error = workspace.error_of(&select);
    assert!(error.contains(message), "{error}");
    let error = workspace.error_of(&["evaluate", "bon", "g=permuted.jsonl,scores.jsonl"]);
    assert!(error.contains(message), "{error}");
}
