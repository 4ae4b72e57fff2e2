//! The decoder's shape from the metadata of a GGUF file.

use super::GgufFile;
use super::header::MetadataValue;
use super::tensor::TensorType;
use crate::config::{Architecture, Head, ModelConfig, ProjectionExtras, RopeScaling};
use crate::error::{Error, Result};

/// Keys below the architecture's name that are read here, or that change no number.
const KNOWN_KEYS: &[&str] = &[
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "tensor_data_layout",
    "vocab_size",
];

/// The frequency bands of every Llama 3.1 and later; a GGUF file stores only what they lead to.
const LLAMA3_BANDS: (f64, f64, usize) = (1.0, 4.0, 8192);

impl GgufFile {
    /// The shape of the model, checked against the tensors of the file: it never describes more
    /// parameters than the file can hold.
    ///
    /// # Errors
    /// [`Error::UnsupportedConfig`] for an architecture or a key that asks for other mathematics,
    /// [`Error::InvalidConfig`] for one that is absent or impossible.
    pub fn config(&self) -> Result<ModelConfig> {
        let name = self.string("general.architecture")?;
        let architecture = match name {
            // llama.cpp writes Mistral as `llama` too; only the window tells them apart.
            "llama" if self.sliding_window(name)?.is_some() => Architecture::Mistral,
            "llama" => Architecture::Llama,
            "qwen2" => Architecture::Qwen2,
            "qwen3" => Architecture::Qwen3,
            other => {
                return Err(self.unsupported("general.architecture", other, "llama, qwen2, qwen3"));
            }
        };
        self.refuse_unknown_keys(name)?;
        let key = |suffix: &str| format!("{name}.{suffix}");
        let hidden_size = self.size(&key("embedding_length"))?;
        let n_heads = self.size(&key("attention.head_count"))?;
        let n_kv_heads = self.optional_size(&key("attention.head_count_kv"))?.unwrap_or(n_heads);
        let head_dim = match self.optional_size(&key("attention.key_length"))? {
            Some(head_dim) => head_dim,
            None => hidden_size / n_heads,
        };
        for equal in ["attention.value_length", "rope.dimension_count"] {
            if let Some(other) = self.optional_size(&key(equal))?
                && other != head_dim
            {
                return Err(self.unsupported(
                    &key(equal),
                    &other.to_string(),
                    &head_dim.to_string(),
                ));
            }
        }
        if head_dim == 0 || !head_dim.is_multiple_of(2) || !n_heads.is_multiple_of(n_kv_heads) {
            return Err(self.invalid(
                &key("attention.head_count"),
                "a multiple of the key-value heads, each of an even width",
                format!("{n_heads} heads of {head_dim}, {n_kv_heads} key-value heads"),
            ));
        }
        let vocab_size = match self.shape("token_embd.weight") {
            Some([vocab_size, _]) => *vocab_size,
            _ => return Err(self.missing_tensor("token_embd.weight")),
        };
        let n_layers = self.size(&key("block_count"))?;
        if n_layers > self.header.tensors.len() {
            let got = n_layers.to_string();
            return Err(self.invalid(&key("block_count"), "no more than the file's tensors", got));
        }
        let has_bias = self.shape("blk.0.attn_q.bias").is_some();
        let config = ModelConfig {
            architecture,
            vocab_size,
            hidden_size,
            intermediate_size: self.size(&key("feed_forward_length"))?,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            context_length: self.size(&key("context_length"))?,
            rms_norm_epsilon: self.float(&key("attention.layer_norm_rms_epsilon"))?.unwrap_or(1e-5)
                as f32,
            rope_theta: self.float(&key("rope.freq_base"))?.unwrap_or(10_000.0),
            rope_scaling: self.rope_scaling(name, head_dim)?,
            head: if self.shape("output.weight").is_some() { Head::Untied } else { Head::Tied },
            projection_extras: match architecture {
                Architecture::Qwen3 => ProjectionExtras::QkNorm,
                _ if has_bias => ProjectionExtras::QkvBias,
                _ => ProjectionExtras::None,
            },
            sliding_window: self.sliding_window(name)?,
            bos_token: self.token("tokenizer.ggml.bos_token_id")?,
            eos_tokens: self.token("tokenizer.ggml.eos_token_id")?.into_iter().collect(),
            ..ModelConfig::LLAMA
        };
        self.check_shapes(&config)?;
        Ok(config)
    }

    fn refuse_unknown_keys(&self, architecture: &str) -> Result<()> {
        let prefix = format!("{architecture}.");
        for (key, value) in &self.header.metadata {
            let Some(suffix) = key.strip_prefix(&prefix) else { continue };
            if !KNOWN_KEYS.contains(&suffix) && *value != MetadataValue::Integer(0) {
                return Err(self.unsupported(key, &brief(value), "its absence"));
            }
        }
        Ok(())
    }

    fn sliding_window(&self, architecture: &str) -> Result<Option<usize>> {
        self.optional_size(&format!("{architecture}.attention.sliding_window"))
    }

