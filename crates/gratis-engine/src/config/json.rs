//! `config.json` of a Hugging Face folder, read into and written from a [`ModelConfig`].
//!
//! A field that changes the mathematics is either understood or refused by name; fields about
//! dropout, initialisation, caching and the like change nothing here and are passed over. An absent
//! field takes the default of the architecture's class in `transformers`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Architecture, Head, ModelConfig, RopeScaling};
use crate::checkpoint::WeightType;
use crate::error::{Error, Result};

/// Sizes multiply: with these bounds the number of parameters fits a `usize`.
const LARGEST_SIZE: usize = 1 << 24;
const MOST_LAYERS: usize = 1 << 12;

/// Fields of related architectures that change the mathematics, with the values under which they
/// change nothing. Any other value is refused.
const NEUTRAL: &[(&str, &[Neutral])] = &[
    ("hidden_act", &[Neutral::Is("silu"), Neutral::Is("swish")]),
    ("attention_bias", &[Neutral::False]),
    ("qkv_bias", &[Neutral::False]),
    ("mlp_bias", &[Neutral::False]),
    ("lm_head_bias", &[Neutral::False]),
    ("partial_rotary_factor", &[Neutral::One]),
    ("rotary_pct", &[Neutral::One]),
    ("attn_logit_softcapping", &[]),
    ("final_logit_softcapping", &[]),
    ("query_pre_attn_scalar", &[]),
    ("attention_multiplier", &[]),
    ("clip_qkv", &[]),
    ("embedding_multiplier", &[Neutral::One]),
    ("residual_multiplier", &[Neutral::One]),
    ("logits_scaling", &[Neutral::One]),
    ("logit_scale", &[Neutral::One]),
    ("scale_emb", &[Neutral::One]),
    ("use_qk_norm", &[Neutral::False]),
    ("no_rope_layers", &[]),
    ("num_experts", &[]),
    ("num_local_experts", &[]),
    ("quantization_config", &[]),
];

/// A value under which a field changes nothing; `null` always does.
enum Neutral {
    False,
    One,
    Is(&'static str),
}

impl Neutral {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::False => value == &Value::Bool(false),
            Self::One => value.as_f64() == Some(1.0),
            Self::Is(name) => value.as_str() == Some(name),
        }
    }
}

