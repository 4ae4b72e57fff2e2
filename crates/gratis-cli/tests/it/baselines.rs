//! Baselines from end to end: annotation, the kinds of `train`, scores of all of them, costs, and what
//! goes wrong.

use crate::workspace::{Workspace, ok, stderr};

/// The solutions of the workspace with a label for each of their two steps.
pub(crate) fn labelled(workspace: &Workspace) {
    let graded = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    let lines = graded.lines().map(|line| {
        let mut rollout: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let completions = rollout["completions"].as_array().expect("a list").clone();
        let steps: Vec<Vec<&str>> = completions
            .iter()
            .map(|text| text.as_str().expect("text").split_inclusive('\n').collect())
            .collect();
        rollout["steps"] = serde_json::json!(steps);
        rollout["step_labels"] = serde_json::json!([[1, 1], [0, 0], [0.5, 0], [1, 1]]);
        format!("{rollout}\n")
    });
    workspace.write("labelled.jsonl", &lines.collect::<String>());
}

const TRAIN: [&str; 7] =
    ["train", "--model", "model", "--batch-size", "16", "--learning-rate", "0.01"];

fn train(workspace: &Workspace, run: &str, data: &str, more: &[&str]) {
    ok(workspace, &[&TRAIN[..], &["--run", run, "--data", data], more].concat());
}

/// Scores of the first completion.
fn first_score(workspace: &Workspace, run: &str) -> serde_json::Value {
    let scores = ok(workspace, &["score", "--model", run, "graded.jsonl"]);
    assert_eq!(scores.lines().count(), 12);
    let line: serde_json::Value =
        serde_json::from_str(scores.lines().next().expect("a line")).expect("JSON");
    line["scores"][0].clone()
}

