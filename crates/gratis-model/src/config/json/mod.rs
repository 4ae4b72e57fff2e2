//! `config.json` of a Hugging Face folder, read into and written from a [`ModelConfig`].
//!
//! A field that changes the computation is either supported or rejected by name. Fields without
//! effect are listed in a table (`considered`), and unknown fields are rejected. An absent field
//! takes the default of the architecture's class in `transformers`.

mod class;
mod considered;
mod fields;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Architecture, Head, ModelConfig, RopeScaling};
use crate::dtype::WeightType;
use crate::error::{Error, Result};
pub use class::ConfigFile;
use fields::{Fields, LARGEST_SIZE};

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
        let context_length = fields.size("max_position_embeddings", Some(default_context))?;
        let (rope_theta, rope_scaling) = fields.rope(context_length)?;
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