    /// Llama 3's stretch is stored as its result, one divisor a frequency; this finds the
    /// parameters that lead to it.
    fn rope_scaling(&self, architecture: &str, head_dim: usize) -> Result<RopeScaling> {
        let key = format!("{architecture}.rope.scaling.type");
        if let Some(MetadataValue::String(kind)) = self.header.metadata.get(&key)
            && kind != "none"
        {
            return Err(self.unsupported(&key, kind, "none"));
        }
        let Some(tensor) = self.tensor("rope_freqs.weight") else { return Ok(RopeScaling::None) };
        if tensor.shape != [head_dim / 2] || tensor.tensor_type != TensorType::F32 {
            return Err(self.wrong_shape(tensor, &[head_dim / 2]));
        }
        let mut divisors = vec![0.0; head_dim / 2];
        self.read_tensor(tensor, &mut divisors)?;
        let factor = f64::from(divisors.iter().copied().fold(1.0, f32::max));
        let base = self.float(&format!("{architecture}.rope.freq_base"))?.unwrap_or(10_000.0);
        let is_llama3 = divisors.iter().enumerate().all(|(pair_idx, divisor)| {
            let exponent = 2.0 * pair_idx as f64 / head_dim as f64;
            let expected = llama3_divisor(base.powf(-exponent), factor);
            (f64::from(*divisor) - expected).abs() <= 1e-4 * expected
        });
        if !is_llama3 {
            return Err(self.unsupported("rope_freqs.weight", "of its values", "Llama 3's"));
        }
        let (low_frequency_factor, high_frequency_factor, original_context_length) = LLAMA3_BANDS;
        Ok(RopeScaling::Llama3 {
            factor,
            low_frequency_factor,
            high_frequency_factor,
            original_context_length,
        })
    }

    fn string(&self, key: &str) -> Result<&str> {
        match self.header.metadata.get(key) {
            Some(MetadataValue::String(text)) => Ok(text),
            other => Err(self.invalid(key, "a string", describe(other))),
        }
    }

    fn size(&self, key: &str) -> Result<usize> {
        self.optional_size(key)?.ok_or_else(|| self.invalid(key, "positive", "nothing".to_owned()))
    }

    /// A positive size; zero counts as absent, as llama.cpp writes it. One size a layer will do if
    /// they are all the same.
    fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        let invalid = |value| self.invalid(key, "a size below 2^31", describe(Some(value)));
        let size = match self.header.metadata.get(key) {
            None => return Ok(None),
            Some(value @ MetadataValue::Integer(size)) => {
                i32::try_from(*size).map_err(|_| invalid(value))?
            }
            Some(value @ MetadataValue::Integers(sizes)) => match sizes.split_first() {
                Some((first, rest)) if rest.iter().all(|size| size == first) => {
                    i32::try_from(*first).map_err(|_| invalid(value))?
                }
                _ => return Err(self.unsupported(key, &brief(value), "one size for all layers")),
            },
            Some(value) => return Err(invalid(value)),
        };
        usize::try_from(size)
            .map(|size| (size > 0).then_some(size))
            .map_err(|_| self.invalid(key, "a size below 2^31", size.to_string()))
    }

    fn float(&self, key: &str) -> Result<Option<f64>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(MetadataValue::Float(number)) if number.is_finite() && *number > 0.0 => {
                Ok(Some(*number))
            }
            other => Err(self.invalid(key, "a positive number", describe(other))),
        }
    }

    pub(super) fn token(&self, key: &str) -> Result<Option<u32>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(MetadataValue::Integer(id)) if u32::try_from(*id).is_ok() => Ok(Some(*id as u32)),
            other => Err(self.invalid(key, "a token", describe(other))),
        }
    }

    fn invalid(&self, field: &str, expected: &str, got: String) -> Error {
        Error::InvalidConfig {
            path: self.path.clone(),
            field: field.to_owned(),
            expected: expected.to_owned(),
            got,
        }
    }

    pub(super) fn unsupported(&self, field: &str, got: &str, supported: &str) -> Error {
        Error::UnsupportedConfig {
            path: self.path.clone(),
            field: field.to_owned(),
            got: got.to_owned(),
            supported: supported.to_owned(),
        }
    }
}

/// By how much Llama 3's scaling divides a frequency, in radians a position.
fn llama3_divisor(frequency: f64, factor: f64) -> f64 {
    let (low, high, original_context_length) = LLAMA3_BANDS;
    let turns = original_context_length as f64 * frequency / std::f64::consts::TAU;
    let smooth = ((turns - low) / (high - low)).clamp(0.0, 1.0);
    1.0 / ((1.0 - smooth) / factor + smooth)
}

fn describe(value: Option<&MetadataValue>) -> String {
    value.map_or_else(|| "nothing".to_owned(), brief)
}

/// A value in a few words, whatever the file holds.
fn brief(value: &MetadataValue) -> String {
    match value {
        MetadataValue::Integer(number) => number.to_string(),
        MetadataValue::Float(number) => number.to_string(),
        MetadataValue::Bool(truth) => truth.to_string(),
        MetadataValue::String(text) => format!("`{}`", text.chars().take(40).collect::<String>()),
        MetadataValue::Integers(all) => format!("an array of {} integers", all.len()),
        MetadataValue::Floats(all) => format!("an array of {} floats", all.len()),
        MetadataValue::Strings(all) => format!("an array of {} strings", all.len()),
    }
}
