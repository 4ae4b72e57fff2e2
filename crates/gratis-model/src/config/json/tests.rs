//! What is read, written and refused of a `config.json`.

use super::*;

fn parse(config: &Value) -> Result<ModelConfig> {
    ModelConfig::from_json(&config.to_string(), Path::new("config.json"))
}

fn with(name: &str, fields: Value) -> Value {
    let mut config = json!({
        "architectures": [name],
        "vocab_size": 100,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
    });
    for (field, value) in fields.as_object().expect("an object") {
        config[field] = value.clone();
    }
    config
}

fn llama(fields: Value) -> Value {
    with("LlamaForCausalLM", fields)
}

fn message(config: &Value) -> String {
    parse(config).expect_err("refused").to_string()
}

#[test]
fn absent_fields_take_the_defaults_of_the_class() {
    let mut bare = llama(json!({}));
    for field in ["num_key_value_heads", "head_dim"] {
        bare.as_object_mut().expect("an object").remove(field);
    }
    let config = parse(&bare).expect("valid");
    assert_eq!((config.n_kv_heads, config.head_dim, config.context_length), (4, 16, 2048));
    assert_eq!((config.bos_token, config.eos_tokens), (Some(1), vec![2]));
    assert_eq!((config.head, config.rope_theta), (Head::Untied, 10_000.0));
    let mistral = parse(&with("MistralForCausalLM", json!({}))).expect("valid");
    assert_eq!((mistral.sliding_window, mistral.context_length), (Some(4096), 131_072));
    bare["architectures"] = json!(["Qwen3ForCausalLM"]);
    bare["num_attention_heads"] = json!(64);
    let qwen = parse(&bare).expect("valid");
    assert_eq!((qwen.n_kv_heads, qwen.head_dim, qwen.bos_token), (32, 128, None));
}

#[test]
fn special_tokens_may_be_one_several_or_none() {
    let eos = |value| parse(&llama(json!({"eos_token_id": value}))).expect("valid").eos_tokens;
    assert_eq!(eos(json!(7)), [7]);
    assert_eq!(eos(json!([128_001, 128_008])), [128_001, 128_008]);
    assert_eq!(eos(json!(null)), [0; 0]);
    assert!(message(&llama(json!({"eos_token_id": "</s>"}))).contains("`eos_token_id`"));
}

