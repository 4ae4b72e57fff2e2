//! Training by the binary: its defaults, its warnings, and taking a run up again.

use crate::baselines::labelled;
use crate::workspace::{Workspace, ok, stderr};

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

#[test]
fn a_training_that_diverges_is_reported_once_with_the_figure() {
    let workspace = Workspace::new();
    let high = ["--learning-rate", "3", "--warmup", "0", "--batch-size", "4", "--epochs", "3"];
    let log = log_of(&workspace, &high);
    assert_eq!(log.matches("the training diverges: the loss is ").count(), 1, "{log}");
    assert!(
        log.contains(" WARN step ") && log.contains(", and was 0.6931 at the first step"),
        "{log}"
    );
    let metrics = workspace.metrics("run");
    assert_eq!(metrics.matches(r#""warning":"divergence""#).count(), 1, "{metrics}");
}

#[test]
fn a_gradient_of_0_is_reported_with_its_reason() {
    let workspace = Workspace::new();
    labelled(&workspace);
    let train = ["train", "--model", "model", "--data", "labelled.jsonl", "--batch-size", "16"];
    let step_kto = [&train[..], &["--objective", "step_kto", "--run", "absolute"]].concat();
    let output = workspace.run(&step_kto);
    let log = stderr(&output);
    assert!(output.status.success(), "{log}");
    let said = "step 1: the gradient norm is 0.0000 over 1 step: nothing is learnt; `step_kto` has no slope";
    assert_eq!(log.matches(said).count(), 1, "{log}");
    // What the message recommends does learn.
    let signed = ["--objective", "step_kto,magnitude=signed", "--run", "signed"];
    let output = workspace.run(&[&train[..], &signed].concat());
    assert!(output.status.success() && !stderr(&output).contains("WARN"), "{}", stderr(&output));
}

#[test]
fn pairs_in_few_problems_are_counted() {
    let workspace = Workspace::new();
    let good = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    let few = good.lines().enumerate().map(|(idx, line)| match idx {
        0..3 => format!("{line}\n"),
        _ => line.replace("[true, false, false, true]", "[true, true, true, true]") + "\n",
    });
    workspace.write("graded.jsonl", &few.collect::<String>());
    let log = log_of(&workspace, &["--objective", "dpo"]);
    assert!(log.contains(" WARN 12 pairs from 3 of 12 problems: "), "{log}");

    workspace.write("graded.jsonl", &good);
    let log = log_of(&workspace, &["--objective", "dpo", "--run", "all"]);
    assert!(log.contains(" INFO 48 pairs from 12 of 12 problems"), "{log}");
}

#[test]
fn kto_leaves_out_mismatched_responses_beyond_the_context() {
    let workspace = Workspace::new();
    // Each fits with its own prompt; the long response does not fit with the long prompt.
    let prompt = "How much are 1 and 2? ".repeat(4);
    let long = "1 and 2 are 3.\\n".repeat(6);
    let line = |prompt: &str, text: &str| {
        format!(
            r#"{{"prompt": "{prompt}", "completions": ["{text}", "Answer: 4"], "correctness": [true, false]}}"#
        ) + "\n"
    };
    workspace.write("graded.jsonl", &(line(&prompt, "Answer: 3") + &line("1 and 2? ", &long)));
    let kto = ["--objective", "kto", "--on-overlong", "truncate", "--validation-share", "0"];
    let log = log_of(&workspace, &kto);
    assert!(log.contains("WARN left 1 of "), "{log}");
    assert!(log.contains("exceed the context of 64 tokens"), "{log}");
}

#[test]
fn a_run_is_resumed_without_its_configuration() {
    let workspace = Workspace::new();
    let flags = ["--batch-size", "8", "--learning-rate", "2e-3", "--checkpoint-every", "2"];
    let log = log_of(&workspace, &[&flags[..], &["--validation-share", "0.25"]].concat());
    let whole = workspace.metrics("run");
    assert!(log.contains("step 5 of 5"), "{log}");
    std::fs::remove_dir_all(workspace.path("run/checkpoints/step-00000005")).expect("removed");
    std::fs::remove_dir_all(workspace.path("run/model")).expect("removed");

    ok(&workspace, &["train", "--run", "run", "--resume"]);
    assert_eq!(workspace.metrics("run"), whole);
    // Flags that say what the run says change nothing; others are refused by name.
    ok(&workspace, &["train", "--run", "run", "--resume", "--batch-size", "8"]);
    let error = workspace.error_of(&["train", "--run", "run", "--resume", "--batch-size", "4"]);
    assert!(error.contains("`batch_size` (it has `8`, the flag says `4`) differs"), "{error}");
    let error = workspace.error_of(&["train", "--run", "other", "--resume"]);
    assert!(error.contains("`model` is missing"), "{error}");

    let texts = ["pretrain", "--model", "model", "--data", "graded.jsonl", "--run", "base"];
    ok(&workspace, &[&texts[..], &["--batch-size", "16"]].concat());
    ok(&workspace, &["pretrain", "--run", "base", "--resume"]);
}

#[test]
fn the_model_of_a_run_is_named_where_it_has_two() {
    let workspace = Workspace::new();
    log_of(&workspace, &["--validation-share", "0.25", "--batch-size", "8"]);
    let score = |model: &str| {
        stderr(&workspace.run(&["score", "--model", model, "graded.jsonl", "-o", "scores.jsonl"]))
    };
    let log = score("run");
    assert!(
        log.contains(
            "using `run/model`, the model after the last step; give `run/best` to use the one"
        ),
        "{log}"
    );
    for model in ["run/model", "run/best"] {
        assert!(!score(model).contains("after the last step"), "{model} names one");
    }
    let log = stderr(&workspace.run(&["inspect", "run"]));
    assert!(log.contains("using `run/model`"), "{log}");
}

#[test]
fn rewards_that_are_not_finite_are_errors() {
    let workspace = Workspace::new();
    log_of(&workspace, &["--learning-rate", "0.05", "--warmup", "0", "--batch-size", "16"]);
    let score = ["--quiet", "score", "--model", "run", "graded.jsonl", "-o", "scores.jsonl"];
    let error = workspace.error_of(&[&score[..], &["--beta", "1e308"]].concat());
    assert!(
        error.contains("completion 1 of problem `1` has no finite reward: the reward of step 1 is")
            && error.contains("with a beta of 1e308"),
        "{error}"
    );
    assert!(error.contains("hint: lower `--beta`"), "{error}");
    assert!(!workspace.path("scores.jsonl").exists());
    let train = [&TRAIN[..], &["--quiet", "--run", "extreme", "--beta", "1e308"]].concat();
    let error = workspace.error_of(&train);
    assert!(error.starts_with("error: step 1: the "), "{error}");
    assert!(error.contains("hint: lower the learning rate or `--beta`"), "{error}");

    let error = workspace.error_of(&["theory", "--exact", "--beta", "1e308"]);
    assert!(error.contains("`beta` should be so small that every reward is finite"), "{error}");
    let theory = ["--quiet", "theory", "--model", "run", "--reference", "model", "--problems", "1"];
    let prompts = ["--prompts", "graded.jsonl", "--beta", "1e308"];
    let error = workspace.error_of(&[&theory[..], &prompts].concat());
    assert!(error.contains("`beta` should be so small that every reward is finite"), "{error}");

    // Finite weights whose products are not.
    scale_weights(&workspace, "run/model/model.safetensors");
    let error = workspace.error_of(&score);
    assert!(
        error.contains(
            "completion 1 of problem `1` has no finite reward: the model computes NaN at token 1"
        ),
        "{error}"
    );
    assert!(!workspace.path("scores.jsonl").exists());
    let rollout = ["--quiet", "rollout", "--model", "run", "graded.jsonl", "-o", "rollouts.jsonl"];
    let error = workspace.error_of(&rollout);
    assert!(error.contains("are not finite\nhint: the model computes numbers beyond"), "{error}");
}

#[test]
fn a_mapped_tensor_that_is_not_finite_is_named_by_every_command() {
    let workspace = Workspace::new();
    let mut bytes = workspace.read("model/model.safetensors");
    let n_bytes = bytes.len();
    bytes[n_bytes - 4 * 64 * 16..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(workspace.path("model/model.safetensors"), bytes).expect("written");
    for command in [
        &["rollout", "graded.jsonl", "-k", "1", "-o", "out.jsonl"][..],
        &["score", "graded.jsonl", "--reference", "none", "-o", "out.jsonl"],
    ] {
        let mapped = ["--model", "model", "--weights", "mapped", "--quiet"];
        let error = workspace.error_of(&[command, &mapped[..]].concat());
        assert!(error.contains("tensor `model.layers.") && error.contains("` has NaN"), "{error}");
        assert!(!workspace.path("out.jsonl").exists());
    }
}

/// Multiplies the weights of the layers by 1e30; the embeddings before them stay.
fn scale_weights(workspace: &Workspace, name: &str) {
    let mut bytes = workspace.read(name);
    let header = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let text = std::str::from_utf8(&bytes[8..8 + header]).expect("text");
    let tensors: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let end = tensors["model.embed_tokens.weight"]["data_offsets"][1].as_u64().expect("an offset");
    for number in bytes[8 + header + end as usize..].chunks_exact_mut(4) {
        let scaled = 1e30 * f32::from_le_bytes(number.try_into().expect("four bytes"));
        number.copy_from_slice(&scaled.to_le_bytes());
    }
    std::fs::write(workspace.path(name), bytes).expect("written");
}

#[test]
fn best_of_n_takes_the_candidates_there_are() {
    let workspace = Workspace::new();
    let score = ["score", "--model", "model", "--reference", "none", "graded.jsonl"];
    ok(&workspace, &[&score[..], &["-o", "scores.jsonl"]].concat());
    let table = ok(&workspace, &["evaluate", "bon", "a=graded.jsonl,scores.jsonl"]);
    assert!(table.contains("a @4") && !table.contains("a @16"), "{table}");
}