impl ModelConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::MissingFile`], [`Error::Io`] or [`Error::MalformedFile`] if there is no readable
    /// JSON object, [`Error::InvalidConfig`] for an impossible field, [`Error::UnsupportedConfig`]
    /// for one that asks for mathematics this engine lacks.
    pub fn read(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::MissingFile {
                    path: path.to_owned(),
                    hint: "a model is a Hugging Face folder with `config.json`, \
                           `model.safetensors` and `tokenizer.json`"
                        .to_owned(),
                });
            }
            Err(source) => {
                return Err(Error::Io { action: "read", path: path.to_owned(), source });
            }
        };
        Self::from_json(&text, path)
    }

    /// Parses the text of a `config.json`; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`ModelConfig::read`].
    pub fn from_json(text: &str, path: &Path) -> Result<Self> {
        let map: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
            Error::MalformedFile { path: path.to_owned(), reason: error.to_string() }
        })?;
        let fields = Fields { path, prefix: "", map: &map };
        let architecture = fields.architecture()?;
        fields.refuse_unknown_mathematics()?;

        let hidden_size = fields.size("hidden_size", None)?;
        let n_layers = fields.size("num_hidden_layers", None)?;
        if n_layers > MOST_LAYERS {
            return Err(fields.invalid("num_hidden_layers", "at most 2^12"));
        }
        let n_heads = fields.size("num_attention_heads", None)?;
        let n_kv_heads = match (map.get("num_key_value_heads"), architecture) {
            (None, Architecture::Mistral) => 8,
            (None, Architecture::Qwen2 | Architecture::Qwen3) => 32,
            _ => fields.size("num_key_value_heads", Some(n_heads))?,
        };
        if n_heads % n_kv_heads != 0 {
            let expected = format!("a divisor of `num_attention_heads` = {n_heads}");
            return Err(fields.invalid("num_key_value_heads", &expected));
        }
        let head_dim = match (map.get("head_dim"), architecture) {
            (None, Architecture::Qwen3) => 128,
            _ => fields.size("head_dim", Some(hidden_size / n_heads))?,
        };
        if head_dim == 0 || head_dim % 2 != 0 {
            return Err(fields.invalid("head_dim", "even, for rotary positions"));
        }
        if n_heads * head_dim > LARGEST_SIZE {
            return Err(fields.invalid("num_attention_heads", "2^24 / `head_dim` at most"));
        }
        let (default_context, default_special) = match architecture {
            Architecture::Llama => (2048, Some((1, 2))),
            Architecture::Mistral => (131_072, Some((1, 2))),
            Architecture::Qwen2 | Architecture::Qwen3 => (32_768, None),
        };
        let (rope_theta, rope_scaling) = fields.rope()?;
        Ok(Self {
            architecture,
            vocab_size: fields.size("vocab_size", None)?,
            hidden_size,
            intermediate_size: fields.size("intermediate_size", None)?,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            context_length: fields.size("max_position_embeddings", Some(default_context))?,
            rms_norm_epsilon: fields.positive("rms_norm_eps", Some(1e-6))? as f32,
            rope_theta,
            rope_scaling,
            head: if fields.flag("tie_word_embeddings")? { Head::Tied } else { Head::Untied },
            projection_extras: architecture.projection_extras(),
            sliding_window: fields.sliding_window(architecture, n_layers)?,
            bos_token: match map.get("bos_token_id") {
                None => default_special.map(|(bos, _)| bos),
                Some(_) => fields.tokens("bos_token_id")?.first().copied(),
            },
            eos_tokens: match map.get("eos_token_id") {
                None => default_special.map(|(_, eos)| eos).into_iter().collect(),
                Some(_) => fields.tokens("eos_token_id")?,
            },
        })
    }

    /// The text of a `config.json` that `transformers` opens, for weights stored as `weights`.
    ///
    /// # Errors
    /// [`Error::UnsupportedConfig`] if the architecture has no field for a part of this
    /// configuration, such as a sliding window in a Llama; `path` names the file in the error.
    pub fn to_json(&self, weights: WeightType, path: &Path) -> Result<String> {
        let name = self.architecture.name();
        let refuse = |field: &str, got: String| {
            let supported = format!("what {name} has in `transformers`");
            Err(Error::UnsupportedConfig {
                path: path.to_owned(),
                field: field.to_owned(),
                got,
                supported,
            })
        };
        if self.projection_extras != self.architecture.projection_extras() {
            return refuse("projection_extras", format!("{:?}", self.projection_extras));
        }
        let mut config = json!({
            "architectures": [name],
            "model_type": self.architecture.model_type(),
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.context_length,
            // The shortest decimal of an f32, not the digits of its widening.
            "rms_norm_eps": self.rms_norm_epsilon.to_string().parse::<f64>().unwrap_or_default(),
            "rope_theta": self.rope_theta,
            "rope_scaling": match self.rope_scaling {
                RopeScaling::None => Value::Null,
                RopeScaling::Llama3 {
                    factor,
                    low_frequency_factor,
                    high_frequency_factor,
                    original_context_length,
                } => json!({
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": low_frequency_factor,
                    "high_freq_factor": high_frequency_factor,
                    "original_max_position_embeddings": original_context_length,
                }),
            },
            "tie_word_embeddings": self.head == Head::Tied,
            "bos_token_id": self.bos_token,
            "eos_token_id": match self.eos_tokens.as_slice() {
                [] => Value::Null,
                [one] => json!(one),
                several => json!(several),
            },
            "torch_dtype": weights.torch_name(),
        });
        match self.architecture {
            Architecture::Llama => {
                if let Some(window) = self.sliding_window {
                    return refuse("sliding_window", window.to_string());
                }
                config["attention_bias"] = json!(false);
                config["mlp_bias"] = json!(false);
            }
            Architecture::Mistral => config["sliding_window"] = json!(self.sliding_window),
            Architecture::Qwen2 | Architecture::Qwen3 => {
                config["use_sliding_window"] = json!(self.sliding_window.is_some());
                config["sliding_window"] = json!(self.sliding_window);
                // The first `max_window_layers` layers attend to everything.
                let n_full = if self.sliding_window.is_some() { 0 } else { self.n_layers };
                config["max_window_layers"] = json!(n_full);
            }
        }
        Ok(format!("{config:#}\n"))
    }
}

/// Typed access to a JSON object that names path and field in its errors.
struct Fields<'a> {
    path: &'a Path,
    prefix: &'static str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The value of `field`; `None` if absent or `null`.
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    fn invalid(&self, field: &str, expected: &str) -> Error {
        Error::InvalidConfig {
            path: self.path.to_owned(),
            field: format!("{}{field}", self.prefix),
            expected: expected.to_owned(),
            got: self.map.get(field).map_or_else(|| "nothing".to_owned(), |v| format!("`{v}`")),
        }
    }

    fn unsupported(&self, field: &str, supported: &str) -> Error {
        Error::UnsupportedConfig {
            path: self.path.to_owned(),
            field: format!("{}{field}", self.prefix),
            got: self.map.get(field).map_or_else(|| "nothing".to_owned(), |v| format!("`{v}`")),
            supported: supported.to_owned(),
        }
    }

    fn size(&self, field: &str, default: Option<usize>) -> Result<usize> {
        match (self.get(field), default) {
            (None, Some(default)) => Ok(default),
            (value, _) => value
                .and_then(Value::as_u64)
                .and_then(|n| usize::try_from(n).ok())
                .filter(|n| (1..=LARGEST_SIZE).contains(n))
                .ok_or_else(|| self.invalid(field, "an integer between 1 and 2^24")),
        }
    }

    fn positive(&self, field: &str, default: Option<f64>) -> Result<f64> {
        match (self.get(field), default) {
            (None, Some(default)) => Ok(default),
            (value, _) => value
                .and_then(Value::as_f64)
                .filter(|x| *x > 0.0)
                .ok_or_else(|| self.invalid(field, "a positive number")),
        }
    }

    fn flag(&self, field: &str) -> Result<bool> {
        self.get(field).map_or(Ok(false), |value| {
            value.as_bool().ok_or_else(|| self.invalid(field, "`true` or `false`"))
        })
    }

    /// One token, a list of tokens, or `null`.
    fn tokens(&self, field: &str) -> Result<Vec<u32>> {
        let values = match self.get(field) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        values
            .iter()
            .map(|value| value.as_u64().and_then(|id| u32::try_from(id).ok()))
            .collect::<Option<_>>()
            .ok_or_else(|| self.invalid(field, "a token, a list of tokens or `null`"))
    }

    fn architecture(&self) -> Result<Architecture> {
        let supported = Architecture::ALL.map(Architecture::name).join(", ");
        let find = |field: &str, name: &Value, name_of: fn(Architecture) -> &'static str| {
            Architecture::ALL
                .into_iter()
                .find(|&architecture| name.as_str() == Some(name_of(architecture)))
                .ok_or_else(|| self.unsupported(field, &supported))
        };
        match (self.get("architectures"), self.get("model_type")) {
            (Some(Value::Array(names)), _) if names.len() == 1 => {
                find("architectures", &names[0], Architecture::name)
            }
            (Some(_), _) => Err(self.unsupported("architectures", &supported)),
            (None, Some(name)) => find("model_type", name, Architecture::model_type),
            (None, None) => Err(self.invalid("architectures", "present")),
        }
    }

    fn refuse_unknown_mathematics(&self) -> Result<()> {
        for (field, neutral) in NEUTRAL {
            if let Some(value) = self.get(field)
                && !neutral.iter().any(|neutral| neutral.holds(value))
            {
                let supported = match neutral.first() {
                    None => "`null`".to_owned(),
                    Some(Neutral::False) => "`false`".to_owned(),
                    Some(Neutral::One) => "`1`".to_owned(),
                    Some(Neutral::Is(name)) => format!("`{name}`"),
                };
                return Err(self.unsupported(field, &supported));
            }
        }
        Ok(())
    }

    /// Base and stretch of the rotary frequencies, from `rope_parameters` (newer) or from
    /// `rope_theta` and `rope_scaling`.
    fn rope(&self) -> Result<(f64, RopeScaling)> {
        let (prefix, object) = match (self.get("rope_parameters"), self.get("rope_scaling")) {
            (Some(object), _) => ("rope_parameters.", object),
            (None, Some(object)) => ("rope_scaling.", object),
            (None, None) => return Ok((self.theta()?, RopeScaling::None)),
        };
        let field = prefix.trim_end_matches('.');
        let map = object.as_object().ok_or_else(|| self.invalid(field, "an object or `null`"))?;
        let rope = Fields { path: self.path, prefix, map };
        rope.refuse_unknown_mathematics()?;
        let theta = if rope.get("rope_theta").is_some() { rope.theta()? } else { self.theta()? };
        let key = if map.contains_key("rope_type") { "rope_type" } else { "type" };
        let scaling = match rope.get(key).map(Value::as_str) {
            Some(Some("default")) => RopeScaling::None,
            Some(Some("llama3")) => RopeScaling::Llama3 {
                factor: rope.positive("factor", None)?,
                low_frequency_factor: rope.positive("low_freq_factor", None)?,
                high_frequency_factor: rope.positive("high_freq_factor", None)?,
                original_context_length: rope.size("original_max_position_embeddings", None)?,
            },
            _ => return Err(rope.unsupported(key, "`default`, `llama3`")),
        };
        Ok((theta, scaling))
    }

    fn theta(&self) -> Result<f64> {
        self.positive("rope_theta", Some(10_000.0))
    }

    /// The window of all layers alike; layers that differ are refused.
    fn sliding_window(&self, architecture: Architecture, n_layers: usize) -> Result<Option<usize>> {
        let window = match architecture {
            // A Llama has no window, whatever stands there.
            Architecture::Llama => return Ok(None),
            Architecture::Mistral if self.map.contains_key("sliding_window") => {
                self.get("sliding_window").map(|_| self.size("sliding_window", None)).transpose()?
            }
            Architecture::Mistral => Some(4096),
            Architecture::Qwen2 | Architecture::Qwen3 if self.flag("use_sliding_window")? => {
                Some(self.size("sliding_window", Some(4096))?)
            }
            Architecture::Qwen2 | Architecture::Qwen3 => None,
        };
        if architecture == Architecture::Mistral || window.is_none() {
            return Ok(window);
        }
        if let Some(types) = self.get("layer_types") {
            let types = types.as_array().map(Vec::as_slice).unwrap_or_default();
            let all = |name| types.iter().all(|layer| layer.as_str() == Some(name));
            return match types.len() == n_layers {
                true if all("sliding_attention") => Ok(window),
                true if all("full_attention") => Ok(None),
                _ => Err(self.unsupported("layer_types", "the same type for every layer")),
            };
        }
        match self.get("max_window_layers").map_or(Some(28), Value::as_u64) {
            Some(0) => Ok(window),
            Some(n) if n >= n_layers as u64 => Ok(None),
            _ => {
                let supported = format!("0 or at least `num_hidden_layers` = {n_layers}");
                Err(self.unsupported("max_window_layers", &supported))
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        let partial = llama(
            json!({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}),
        );
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
}
