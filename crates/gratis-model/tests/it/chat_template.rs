//! Chat templates against `transformers`, to the byte.

use std::fs;
use std::path::Path;

use gratis_model::Error;
use gratis_model::chat_template::{
    ChatTemplate, ChatTemplates, Date, GenerationPrompt, Message, RenderOptions,
};
use serde_json::{Map, Value, json};

use crate::data::shared;

/// What `fixtures/make_chat_template_fixtures.py` wrote.
fn fixtures() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat_templates.json");
    serde_json::from_str(&fs::read_to_string(path).expect("the fixtures")).expect("JSON")
}

fn today(fixtures: &Value) -> Date {
    fixtures["today"].as_str().expect("a date").parse().expect("a date")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether the outcome is the expected text or a failure where one is expected.
fn agrees(rendered: &Result<String, Error>, expected: &Value) -> bool {
    match (rendered, &expected["text"]) {
        (Ok(text), Value::String(expected)) => text == expected,
        (Err(Error::TemplateRaised { message, .. }), Value::Null) => expected["raises"] == *message,
        (Err(Error::TemplateFailed { .. }), Value::Null) => true,
        _ => false,
    }
}

#[test]
fn every_construct_renders_as_in_jinja2() {
    let fixtures = fixtures();
    let variables = fixtures["probe_variables"].as_object().expect("variables");
    let probes = fixtures["probes"].as_array().expect("probes");
    for probe in probes {
        let source = probe["source"].as_str().expect("a source");
        let rendered = ChatTemplate::new(source)
            .and_then(|template| template.render_variables(variables, Some(today(&fixtures))));
        assert!(agrees(&rendered, probe), "{source}\n     got {rendered:?}\nexpected {probe}");
    }
    assert_eq!(probes.len(), 28);
}

#[test]
fn templates_in_use_render_as_in_transformers() {
    let Some(data) = shared("") else { return };
    let fixtures = fixtures();
    let tokens = &fixtures["tokens"];
    let mut n_agreed = 0;
    for (path, expected) in fixtures["templates"].as_object().expect("templates") {
        let template = ChatTemplate::new(&read(&data.join(path))).expect("valid");
        for (name, conversation) in fixtures["conversations"].as_object().expect("conversations") {
            let messages: Vec<Message> =
                serde_json::from_value(conversation["messages"].clone()).expect("messages");
            let options = RenderOptions {
                generation_prompt: if conversation["add_generation_prompt"] == true {
                    GenerationPrompt::Add
                } else {
                    GenerationPrompt::Omit
                },
                bos_token: tokens["bos_token"].as_str().map(str::to_owned),
                eos_token: tokens["eos_token"].as_str().map(str::to_owned),
                // The script leaves `date_string` to the template.
                date: path.contains("3.2").then(|| today(&fixtures)),
                ..RenderOptions::default()
            };
            let rendered = template.render(&messages, &options);
            let expected = &expected[name];
            assert!(agrees(&rendered, expected), "{path} {name}\n{rendered:?}\n{expected}");
            n_agreed += 1;
        }
    }
    assert_eq!(n_agreed, 60);
}

#[test]
fn agrees_with_jinja2_on_the_published_cases() {
    let Some(folder) = shared("chat_template_cases") else { return };
    let text = read(&folder.join("chat_template_cases.jsonl"));
    let mut n_agreed = 0;
    let cases = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    for case in cases.filter(|case| case["jinja2_agrees"] == true) {
        let source = case["chat_template"].as_str().expect("a source");
        let variables = case["data"].as_object().expect("variables");
        let rendered = ChatTemplate::new(source)
            .and_then(|template| template.render_variables(variables, None))
            .unwrap_or_else(|error| panic!("{} {}: {error}", case["id"], case["name"]));
        let expected = case["expected"].as_str().expect("a text");
        // Some of the cases' own expectations leave a leading BOS out.
        let bos = variables.get("bos_token").and_then(Value::as_str).unwrap_or_default();
        let is_bos_optional = case["note"].is_string();
        let stripped = rendered.strip_prefix(bos).filter(|_| is_bos_optional);
        assert!(
            rendered == expected || stripped == Some(expected),
            "{} {}\n     got {rendered:?}\nexpected {expected:?}",
            case["id"],
            case["name"]
        );
        n_agreed += 1;
    }
    assert_eq!(n_agreed, 73);
}

#[test]
fn mistral_templates_print_what_mistral_common_tokenises() {
    let Some(folder) = shared("chat_templates_mistral_official") else { return };
    let mut agreeing = Vec::new();
    let mut n_samples = 0;
    for sample in [
        "get_weather_full",
        "get_weather_no_history",
        "get_weather_no_system_prompt",
        "no_tools",
        "parallel_calls",
        "several_calls",
    ] {
        let folder_of_sample = folder.join("samples").join(sample);
        let request = read(&folder_of_sample.join("sample.json"));
        let mut variables: Map<String, Value> = serde_json::from_str(&request).expect("JSON");
        variables.insert("bos_token".to_owned(), json!("<s>"));
        variables.insert("eos_token".to_owned(), json!("</s>"));
        if variables["tools"] == json!([]) {
            variables["tools"] = Value::Null;
        }
        for version in ["v1", "v2", "v3"] {
            let path = folder_of_sample.join(format!("text_{version}.txt"));
            if !path.exists() {
                continue;
            }
            n_samples += 1;
            let pieces = read(&path).replace('▁', " ").replace("<0x0A>", "\n");
            let source = read(&folder.join(format!("{version}_spm.jinja")));
            let template = ChatTemplate::new(&source).expect("valid");
            let text = template.render_variables(&variables, None).expect("a text");
            if text == pieces {
                agreeing.push(format!("{sample} {version}"));
            }
        }
    }
    // Jinja2 agrees on the same six: on the others the templates copy the arguments of a call, or
    // set results apart, where the library prints them anew.
    assert_eq!(
        agreeing,
        [
            "no_tools v1",
            "no_tools v2",
            "no_tools v3",
            "parallel_calls v3",
            "several_calls v2",
            "several_calls v3"
        ]
    );
    assert_eq!(n_samples, 13);
}

#[test]
fn the_system_block_and_its_date_are_settable() {
    let Some(folder) = shared("chat_templates_llamacpp") else { return };
    let template = |name: &str| ChatTemplate::new(&read(&folder.join(name))).expect("valid");
    let ask = [Message::user("2 + 2?")];
    let dated = RenderOptions {
        date: Some("2025-01-31".parse().expect("a date")),
        system: Some("Be brief.".to_owned()),
        ..RenderOptions::default()
    };
    for name in ["meta-llama-Llama-3.1-8B-Instruct.jinja", "meta-llama-Llama-3.2-3B-Instruct.jinja"]
    {
        let template = template(name);
        let text = template.render(&ask, &RenderOptions::default()).expect("a text");
        assert!(text.contains("Today Date: 26 Jul 2024\n\n<|eot_id|>"), "{name}: {text}");
        let text = template.render(&ask, &dated).expect("a text");
        assert!(text.contains("Today Date: 31 Jan 2025\n\nBe brief.<|eot_id|>"), "{name}: {text}");
        // A conversation's own system message wins.
        let own = [Message::system("Own."), ask[0].clone()];
        let text = template.render(&own, &dated).expect("a text");
        assert!(text.contains("Own.<|eot_id|>") && !text.contains("Be brief."), "{name}: {text}");
    }
}

#[test]
fn templates_come_from_a_checkpoint_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(ChatTemplate::from_folder(folder.path()).expect("readable").is_none());
    let named =
        json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
    let config = json!({ "chat_template": named }).to_string();
    fs::write(folder.path().join("tokenizer_config.json"), config).expect("written");
    let source = |folder: &Path| {
        let template = ChatTemplate::from_folder(folder).expect("readable").expect("a template");
        template.source().to_owned()
    };
    assert_eq!(source(folder.path()), "d");
    fs::write(folder.path().join("chat_template.jinja"), "its own file").expect("written");
    assert_eq!(source(folder.path()), "its own file");
    let none = ChatTemplate::from_tokenizer_config(&json!({ "chat_template": null }));
    assert!(none.expect("readable").is_none());
}