#[test]
fn llama3_scaling_is_read_under_each_of_its_names() {
    let numbers = json!({
        "factor": 8.0, "low_freq_factor": 1, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let named = |key: &str| {
        let mut object = numbers.clone();
        object[key] = json!("llama3");
        object
    };
    let mut newer = named("rope_type");
    newer["rope_theta"] = json!(5e5);
    for fields in [
        json!({"rope_theta": 5e5, "rope_scaling": named("rope_type")}),
        json!({"rope_theta": 500_000, "rope_scaling": named("type")}),
        json!({"rope_parameters": newer}),
    ] {
        let config = parse(&llama(fields)).expect("valid");
        let expected = RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context_length: 8192,
        };
        assert_eq!((config.rope_theta, config.rope_scaling), (5e5, expected));
    }
    let incomplete = llama(json!({"rope_scaling": {"rope_type": "llama3", "factor": 8}}));
    assert!(message(&incomplete).contains("`rope_scaling.low_freq_factor`"));
}

#[test]
fn windows_follow_the_rules_of_each_architecture() {
    let window = |name, fields| parse(&with(name, fields)).expect("valid").sliding_window;
    assert_eq!(window("LlamaForCausalLM", json!({"sliding_window": 9})), None);
    assert_eq!(window("MistralForCausalLM", json!({"sliding_window": null})), None);
    assert_eq!(window("MistralForCausalLM", json!({"sliding_window": 9})), Some(9));
    let qwen = |fields| window("Qwen2ForCausalLM", fields);
    assert_eq!(qwen(json!({"sliding_window": 9})), None);
    let on = json!({"use_sliding_window": true, "sliding_window": 9, "max_window_layers": 0});
    assert_eq!(qwen(on.clone()), Some(9));
    let mut off = on.clone();
    off["max_window_layers"] = json!(2);
    assert_eq!(qwen(off), None);
    let mut typed = on.clone();
    typed["layer_types"] = json!(["sliding_attention", "sliding_attention"]);
    assert_eq!(qwen(typed.clone()), Some(9));
    typed["layer_types"][0] = json!("full_attention");
    assert!(message(&with("Qwen2ForCausalLM", typed)).contains("`layer_types`"));
    let mut mixed = on;
    mixed["max_window_layers"] = json!(1);
    assert!(message(&with("Qwen2ForCausalLM", mixed)).contains("`max_window_layers`"));
}

#[test]
fn what_changes_the_mathematics_is_refused_by_name() {
    for (field, value) in [
        ("architectures", json!(["GPT2LMHeadModel"])),
        ("architectures", json!(["LlamaForSequenceClassification"])),
        ("hidden_act", json!("gelu")),
        ("attention_bias", json!(true)),
        ("mlp_bias", json!(true)),
        ("partial_rotary_factor", json!(0.5)),
        ("quantization_config", json!({"bits": 4})),
        ("final_logit_softcapping", json!(30.0)),
        ("num_local_experts", json!(8)),
        ("is_causal", json!(false)),
        ("per_layer_config", json!({"0": {"num_attention_heads": 2}})),
    ] {
        let mut config = llama(json!({}));
        config[field] = value;
        let message = message(&config);
        assert!(message.contains(&format!("`{field}`")), "{message}");
        assert!(message.contains("not supported"), "{message}");
    }
    let yarn = llama(json!({"rope_scaling": {"type": "yarn", "factor": 4.0}}));
    assert_eq!(
        message(&yarn),
        "`config.json`: `rope_scaling.type` = `\"yarn\"` is not supported; supported: \
         `default`, `llama3`, `linear` with factor 1"
    );
    let partial =
        llama(json!({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}));
    assert!(message(&partial).contains("`rope_parameters.partial_rotary_factor`"));
}

/// What `transformers` 5.24 does with both, and what a `rope_parameters` alone means.
#[test]
fn rope_scaling_replaces_rope_parameters() {
    let llama3 = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let rope = |fields: Value| {
        let config = parse(&llama(fields)).expect("valid");
        (config.rope_theta, config.rope_scaling)
    };
    let original = |scaling| match scaling {
        RopeScaling::Llama3 { original_context_length, .. } => original_context_length,
        RopeScaling::None => 0,
    };
    let parameters = json!({"rope_type": "default", "rope_theta": 5e5});
    let both = json!({"rope_scaling": llama3, "rope_parameters": parameters});
    // The base of `rope_parameters` goes with it.
    let (theta, scaling) = rope(both);
    assert_eq!((theta, original(scaling)), (10_000.0, 8192));
    let empty = json!({"rope_scaling": {}, "rope_parameters": parameters});
    assert_eq!(rope(empty), (5e5, RopeScaling::None));
    let null = json!({"rope_scaling": null, "rope_parameters": parameters, "rope_theta": 7.0});
    assert_eq!(rope(null), (5e5, RopeScaling::None));
    // Nothing in it: the root's base.
    assert_eq!(rope(json!({"rope_parameters": {}, "rope_theta": 7.0})), (7.0, RopeScaling::None));
    assert_eq!(rope(json!({"rope_parameters": {"rope_theta": 7.0}})), (7.0, RopeScaling::None));
    let linear = |factor: f64| json!({"rope_scaling": {"type": "linear", "factor": factor}});
    assert_eq!(rope(linear(1.0)), (10_000.0, RopeScaling::None));
    assert!(message(&llama(linear(2.0))).contains("`rope_scaling.factor` = `2.0` is not"));
    // The root's length wins, and the context's stands in for one that is absent.
    let root = json!({"rope_scaling": llama3, "original_max_position_embeddings": 64});
    assert_eq!(original(rope(root).1), 64);
    let mut shortened = llama3.clone();
    shortened.as_object_mut().expect("an object").remove("original_max_position_embeddings");
    let absent = json!({"rope_scaling": shortened, "max_position_embeddings": 96});
    assert_eq!(original(rope(absent).1), 96);
    let sections = json!({"rope_scaling": {"type": "default", "mrope_section": [16, 24, 24]}});
    assert!(message(&llama(sections)).contains("`rope_scaling.mrope_section`"));
    let unknown = json!({"rope_parameters": {"rope_type": "default", "full_attention": {}}});
    assert!(message(&llama(unknown)).contains("unknown field `rope_parameters.full_attention`"));
}

#[test]
fn the_architecture_is_what_both_of_its_fields_say() {
    let architecture = |names: Value, model_type: Value| {
        let mut config = llama(json!({}));
        config["architectures"] = names;
        config["model_type"] = model_type;
        parse(&config).map(|config| config.architecture)
    };
    for (names, model_type) in [
        (json!(["LlamaForCausalLM"]), json!("llama")),
        (json!(["LlamaForCausalLM"]), json!(null)),
        (json!([]), json!("llama")),
        (json!(null), json!("llama")),
        (json!(["LlamaModel"]), json!("llama")),
        (json!(["LlamaForCausalLM", "LlamaForCausalLM"]), json!("llama")),
        (json!(["LlamaForCausalLM", "LlamaModel"]), json!("llama")),
    ] {
        assert_eq!(architecture(names, model_type).expect("valid"), Architecture::Llama);
    }
    for (names, model_type, expected) in [
        (json!(["LlamaForCausalLM"]), json!("mistral"), "`model_type` = `\"mistral\"` is not"),
        (json!(["LlamaForCausalLM"]), json!("gemma"), "`model_type` = `\"gemma\"` is not"),
        (json!([]), json!("gemma"), "`model_type` = `\"gemma\"` is not"),
        (json!(["LlamaForCausalLM", "MistralForCausalLM"]), json!("llama"), "`architectures` = "),
        (json!(["LlamaForTokenClassification"]), json!("llama"), "`architectures` = "),
        (json!([]), json!(null), "`architectures` must be present"),
    ] {
        let message = architecture(names, model_type).expect_err("refused").to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn layer_types_count_for_every_architecture() {
    let window = |name, types: Value, fields: Value| {
        let mut config = with(name, fields);
        config["layer_types"] = types;
        parse(&config).map(|config| config.sliding_window)
    };
    let full = json!(["full_attention", "full_attention"]);
    let sliding = json!(["sliding_attention", "sliding_attention"]);
    let mixed = json!(["full_attention", "sliding_attention"]);
    let nine = || json!({"sliding_window": 9});
    let mistral = |types: &Value| window("MistralForCausalLM", types.clone(), nine());
    assert_eq!(mistral(&full).expect("valid"), None);
    assert_eq!(mistral(&sliding).expect("valid"), Some(9));
    for (name, types) in [
        ("MistralForCausalLM", &mixed),
        ("LlamaForCausalLM", &sliding),
        ("Qwen2ForCausalLM", &sliding),
    ] {
        let message = window(name, types.clone(), nine()).expect_err("refused").to_string();
        assert!(message.contains("`layer_types`"), "{message}");
    }
    assert_eq!(window("LlamaForCausalLM", full, nine()).expect("valid"), None);
}

#[test]
fn a_field_that_nobody_has_considered_is_refused() {
    let message = message(&llama(json!({"attention_sink_size": 4})));
    assert_eq!(message, "`config.json`: unknown field `attention_sink_size` = 4");
    // What is absent in effect, or known to have none.
    let known = json!({
        "attention_sink_size": null, "use_cache": true, "torch_dtype": "bfloat16",
        "transformers_version": "5.24.0", "pad_token_id": 0, "pretraining_tp": 2, "top_p": 0.9,
    });
    assert_eq!(parse(&llama(known)).expect("valid"), parse(&llama(json!({}))).expect("valid"));
}

#[test]
fn impossible_fields_are_named() {
    for (field, value) in [
        ("vocab_size", json!(null)),
        ("hidden_size", json!(-1)),
        ("intermediate_size", json!("wide")),
        ("num_hidden_layers", json!(1u64 << 40)),
        ("num_attention_heads", json!(0)),
        ("num_key_value_heads", json!(3)),
        ("head_dim", json!(15)),
        ("rms_norm_eps", json!(0.0)),
        ("tie_word_embeddings", json!("yes")),
    ] {
        let mut config = llama(json!({}));
        config[field] = value;
        let message = message(&config);
        assert!(message.contains(&format!("field `{field}` must be")), "{message}");
    }
    let error = ModelConfig::from_json("{", Path::new("config.json")).expect_err("truncated");
    assert!(matches!(error, Error::MalformedFile { .. }));
    let error = ModelConfig::read(Path::new("absent/config.json")).expect_err("absent");
    assert!(matches!(error, Error::MissingFile { path, .. } if path == Path::new("absent")));
}

#[test]
fn what_is_written_is_read_back() {
    let scaling = json!({
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    });
    for config in [
        llama(json!({"rope_scaling": scaling, "tie_word_embeddings": true})),
        llama(json!({"eos_token_id": [1, 2], "bos_token_id": null, "rms_norm_eps": 1e-5})),
        with("MistralForCausalLM", json!({"sliding_window": 9})),
        with("MistralForCausalLM", json!({"sliding_window": null})),
        with("Qwen2ForCausalLM", json!({})),
        with(
            "Qwen3ForCausalLM",
            json!({"use_sliding_window": true, "sliding_window": 5, "max_window_layers": 0}),
        ),
    ] {
        let path = Path::new("config.json");
        let config = parse(&config).expect("valid");
        let text = config.to_json(WeightType::Bf16, path).expect("expressible");
        assert_eq!(ModelConfig::from_json(&text, path).expect("valid"), config);
        assert!(text.contains("\"torch_dtype\": \"bfloat16\""));
    }
}

#[test]
fn a_window_cannot_be_written_into_a_llama() {
    let mut config = parse(&llama(json!({}))).expect("valid");
    config.sliding_window = Some(4);
    let error = config.to_json(WeightType::F32, Path::new("config.json")).expect_err("lossy");
    assert!(error.to_string().contains("`sliding_window` = 4"));
}
