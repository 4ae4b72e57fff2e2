//! What is read, written and refused of a `config.json`.

use super::*;
use crate::config::ExpertWeights;

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
    let mut mixed = on;
    mixed["max_window_layers"] = json!(1);
    for fields in [typed, mixed] {
        let config = parse(&with("Qwen2ForCausalLM", fields)).expect("valid");
        assert_eq!([0, 1].map(|layer| config.window_of(layer)), [None, Some(9)]);
    }
    let windows = |name, fields| {
        let mut fields: Value = fields;
        fields["num_hidden_layers"] = json!(6);
        let config = parse(&with(name, fields)).expect("valid");
        (0..6).map(|layer| config.window_of(layer).unwrap_or(0)).collect::<Vec<_>>()
    };
    let nine = || json!({"sliding_window": 9});
    assert_eq!(windows("Gemma2ForCausalLM", nine()), [9, 0, 9, 0, 9, 0]);
    assert_eq!(windows("Olmo3ForCausalLM", nine()), [9, 9, 9, 0, 9, 9]);
    assert_eq!(windows("Gemma3ForCausalLM", nine()), [9, 9, 9, 9, 9, 0]);
    let pattern = json!({"sliding_window": 9, "sliding_window_pattern": 3});
    assert_eq!(windows("Gemma3ForCausalLM", pattern), [9, 9, 0, 9, 9, 0]);
    let smol = json!({"sliding_window": 9, "use_sliding_window": true});
    assert_eq!(windows("SmolLM3ForCausalLM", smol), [0, 0, 0, 9, 0, 0]);
    assert_eq!(windows("SmolLM3ForCausalLM", nine()), [0; 6]);
    assert_eq!(windows("Phi3ForCausalLM", nine()), [9; 6]);
}

#[test]
fn experts_are_read_and_written_as_the_classes_have_them() {
    let experts = |name: &str, fields: Value| {
        let config = parse(&with(name, fields)).expect("valid");
        let text = config.to_json(WeightType::F32, Path::new("config.json")).expect("written");
        let again = ModelConfig::from_json(&text, Path::new("config.json")).expect("read again");
        assert_eq!(again, config, "{name}");
        config.experts
    };
    let by_default = experts("Qwen3MoeForCausalLM", json!({})).expect("experts");
    assert_eq!((by_default.n_experts, by_default.n_active), (128, 8));
    assert_eq!(by_default.weights, ExpertWeights::Probabilities);
    assert_eq!((by_default.intermediate_size, by_default.shared_intermediate_size), (768, None));
    let shared = experts("Qwen2MoeForCausalLM", json!({"norm_topk_prob": true})).expect("experts");
    assert_eq!((shared.n_experts, shared.shared_intermediate_size), (60, Some(5632)));
    assert_eq!(shared.weights, ExpertWeights::Normalised);
    let some = json!({"num_hidden_layers": 6, "decoder_sparse_step": 2, "mlp_only_layers": [3]});
    let some = experts("Qwen3MoeForCausalLM", some).expect("experts");
    assert_eq!(some.dense_layers, [0, 2, 3, 4]);
    assert_eq!(experts("Qwen3MoeForCausalLM", json!({"num_experts": 0})), None);
    assert_eq!(experts("Qwen3MoeForCausalLM", json!({"mlp_only_layers": [0, 1]})), None);
    let published = json!({
        "max_window_layers": 48, "mlp_only_layers": [], "norm_topk_prob": true,
        "output_router_logits": false, "router_aux_loss_coef": 0.001, "sliding_window": null,
        "use_sliding_window": false, "num_experts": 128, "num_experts_per_tok": 8,
    });
    assert!(experts("Qwen3MoeForCausalLM", published).is_some());
    for (fields, field) in [
        (json!({"num_experts": 4}), "num_experts_per_tok"),
        (json!({"num_experts": 1 << 20}), "num_experts"),
        (json!({"mlp_only_layers": "all"}), "mlp_only_layers"),
        (json!({"use_sliding_window": true}), "use_sliding_window"),
        (json!({"decoder_sparse_step": 0}), "decoder_sparse_step"),
        (json!({"attention_bias": true}), "attention_bias"),
    ] {
        let message = message(&with("Qwen3MoeForCausalLM", fields));
        assert!(message.contains(&format!("`{field}`")), "{message}");
    }
    assert!(
        message(&with("Qwen3ForCausalLM", json!({"num_experts": 8}))).contains("`num_experts`")
    );
    let unbiased = parse(&with("Qwen2MoeForCausalLM", json!({"qkv_bias": false}))).expect("valid");
    assert_eq!(unbiased.projection_extras, ProjectionExtras::None);
}