#[test]
fn one_of_several_named_templates_is_selected() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let source = |name: Option<&str>| {
        let all = ChatTemplates::from_folder(folder.path()).expect("readable").expect("templates");
        all.select(name).map(|template| template.source().to_owned())
    };
    let configure = |template: Value| {
        let config = json!({ "chat_template": template }).to_string();
        fs::write(path("tokenizer_config.json"), config).expect("written");
    };
    let list = json!([{"name": "default", "template": "d"}, {"name": "rag", "template": "r"}]);
    for named in [json!({"default": "d", "rag": "r"}), list] {
        configure(named);
        assert_eq!(source(None).expect("the default"), "d");
        assert_eq!(source(Some("rag")).expect("a name"), "r");
        let message = source(Some("tools")).expect_err("unknown").to_string();
        assert!(
            message.contains("has no chat template `tools`; it has `default`, `rag`"),
            "{message}"
        );
    }
    configure(json!({"rag": "r"}));
    assert_eq!(source(None).expect("the only one"), "r");
    configure(json!({"rag": "r", "tools": "t"}));
    let message = source(None).expect_err("none is the default").to_string();
    assert!(message.contains("no chat template `default`; it has `rag`, `tools`"), "{message}");
    configure(json!(7));
    let message = ChatTemplates::from_folder(folder.path()).expect_err("a number").to_string();
    assert!(message.contains("`chat_template` must be a string, a map"), "{message}");
    // Files of their own replace them.
    fs::create_dir(path("additional_chat_templates")).expect("created");
    fs::write(path("additional_chat_templates/rag.jinja"), "file").expect("written");
    fs::write(path("chat_template.jinja"), "own").expect("written");
    assert_eq!(source(None).expect("the default"), "own");
    assert_eq!(source(Some("rag")).expect("a name"), "file");
}

#[test]
fn failures_name_the_template_and_say_why() {
    let messages = [Message::user("q")];
    let mut errors = Vec::new();
    for source in [
        "{% for %}",
        "\n{{ raise_exception('roles must alternate') }}",
        "{{ messages[0].nothing.at_all }}",
        "{{ strftime_now('%Y') }}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{{ '' }}{% endfor %}{% endfor %}",
    ] {
        let error = ChatTemplate::with_origin(source, "model/tokenizer_config.json")
            .and_then(|template| template.render(&messages, &RenderOptions::default()))
            .expect_err("a failure");
        errors.push(error.to_string());
    }
    errors.push("2024-02-30".parse::<Date>().expect_err("no such day").to_string());
    insta::assert_snapshot!(errors.join("\n"), @"
    invalid chat template in `model/tokenizer_config.json`, line 1: syntax error: unexpected end of block, expected in
    the chat template in `model/tokenizer_config.json` rejects this conversation: roles must alternate
    cannot render the chat template in `model/tokenizer_config.json`, line 1: undefined value: `messages[0].nothing` is undefined
    cannot render the chat template in `model/tokenizer_config.json`, line 1: the template asks for today's date and none was given
    cannot render the chat template in `model/tokenizer_config.json`, line 1: engine ran out of fuel
    `2024-02-30` is not a date such as `2024-07-26`, nor a format of one
    ");
}
