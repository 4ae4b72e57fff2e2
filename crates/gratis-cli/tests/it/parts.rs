//! From one response per line to typed columns of scores: grouping, parts of a response, Parquet.

use serde_json::{Value, json};

use crate::workspace::{Workspace, stderr, stdout};

fn lines(workspace: &Workspace, name: &str) -> Vec<Value> {
    let text = String::from_utf8(workspace.read(name)).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn run(workspace: &Workspace, arguments: &[&str]) -> String {
    let output = workspace.run(arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn scattered_responses_become_pairs_by_grouping() {
    let workspace = Workspace::new();
    // One response per line, the responses of a problem far apart.
    let scattered: Vec<String> = (0..4)
        .flat_map(|idx| lines(&workspace, "graded.jsonl").into_iter().map(move |line| (idx, line)))
        .map(|(idx, line)| {
            json!({ "prompt": line["prompt"], "answer": line["reference"],
                "completion": line["completions"][idx], "label": line["correctness"][idx] })
            .to_string()
        })
        .collect();
    workspace.write("scattered.jsonl", &scattered.join("\n"));
    let train = ["train", "--model", "model", "--objective", "dpo", "--epochs", "1"];
    let data = ["--data", "scattered.jsonl", "--run"];
    let error = workspace.error_of(&[&train[..], &data, &["none"]].concat());
    assert!(error.contains("`dpo`"), "{error}");
    let said = run(&workspace, &["data", "group", "scattered.jsonl", "-o", "grouped.parquet"]);
    assert!(said.contains("records joined to an earlier one of their problem: 36"), "{said}");
    run(&workspace, &["data", "convert", "grouped.parquet", "-o", "grouped.jsonl"]);
    let (grouped, graded) = (lines(&workspace, "grouped.jsonl"), lines(&workspace, "graded.jsonl"));
    assert_eq!(grouped.len(), 12);
    for (ours, theirs) in grouped.iter().zip(&graded) {
        for column in ["prompt", "reference", "completions", "correctness"] {
            assert_eq!(ours[column], theirs[column]);
        }
    }
    run(&workspace, &[&train[..], &["--data", "grouped.parquet", "--run", "grouped"]].concat());
    // The same within a training.
    let operation = ["--operation", "group_responses"];
    run(&workspace, &[&train[..], &data, &["run"], &operation].concat());
    assert_eq!(workspace.metrics("run"), workspace.metrics("grouped"));
}

#[test]
fn thought_and_answer_are_scored_apart() {
    let workspace = Workspace::new();
    let line = json!({ "id": "q", "prompt": "1 + 1?", "completions": [
        "<think>\nOne and one.\n\nTwo.\n</think>\n\nIt is 2.\n\nYes, 2.",
        "It is 2.",
        "<think>\nOne and",
    ]});
    workspace.write("traces.jsonl", &line.to_string());
    let score = |part: &str, more: &[&str]| {
        let output = format!("{part}.jsonl");
        let arguments = ["score", "--model", "model", "--reference", "none", "traces.jsonl"];
        let to = ["--step-split", "paragraphs", "--tokens", "--score-part", part, "-o", &output];
        let said = run(&workspace, &[&arguments[..], &to, more].concat());
        (lines(&workspace, &output).remove(0), said)
    };
    let ((all, _), (thought, said), (answer, _)) =
        (score("all", &[]), score("thought", &[]), score("answer", &[]));
    assert_eq!(thought["origin"]["part"], "thought");
    assert_eq!(all["origin"].get("part"), None);
    let outcome = |of: &Value, idx: usize| of["scores"][idx]["outcome"].as_f64();
    // Both parts add up to the whole, but for the order of the additions.
    for idx in 0..3 {
        let parts = [&thought, &answer].map(|part| outcome(part, idx).unwrap_or_default());
        let whole = outcome(&all, idx).expect("scored");
        assert!((parts[0] + parts[1] - whole).abs() < 1e-9, "{parts:?} {whole}");
    }
    assert_eq!(all["scores"][0]["step_ends"], json!([22, 37, 47, 54]));
    assert_eq!(thought["scores"][0]["step_ends"], json!([22, 37]));
    assert_eq!(answer["scores"][0]["step_ends"], json!([47, 54]));
    let absent = &thought["scores"][1];
    assert_eq!((&absent["outcome"], &absent["extent"]), (&Value::Null, &json!("absent")));
    assert_eq!(answer["scores"][2]["extent"], "absent", "it never answers");
    assert!(said.contains("of 3 responses 1 have no thought"), "{said}");
    // Tokens outside the part are there, as masked ones without a reward.
    let masked = &answer["scores"][0]["masked_tokens"];
    assert_eq!(masked[0][0], 0);
    assert_eq!(answer["scores"][0]["tokens"][0], 0.0);

    let table =
        ["select", "--rollouts", "traces.jsonl", "--scores", "answer.jsonl", "-o", "s.jsonl"];
    run(&workspace, &table);
    let selected = &lines(&workspace, "s.jsonl")[0]["completion_idx"];
    assert!([json!(0), json!(1)].contains(selected), "an answer that is there: {selected}");
}

#[test]
fn scores_as_parquet_select_like_those_as_lines() {
    let workspace = Workspace::new();
    let score = ["score", "--model", "model", "--reference", "none", "graded.jsonl", "--tokens"];
    for name in ["scores.jsonl", "scores.parquet"] {
        run(&workspace, &[&score[..], &["-o", name]].concat());
    }
    let select = |scores: &str| {
        let output = workspace.run(&["select", "--rollouts", "graded.jsonl", "--scores", scores]);
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    assert_eq!(select("scores.parquet"), select("scores.jsonl"));
}