#[test]
fn layers_without_positions_and_with_their_own_rotation() {
    let ropes = |name, fields| {
        let config = parse(&with(name, fields)).expect("valid");
        [0, 1].map(|layer| config.rope_of(layer))
    };
    let smol = json!({"no_rope_layers": [0, 1]});
    assert_eq!(ropes("SmolLM3ForCausalLM", smol), [LayerRope::None, LayerRope::Global]);
    assert_eq!(ropes("SmolLM3ForCausalLM", json!({})), [LayerRope::Global; 2]);
    let types = json!({"layer_types": ["sliding_attention", "full_attention"]});
    assert_eq!(ropes("Gemma3ForCausalLM", types), [LayerRope::Local, LayerRope::Global]);
    let by_type = json!({
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5},
            "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
        },
    });
    let config = parse(&with("Gemma3ForCausalLM", by_type)).expect("valid");
    assert_eq!((config.rope_theta, config.local_rope_theta), (5e5, 300.0));
    assert_eq!(config.rope_scaling, RopeScaling::Linear { factor: 8.0 });
    let short = message(&with("SmolLM3ForCausalLM", json!({"no_rope_layers": [1]})));
    assert!(short.contains("`no_rope_layers`"), "{short}");
}

#[test]
fn stretches_are_read_as_transformers_does() {
    let yarn = |fields: Value| {
        let mut scaling = json!({"rope_type": "yarn", "factor": 4.0});
        scaling.as_object_mut().expect("an object").extend(
            fields.as_object().expect("an object").iter().map(|(k, v)| (k.clone(), v.clone())),
        );
        let config = json!({"rope_scaling": scaling, "max_position_embeddings": 512});
        match parse(&llama(config)).expect("valid").rope_scaling {
            RopeScaling::Yarn { attention_factor, original_context_length, .. } => {
                (attention_factor, original_context_length)
            }
            other => panic!("{other:?}"),
        }
    };
    let inferred = 0.1 * 4f64.ln() + 1.0;
    assert_eq!(yarn(json!({})), (inferred, 512));
    // A field of other engines, which `transformers` does not read.
    let deepseek = json!({"attn_factor": 0.878, "original_max_position_embeddings": 128});
    assert_eq!(yarn(deepseek), (inferred, 128));
    assert_eq!(yarn(json!({"attention_factor": 0.5})).0, 0.5);
    assert_eq!(yarn(json!({"mscale": 1.0, "mscale_all_dim": 1.0})).0, 1.0);

    let phi = |fields: Value| {
        let mut config = with("Phi3ForCausalLM", fields);
        config["rope_scaling"] = json!({
            "type": "longrope", "short_factor": vec![1.0; 6], "long_factor": vec![2.0; 6],
        });
        config
    };
    let fields = json!({
        "partial_rotary_factor": 0.75, "max_position_embeddings": 512,
        "original_max_position_embeddings": 128,
    });
    let config = parse(&phi(fields)).expect("valid");
    // Beyond the pretraining length the frequencies are others.
    assert_eq!((config.context_length, config.rotary_dim()), (128, 12));
    let message = message(&phi(json!({})));
    assert!(
        message.contains("`rope_scaling.short_factor` must be 8 positive numbers"),
        "{message}"
    );
}

#[test]
fn what_changes_the_mathematics_is_refused_by_name() {
    for (field, value) in [
        ("architectures", json!(["GPT2LMHeadModel"])),
        ("architectures", json!(["LlamaForSequenceClassification"])),
        ("hidden_act", json!("gelu")),
        ("attention_multiplier", json!(0.5)),
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
    for (name, field) in [
        ("Qwen3ForCausalLM", "attention_bias"),
        ("MistralForCausalLM", "mlp_bias"),
        ("Gemma3ForCausalLM", "use_bidirectional_attention"),
    ] {
        let message = message(&with(name, json!({field: true})));
        assert!(message.contains(&format!("`{field}` = `true` is not supported")), "{message}");
    }
    let gelu = message(&with("Gemma2ForCausalLM", json!({"hidden_activation": "gelu"})));
    assert!(gelu.contains("supported: `gelu_pytorch_tanh`"), "{gelu}");
    let stretch = llama(json!({"rope_scaling": {"type": "ntk", "factor": 4.0}}));
    assert_eq!(
        message(&stretch),
        "`config.json`: `rope_scaling.type` = `\"ntk\"` is not supported; supported: \
         `default`, `linear`, `dynamic`, `yarn`, `longrope`, `llama3`"
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
        _ => 0,
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
    assert_eq!(rope(linear(2.0)), (10_000.0, RopeScaling::Linear { factor: 2.0 }));
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
    assert_eq!(mistral(&mixed).expect("valid"), Some(9));
    for (name, types) in [
        ("LlamaForCausalLM", &mixed),
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
fn every_family_is_written_and_read_back() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models");
    let mut families = Vec::new();
    for folder in std::fs::read_dir(models).expect("the fixtures") {
        let path = folder.expect("a folder").path().join("config.json");
        let config = ModelConfig::read(&path).expect("valid");
        let text = config.to_json(WeightType::F32, &path).expect("expressible");
        assert_eq!(ModelConfig::from_json(&text, &path).expect("valid"), config, "{text}");
        families.push(config.architecture);
    }
    for architecture in Architecture::ALL {
        assert!(families.contains(&architecture), "{architecture:?} has no fixture");
    }
}

#[test]
fn a_window_cannot_be_written_into_a_llama() {
    let mut config = parse(&llama(json!({}))).expect("valid");
    config.sliding_window = Some(4);
    let error = config.to_json(WeightType::F32, Path::new("config.json")).expect_err("lossy");
    assert!(error.to_string().contains("`sliding_window` = 4"));
}
