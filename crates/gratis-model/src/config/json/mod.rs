//! `config.json` of a Hugging Face folder, read into and written from a [`ModelConfig`].
//!
//! A field that changes the computation is either supported or rejected by name. Fields without
//! effect are listed in a table (`considered`), and unknown fields are rejected. An absent field
//! takes the default of the architecture's class in `transformers`.

mod class;
mod considered;
mod experts;
mod fields;
mod layers;
mod rope;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{
    Architecture, Differences, FeedForwardBias, Head, LayerRope, ModelConfig, Multipliers,
    ProjectionExtras, RopeScaling, SoftCaps,
};
use crate::dtype::WeightType;
use crate::error::{Error, Result};
pub use class::ConfigFile;
use fields::{Fields, LARGEST_SIZE};
use layers::Layers;
use rope::Positions;

/// With at most this many layers the number of parameters fits a `usize`.
const MOST_LAYERS: usize = 1 << 12;

impl ModelConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::MissingFile`], [`Error::Io`] or [`Error::MalformedFile`] if there is no readable
    /// JSON object, [`Error::InvalidConfig`] for an impossible field, [`Error::UnsupportedConfig`]
    /// for one that asks for mathematics this engine lacks, [`Error::UnknownField`] for one that is
    /// not known at all.
    pub fn read(path: &Path) -> Result<Self> {
        Self::from_json(&read_text(path)?, path)
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
        fields.refuse_unknown_mathematics(architecture)?;

        let hidden_size = fields.size("hidden_size", None)?;
        let n_layers = fields.size("num_hidden_layers", None)?;
        if n_layers > MOST_LAYERS {
            return Err(fields.invalid("num_hidden_layers", "at most 2^12"));
        }
        let n_heads = fields.size("num_attention_heads", None)?;
        let n_kv_heads = match (map.get("num_key_value_heads"), architecture) {
            (None, Architecture::Mistral) => 8,
            (None, Architecture::Qwen2 | Architecture::Qwen3) => 32,
            (None, Architecture::Qwen2Moe) => 16,
            (
                None,
                Architecture::Gemma2
                | Architecture::Gemma3
                | Architecture::SmolLm3
                | Architecture::Qwen3Moe,
            ) => 4,
            _ => fields.size("num_key_value_heads", Some(n_heads))?,
        };
        if n_heads % n_kv_heads != 0 {
            let expected = format!("a divisor of `num_attention_heads` = {n_heads}");
            return Err(fields.invalid("num_key_value_heads", &expected));
        }
        let head_dim = match (map.get("head_dim"), architecture) {
            (None, Architecture::Qwen3) => 128,
            (None, Architecture::Gemma2 | Architecture::Gemma3) => 256,
            _ => fields.size("head_dim", Some(hidden_size / n_heads))?,
        };
        if head_dim == 0 || head_dim % 2 != 0 {
            return Err(fields.invalid("head_dim", "even, for rotary positions"));
        }
        if n_heads * head_dim > LARGEST_SIZE {
            return Err(fields.invalid("num_attention_heads", "2^24 / `head_dim` at most"));
        }
        let (default_context, default_special) = match architecture {
            Architecture::Llama | Architecture::Granite => (2048, Some((1, 2))),
            Architecture::Mistral => (131_072, Some((1, 2))),
            Architecture::Qwen2
            | Architecture::Qwen3
            | Architecture::Qwen2Moe
            | Architecture::Qwen3Moe => (32_768, None),
            Architecture::Phi3 => (4096, Some((1, 32_000))),
            Architecture::SmolLm3 => (32_768, Some((128_000, 128_001))),
            Architecture::Olmo2 | Architecture::Olmo3 => (2048, None),
            Architecture::Gemma2 => (8192, Some((2, 1))),
            Architecture::Gemma3 => (131_072, Some((2, 1))),
        };
        let default_epsilon = match architecture {
            Architecture::Phi3 | Architecture::Olmo2 | Architecture::Olmo3 => 1e-5,
            _ => 1e-6,
        };
        let is_gemma = matches!(architecture, Architecture::Gemma2 | Architecture::Gemma3);
        let ties_by_default = is_gemma || architecture == Architecture::SmolLm3;
        let context_length = fields.size("max_position_embeddings", Some(default_context))?;
        let rotary_fraction = fields.rotary_fraction(architecture, head_dim)?;
        let rotary_dim = (head_dim as f64 * rotary_fraction) as usize;
        let Positions { theta, scaling, context_length, local_theta } =
            fields.rope(architecture, context_length, rotary_dim)?;
        let Layers { window, kinds } = fields.layers(architecture, n_layers)?;
        let local_rope_theta = match architecture {
            Architecture::Gemma3 => {
                let field = fields.positive("rope_local_base_freq", Some(10_000.0))?;
                local_theta.unwrap_or(field)
            }
            _ => local_theta.unwrap_or(theta),
        };
        let has_biases = |field: &str| -> Result<bool> {
            Ok(architecture.has_optional_biases() && fields.flag(field)?)
        };
        Ok(Self {
            architecture,
            vocab_size: fields.size("vocab_size", None)?,
            hidden_size,
            intermediate_size: fields.size("intermediate_size", None)?,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            context_length,
            rms_norm_epsilon: fields.positive("rms_norm_eps", Some(default_epsilon))? as f32,
            rope_theta: theta,
            local_rope_theta,
            rotary_fraction,
            rope_scaling: scaling,
            head: if fields.flag_or("tie_word_embeddings", ties_by_default)? {
                Head::Tied
            } else {
                Head::Untied
            },
            projection_extras: if has_biases("attention_bias")? {
                ProjectionExtras::AttentionBias
            } else if architecture == Architecture::Qwen2Moe && !fields.flag_or("qkv_bias", true)? {
                ProjectionExtras::None
            } else {
                architecture.projection_extras()
            },
            experts: fields.experts(architecture, n_layers)?,
            sliding_window: window,
            differences: Differences {
                feed_forward_bias: if has_biases("mlp_bias")? {
                    FeedForwardBias::All
                } else {
                    FeedForwardBias::None
                },
                layer_kinds: kinds,
                multipliers: fields.multipliers(architecture, hidden_size)?,
                soft_caps: fields.soft_caps(architecture)?,
            },
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
        let architecture = self.architecture;
        let has_biases = self.projection_extras == ProjectionExtras::AttentionBias;
        let is_without = self.projection_extras == ProjectionExtras::None;
        if self.projection_extras != architecture.projection_extras()
            && !(has_biases && architecture.has_optional_biases())
            && !(is_without && architecture == Architecture::Qwen2Moe)
        {
            return refuse("projection_extras", format!("{:?}", self.projection_extras));
        }
        let Differences { feed_forward_bias, layer_kinds, multipliers, soft_caps } =
            &self.differences;
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
            "rms_norm_eps": shortest(self.rms_norm_epsilon),
            "rope_theta": self.rope_theta,
            "rope_scaling": rope::written(&self.rope_scaling),
            "tie_word_embeddings": self.head == Head::Tied,
            "bos_token_id": self.bos_token,
            "eos_token_id": match self.eos_tokens.as_slice() {
                [] => Value::Null,
                [one] => json!(one),
                several => json!(several),
            },
            "torch_dtype": weights.torch_name(),
        });
        let types = || -> Vec<&str> {
            let name = |layer| match self.window_of(layer) {
                Some(_) => "sliding_attention",
                None => "full_attention",
            };
            (0..self.n_layers).map(name).collect()
        };
        if architecture.has_optional_biases() {
            config["attention_bias"] = json!(has_biases);
            config["mlp_bias"] = json!(*feed_forward_bias == FeedForwardBias::All);
        } else if *feed_forward_bias != FeedForwardBias::None {
            return refuse("mlp_bias", "true".to_owned());
        }
        if self.experts.is_some() && !architecture.has_experts() {
            return refuse("num_experts", format!("{:?}", self.experts));
        }
        match architecture {
            Architecture::Qwen2Moe | Architecture::Qwen3Moe => {
                if let Some(window) = self.sliding_window {
                    return refuse("sliding_window", window.to_string());
                }
                experts::write(self.experts.as_ref(), &mut config);
                if architecture == Architecture::Qwen2Moe {
                    config["qkv_bias"] = json!(!is_without);
                }
            }
            Architecture::Llama | Architecture::Granite | Architecture::Olmo2 => {
                if let Some(window) = self.sliding_window {
                    return refuse("sliding_window", window.to_string());
                }
            }
            Architecture::Mistral if layer_kinds.is_empty() => {
                config["sliding_window"] = json!(self.sliding_window);
            }
            Architecture::Mistral => {
                config["sliding_window"] = json!(self.sliding_window);
                config["layer_types"] = json!(types());
            }
            Architecture::Qwen2 | Architecture::Qwen3 => {
                config["use_sliding_window"] = json!(self.sliding_window.is_some());
                config["sliding_window"] = json!(self.sliding_window);
                if layer_kinds.is_empty() {
                    // The first `max_window_layers` layers attend to everything.
                    let n_full = if self.sliding_window.is_some() { 0 } else { self.n_layers };
                    config["max_window_layers"] = json!(n_full);
                } else {
                    config["layer_types"] = json!(types());
                }
            }
            Architecture::Phi3 => {
                config["sliding_window"] = json!(self.sliding_window);
                config["partial_rotary_factor"] = json!(self.rotary_fraction);
                config["original_max_position_embeddings"] = json!(self.context_length);
                config["pad_token_id"] = json!(self.eos_tokens.first());
                if let RopeScaling::LongRope { extended_context_length, .. } = self.rope_scaling {
                    config["max_position_embeddings"] = json!(extended_context_length);
                }
            }
            Architecture::SmolLm3 => {
                config["use_sliding_window"] = json!(self.sliding_window.is_some());
                config["sliding_window"] = json!(self.sliding_window);
                config["layer_types"] = json!(types());
                let has_rope = |layer| u8::from(self.rope_of(layer) != LayerRope::None);
                let has_rope: Vec<u8> = (0..self.n_layers).map(has_rope).collect();
                config["no_rope_layers"] = json!(has_rope);
                config["pad_token_id"] = json!(self.eos_tokens.first());
            }
            Architecture::Olmo3 => {
                config["sliding_window"] =
                    json!(self.sliding_window.unwrap_or(self.context_length));
                config["layer_types"] = json!(types());
                config["pad_token_id"] = json!(self.eos_tokens.first());
            }
            Architecture::Gemma2 | Architecture::Gemma3 => {
                config["sliding_window"] =
                    json!(self.sliding_window.unwrap_or(self.context_length));
                config["layer_types"] = json!(types());
                config["hidden_activation"] = json!("gelu_pytorch_tanh");
                config["hidden_act"] = json!("gelu_pytorch_tanh");
                config["query_pre_attn_scalar"] = json!(shortest(self.attention_scale().powi(-2)));
                config["attn_logit_softcapping"] = json!(soft_caps.attention.map(shortest));
                config["final_logit_softcapping"] = json!(soft_caps.logits.map(shortest));
                if architecture == Architecture::Gemma3 {
                    config["rope_local_base_freq"] = json!(self.local_rope_theta);
                }
            }
        }
        if architecture == Architecture::Granite {
            let Multipliers { embedding, residual, logits_divisor, .. } = *multipliers;
            config["embedding_multiplier"] = json!(shortest(embedding));
            config["residual_multiplier"] = json!(shortest(residual));
            config["attention_multiplier"] = json!(shortest(self.attention_scale()));
            config["logits_scaling"] = json!(shortest(logits_divisor));
        } else if !matches!(architecture, Architecture::Gemma2 | Architecture::Gemma3)
            && *multipliers != Multipliers::NONE
        {
            return refuse("multipliers", format!("{multipliers:?}"));
        }
        Ok(format!("{config:#}\n"))
    }
}

impl Fields<'_> {
    /// The constant factors of an architecture that has them.
    fn multipliers(&self, architecture: Architecture, hidden_size: usize) -> Result<Multipliers> {
        let factor = |field: &str| Ok(self.positive(field, Some(1.0))? as f32);
        Ok(match architecture {
            Architecture::Granite => Multipliers {
                embedding: factor("embedding_multiplier")?,
                residual: factor("residual_multiplier")?,
                attention: Some(factor("attention_multiplier")?),
                logits_divisor: factor("logits_scaling")?,
            },
            Architecture::Gemma2 | Architecture::Gemma3 => Multipliers {
                embedding: (hidden_size as f64).sqrt() as f32,
                attention: Some(
                    self.positive("query_pre_attn_scalar", Some(256.0))?.powf(-0.5) as f32
                ),
                ..Multipliers::NONE
            },
            _ => Multipliers::NONE,
        })
    }

    /// The limits of scores and logits of an architecture that has them; checks the activation.
    fn soft_caps(&self, architecture: Architecture) -> Result<SoftCaps> {
        let (attention, logits) = match architecture {
            Architecture::Gemma2 => (Some(50.0), Some(30.0)),
            Architecture::Gemma3 => (None, None),
            _ => return Ok(SoftCaps::NONE),
        };
        let activation = self.get("hidden_activation").map(|value| value.as_str());
        if !matches!(activation, None | Some(Some("gelu_pytorch_tanh"))) {
            return Err(self.unsupported("hidden_activation", "`gelu_pytorch_tanh`"));
        }
        let cap = |field: &str, default: Option<f64>| -> Result<Option<f32>> {
            Ok(match (self.map.get(field), self.get(field)) {
                (None, _) => default,
                (_, None) => None,
                _ => Some(self.positive(field, None)?),
            }
            .map(|cap| cap as f32))
        };
        Ok(SoftCaps {
            attention: cap("attn_logit_softcapping", attention)?,
            logits: cap("final_logit_softcapping", logits)?,
        })
    }
}

/// The shortest decimal of an f32, not the digits of its widening.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_default()
}

/// The text of a `config.json`.
fn read_text(path: &Path) -> Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            // Without its folder, the folder is what is missing.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let missing = folder.filter(|folder| !folder.exists()).unwrap_or(path);
            Err(Error::MissingFile {
                path: missing.to_owned(),
                hint:
                    "a model is a Hugging Face folder with `config.json`, `model.safetensors` and \
                       `tokenizer.json`"
                        .to_owned(),
            })
        }
        Err(source) => Err(Error::Io { action: "read", path: path.to_owned(), source }),
    }
}
