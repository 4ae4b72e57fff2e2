//! What goes wrong, said clearly: exit code 1, the place, and a hint.

use std::fs;

use crate::workspace::{Workspace, stderr};

const TRAIN: [&str; 5] = ["--quiet", "train", "--model", "model", "--run"];

#[test]
fn faults_of_the_data_name_their_place() {
    let workspace = Workspace::new();
    let train = |data: &str| {
        workspace.write("bad.jsonl", data);
        workspace.error_of(&[&TRAIN[..], &["run", "--data", "bad.jsonl"]].concat())
    };
    let good = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    let first = good.lines().next().expect("a line");
    insta::assert_snapshot!("malformed-line", train(&format!("{first}\n{{\"prompt\": 3}}\n")));
    let long = first.replacen("1 and 2 are 3.", &"1 and 2 are 3. ".repeat(20), 1);
    insta::assert_snapshot!("too-long", train(&long));
    let ungraded = first.split(r#", "correctness""#).next().expect("a part");
    insta::assert_snapshot!("ungraded", train(&format!("{ungraded}}}\n")));
    insta::assert_snapshot!("no-examples", train(""));
    let one_class = first.replace("[true, false, false, true]", "[true, true, true, true]");
    insta::assert_snapshot!("one-class", train(&one_class));
    let no_label = first.replace("[true, false, false, true]", r#"["maybe", false, false, true]"#);
    insta::assert_snapshot!("label-no-boolean", train(&no_label));
    let no_steps =
        first.replace(r#""correctness""#, r#""steps": [["1"], [], ["2"], ["3"]], "correctness""#);
    insta::assert_snapshot!("empty-steps", train(&no_steps));
    assert!(!workspace.path("run").exists(), "nothing was begun");
}

#[test]
fn an_objective_that_the_data_cannot_serve_says_what_it_needs() {
    let workspace = Workspace::new();
    let good = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    // Both classes, but never in one problem.
    let apart: Vec<_> = good
        .lines()
        .enumerate()
        .map(|(idx, line)| {
            let labels = if idx % 2 == 0 {
                "[true, true, true, true]"
            } else {
                "[false, false, false, false]"
            };
            line.replace("[true, false, false, true]", labels)
        })
        .collect();
    workspace.write("apart.jsonl", &apart.join("\n"));
    let train =
        |more: &[&str]| workspace.error_of(&[&TRAIN[..], &["run", "--data"], more].concat());
    insta::assert_snapshot!("no-pairs", train(&["apart.jsonl", "--objective", "dpo"]));
    insta::assert_snapshot!("no-step-labels", train(&["graded.jsonl", "--objective", "step_kto"]));
    insta::assert_snapshot!("beta-zero", train(&["graded.jsonl", "--beta", "0"]));
    let negative = train(&["graded.jsonl", "--objective", "kto,beta=-0.5"]);
    assert!(
        negative.contains("`beta` should be a finite number above 0, got `-0.5`"),
        "{negative}"
    );
    let score = ["--quiet", "score", "--model", "model", "--reference", "none", "graded.jsonl"];
    let error = workspace.error_of(&[&score[..], &["--beta", "nan"]].concat());
    assert!(error.contains("`beta` should be") && error.contains("hint: "), "{error}");
    assert!(!workspace.path("run").exists(), "nothing was begun");
}

#[test]
fn invalid_lines_can_be_left_out_and_are_counted() {
    let workspace = Workspace::new();
    let mut data = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    data.push_str("{\"prompt\": 3}\nnot JSON\n");
    workspace.write("mixed.jsonl", &data);
    let output = workspace.run(&["grade", "mixed.jsonl", "-o", "out.jsonl", "--skip-invalid"]);
    assert!(output.status.success());
    assert!(stderr(&output).contains("skipped 2 malformed lines"), "{}", stderr(&output));
    assert_eq!(String::from_utf8(workspace.read("out.jsonl")).expect("text").lines().count(), 12);
}

#[test]
fn faults_of_the_model_name_file_and_tensor() {
    let workspace = Workspace::new();
    let score = || workspace.error_of(&["--quiet", "score", "--model", "model", "graded.jsonl"]);
    let weights = workspace.read("model/model.safetensors");
    fs::write(workspace.path("model/model.safetensors"), &weights[..weights.len() / 2])
        .expect("written");
    let error = score();
    assert!(
        error.contains("`model/model.safetensors`") && error.contains(" the file has "),
        "{error}"
    );
    fs::write(workspace.path("model/model.safetensors"), &weights).expect("written");

    let config = String::from_utf8(workspace.read("model/config.json")).expect("text");
    let wider = config.replace("\"intermediate_size\": 160", "\"intermediate_size\": 161");
    assert_ne!(wider, config);
    workspace.write("model/config.json", &wider);
    let error = score();
    assert!(error.contains("_proj.weight") && error.contains("161"), "{error}");
    workspace.write("model/config.json", &config);

    fs::remove_file(workspace.path("model/tokenizer.json")).expect("removed");
    let error = score();
    assert!(error.contains("tokenizer.json` is absent"), "{error}");
}

#[test]
fn outputs_that_cannot_be_written_and_runs_that_differ_are_said_at_once() {
    let workspace = Workspace::new();
    let score = ["--quiet", "score", "--model", "model", "--reference", "none", "graded.jsonl"];
    let error = workspace.error_of(&[&score[..], &["-o", "absent/scores.jsonl"]].concat());
    assert!(error.starts_with("error: cannot write `absent/scores.jsonl`"), "{error}");

    let train = [&TRAIN[..], &["run", "--data", "graded.jsonl", "--max-steps", "2"]].concat();
    assert!(workspace.run(&train).status.success());
    insta::assert_snapshot!("run-exists", workspace.error_of(&train));
    let other = [&train[..], &["--resume", "--seed", "1"]].concat();
    insta::assert_snapshot!("run-differs", workspace.error_of(&other));
    workspace.write("config.toml", "modle = \"model\"\n");
    let unknown = ["--quiet", "train", "--config", "config.toml", "--run", "other"];
    let error = workspace.error_of(&unknown);
    assert!(error.contains("unknown field `modle`") && error.contains("hint: "), "{error}");
}

#[test]
fn a_loss_that_explodes_stops_the_run_and_leaves_the_last_checkpoint() {
    let workspace = Workspace::new();
    let error = workspace.error_of(
        &[
            &TRAIN[..],
            &["run", "--data", "graded.jsonl", "--batch-size", "4", "--epochs", "50"],
            &["--learning-rate", "1e30", "--warmup", "0", "--checkpoint-every", "1"],
        ]
        .concat(),
    );
    assert!(
        error.starts_with("error: step ") && error.contains("in a batch of the problems"),
        "{error}"
    );
    assert!(error.contains("hint: lower the learning rate"), "{error}");
    assert!(!workspace.path("run/model").exists());
    assert!(!workspace.names("run/checkpoints").is_empty());
}

#[test]
fn files_that_are_not_what_they_are_called_are_named() {
    let workspace = Workspace::new();
    let summary = |name: &str, bytes: &[u8]| {
        fs::write(workspace.path(name), bytes).expect("written");
        workspace.error_of(&["--quiet", "data", "summary", name])
    };
    let error = summary("cut.jsonl", b"\n{\"prompt\": \"a\"\n");
    assert!(error.contains("`cut.jsonl`, line 2: `record` should be a JSON object"), "{error}");
    assert!(error.contains("at column 14") && !error.contains("line 1"), "{error}");
    let error = summary("noise.jsonl", &[0xff, 0xfe, b'{', b'}']);
    assert!(error.contains("`noise.jsonl` should be text in UTF-8, got UTF-16"), "{error}");
    let error = summary("noise.jsonl", &[0xff, 0xff, b'{', b'}']);
    assert!(error.contains("`noise.jsonl`, line 1: `record` should be"), "{error}");
    let error = summary("noise.parquet", &[7; 100]);
    assert!(error.contains("`noise.parquet` should be a whole Parquet file"), "{error}");
    // The content says what a file is.
    let error = summary("noise.jsonl.zst", &[7; 100]);
    assert!(error.contains("`noise.jsonl.zst`, line 1: `record` should be"), "{error}");
    let error = summary("cut.jsonl.zst", &[&[0x28, 0xb5, 0x2f, 0xfd][..], &[7; 9]].concat());
    assert!(error.contains("cannot read `cut.jsonl.zst`"), "{error}");
    assert!(error.contains("hint: check that the file is complete"), "{error}");

    let absent = workspace.error_of(&["grade", "absent.jsonl", "-o", "out.jsonl"]);
    assert!(absent.contains("cannot open `absent.jsonl`"), "{absent}");
    assert!(absent.contains("hint: check the path"), "{absent}");
    let file = workspace.error_of(&["inspect", "graded.jsonl"]);
    assert!(file.contains("`graded.jsonl/config.json` is absent: a model is a"), "{file}");
    assert!(!workspace.path("out.jsonl").exists());
}

#[test]
fn numbers_out_of_range_are_refused_before_anything_is_written() {
    let workspace = Workspace::new();
    let error_of = |command: &[&str], more: &[&str]| {
        workspace.error_of(&[command, more, &["graded.jsonl", "-o", "out.jsonl"]].concat())
    };
    let rollout = ["--quiet", "rollout", "--model", "model"];
    for (flag, value, said) in [
        ("--samples", "0", "`samples` should be at least 1, got `0`"),
        ("--temperature", "-1", "`temperature` must be finite and not negative, got -1"),
        ("--top-p", "2", "`top_p` must be above 0 and at most 1, got 2"),
    ] {
        let error = error_of(&rollout, &[flag, value]);
        assert!(error.contains(said), "{error}");
    }
    let train = |more: &[&str]| {
        workspace.error_of(&[&TRAIN[..], &["run", "--data", "graded.jsonl"], more].concat())
    };
    for (flag, value, said) in [
        ("--batch-size", "0", "`batch_size` should be at least 1"),
        ("--learning-rate", "-1", "`learning_rate` should be"),
        ("--beta", "-0.1", "`beta` should be a finite number above 0, got `-0.1`"),
    ] {
        let error = train(&[flag, value]);
        assert!(error.contains(said), "{error}");
    }
    let error = error_of(&["--quiet", "data", "pairs"], &["--per-prompt", "0"]);
    assert!(error.contains("`per_prompt` should be at least 1"), "{error}");
    let names = workspace.names(".");
    assert!(!names.iter().any(|name| name.contains("out") || name.contains("run")), "{names:?}");
}

#[test]
fn scores_of_other_rollouts_are_refused_where_they_part() {
    let workspace = Workspace::new();
    let line = |id: usize, n: usize| {
        let score = r#"{"outcome": 1.0, "steps": [], "q_values": [], "step_ends": []}"#;
        let scores = vec![score; n].join(", ");
        format!(r#"{{"version": 1, "id": "{id}", "scores": [{scores}]}}"#)
    };
    let select = |lines: &[String]| {
        workspace.write("scores.jsonl", &(lines.join("\n") + "\n"));
        let files = ["--rollouts", "graded.jsonl", "--scores", "scores.jsonl", "-o", "best.jsonl"];
        workspace.error_of(&[&["select"], &files[..]].concat())
    };
    let mut lines: Vec<String> = (1..=12).map(|id| line(id, 4)).collect();
    lines.push(line(13, 4));
    insta::assert_snapshot!("scores-too-many", select(&lines));
    insta::assert_snapshot!("scores-too-few", select(&lines[..11]));
    lines[3] = line(4, 5);
    insta::assert_snapshot!("scores-of-others", select(&lines));
    let names = workspace.names(".");
    assert!(!names.iter().any(|name| name.contains("best")), "left behind: {names:?}");
}

#[test]
fn wrong_flags_are_the_users() {
    let workspace = Workspace::new();
    let error = workspace.error_of(&["train", "--run", "r", "--objective", "cee"]);
    assert!(error.contains("`objective` should be one of `ce`"), "{error}");
    // Objectives and operations are written in one language.
    for (flag, text, said) in [
        (
            "--objective",
            "ce,betta=1",
            "`objective` should be `ce` with the key `beta`, got `betta`",
        ),
        ("--objective", "ce,beta=high", "`ce` with a number as `beta`, got `high`"),
        ("--objective", "ce,beta=1,beta=2", "a name with every key once"),
        ("--operation", "mix", "`operation` should be `mix,path=...`, got `mix`"),
        ("--operation", "deduplicate,n=8,", "`NAME` or `NAME,KEY=VALUE,...`"),
    ] {
        let error = workspace.error_of(&["train", "--run", "r", flag, text]);
        assert!(error.contains(said), "{error}");
    }
    let error = workspace.error_of(&["--quiet", "train", "--run", "r"]);
    assert!(error.contains("`model` is missing\nhint: give `--model`"), "{error}");
}
