//! Models as users have them: adapters, mapped weights, single files; and what is said of them.

use crate::workspace::{Workspace, ok, stderr};

/// The outcome reward of every completion.
fn outcomes(scores: &str) -> Vec<f64> {
    let of_line = |line: &str| -> Vec<f64> {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let scores = line["scores"].as_array().expect("a list").iter();
        scores.map(|score| score["outcome"].as_f64().expect("a number")).collect()
    };
    scores.lines().flat_map(of_line).collect()
}

fn train_adapter(workspace: &Workspace, run: &str, more: &[&str]) {
    let arguments = "--data graded.jsonl --batch-size 8 --epochs 3 --learning-rate 1e-2";
    let lora = "--lora-rank 4 --lora-targets q_proj,v_proj,down_proj";
    let fixed = ["train", "--model", "model", "--run", run];
    let words = arguments.split(' ').chain(lora.split(' ')).chain(more.iter().copied());
    ok(workspace, &fixed.into_iter().chain(words).collect::<Vec<_>>());
}

#[test]
fn an_adapter_is_trained_scored_and_merged() {
    let workspace = Workspace::new();
    let weights = workspace.read("model/model.safetensors");
    train_adapter(&workspace, "prm", &[]);
    let names = workspace.names("prm/model");
    for name in
        ["adapter_config.json", "adapter_model.safetensors", "gratis.json", "tokenizer.json"]
    {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    assert!(!names.contains(&"model.safetensors".to_owned()), "{names:?}");
    assert_eq!(workspace.read("model/model.safetensors"), weights);

    let score = |model: &str, more: &[&str]| {
        let arguments = [&["score", "--model", model, "graded.jsonl"], more].concat();
        outcomes(&ok(&workspace, &arguments))
    };
    let adapted = score("prm", &[]);
    assert!(adapted.iter().all(|outcome| outcome.is_finite()));
    assert!(adapted.iter().any(|outcome| outcome.abs() > 1e-3), "it has learnt something");
    let base = score("model", &["--reference", "model"]);
    assert!(base.iter().all(|outcome| *outcome == 0.0), "a model against itself");

    ok(&workspace, &["merge", "prm", "-o", "merged"]);
    let merged = score("merged", &[]);
    for (adapted, merged) in adapted.iter().zip(&merged) {
        // Observed: at most 9.6e-8; the merged weights are rounded once more.
        assert!((adapted - merged).abs() < 2e-6, "{adapted} and {merged}");
    }
    let error = workspace.error_of(&["merge", "model", "-o", "other"]);
    assert!(error.contains("`model` is a model without an adapter"), "{error}");
    // As after a kill at the very end: the same command finds its own result.
    let again = workspace.run(&["merge", "prm", "-o", "merged"]);
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(
        stderr(&again).contains("`merged` already contained the same model"),
        "{}",
        stderr(&again)
    );
    let error = workspace.error_of(&["merge", "prm", "-o", "merged", "--dtype", "bf16"]);
    assert!(error.contains("`merged` already contains another model: its `"), "{error}");
    let error = workspace.error_of(&["merge", "prm", "-o", "prm/model"]);
    assert!(error.contains("`prm/model` is the adapter's own folder"), "{error}");
    let error = workspace.error_of(&[
        "init",
        "model",
        "--preset",
        "nano",
        "--tokenizer",
        "model",
        "--context-length",
        "32",
    ]);
    assert!(error.contains("`model` already contains another model: its `config.json`"), "{error}");
}

#[test]
fn an_adapter_is_resumed_to_the_same_bits_and_trained_on() {
    let workspace = Workspace::new();
    train_adapter(&workspace, "whole", &["--checkpoint-every", "3"]);
    train_adapter(&workspace, "again", &["--checkpoint-every", "3"]);
    std::fs::remove_dir_all(workspace.path("again/model")).expect("removed");
    let last = workspace.names("again/checkpoints").pop().expect("a checkpoint");
    std::fs::remove_dir_all(workspace.path(&format!("again/checkpoints/{last}"))).expect("removed");
    train_adapter(&workspace, "again", &["--checkpoint-every", "3", "--resume"]);
    let file = "model/adapter_model.safetensors";
    let read = |run: &str| workspace.read(&format!("{run}/{file}"));
    assert_eq!(read("again"), read("whole"));

    ok(&workspace, &["train", "--model", "whole", "--data", "graded.jsonl", "--run", "more"]);
    assert_ne!(read("more"), read("whole"));
    let error = workspace.error_of(
        &[
            &["train", "--model", "whole", "--data", "graded.jsonl", "--run", "x"][..],
            &["--lora-rank", "2"],
        ]
        .concat(),
    );
    assert!(error.contains("is an adapter already"), "{error}");
    let error = workspace.error_of(
        &[
            &["train", "--model", "model", "--data", "graded.jsonl", "--run", "x"][..],
            &["--weights", "mapped"],
        ]
        .concat(),
    );
    assert!(error.contains("cannot change weights that are mapped"), "{error}");
}

#[test]
fn mapped_weights_give_the_same_scores() {
    let workspace = Workspace::new();
    let score = |weights: &str| {
        ok(
            &workspace,
            &[
                "score",
                "--model",
                "model",
                "--reference",
                "none",
                "graded.jsonl",
                "--weights",
                weights,
            ],
        )
    };
    assert_eq!(score("mapped"), score("loaded"));
    let rollout = |weights: &str| {
        let arguments = ["rollout", "--model", "model", "graded.jsonl", "-k", "2"];
        let more = ["--max-tokens", "8", "--weights", weights];
        ok(&workspace, &[&arguments[..], &more].concat())
    };
    assert_eq!(rollout("mapped"), rollout("loaded"));
}

#[test]
fn scores_of_rounded_products_are_near_and_marked() {
    let workspace = Workspace::new();
    let score = |precision: &str| {
        let model = ["score", "--model", "model", "--reference", "none", "graded.jsonl"];
        workspace.run(&[&model[..], &["--precision", precision]].concat())
    };
    let exact = String::from_utf8(score("f32").stdout).expect("text");
    assert!(!exact.contains("precision"), "{exact}");
    let output = score("bf16");
    if !gratis_cpu::Precision::Bf16.is_available() {
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(text.contains("this processor has no products in bf16"), "{text}");
        return;
    }
    let rounded = String::from_utf8(output.stdout).expect("text");
    assert!(rounded.lines().all(|line| line.contains(r#""precision":"bf16""#)), "{rounded}");
    let [exact, rounded] = [exact, rounded].map(|scores| outcomes(&scores));
    assert_ne!(exact, rounded);
    let differences = exact.iter().zip(&rounded).map(|(a, b)| ((a - b) / a).abs());
    let largest = differences.fold(0.0, f64::max);
    // Observed 5.4e-5.
    assert!(largest < 2e-4, "{largest}");
}

#[test]
fn samples_stop_where_the_model_says() {
    let workspace = Workspace::new();
    let greedy = || {
        let arguments = ["rollout", "--model", "model", "graded.jsonl", "-k", "1"];
        let more = ["--max-tokens", "8", "--temperature", "0"];
        let lines = ok(&workspace, &[&arguments[..], &more].concat());
        let first = lines.lines().next().expect("a line");
        let first: serde_json::Value = serde_json::from_str(first).expect("JSON");
        first["completions"][0].as_str().expect("text").to_owned()
    };
    let before = greedy();
    assert!(!before.is_empty());
    // Every token of the vocabulary stops: the first one drawn is cut off.
    let all: Vec<u32> = (0..300).collect();
    let text = serde_json::json!({ "eos_token_id": all }).to_string();
    workspace.write("model/generation_config.json", &text);
    assert_eq!(greedy(), "");
    workspace.write("model/generation_config.json", r#"{"eos_token_id": "</s>"}"#);
    let error = workspace.error_of(&["rollout", "--model", "model", "graded.jsonl"]);
    assert!(error.contains("generation_config.json`: field `eos_token_id` must be"), "{error}");
}

#[test]
fn inspect_says_what_a_model_is() {
    let workspace = Workspace::new();
    let show = |arguments: &[&str]| {
        let folder = workspace.path("").canonicalize().expect("a folder");
        let text = ok(&workspace, &[&["inspect"], arguments].concat());
        text.replace(&format!("{}/", folder.display()), "FOLDER/")
    };
    insta::assert_snapshot!("inspect-model", show(&["model"]));
    train_adapter(&workspace, "prm", &[]);
    insta::assert_snapshot!("inspect-adapter", show(&["prm"]));
    let json: serde_json::Value = serde_json::from_str(&show(&["prm", "--json"])).expect("JSON");
    assert_eq!(json["adapter"]["rank"], 4);
    assert_eq!(json["reward"]["kind"]["objective"]["name"], "ce");
    let files = json["files"].as_array().expect("a list");
    assert_eq!(files.len(), 1, "the base's");
    let error = workspace.error_of(&["inspect", "absent"]);
    assert!(error.contains("`absent` is absent"), "{error}");
}

#[test]
fn faults_of_a_model_are_the_users() {
    let workspace = Workspace::new();
    let score = ["score", "--model", "model", "--reference", "none", "graded.jsonl"];
    let config = String::from_utf8(workspace.read("model/config.json")).expect("text");

    // A tokenizer of another model.
    workspace
        .write("model/config.json", &config.replace("\"vocab_size\": 274", "\"vocab_size\": 9"));
    let error = workspace.error_of(&score);
    assert!(error.contains("`model.embed_tokens.weight` must have shape [9, 64]"), "{error}");
    workspace.write("model/config.json", &config);
    let tokenizer = String::from_utf8(workspace.read("model/tokenizer.json")).expect("text");
    let more = r#""added_tokens": [{"id": 274, "content": "<more>", "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false, "special": true},"#;
    let larger = tokenizer.replace("\"added_tokens\": [", more);
    assert_ne!(larger, tokenizer);
    workspace.write("model/tokenizer.json", &larger);
    let error = workspace.error_of(&score);
    assert!(
        error.contains("the tokenizer has token 274, but the model has only 274 embeddings"),
        "{error}"
    );
    assert!(error.contains("hint: the folder mixes files of two models"), "{error}");
    workspace.write("model/tokenizer.json", &tokenizer);

    // Truncated weights, loaded and mapped.
    let weights = workspace.read("model/model.safetensors");
    std::fs::write(workspace.path("model/model.safetensors"), &weights[..weights.len() - 9])
        .expect("written");
    for storage in ["loaded", "mapped"] {
        let error = workspace.error_of(&[&score[..], &["--weights", storage]].concat());
        assert!(error.contains("model.safetensors` is malformed: its tensors end at"), "{error}");
    }
}

/// A Llama really trained, in llama.cpp's single file.
#[test]
#[expect(clippy::print_stderr, reason = "says why nothing was tested")]
fn a_gguf_file_is_a_model() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("../../../shared/data/tiny_llama_stories260k");
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let is_gguf = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "gguf");
    let Some(file) = entries.map(|entry| entry.path()).find(is_gguf) else {
        eprintln!("skipped: no GGUF file in `{}`", folder.display());
        return;
    };
    let file = file.to_str().expect("text");
    let workspace = Workspace::new();
    let page = ok(&workspace, &["inspect", file]);
    assert!(page.contains("LlamaForCausalLM"), "{page}");
    workspace.write("story.jsonl", r#"{"prompt": "Once upon a time", "reference": ""}"#);
    let arguments = ["rollout", "--model", file, "story.jsonl", "-k", "1", "--temperature", "0"];
    let lines = ok(&workspace, &[&arguments[..], &["--max-tokens", "20"]].concat());
    assert!(lines.contains("there was a little girl named Lily"), "{lines}");
    workspace.write("told.jsonl", &lines);
    let scores = ok(&workspace, &["score", "--model", file, "--reference", file, "told.jsonl"]);
    assert!(outcomes(&scores).iter().all(|outcome| *outcome == 0.0));
}

#[test]
fn a_chat_template_becomes_the_prompt_of_the_reward_model() {
    let workspace = Workspace::new();
    let score_alone = ["score", "--model", "model", "--reference", "none", "graded.jsonl"];
    let error = workspace.error_of(&[&score_alone[..], &["--template", "chat"]].concat());
    assert!(error.contains("`model` has no chat template"), "{error}");
    assert!(error.contains("hint: give the prompt as a text"), "{error}");

    // The context of this model is short.
    let source = "{% if strftime_now is defined %}{{ strftime_now('%j') }}\\n{% endif %}\
                  {% for m in messages %}{{ m.role[0] }}:{{ m.content | trim }}\\n{% endfor %}\
                  {% if add_generation_prompt %}a:{% endif %}";
    workspace.write("model/chat_template.jinja", &source.replace("\\n", "{{ '\\n' }}"));
    let train = |run: &str, prompt: &[&str]| {
        let fixed = ["train", "--model", "model", "--data", "graded.jsonl", "--run", run];
        ok(&workspace, &[&fixed, prompt].concat());
        let manifest = workspace.read(&format!("{run}/model/gratis.json"));
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
        manifest["template"].as_str().expect("text").to_owned()
    };
    let chat = ["--template", "chat", "--chat-system", "Count.", "--chat-date", "2024-07-06"];
    // The template prints no beginning of sequence, so none is added, as in `transformers`.
    let prompt = "{no_bos}188\ns:Count.\nu:{prompt|trim}\na:";
    assert_eq!(train("chat", &chat), prompt);
    assert_eq!(train("text", &["--template", prompt]), prompt);
    let file = |run: &str| workspace.read(&format!("{run}/model/model.safetensors"));
    assert_eq!(file("chat"), file("text"), "the same prompts, the same training");

    // The prompt is the reward model's own from here on; what the template says later is nothing.
    let score = |more: &[&str]| {
        outcomes(&ok(&workspace, &[&["score", "--model", "chat", "graded.jsonl"], more].concat()))
    };
    let scores = score(&[]);
    assert_eq!(score(&chat), scores);
    assert_ne!(score(&["--template", "{prompt}"]), scores);
    workspace.write("chat/model/chat_template.jinja", "{{ raise_exception('no users here') }}");
    assert_eq!(score(&[]), scores);
    let error =
        workspace.error_of(&["score", "--model", "chat", "graded.jsonl", "--template", "chat"]);
    assert!(error.contains("cannot use the chat template of `chat/model`"), "{error}");
    assert!(error.contains("chat_template.jinja") && error.contains("no users here"), "{error}");
    let error =
        workspace.error_of(&["score", "--model", "chat", "graded.jsonl", "--chat-system", "x"]);
    assert!(error.contains("`--chat-system` applies to chat templates"), "{error}");

    let report = ok(&workspace, &["inspect", "model"]);
    assert!(report.contains(r#""{no_bos}u:{prompt|trim}\na:""#), "{report}");
    let report = ok(&workspace, &["inspect", "chat"]);
    assert!(report.contains("no users here"), "{report}");
}

#[test]
fn a_chat_template_takes_arguments_and_has_a_name() {
    let workspace = Workspace::new();
    let source = "{{ bos_token }}{{ messages[0].content }}{{ pad_token }}\
                  {% if enable_thinking is defined and not enable_thinking %}<no>{% endif %}{{ n }}";
    let settings = serde_json::json!({
        "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>",
        "chat_template": {"default": source, "brief": "{{ bos_token }}{{ messages[0].content }}!"},
    });
    workspace.write("model/tokenizer_config.json", &settings.to_string());
    let manifest = |run: &str, more: &[&str]| -> serde_json::Value {
        let fixed = ["train", "--model", "model", "--data", "graded.jsonl", "--run", run];
        ok(&workspace, &[&fixed[..], &["--template", "chat"], more].concat());
        let manifest = workspace.read(&format!("{run}/model/gratis.json"));
        serde_json::from_slice(&manifest).expect("JSON")
    };
    let of = manifest("plain", &[]);
    assert_eq!(of["template"], "<s>{prompt}</s>");
    assert_eq!(of["chat"], serde_json::json!({}));
    let arguments = ["--template-arg", "enable_thinking=false", "--template-arg", "n=[1, 2]"];
    let of = manifest("arguments", &arguments);
    assert_eq!(of["template"], "<s>{prompt}</s><no>[1, 2]");
    let expected = serde_json::json!({"arguments": {"enable_thinking": false, "n": [1, 2]}});
    assert_eq!(of["chat"], expected);
    let of = manifest("brief", &["--chat-template", "brief"]);
    assert_eq!(of["template"], "<s>{prompt}!");
    assert_eq!(of["chat"], serde_json::json!({"name": "brief"}));
    // What is trained on from a run keeps its record.
    ok(&workspace, &["train", "--model", "brief", "--data", "graded.jsonl", "--run", "more"]);
    let more: serde_json::Value =
        serde_json::from_slice(&workspace.read("more/model/gratis.json")).expect("JSON");
    assert_eq!((&more["template"], &more["chat"]), (&of["template"], &of["chat"]));

    let report = ok(&workspace, &["inspect", "model"]);
    assert!(report.contains("brief, default"), "{report}");
    let rollout = ["rollout", "--model", "model", "graded.jsonl"];
    let error_of = |more: &[&str]| workspace.error_of(&[&rollout[..], more].concat());
    let error = error_of(&["--template", "chat", "--chat-template", "tools"]);
    assert!(error.contains("no chat template `tools`; it has `brief`, `default`"), "{error}");
    let error = error_of(&["--template-arg", "n=1"]);
    assert!(error.contains("`--template-arg` applies to chat templates"), "{error}");
    let error = error_of(&["--template", "chat", "--template-arg", "n=abc"]);
    assert!(error.contains("a text is written with its quotes"), "{error}");
    // Code from a stranger.
    workspace.write("model/chat_template.jinja", "{{ messages[0].content | indent(10 ** 11) }}");
    let error = error_of(&["--template", "chat"]);
    assert!(error.contains("`indent` of 100000000000: at most 100000 is allowed"), "{error}");
}

#[test]
fn impossible_sizes_and_names_of_files_are_refused() {
    let workspace = Workspace::new();
    let error_of = |words: &str| workspace.error_of(&words.split(' ').collect::<Vec<_>>());
    let error = error_of("init new --tokenizer model --context-length 0");
    assert!(error.contains("`--context-length` is 0"), "{error}");
    for vocab in ["1000000000", "18446744073709551615"] {
        let error = error_of(&format!("init new --train-tokenizer graded.jsonl --vocab {vocab}"));
        assert!(error.contains("at most 1048576 tokens are supported"), "{error}");
    }
    for command in ["merge model -o new.gguf", "init new.GGUF --tokenizer model"] {
        let error = error_of(command);
        assert!(error.contains("is a file name, but models are written as folders"), "{error}");
    }
    assert!(!workspace.path("new.gguf").exists());
}

#[test]
fn adapters_and_configurations_that_say_something_else_are_refused_by_name() {
    let workspace = Workspace::new();
    train_adapter(&workspace, "prm", &[]);
    let edit = |file: &str, field: &str, value: serde_json::Value| {
        let mut json: serde_json::Value =
            serde_json::from_slice(&workspace.read(file)).expect("JSON");
        json[field] = value;
        workspace.write(file, &json.to_string());
    };
    let error_of = || workspace.error_of(&["score", "--model", "prm", "graded.jsonl"]);
    edit("prm/model/adapter_config.json", "init_lora_weights", "pissa".into());
    assert!(error_of().contains("`init_lora_weights` = \"pissa\" is not supported"));
    edit("prm/model/adapter_config.json", "init_lora_weights", true.into());
    edit("prm/model/adapter_config.json", "new_kind_of_lora", true.into());
    assert!(error_of().contains("unknown field `new_kind_of_lora` = true"), "{}", error_of());
    let error_of = || workspace.error_of(&["inspect", "model"]);
    edit("model/config.json", "attention_sinks", 4.into());
    let error = error_of();
    assert!(error.contains("unknown field `attention_sinks` = 4"), "{error}");
    assert!(error.contains("hint: it may change what the model computes"), "{error}");
}

#[test]
fn training_on_keeps_the_reference_of_the_reward_model() {
    let workspace = Workspace::new();
    let train = |model: &str, run: &str, more: &[&str]| {
        let arguments = ["train", "--model", model, "--data", "graded.jsonl", "--run", run];
        ok(&workspace, &[&arguments[..], &["--max-steps", "2"], more].concat());
        let manifest = workspace.read(&format!("{run}/model/gratis.json"));
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
        manifest["reference"]["path"].as_str().map(str::to_owned)
    };
    let base = Some("../../model".to_owned());
    assert_eq!(train("model", "first", &[]), base);
    assert_eq!(train("first", "second", &[]), base, "not the reward model itself");
    assert_eq!(
        train("first", "named", &["--reference", "first"]).as_deref(),
        Some("../../first/model")
    );
    assert_eq!(train("first", "alone", &["--reference", "none"]), None);
    // An adapter's reference is its base, with or without `gratis.json`.
    train_adapter(&workspace, "adapter", &[]);
    assert_eq!(train("adapter", "third", &[]), base);
    std::fs::remove_file(workspace.path("adapter/model/gratis.json")).expect("removed");
    assert_eq!(train("adapter", "fourth", &[]), base);
}

#[test]
fn another_reference_than_that_of_the_training_is_refused() {
    let workspace = Workspace::new();
    let arguments = ["train", "--model", "model", "--data", "graded.jsonl", "--run", "prm"];
    ok(&workspace, &[&arguments[..], &["--max-steps", "1"]].concat());
    let score = ["--quiet", "score", "--model", "prm", "--reference", "prm", "graded.jsonl"];
    let error = workspace.error_of(&score);
    assert!(error.contains("is not the reference used in training"), "{error}");
    ok(&workspace, &[&score[..], &["--accept-reference"]].concat());

    // Policy and reference of two vocabularies: the first token that differs is named.
    std::fs::create_dir(workspace.path("other")).expect("a folder");
    for name in workspace.names("model") {
        let from = workspace.path(&format!("model/{name}"));
        std::fs::copy(from, workspace.path(&format!("other/{name}"))).expect("copied");
    }
    let tokenizer = String::from_utf8(workspace.read("other/tokenizer.json")).expect("text");
    workspace.write("other/tokenizer.json", &tokenizer.replacen("\"!\"", "\"\u{20ac}\"", 1));
    let score = ["score", "--model", "prm", "--reference", "other", "graded.jsonl"];
    let error = workspace.error_of(&score);
    assert!(error.contains("has another tokenizer: token"), "{error}");
    let train = ["train", "--model", "model", "--reference", "other", "--data", "graded.jsonl"];
    let error = workspace.error_of(&[&train[..], &["--run", "never"]].concat());
    assert!(error.contains("has another tokenizer: token"), "{error}");
}

#[test]
fn a_tokenizer_that_panics_is_an_error_of_the_file() {
    let workspace = Workspace::new();
    let mut pipeline: serde_json::Value =
        serde_json::from_slice(&workspace.read("model/tokenizer.json")).expect("JSON");
    // Every token becomes the one letter that is stripped, and the library counts below zero.
    pipeline["decoder"] = serde_json::json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"Regex": "(?s)^.*$"}, "content": "a"},
        {"type": "Strip", "content": "a", "start": 0, "stop": 1000},
    ]});
    workspace.write("model/tokenizer.json", &pipeline.to_string());
    let arguments = ["rollout", "--model", "model", "graded.jsonl", "-k", "1", "--max-tokens", "2"];
    let error = workspace.error_of(&arguments);
    assert!(error.contains("`tokenizer.json` describes a pipeline that panics"), "{error}");
    assert!(!error.contains("internal error"), "{error}");
}
