//! Typed reading of the fields of a `config.json`; an invalid field is rejected by name.

use std::path::Path;

use serde_json::{Map, Value};

use super::considered::{self, Neutral};
use crate::config::{Architecture, RopeScaling};
use crate::error::{Error, Result};

/// Sizes multiply: with this bound the number of parameters fits a `usize`.
pub(super) const LARGEST_SIZE: usize = 1 << 24;

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
            got: self
                .map
                .get(field)
                .map_or_else(|| "nothing".to_owned(), |v| format!("`{}`", brief(v))),
        }
    }

    fn unsupported(&self, field: &str, supported: &str) -> Error {
        Error::UnsupportedConfig {
            path: self.path.to_owned(),
            field: format!("{}{field}", self.prefix),
            got: self
                .map
                .get(field)
                .map_or_else(|| "nothing".to_owned(), |v| format!("`{}`", brief(v))),
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

    /// The architecture, by `model_type` and `architectures`, which must agree. `transformers`
    /// decides by `model_type`; a list may name the trunk alone (`LlamaModel`) or repeat itself.
    pub(super) fn architecture(&self) -> Result<Architecture> {
        let names = match self.get("architectures") {
            None => &[][..],
            Some(Value::Array(names)) => names.as_slice(),
            Some(_) => return Err(self.invalid("architectures", "a list of names")),
        };
        let supported = || Architecture::ALL.map(Architecture::name).join(", ");
        let mut listed = None;
        for name in names {
            let name = name.as_str().unwrap_or_default();
            let known = Architecture::ALL.into_iter().find(|architecture| {
                name == architecture.name() || name == architecture.trunk_name()
            });
            if known.is_none() || listed.is_some_and(|other| Some(other) != known) {
                return Err(self.unsupported("architectures", &supported()));
            }
            listed = known;
        }
        let Some(model_type) = self.get("model_type") else {
            return listed.ok_or_else(|| self.invalid("architectures", "present"));
        };
        let typed = Architecture::ALL
            .into_iter()
            .find(|architecture| model_type.as_str() == Some(architecture.model_type()));
        match (typed, listed) {
            (Some(typed), None) => Ok(typed),
            (Some(typed), Some(listed)) if typed == listed => Ok(typed),
            (_, Some(listed)) => {
                let supported = format!(
                    "`{}`, as `architectures` names {}",
                    listed.model_type(),
                    listed.name()
                );
                Err(self.unsupported("model_type", &supported))
            }
            (None, None) => {
                let supported = Architecture::ALL.map(Architecture::model_type).join(", ");
                Err(self.unsupported("model_type", &supported))
            }
        }
    }

    /// Rejects a field that changes the computation and an unknown field.
    pub(super) fn refuse_unknown_mathematics(&self, architecture: Architecture) -> Result<()> {
        self.refuse_all_but_neutral(considered::NEUTRAL)?;
        for (field, value) in self.map {
            if !value.is_null() && !considered::is_considered(field, architecture) {
                return Err(self.unconsidered(field));
            }
        }
        Ok(())
    }

    fn unconsidered(&self, field: &str) -> Error {
        Error::UnknownField {
            path: self.path.to_owned(),
            field: format!("{}{field}", self.prefix),
            got: self.map.get(field).map_or_else(String::new, brief),
        }
    }

    fn refuse_all_but_neutral(&self, table: &[(&str, &[Neutral])]) -> Result<()> {
        for (field, neutral) in table {
            if let Some(value) = self.get(field)
                && !neutral.iter().any(|neutral| neutral.holds(value))
            {
                let supported =
                    neutral.first().map_or_else(|| "`null`".to_owned(), Neutral::to_string);
                return Err(self.unsupported(field, &supported));
            }
        }
        Ok(())
    }

    /// Base and stretch of the rotary frequencies. As in `transformers` 5, a `rope_scaling` that is
    /// not empty replaces `rope_parameters` as a whole, its `rope_theta` included; a
    /// `original_max_position_embeddings` at the root wins over the one inside.
    pub(super) fn rope(&self, context_length: usize) -> Result<(f64, RopeScaling)> {
        let is_set = |field: &&str| {
            let value = self.get(field);
            value.is_some_and(|value| value.as_object().is_none_or(|map| !map.is_empty()))
        };
        let Some(field) = ["rope_scaling", "rope_parameters"].into_iter().find(is_set) else {
            return Ok((self.theta()?, RopeScaling::None));
        };
        let map = self.map.get(field).and_then(Value::as_object);
        let map = map.ok_or_else(|| self.invalid(field, "an object or `null`"))?;
        let prefix = if field == "rope_scaling" { "rope_scaling." } else { "rope_parameters." };
        let rope = Fields { path: self.path, prefix, map };
        rope.refuse_all_but_neutral(considered::ROPE_NEUTRAL)?;
        for (field, value) in map {
            if !value.is_null() && !considered::is_considered_in_rope(field) {
                return Err(rope.unconsidered(field));
            }
        }
        let theta = if map.contains_key("rope_theta") {
            rope.positive("rope_theta", None)?
        } else {
            self.theta()?
        };
        let key = if map.contains_key("rope_type") || !map.contains_key("type") {
            "rope_type"
        } else {
            "type"
        };
        let supported = "`default`, `llama3`, `linear` with factor 1";
        let scaling = match map.get(key).map(Value::as_str) {
            None | Some(Some("default")) => RopeScaling::None,
            // Positions divided by one.
            Some(Some("linear")) if rope.positive("factor", None)? == 1.0 => RopeScaling::None,
            Some(Some("linear")) => return Err(rope.unsupported("factor", "`1`")),
            Some(Some("llama3")) => RopeScaling::Llama3 {
                factor: rope.positive("factor", None)?,
                low_frequency_factor: rope.positive("low_freq_factor", None)?,
                high_frequency_factor: rope.positive("high_freq_factor", None)?,
                original_context_length: {
                    let field = "original_max_position_embeddings";
                    if self.map.contains_key(field) {
                        self.size(field, None)?
                    } else if map.contains_key(field) {
                        rope.size(field, None)?
                    } else {
                        context_length
                    }
                },
            },
            _ => return Err(rope.unsupported(key, supported)),
        };
        Ok((theta, scaling))
    }

    fn theta(&self) -> Result<f64> {
        self.positive("rope_theta", Some(10_000.0))
    }

    /// The common window of all layers; layers that differ are rejected.
    pub(super) fn sliding_window(
        &self,
        architecture: Architecture,
        n_layers: usize,
    ) -> Result<Option<usize>> {
        let window = match architecture {
            Architecture::Mistral if self.map.contains_key("sliding_window") => {
                self.get("sliding_window").map(|_| self.size("sliding_window", None)).transpose()?
            }
            Architecture::Mistral => Some(4096),
            Architecture::Qwen2 | Architecture::Qwen3 if self.flag("use_sliding_window")? => {
                Some(self.size("sliding_window", Some(4096))?)
            }
            // A Llama has no window, whatever the field says.
            Architecture::Llama | Architecture::Qwen2 | Architecture::Qwen3 => None,
        };
        // A Mistral with `layer_types` is another class in `transformers`, which obeys them.
        if let Some(types) = self.get("layer_types") {
            let types = types.as_array().map(Vec::as_slice).unwrap_or_default();
            let all = |name| types.iter().all(|layer| layer.as_str() == Some(name));
            return match (types.len() == n_layers, window) {
                (true, _) if all("full_attention") => Ok(None),
                (true, Some(_)) if all("sliding_attention") => Ok(window),
                (true, None) => Err(self.unsupported("layer_types", "`full_attention` throughout")),
                _ => Err(self.unsupported("layer_types", "the same type for every layer")),
            };
        }
        if architecture == Architecture::Mistral || window.is_none() {
            return Ok(window);
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

/// A value in a few words.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