#[test]
fn every_kind_is_trained_scored_and_accounted_for() {
    let workspace = Workspace::new();
    labelled(&workspace);
    let tokens = ["--kind", "prm-token", "--tag", "\n", "--good", "1", "--bad", "2"];
    for (run, data, more, aggregation) in [
        ("orm", "graded.jsonl", &["--kind", "orm"][..], "outcome"),
        ("bt", "graded.jsonl", &["--kind", "orm", "--value-loss", "bradley-terry"], "outcome"),
        (
            "fair",
            "labelled.jsonl",
            &[
                "--kind",
                "prm-head",
                "--head",
                "action-and-state-value",
                "--pooling",
                "log-sum-exp",
                "--head-rate",
                "2",
                "--after-error",
                "forget",
                "--step-labels",
                "hard",
                "--validation-share",
                "0.25",
            ],
            "q_min",
        ),
        ("tokens", "labelled.jsonl", &tokens, "q_min"),
        ("log-ratio", "labelled.jsonl", &["--objective", "step_ce", "--beta", "0.3"], "min"),
    ] {
        train(&workspace, run, data, more);
        let manifest = String::from_utf8(workspace.read(&format!("{run}/model/gratis.json")));
        let manifest = manifest.expect("text");
        assert!(manifest.contains(&format!(r#""aggregation": "{aggregation}""#)), "{manifest}");
        let is_implicit = manifest.contains(r#""name": "implicit""#);
        assert_eq!(is_implicit, run == "log-ratio", "{manifest}");
        let score = first_score(&workspace, run);
        let values = score["q_values"].as_array().expect("a list");
        assert_eq!(values.len(), 2);
        assert_eq!(values[1], score["outcome"]);
    }
    let error =
        workspace.error_of(&["score", "--model", "orm", "--reference", "model", "graded.jsonl"]);
    assert!(error.contains("has no reference"), "{error}");

    let table = ok(&workspace, &["cost", "orm", "log-ratio", "--json"]);
    let table: serde_json::Value = serde_json::from_str(&table).expect("JSON");
    let phases =
        |idx: usize| table["records"][idx]["record"]["phases"].as_array().expect("a list").len();
    assert_eq!((phases(0), phases(1)), (1, 2), "a head has no reference");
    assert!(table["flops_as_run"].as_f64() < table["flops_as_counted"].as_f64(), "{table}");
    let printed = ok(&workspace, &["cost", "orm"]);
    assert!(printed.contains("training"), "{printed}");
}

#[test]
fn steps_are_annotated_and_learnt_from() {
    let workspace = Workspace::new();
    // A model that knows what answers look like.
    ok(
        &workspace,
        &[
            "pretrain",
            "--model",
            "model",
            "--data",
            "graded.jsonl",
            "--run",
            "base",
            "--epochs",
            "30",
        ],
    );
    let annotate = ["annotate", "math-shepherd", "graded.jsonl", "--model", "base"];
    let more = ["--max-tokens", "16", "-n", "8", "-o", "labelled.jsonl"];
    ok(&workspace, &[&annotate[..], &more].concat());
    let text = String::from_utf8(workspace.read("labelled.jsonl")).expect("text");
    let first: serde_json::Value =
        serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["step_labels"].as_array().map(Vec::len), Some(4));
    let cost = ok(&workspace, &["cost", "labelled.jsonl.cost.json"]);
    assert!(cost.contains("continuations"), "{cost}");

    // A job that was killed in the middle of a line goes on to the same bytes, also in other chunks.
    #[cfg(unix)]
    {
        let more = ["--max-tokens", "16", "-n", "8", "-o", "again.jsonl"];
        let again = [&annotate[..], &more].concat();
        workspace.cut_off(6, &[&again[..], &["--chunk", "2"]].concat());
        let output = workspace.run(&[&again[..], &["--chunk", "5"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stderr(&output).contains("of them by an earlier run"), "{}", stderr(&output));
        assert_eq!(workspace.read("again.jsonl"), workspace.read("labelled.jsonl"));
        let counted = |name: &str| -> serde_json::Value {
            let record = workspace.read(&format!("{name}.jsonl.cost.json"));
            serde_json::from_slice::<serde_json::Value>(&record).expect("JSON")["phases"].clone()
        };
        assert_eq!(counted("again"), counted("labelled"), "the cost of both runs");
        assert!(!workspace.names(".").iter().any(|name| name.contains("partial")));
    }

    train(&workspace, "osv", "graded.jsonl", &["--kind", "orm", "--value-loss", "every-token"]);
    let autopsv = ["annotate", "autopsv", "graded.jsonl", "--model", "osv"];
    ok(&workspace, &[&autopsv[..], &["--threshold", "-0.05", "-o", "psv.jsonl"]].concat());
    let text = String::from_utf8(workspace.read("psv.jsonl")).expect("text");
    assert_eq!(text.matches("step_labels").count(), 12);
    ok(
        &workspace,
        &["train", "--kind", "prm-head", "--model", "osv", "--data", "psv.jsonl", "--run", "psv"],
    );
    first_score(&workspace, "psv");

    // Continuations stop where the model says: here at every token, so that none says anything.
    let all: Vec<u32> = (0..300).collect();
    let text = serde_json::json!({ "eos_token_id": all }).to_string();
    workspace.write("base/model/generation_config.json", &text);
    let error = workspace.error_of(&[&annotate[..], &["-o", "silent.jsonl"]].concat());
    assert!(error.contains("continuations sampled for 12 problems"), "{error}");
}

#[test]
fn scoring_leaves_what_it_cost() {
    let workspace = Workspace::new();
    labelled(&workspace);
    train(&workspace, "orm", "graded.jsonl", &["--kind", "orm"]);
    train(&workspace, "ce", "graded.jsonl", &[]);
    let tokens = ["--kind", "prm-token", "--tag", "\n", "--good", "1", "--bad", "2"];
    train(&workspace, "tokens", "labelled.jsonl", &tokens);
    for (run, phases) in
        [("orm", &["scoring"][..]), ("ce", &["scoring", "reference"]), ("tokens", &["scoring"])]
    {
        let output = format!("{run}.jsonl");
        ok(&workspace, &["score", "--model", run, "graded.jsonl", "-o", &output]);
        let cost = ok(&workspace, &["cost", &format!("{output}.cost.json"), "--json"]);
        let cost: serde_json::Value = serde_json::from_str(&cost).expect("JSON");
        let record = &cost["records"][0]["record"];
        let named: Vec<&str> = record["phases"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|phase| phase["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(named, phases);
        let n_tokens =
            |kind: &str| record["phases"][0][kind]["n_tokens"].as_u64().expect("a number");
        // Of four solutions one is a copy, and all share their prompt.
        assert!(n_tokens("as_run") < n_tokens("as_counted"), "{record}");
        // Counted in hundredths of a second, of which this may take none.
        assert!(record["cpu_seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0));
    }
    // Nothing stands beside standard output.
    ok(&workspace, &["score", "--model", "orm", "graded.jsonl"]);
    assert!(!workspace.names(".").contains(&"-.cost.json".to_owned()));
}

#[test]
fn what_goes_wrong_is_said() {
    let workspace = Workspace::new();
    labelled(&workspace);
    let train = |more: &[&str]| {
        let start = ["--quiet", "train", "--model", "model", "--run", "run"];
        workspace.error_of(&[&start[..], more].concat())
    };
    let no_labels = train(&["--kind", "prm-head", "--data", "graded.jsonl"]);
    insta::assert_snapshot!("no-step-labels-for-a-head", no_labels);
    let tokens =
        train(&["--kind", "prm-token", "--data", "labelled.jsonl", "--good", "quite good"]);
    assert!(tokens.contains("`good` should be one token of the model"), "{tokens}");
    let annotate = |data: &str, more: &[&str]| {
        let start = ["--quiet", "annotate", "math-shepherd", data, "--model", "model"];
        workspace.error_of(&[&start[..], more].concat())
    };
    insta::assert_snapshot!("no-continuations", annotate("graded.jsonl", &["-n", "0"]));
    let graded = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    let impossible = graded.replace(r#""reference": ""#, r#""reference": "99999"#);
    workspace.write("impossible.jsonl", &impossible);
    let more = ["-n", "1", "--max-tokens", "2", "-o", "out.jsonl"];
    let wrong = annotate("impossible.jsonl", &more);
    insta::assert_snapshot!("every-continuation-wrong", wrong);
    let left: Vec<String> =
        workspace.names(".").into_iter().filter(|name| name.starts_with("out")).collect();
    assert!(left.is_empty(), "{left:?}");
    let plain =
        ["--quiet", "annotate", "autopsv", "graded.jsonl", "--model", "model", "-o", "out.jsonl"];
    insta::assert_snapshot!("no-head", workspace.error_of(&plain));
    // A folder that claims a head which its weights do not hold.
    ok(
        &workspace,
        &[&TRAIN[..], &["--kind", "orm", "--run", "orm", "--data", "graded.jsonl"]].concat(),
    );
    let manifest = String::from_utf8(workspace.read("orm/model/gratis.json")).expect("text");
    workspace.write("model/gratis.json", &manifest);
    let score = ["--quiet", "score", "--model", "model", "graded.jsonl"];
    insta::assert_snapshot!("no-head-tensors", workspace.error_of(&score));
}

#[test]
fn published_labels_are_imported_and_learnt_from() {
    let workspace = Workspace::new();
    let line = |answer: u32, sign: char| {
        let text = |first: char, last: char| {
            format!(
                "How much are 1 and 2? Step 1: 1 and 2 {first}\\nStep 2: Answer: {answer} {last}"
            )
        };
        format!(
            r#"{{"input": "{}", "label": "{}", "task": "sums"}}"#,
            text('T', 'T'),
            text('+', sign)
        )
        .replace('T', "ки")
    };
    workspace.write("published.jsonl", &format!("{}\n{}\n", line(3, '+'), line(4, '-')));
    ok(&workspace, &["annotate", "import", "published.jsonl", "-o", "labelled.jsonl"]);
    let text = String::from_utf8(workspace.read("labelled.jsonl")).expect("text");
    assert!(text.contains(r#""step_labels":[[1.0,0.0]]"#), "{text}");
    train(&workspace, "prm", "labelled.jsonl", &["--kind", "prm-head"]);
    workspace.write("broken.jsonl", &line(3, '?'));
    let error = workspace.error_of(&["annotate", "import", "broken.jsonl", "-o", "out.jsonl"]);
    assert!(error.contains("`broken.jsonl`, line 1: `label` should be the `input`"), "{error}");
}

#[test]
fn the_papers_ratios() {
    let workspace = Workspace::new();
    insta::assert_snapshot!("paper-costs", ok(&workspace, &["cost", "--paper"]));
}

#[test]
fn a_model_trained_at_every_prefix_is_read_by_the_mean_of_the_log_ratio() {
    let workspace = Workspace::new();
    labelled(&workspace);
    let few = ["--objective", "prefix_ce", "--max-steps", "3"];
    train(&workspace, "run", "graded.jsonl", &few);
    let manifest = String::from_utf8(workspace.read("run/model/gratis.json")).expect("text");
    assert!(manifest.contains(r#""value_rule": "mean""#), "{manifest}");
    let score = |name: &str, more: &[&str]| -> serde_json::Value {
        let score = ["score", "--model", "run", "--tokens", "graded.jsonl", "-o", name];
        ok(&workspace, &[&score[..], more].concat());
        let text = String::from_utf8(workspace.read(name)).expect("text");
        serde_json::from_str(text.lines().next().expect("a line")).expect("JSON")
    };
    let numbers = |value: &serde_json::Value| -> Vec<f64> {
        value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
    };
    let (by_mean, by_sum) =
        (score("mean.jsonl", &[]), score("sum.jsonl", &["--value-rule", "sum"]));
    assert_eq!(by_mean["origin"]["value_rule"], "mean");
    assert!(by_sum["origin"].get("value_rule").is_none());
    let (by_mean, by_sum) = (&by_mean["scores"][0], &by_sum["scores"][0]);
    let mut sum = 0.0;
    let mut value = 0.0;
    let tokens = numbers(&by_sum["tokens"]);
    for (n, (of_sum, of_mean)) in tokens.iter().zip(numbers(&by_mean["tokens"])).enumerate() {
        sum += of_sum;
        value += of_mean;
        // Observed at most 2.8e-17: only the order of operations differs.
        assert!((value - sum / (n + 1) as f64).abs() < 1e-12, "{value} at token {n}");
    }
    assert!(value != 0.0 && (by_mean["outcome"].as_f64().expect("a number") - value).abs() < 1e-12);
    let steps = numbers(&by_mean["steps"]);
    assert!((steps.iter().sum::<f64>() - value).abs() < 1e-12);
}
