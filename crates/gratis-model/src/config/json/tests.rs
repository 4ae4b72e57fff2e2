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
         `default`, `llama3`"
    );
    let partial =
        llama(json!({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}));
    assert!(message(&partial).contains("`rope_parameters.partial_rotary_factor`"));
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
    assert!(matches!(error, Error::MissingFile { .. }));
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
