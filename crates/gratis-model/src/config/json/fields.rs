//! The fields of a `config.json`, each read as what it must be and refused by name where it is not.

use std::path::Path;

use serde_json::{Map, Value};

use crate::config::{Architecture, RopeScaling};
use crate::error::{Error, Result};

/// Sizes multiply: with this bound the number of parameters fits a `usize`.
pub(super) const LARGEST_SIZE: usize = 1 << 24;

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

/// Typed access to a JSON object that names path and field in its errors.
pub(super) struct Fields<'a> {
    pub(super) path: &'a Path,
    pub(super) prefix: &'static str,
    pub(super) map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The value of `field`; `None` if absent or `null`.
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn invalid(&self, field: &str, expected: &str) -> Error {
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

    pub(super) fn size(&self, field: &str, default: Option<usize>) -> Result<usize> {
        match (self.get(field), default) {
            (None, Some(default)) => Ok(default),
            (value, _) => value
                .and_then(Value::as_u64)
                .and_then(|n| usize::try_from(n).ok())
                .filter(|n| (1..=LARGEST_SIZE).contains(n))
                .ok_or_else(|| self.invalid(field, "an integer between 1 and 2^24")),
        }
    }

    pub(super) fn positive(&self, field: &str, default: Option<f64>) -> Result<f64> {
        match (self.get(field), default) {
            (None, Some(default)) => Ok(default),
            (value, _) => value
                .and_then(Value::as_f64)
                .filter(|x| *x > 0.0)
                .ok_or_else(|| self.invalid(field, "a positive number")),
        }
    }

    pub(super) fn flag(&self, field: &str) -> Result<bool> {
        self.get(field).map_or(Ok(false), |value| {
            value.as_bool().ok_or_else(|| self.invalid(field, "`true` or `false`"))
        })
    }

    /// One token, a list of tokens, or `null`.
    pub(super) fn tokens(&self, field: &str) -> Result<Vec<u32>> {
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

    pub(super) fn architecture(&self) -> Result<Architecture> {
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

    pub(super) fn refuse_unknown_mathematics(&self) -> Result<()> {
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
    pub(super) fn rope(&self) -> Result<(f64, RopeScaling)> {
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
    pub(super) fn sliding_window(
        &self,
        architecture: Architecture,
        n_layers: usize,
    ) -> Result<Option<usize>> {
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
