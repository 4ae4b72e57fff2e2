//! The rotary positions of a `config.json`: base, stretch, and how much of a head is turned.

use serde_json::{Map, Value};

use super::considered;
use super::fields::Fields;
use crate::config::{Architecture, RopeScaling};
use crate::error::Result;

/// Types of stretches that are supported.
const SUPPORTED: &str = "`default`, `linear`, `dynamic`, `yarn`, `longrope`, `llama3`";

/// What positions do.
pub(super) struct Positions {
    pub(super) theta: f64,
    pub(super) scaling: RopeScaling,
    /// The context: shorter than what the configuration says for LongRoPE.
    pub(super) context_length: usize,
    /// The base of layers with a window, where they have parameters of their own.
    pub(super) local_theta: Option<f64>,
}

/// The types of layers that `transformers` 5 gives parameters of their own.
const LAYER_TYPES: [&str; 2] = ["full_attention", "sliding_attention"];

impl Fields<'_> {
    /// Base and stretch of the rotary frequencies. As in `transformers` 5, a `rope_scaling` that is
    /// not empty replaces `rope_parameters` as a whole, its `rope_theta` included; a
    /// `original_max_position_embeddings` at the root wins over the one inside for `llama3`, and is
    /// the only one for `longrope`.
    pub(super) fn rope(
        &self,
        architecture: Architecture,
        context_length: usize,
        rotary_dim: usize,
    ) -> Result<Positions> {
        let plain = |theta| Positions {
            theta,
            scaling: RopeScaling::None,
            context_length,
            local_theta: None,
        };
        let is_set = |field: &&str| {
            let value = self.get(field);
            value.is_some_and(|value| value.as_object().is_none_or(|map| !map.is_empty()))
        };
        let Some(field) = ["rope_scaling", "rope_parameters"].into_iter().find(is_set) else {
            return Ok(plain(self.theta(architecture)?));
        };
        let map = self.map.get(field).and_then(Value::as_object);
        let map = map.ok_or_else(|| self.invalid(field, "an object or `null`"))?;
        let has_types = matches!(architecture, Architecture::Gemma3 | Architecture::Olmo3);
        if has_types && LAYER_TYPES.iter().any(|name| map.contains_key(*name)) {
            return self.rope_by_type(architecture, map, context_length, rotary_dim);
        }
        let prefix = if field == "rope_scaling" { "rope_scaling." } else { "rope_parameters." };
        let rope = Fields { path: self.path, prefix, map };
        rope.refuse_all_but_neutral(considered::ROPE_NEUTRAL, Some(architecture))?;
        for (field, value) in map {
            if !value.is_null() && !considered::is_considered_in_rope(field) {
                return Err(rope.unconsidered(field));
            }
        }
        let theta = if map.contains_key("rope_theta") {
            rope.positive("rope_theta", None)?
        } else {
            self.theta(architecture)?
        };
        let key = if map.contains_key("rope_type") || !map.contains_key("type") {
            "rope_type"
        } else {
            "type"
        };
        let kind = match map.get(key).map(Value::as_str) {
            None => "default",
            Some(Some(kind)) => kind,
            Some(None) => return Err(rope.unsupported(key, SUPPORTED)),
        };
        // Older Phi-3 files have other names for the same.
        let is_phi = architecture == Architecture::Phi3;
        let kind = if is_phi && ["su", "yarn"].contains(&kind) { "longrope" } else { kind };
        let scaling = match kind {
            "default" => RopeScaling::None,
            "linear" => match rope.positive("factor", None)? {
                // Positions divided by one.
                1.0 => RopeScaling::None,
                factor => RopeScaling::Linear { factor },
            },
            "dynamic" => RopeScaling::Dynamic { factor: rope.positive("factor", None)? },
            "yarn" => rope.yarn(context_length)?,
            "longrope" => {
                return self.long_rope(&rope, architecture, theta, context_length, rotary_dim);
            }
            "llama3" => RopeScaling::Llama3 {
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
            _ => return Err(rope.unsupported(key, SUPPORTED)),
        };
        Ok(Positions { scaling, ..plain(theta) })
    }

    /// The fields of YaRN; `self` are those of the stretch.
    fn yarn(&self, context_length: usize) -> Result<RopeScaling> {
        let factor = self.positive("factor", None)?;
        let number = |field: &str| self.get(field).map(|_| self.positive(field, None)).transpose();
        let magnitude = |of: f64| if factor <= 1.0 { 1.0 } else { 0.1 * of * factor.ln() + 1.0 };
        let inferred = match (number("mscale")?, number("mscale_all_dim")?) {
            (Some(own), Some(of_all)) => magnitude(own) / magnitude(of_all),
            _ => magnitude(1.0),
        };
        Ok(RopeScaling::Yarn {
            factor,
            beta_fast: number("beta_fast")?.unwrap_or(32.0),
            beta_slow: number("beta_slow")?.unwrap_or(1.0),
            original_context_length: match self.get("original_max_position_embeddings") {
                Some(_) => self.size("original_max_position_embeddings", None)?,
                None => context_length,
            },
            attention_factor: number("attention_factor")?.unwrap_or(inferred),
            truncate: self.flag_or("truncate", true)?,
        })
    }

    /// The fields of LongRoPE. Its context is the pretraining length: longer sequences have other
    /// frequencies at every position, so that prefixes could not be shared.
    fn long_rope(
        &self,
        rope: &Fields<'_>,
        architecture: Architecture,
        theta: f64,
        extended_context_length: usize,
        rotary_dim: usize,
    ) -> Result<Positions> {
        let factors = |field: &str| -> Result<Vec<f64>> {
            let list = rope.get(field).and_then(Value::as_array);
            let factors: Option<Vec<f64>> =
                list.and_then(|list| list.iter().map(Value::as_f64).collect());
            factors
                .filter(|factors| {
                    factors.len() == rotary_dim / 2 && factors.iter().all(|factor| *factor > 0.0)
                })
                .ok_or_else(|| rope.invalid(field, &format!("{} positive numbers", rotary_dim / 2)))
        };
        let field = "original_max_position_embeddings";
        let original = match self.get(field) {
            None if architecture != Architecture::Phi3 => None,
            _ => Some(self.size(field, Some(4096))?),
        };
        let (context_length, factor) = match original {
            Some(original) => (original, extended_context_length as f64 / original as f64),
            None => (extended_context_length, rope.positive("factor", None)?),
        };
        let inferred = if factor <= 1.0 {
            1.0
        } else {
            (1.0 + factor.ln() / (context_length as f64).ln()).sqrt()
        };
        let attention_factor = match rope.get("attention_factor") {
            Some(_) => rope.positive("attention_factor", None)?,
            None => inferred,
        };
        let scaling = RopeScaling::LongRope {
            short_factors: factors("short_factor")?,
            long_factors: factors("long_factor")?,
            extended_context_length,
            attention_factor,
        };
        let context_length = context_length.min(extended_context_length);
        Ok(Positions { theta, scaling, context_length, local_theta: None })
    }

    /// A set of parameters for each type of layers.
    fn rope_by_type(
        &self,
        architecture: Architecture,
        map: &Map<String, Value>,
        context_length: usize,
        rotary_dim: usize,
    ) -> Result<Positions> {
        let within = Fields { path: self.path, prefix: "rope_parameters.", map };
        if let Some(field) = map.keys().find(|key| !LAYER_TYPES.contains(&key.as_str())) {
            return Err(within.unconsidered(field));
        }
        let of_type = |name: &str| {
            let mut root = self.map.clone();
            root.remove("rope_scaling");
            let parameters = map.get(name).cloned().unwrap_or_default();
            root.insert("rope_parameters".to_owned(), parameters);
            let fields = Fields { path: self.path, prefix: self.prefix, map: &root };
            fields.rope(architecture, context_length, rotary_dim)
        };
        let [full, sliding] = LAYER_TYPES.map(of_type);
        let (full, sliding) = (full?, sliding?);
        if sliding.scaling != RopeScaling::None {
            return Err(within.unsupported(LAYER_TYPES[1], "the type `default`"));
        }
        Ok(Positions { local_theta: Some(sliding.theta), ..full })
    }

    fn theta(&self, architecture: Architecture) -> Result<f64> {
        let default = match architecture {
            Architecture::SmolLm3 => 2_000_000.0,
            Architecture::Gemma3 => 1_000_000.0,
            _ => 10_000.0,
        };
        self.positive("rope_theta", Some(default))
    }

    /// Values of a head that are turned: a share from its beginning.
    pub(super) fn rotary_fraction(&self, architecture: Architecture, dim: usize) -> Result<f64> {
        let field = "partial_rotary_factor";
        if !considered::is_of(field, architecture) {
            return Ok(1.0);
        }
        let of_rope = ["rope_parameters", "rope_scaling"].iter().find_map(|rope| {
            let map = self.get(rope)?.as_object()?;
            map.contains_key(field).then_some(map)
        });
        let fraction = match (self.get(field), of_rope) {
            (None, Some(map)) => {
                let prefix = "rope_parameters.";
                Fields { path: self.path, prefix, map }.positive(field, None)?
            }
            _ => self.positive(field, Some(1.0))?,
        };
        let turned = (dim as f64 * fraction) as usize;
        if fraction > 1.0 || turned == 0 || !turned.is_multiple_of(2) {
            return Err(self.invalid(field, "a share of a head that is an even number of values"));
        }
        Ok(fraction)
    }
}

/// How a stretch is written into a `config.json`.
pub(super) fn written(scaling: &RopeScaling) -> Value {
    use serde_json::json;
    match scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Dynamic { factor } => json!({ "rope_type": "dynamic", "factor": factor }),
        RopeScaling::Yarn {
            factor,
            beta_fast,
            beta_slow,
            original_context_length,
            attention_factor,
            truncate,
        } => json!({
            "rope_type": "yarn",
            "factor": factor,
            "beta_fast": beta_fast,
            "beta_slow": beta_slow,
            "original_max_position_embeddings": original_context_length,
            "attention_factor": attention_factor,
            "truncate": truncate,
        }),
        // Exactly these three: the class checks it.
        RopeScaling::LongRope { short_factors, long_factors, .. } => json!({
            "type": "longrope",
            "short_factor": short_factors,
            "long_factor": long_factors,
        }),
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
    }
}
