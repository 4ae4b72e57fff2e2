//! What commands make of rollout files that lack something: references, completions, text.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::workspace::{Workspace, ok, stderr};

fn lines(workspace: &Workspace, name: &str) -> Vec<Value> {
    let text = String::from_utf8(workspace.read(name)).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn problems_without_a_reference_keep_their_labels_and_are_counted() {
    let workspace = Workspace::new();
    workspace.write(
        "mixed.jsonl",
        r#"{"prompt": "a", "completions": ["4"], "correctness": [true]}
{"prompt": "b", "reference": null, "completions": ["4"]}
{"prompt": "c", "reference": "4", "completions": ["5"], "correctness": [true]}
"#,
    );
    let output = workspace.run(&["grade", "mixed.jsonl", "-o", "out.jsonl"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("problems without a `reference`, left unchanged: 2"), "{said}");
    assert!(said.contains("1 answers: 0 correct"), "{said}");
    let graded = lines(&workspace, "out.jsonl");
    assert_eq!(graded[0]["correctness"], serde_json::json!([true]), "kept");
    assert_eq!(graded[1].get("correctness"), None, "{}", graded[1]);
    assert_eq!(graded[2]["correctness"], serde_json::json!([false]), "graded");
}

#[test]
fn a_file_with_nothing_to_grade_is_an_error_that_lists_its_fields() {
    let workspace = Workspace::new();
    let line = r#"{"prompt": "a", "key": "4", "completions": ["4"], "correctness": [true]}"#;
    workspace.write("bare.jsonl", line);
    let error = workspace.error_of(&["grade", "bare.jsonl", "-o", "out.jsonl"]);
    let expected = "no line of `bare.jsonl` has a `reference`: the fields of its first are \
                    `prompt`, `completions`, `correctness`, `key`";
    assert!(error.contains(expected), "{error}");
    workspace.write("cases.jsonl", r#"{"gt": "5", "pred": "5"}"#);
    let error = workspace.error_of(&["grade", "--cases", "cases.jsonl", "-o", "out.jsonl"]);
    let expected = "no line of `cases.jsonl` has both `gold` and `pred`: the fields of its first \
                    are `gt`, `pred`";
    assert!(error.contains(expected), "{error}");
    assert!(!workspace.path("out.jsonl").exists());
}

#[test]
fn cases_without_gold_or_pred_are_left_as_they_are() {
    let workspace = Workspace::new();
    workspace.write(
        "cases.jsonl",
        "{\"gold\": \"5\", \"pred\": \"\"}\n{\"gold\": null, \"pred\": \"5\"}\n{\"gold\": \"5\"}\n",
    );
    let output = workspace.run(&["grade", "--cases", "cases.jsonl", "-o", "out.jsonl"]);
    let said = stderr(&output);
    assert!(said.contains("cases without `gold` or `pred`, left unchanged: 2"), "{said}");
    let graded = lines(&workspace, "out.jsonl");
    assert_eq!(graded[0]["verdict"], "no_answer", "an empty prediction is one");
    assert!(graded[1..].iter().all(|case| case.get("verdict").is_none()), "{graded:?}");
}

#[test]
fn soft_labels_train_ce_and_nothing_else() {
    let workspace = Workspace::new();
    let lines: Vec<String> = lines(&workspace, "graded.jsonl")
        .into_iter()
        .map(|mut line| {
            line["correctness"] = serde_json::json!([0.9, 0.25, 0, 1]);
            line.to_string()
        })
        .collect();
    workspace.write("soft.jsonl", &lines.join("\n"));
    let train = ["train", "--model", "model", "--data", "soft.jsonl", "--epochs", "1"];
    let with = |more: &[&str]| workspace.run(&[&train[..], more].concat());
    let output = with(&["--run", "soft", "--validation-share", "0.25"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("24 labels are soft (between 0 and 1)"), "{said}");
    let accuracy = workspace.metrics("soft");
    assert!(accuracy.contains("\"accuracy\""), "{accuracy}");
    for more in [&["--objective", "dpo"][..], &["--objective", "kto"], &["--kind", "orm"]] {
        let error = workspace.error_of(&[&train[..], &["--run", "none"], more].concat());
        let by = if more[1] == "orm" { "--kind orm" } else { more[1] };
        let expected =
            format!("`{by}` requires labels 0 or 1, but problem `1` has the soft label 0.9");
        assert!(error.contains(&expected), "{error}");
        assert!(error.contains("`--label-threshold 0.5`"), "{error}");
    }
    let output = with(&["--run", "dpo", "--objective", "dpo", "--label-threshold", "0.5"]);
    assert!(output.status.success(), "{}", stderr(&output));
    // Labels of 0 and 1 as numbers are the labels `false` and `true`: the same bits.
    let hard: Vec<String> =
        lines.iter().map(|line| line.replace("[0.9,0.25,0,1]", "[1.0,0.0,0,1]")).collect();
    let words: Vec<String> = lines
        .iter()
        .map(|line| line.replace("[0.9,0.25,0,1]", "[true,false,false,true]"))
        .collect();
    workspace.write("hard.jsonl", &hard.join("\n"));
    workspace.write("words.jsonl", &words.join("\n"));
    for name in ["hard", "words"] {
        let data = format!("{name}.jsonl");
        let run = ["train", "--model", "model", "--data", &data, "--epochs", "1", "--run", name];
        let output = workspace.run(&run);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(workspace.metrics("hard"), workspace.metrics("words"));
    assert_eq!(
        workspace.read("hard/model/model.safetensors"),
        workspace.read("words/model/model.safetensors")
    );
}

#[test]
fn a_file_without_completions_is_refused_by_what_needs_them() {
    let workspace = Workspace::new();
    let line = r#"{"prompt": "a", "reference": "4", "texts": ["4"]}"#;
    workspace.write("other.jsonl", line);
    let expected = "`other.jsonl`, line 1: `completions` should be a list of responses, got no such \
                    field among `prompt`, `reference`, `texts`";
    for command in [
        &["score", "--model", "model", "--reference", "none", "other.jsonl"][..],
        &["grade", "other.jsonl", "-o", "out.jsonl"],
        &["train", "--model", "model", "--data", "other.jsonl", "--run", "run"],
        &["annotate", "autopsv", "other.jsonl", "--model", "model", "-o", "out.jsonl"],
    ] {
        let error = workspace.error_of(command);
        assert!(error.contains(expected), "{command:?}: {error}");
    }
    let pretrain = ["pretrain", "--model", "model", "--data", "other.jsonl", "--run", "run"];
    let error = workspace.error_of(&pretrain);
    assert!(
        error.contains(
            "`completions` should be in every line without `text`, got neither in line 1"
        ),
        "{error}"
    );
}

#[test]
fn labels_of_steps_or_of_responses_are_told_apart_or_refused() {
    let workspace = Workspace::new();
    for labels in ["[true, false]", "[1, 0]"] {
        let steps = format!(r#"{{"prompt": "a", "completions": ["x", "y"], "labels": {labels}}}"#);
        workspace.write("trl.jsonl", &steps);
        let output = workspace.run(&["data", "convert", "trl.jsonl", "-o", "steps.jsonl"]);
        let said = stderr(&output);
        assert!(said.contains("read as TRL stepwise supervision (`--shape stepwise`)"), "{said}");
        let read = lines(&workspace, "steps.jsonl");
        assert_eq!(read[0]["steps"], serde_json::json!([["x", "y"]]));
        assert_eq!(read[0]["step_labels"], serde_json::json!([[1.0, 0.0]]));
        // Beside a gold answer they may be those of rival responses.
        workspace.write("both.jsonl", &steps.replace("\"a\"", "\"a\", \"reference\": \"4\""));
        let error = workspace.error_of(&["data", "summary", "both.jsonl"]);
        assert!(error.contains("`--column correctness=labels` or `--shape stepwise`"), "{error}");
        let summary = ["data", "summary", "both.jsonl", "--column", "correctness=labels"];
        ok(&workspace, &summary);
    }
}

#[test]
fn the_shape_of_a_file_is_said_once() {
    let workspace = Workspace::new();
    let line = r#"{"question": "1 + 2?", "gt": "3", "responses": ["3", "4"]}"#;
    workspace.write("other.jsonl", line);
    let score = ["score", "--model", "model", "--reference", "none", "other.jsonl"];
    let output = workspace.run(&[&score[..], &["-o", "scores.jsonl"]].concat());
    let said = stderr(&output);
    let expected = "`other.jsonl`: read as one problem per record (`--shape problems`): `prompt` from \
                    `question`, `reference` from `gt`, `completions` from `responses`";
    assert_eq!(said.matches(expected).count(), 1, "{said}");
    assert_eq!(lines(&workspace, "scores.jsonl")[0]["scores"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_empty_completion_is_graded_wrong_scored_and_trained_on() {
    let workspace = Workspace::new();
    let good = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    let empty = good.replacen("1 and 2 are 4.\\nAnswer: 4", "", 1);
    assert_ne!(empty, good);
    workspace.write("empty.jsonl", &empty);
    for more in [&[][..], &["--skip-invalid"]] {
        ok(&workspace, &[&["grade", "empty.jsonl", "-o", "out.jsonl"], more].concat());
        let graded = lines(&workspace, "out.jsonl");
        assert_eq!(graded.len(), 12);
        assert_eq!(graded[0]["completions"][1], "");
        assert_eq!(graded[0]["correctness"][1], false);
        assert_eq!(graded[0]["extracted"][1], Value::Null);
    }
    let score = ["score", "--model", "model", "--reference", "none", "empty.jsonl", "--tokens"];
    ok(&workspace, &[&score[..], &["-o", "scores.jsonl"]].concat());
    let scores = lines(&workspace, "scores.jsonl");
    let scored = &scores[0]["scores"][1];
    assert_eq!(scored["tokens"].as_array().map(Vec::len), Some(1), "its end token: {scored}");
    assert_eq!(scored["step_ends"], serde_json::json!([0]), "{scored}");
    assert!(scored["outcome"].as_f64().is_some_and(|outcome| outcome < 0.0), "{scored}");
    let train = ["train", "--model", "model", "--data", "empty.jsonl", "--run", "run"];
    ok(&workspace, &[&train[..], &["--max-steps", "1", "--batch-size", "4"]].concat());
}

#[test]
fn a_masked_tool_output_has_no_reward() {
    let workspace = Workspace::new();
    let rollout = |more: &str| {
        format!(
            r#"{{"id": "t", "prompt": "1 and 2", "completions": ["are\n<tool>\n3 3 3\n</tool>\nAnswer: 3", "3"], "correctness": [true, false], "steps": [["are", "<tool>\n3 3 3\n</tool>", "Answer: 3"], ["3"]]{more}}}"#
        )
    };
    let score = |name: &str, more: &str, flags: &[&str]| -> Vec<Value> {
        workspace.write("in.jsonl", &(rollout(more) + "\n"));
        let score = ["score", "--model", "model", "--reference", "none", "in.jsonl", "-o", name];
        ok(&workspace, &[&score[..], flags].concat());
        lines(&workspace, name)[0]["scores"].as_array().expect("scores").clone()
    };
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
    };
    let whole = score("whole.jsonl", "", &["--tokens"]);
    let span = r#", "masks": [{"chars": [[4, 25]]}, null]"#;
    let masked = score("masked.jsonl", span, &["--tokens"]);
    let ranges = masked[0]["masked_tokens"].as_array().expect("ranges").clone();
    assert_eq!(ranges.len(), 1, "{ranges:?}");
    let range = numbers(&ranges[0]);
    let (start, end) = (range[0] as usize, range[1] as usize);
    let (before, after) = (numbers(&whole[0]["tokens"]), numbers(&masked[0]["tokens"]));
    assert!(start > 0 && end > start && end < before.len(), "{range:?} of {}", before.len());
    for (idx, (before, after)) in before.iter().zip(&after).enumerate() {
        let expected = if (start..end).contains(&idx) { 0.0 } else { *before };
        assert_eq!(*after, expected, "token {idx}");
    }
    let steps = masked[0]["steps"].as_array().expect("steps");
    let whole_steps = numbers(&whole[0]["steps"]);
    assert_eq!(steps[..], [json!(whole_steps[0]), Value::Null, json!(whole_steps[2])]);
    let q_values = numbers(&masked[0]["q_values"]);
    assert_eq!([q_values[1], q_values[2]], [q_values[0], whole_steps[0] + whole_steps[2]]);
    let select = ["select", "--rollouts", "in.jsonl", "--scores", "masked.jsonl", "--json"];
    ok(&workspace, &select);
    assert_eq!(masked[0]["outcome"], masked[0]["q_values"][2]);
    assert_eq!(masked[1], whole[1], "no mask");
    assert!(masked[1].get("masked_tokens").is_none());
    let flags = score("flags.jsonl", r#", "loss_mask": [[1, 0, 1], null]"#, &["--tokens"]);
    assert_eq!(flags, masked);
    assert!(score("plain.jsonl", span, &[])[0].get("masked_tokens").is_none());
    workspace.write("in.jsonl", &rollout(r#", "loss_mask": [[1, 0], null]"#));
    let score = ["score", "--model", "model", "--reference", "none", "in.jsonl"];
    let error = workspace.error_of(&score);
    assert!(error.contains("`loss_mask[0]` should be a flag for each of its"), "{error}");

    // Training; the reference's log-probabilities are those of the whole text.
    let train = |run: &str, more: &str| {
        workspace.write("in.jsonl", &(rollout(more) + "\n"));
        let output = workspace.run(&[
            "train",
            "--model",
            "model",
            "--data",
            "in.jsonl",
            "--run",
            run,
            "--max-steps",
            "2",
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    assert!(!train("runs-a", "").contains("have masks"));
    let said = train("runs-b", span);
    assert!(
        said.contains("1 completions have masks: the masked parts are not used in training"),
        "{said}"
    );
    assert!(said.contains("log-probabilities of the reference from"), "{said}");
    let orm = ["train", "--kind", "orm", "--model", "model", "--data", "in.jsonl", "--run", "orm"];
    ok(&workspace, &[&orm[..], &["--max-steps", "1"]].concat());
    let output = workspace.run(&["score", "--model", "orm", "in.jsonl", "-o", "orm.jsonl"]);
    assert!(stderr(&output).contains("masks have no effect"), "{}", stderr(&output));
    let error =
        workspace.error_of(&["pretrain", "--model", "model", "--data", "in.jsonl", "--run", "p"]);
    assert!(
        error.contains("`masks` should be absent: a language model is trained on all"),
        "{error}"
    );
    assert_ne!(workspace.metrics("runs-a"), workspace.metrics("runs-b"));
}

#[test]
fn standard_input_is_read_once() {
    let workspace = Workspace::new();
    let graded = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    for command in [
        &["train", "--model", "model", "--data", "-", "--data", "-", "--run", "run"][..],
        &["train", "--model", "model", "--data", "-", "--validation", "-", "--run", "run"],
        &["select", "--rollouts", "-", "--scores", "-"],
        &["data", "mix", "-", "--with", "-"],
        &["pretrain", "--model", "model", "--data", "-", "--data", "-", "--run", "run"],
    ] {
        let output = workspace.run_with_input(command, &graded);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("standard input (`-`) is named twice"), "{command:?}: {said}");
        assert!(said.contains("hint: write one of the inputs to a file"), "{said}");
    }
    assert!(!workspace.path("run").exists());
}

#[test]
fn a_temperature_of_a_vote_is_above_0_and_finite() {
    let workspace = Workspace::new();
    for value in ["nan", "-1", "0", "inf"] {
        let files = ["select", "--rollouts", "graded.jsonl", "--scores", "absent.jsonl"];
        let error = workspace.error_of(&[&files[..], &["--vote-temperature", value]].concat());
        assert!(error.contains("'--vote-temperature <T>'"), "{error}");
        assert!(error.contains("expected a finite number above 0"), "{error}");
    }
}

#[test]
fn messages_say_what_there_is() {
    let workspace = Workspace::new();
    workspace.write("empty.jsonl", "");
    workspace.write("bad.jsonl", "{\"prompt\": 1}\n{}\n");
    let score = |input: &str, more: &[&str]| {
        let score = ["score", "--model", "model", "--reference", "none", input];
        workspace.error_of(&[&score[..], more].concat())
    };
    // Nothing was skipped, and something was.
    let error = score("empty.jsonl", &[]);
    assert!(error.contains("no valid example to score\nhint: the input is empty"), "{error}");
    let error = score("bad.jsonl", &["--skip-invalid"]);
    assert!(error.contains("no valid example to score: 2 skipped"), "{error}");
    let train = ["train", "--model", "model", "--run", "run", "--data"];
    let error = workspace.error_of(&[&train[..], &["bad.jsonl", "--skip-invalid"]].concat());
    assert!(error.contains("no valid example to train on: 2 skipped"), "{error}");

    // Preferences are not told to be graded.
    workspace.write("other.jsonl", r#"{"prompt": "p", "chosen": "a", "rejected": "a"}"#);
    let output = workspace.run(&[&train[..], &["other.jsonl", "--max-steps", "1"]].concat());
    assert!(!stderr(&output).contains("gratis grade"), "{}", stderr(&output));

    // Steps that are not the completion's, with their problem.
    let line =
        r#"{"id": "q7", "prompt": "p", "completions": ["a", "a b"], "steps": [["a"], ["a", "x"]]}"#;
    workspace.write("steps.jsonl", line);
    let error = score("steps.jsonl", &[]);
    assert!(error.contains("the `steps` of completion 2 of problem `q7` do not fit"), "{error}");
    assert!(error.contains("parts of the completion, in their order, got `x`"), "{error}");

    // A problem without candidates, with its name.
    workspace.write(
        "none.jsonl",
        r#"{"id": "q8", "prompt": "p", "completions": [], "correctness": []}"#,
    );
    let scores = ["score", "--model", "model", "--reference", "none", "none.jsonl"];
    ok(&workspace, &[&scores[..], &["-o", "none.scores.jsonl"]].concat());
    let files = ["select", "--rollouts", "none.jsonl", "--scores", "none.scores.jsonl"];
    let error = workspace.error_of(&files);
    assert!(error.contains("problem `q8` has no completions to select from"), "{error}");

    // A reference that is missing is called the reference; a path is not looked for on a hub.
    for reference in ["./absent", "absent"] {
        let score = ["score", "--model", "model", "--reference", reference, "graded.jsonl"];
        let error = workspace.error_of(&score);
        assert!(error.starts_with("error: cannot load the reference"), "{error}");
        assert!(error.contains(reference) && !error.contains("hub"), "{error}");
        assert!(!error.contains("network"), "{error}");
    }
    let error = workspace.error_of(&["score", "--model", "./models/prm", "graded.jsonl"]);
    assert!(error.contains("./models/prm") && !error.contains("hub"), "{error}");

    // Bytes of another format do not reach the terminal.
    std::fs::write(workspace.path("binary.jsonl"), [0x9b; 40]).expect("written");
    let error = workspace.error_of(&["data", "summary", "binary.jsonl"]);
    assert!(error.contains("got bytes that are not UTF-8 (at byte 1"), "{error}");
    assert!(!error.contains('\u{fffd}'), "{error}");
}

#[test]
fn what_exceeds_the_context_is_found_first_and_marked() {
    let workspace = Workspace::new();
    let config: Value = serde_json::from_slice(&workspace.read("model/config.json")).expect("JSON");
    let context = config["max_position_embeddings"].as_u64().expect("a number") as usize;
    let long = "1 and 2 are 3.\n".repeat(context);
    let line = serde_json::json!({
        "id": "p", "prompt": "1 + 2?", "completions": ["1 and 2 are 3.", long, "1"],
    });
    let wide = serde_json::json!({"id": "q", "prompt": long, "completions": ["1"]});
    workspace.write("long.jsonl", &format!("{line}\n{wide}\n"));
    let score = ["score", "--model", "model", "--reference", "none", "long.jsonl", "-o"];
    let error = workspace.error_of(&[&score[..], &["stop.jsonl"]].concat());
    assert!(error.contains("2 responses exceed the context"), "{error}");
    assert!(error.contains("the first is completion 2 of `p`"), "{error}");
    assert!(!workspace.path("stop.jsonl").exists());

    for (rule, extent) in [("truncate", "truncated"), ("skip", "skipped")] {
        let output = workspace.run(&[&score[..], &["out.jsonl", "--on-overlong", rule]].concat());
        let said = stderr(&output);
        assert!(output.status.success() && said.contains("of 4 responses"), "{said}");
        let scores = lines(&workspace, "out.jsonl");
        let scored = &scores[0]["scores"];
        assert_eq!(scored[1]["extent"], extent);
        assert_eq!(scored[1]["outcome"], Value::Null);
        assert!(scored[0].get("extent").is_none() && scored[2]["outcome"].is_number());
        let steps = scored[1]["steps"].as_array().expect("a list");
        if rule == "truncate" {
            assert!(steps[0].is_number() && steps.last() == Some(&Value::Null));
            assert_eq!(steps.len(), context);
        } else {
            assert!(steps.is_empty());
        }
        // Nothing can be read after a prompt that is longer than the context.
        assert_eq!(scores[1]["scores"][0]["extent"], "skipped");
        fs::remove_file(workspace.path("out.jsonl")).expect("removed");
    }
}

#[test]
fn any_number_of_threads_writes_the_same_grades_and_table() {
    let workspace = Workspace::new();
    let filler = "A step of many words that says little. ".repeat(12);
    // Several batches; the last is not full.
    let (mut rollouts, mut scores) = (String::new(), String::new());
    for n in 0..700 {
        let completions: Vec<String> =
            (0..4).map(|k| format!("{filler}\nThe answer is {}.", n % (k + 3))).collect();
        let scored = |idx: usize| json!({ "outcome": (n * idx % 7) as f64 / 7.0, "steps": [], "q_values": [], "step_ends": [] });
        let all: Vec<Value> = (0..4).map(scored).collect();
        let rollout = json!({ "id": n.to_string(), "prompt": "?", "reference": (n % 3).to_string(), "completions": completions });
        let of = json!({ "id": n.to_string(), "scores": all });
        writeln!(rollouts, "{rollout}").expect("a line");
        writeln!(scores, "{of}").expect("a line");
    }
    workspace.write("r.jsonl", &rollouts);
    workspace.write("s.jsonl", &scores);
    let run = |n_threads: &str| {
        ok(&workspace, &["grade", "r.jsonl", "-o", "g.jsonl", "--threads", n_threads]);
        let select = ["select", "--rollouts", "g.jsonl", "--scores", "s.jsonl", "--json"];
        let more = ["--aggregation", "outcome", "-o", "best.jsonl", "--threads", n_threads];
        let table = ok(&workspace, &[&select[..], &more].concat());
        (workspace.read("g.jsonl"), table, workspace.read("best.jsonl"))
    };
    let expected = run("1");
    let graded = lines(&workspace, "g.jsonl");
    assert_eq!(graded.len(), 700);
    for (n, line) in graded.iter().enumerate() {
        let labels: Vec<bool> = (0..4).map(|k| n % (k + 3) == n % 3).collect();
        assert_eq!(line["correctness"], json!(labels), "line {n}");
    }
    for n_threads in ["2", "3"] {
        assert!(run(n_threads) == expected, "{n_threads} threads");
    }

    // What stands before a malformed line is graded; the file is not written.
    workspace.write("broken.jsonl", &format!("{rollouts}{{\"prompt\": 3}}\n"));
    let output = workspace.run(&["grade", "broken.jsonl"]);
    assert!(stderr(&output).contains("line 701"), "{}", stderr(&output));
    assert_eq!(output.stdout, expected.0);
    workspace.error_of(&["grade", "broken.jsonl", "-o", "out.jsonl"]);
    assert!(!workspace.path("out.jsonl").exists());
}
