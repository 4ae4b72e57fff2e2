//! The settings of an engine: a file, `ENGINE.toml`, or an address.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::address::{self, Protocol};
use crate::error::{Error, Result};

/// The number format in which a server computes. It belongs to the identity of the model: the
/// log-probabilities of bf16 and f32 differ by tenths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataType {
    /// Not stated: the checks at the start allow for bf16.
    #[default]
    Unknown,
    /// f32.
    Float32,
    /// f16.
    Float16,
    /// bf16.
    Bfloat16,
    /// An 8-bit float.
    Fp8,
    /// Quantized to integers.
    Quantized,
}

/// The settings of an engine that runs elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineSettings {
    /// What the servers speak.
    pub protocol: Protocol,
    /// Address of the server, such as `http://127.0.0.1:8000`, with a prefix of the routes if there
    /// is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Addresses of many servers that serve the same model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The model as the server names it: a model, an adapter, or the base model to train.
    pub model: String,
    /// Folder with `config.json` and the tokenizer of the model, and `gratis.json` if it is a reward
    /// model; weights are not needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Number format of the server.
    #[serde(default)]
    pub dtype: DataType,
    /// Folder of the adapter that the server runs; its hash becomes part of the model's identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
    /// Any text; change it if the server runs other weights under the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Environment variable with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// File with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
    /// Sampling requests in flight per server; each draws one sample.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// Scoring requests in flight per server.
    #[serde(default = "default_scoring_concurrency")]
    pub scoring_concurrency: usize,
    /// Tokens per scoring request.
    #[serde(default = "default_request_tokens")]
    pub request_tokens: usize,
    /// Seconds until there is a connection.
    #[serde(default = "default_connect_seconds")]
    pub connect_seconds: f64,
    /// Seconds until an answer has arrived.
    #[serde(default = "default_answer_seconds")]
    pub answer_seconds: f64,
    /// Seconds that the waits before the retries of a request, or for a server that is down, may
    /// add up to.
    #[serde(default = "default_retry_seconds")]
    pub retry_seconds: f64,
    /// Train without clipping on a training server, which cannot clip.
    #[serde(default, skip_serializing_if = "is_false")]
    pub without_clipping: bool,
    /// Optimizer steps after which a state is saved on a training server, so that a server which was
    /// restarted can be brought back.
    #[serde(default = "default_snapshot_steps")]
    pub snapshot_steps: usize,
    /// A state on a training server, `tinker://MODEL/weights/NAME`, to sample from and to score with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Folder of the base model's weights, for the `adapter_config.json` of what was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// Largest difference between a token's log-probability alone and in a batch that the check at
    /// the start accepts [default: 0.001 for f32, otherwise 0.5].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

fn default_snapshot_steps() -> usize {
    20
}

fn default_concurrency() -> usize {
    64
}

fn default_scoring_concurrency() -> usize {
    4
}

fn default_request_tokens() -> usize {
    8192
}

fn default_connect_seconds() -> f64 {
    5.0
}

fn default_answer_seconds() -> f64 {
    600.0
}

fn default_retry_seconds() -> f64 {
    300.0
}

impl EngineSettings {
    /// The settings of an engine without a file.
    pub fn new(protocol: Protocol, url: &str, model: &str) -> Self {
        Self {
            protocol,
            url: Some(url.to_owned()),
            urls: Vec::new(),
            model: model.to_owned(),
            tokenizer: None,
            dtype: DataType::default(),
            adapter: None,
            revision: None,
            api_key_env: None,
            api_key_file: None,
            concurrency: default_concurrency(),
            scoring_concurrency: default_scoring_concurrency(),
            request_tokens: default_request_tokens(),
            connect_seconds: default_connect_seconds(),
            answer_seconds: default_answer_seconds(),
            retry_seconds: default_retry_seconds(),
            without_clipping: false,
            snapshot_steps: default_snapshot_steps(),
            checkpoint: None,
            weights: None,
            tolerance: None,
        }
    }

    /// Whether a path names an engine: an address, or a file that ends in `.toml`.
    pub fn is_named_by(given: &Path) -> bool {
        let is_toml = given.extension().is_some_and(|extension| extension == "toml");
        address::is_address(&given.to_string_lossy()) || is_toml && !given.is_dir()
    }

    /// The settings that an address or a file names. Paths in a file are relative to its folder.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Read`], [`Error::Setting`].
    pub fn read(given: &Path) -> Result<Self> {
        let text = given.to_string_lossy();
        let settings = if address::is_address(&text) {
            Self::of_address(&text)?
        } else {
            let content = fs::read_to_string(given)
                .map_err(|source| Error::Read { path: given.to_owned(), source })?;
            let mut settings: Self = toml::from_str(&content).map_err(|error| {
                let reason = error.to_string().trim_end().to_owned();
                Error::Setting { engine: text.to_string(), field: "ENGINE.toml", reason }
            })?;
            let folder = given.parent().unwrap_or(Path::new("."));
            let EngineSettings { tokenizer, adapter, api_key_file, weights, .. } = &mut settings;
            let paths = [tokenizer, adapter, api_key_file, weights];
            for path in paths.into_iter().flatten() {
                *path = folder.join(&*path);
            }
            settings
        };
        settings.check(&text)?;
        Ok(settings)
    }

    fn of_address(text: &str) -> Result<Self> {
        let parts = address::parse(text)?;
        // The same names as in a file, through the same reader, so that nothing is ignored.
        let mut table = toml::Table::new();
        table.insert("protocol".into(), parts.protocol.name().into());
        table.insert("url".into(), parts.url.clone().into());
        table.insert("model".into(), parts.model.into());
        for (name, value) in parts.settings {
            let number = || -> Option<toml::Value> {
                let integer = value.parse::<i64>().ok().map(toml::Value::from);
                integer.or_else(|| value.parse::<f64>().ok().map(toml::Value::from))
            };
            let is_text = [
                "tokenizer",
                "dtype",
                "adapter",
                "revision",
                "api_key_env",
                "api_key_file",
                "weights",
            ];
            let value = match number() {
                None if name == "without_clipping" => (value == "true").into(),
                Some(number) if !is_text.contains(&&name[..]) => number,
                _ => value.into(),
            };
            table.insert(name, value);
        }
        table.try_into().map_err(|error: toml::de::Error| Error::Address {
            address: parts.url,
            reason: error.message().to_owned(),
        })
    }

    fn check(&self, engine: &str) -> Result<()> {
        let engine = engine.split('?').next().unwrap_or_default();
        let wrong = |field, reason: &str| {
            Err(Error::Setting { engine: engine.to_owned(), field, reason: reason.to_owned() })
        };
        if self.servers().is_empty() {
            return wrong("url", "no server is named");
        }
        if self.model.is_empty() && self.protocol != Protocol::Sglang {
            return wrong("model", "the model is not named");
        }
        if let Some(uri) = &self.checkpoint {
            if self.protocol != Protocol::Tinker {
                return wrong("checkpoint", "only training servers have checkpoints");
            }
            if !uri.starts_with("tinker://") || !uri.contains("/weights/") {
                return wrong(
                    "checkpoint",
                    "it should be a state, `tinker://MODEL/weights/NAME`: a checkpoint for samplers \
                     could overwrite the model that it is of",
                );
            }
        }
        if self.protocol == Protocol::Tinker && self.servers().len() > 1 {
            return wrong("urls", "a training server is a single one");
        }
        let counts = [
            ("concurrency", self.concurrency),
            ("scoring_concurrency", self.scoring_concurrency),
            ("request_tokens", self.request_tokens),
            ("snapshot_steps", self.snapshot_steps),
        ];
        for (field, n) in counts {
            if n == 0 || field.ends_with("concurrency") && n > 4096 {
                return wrong(field, "it should be between 1 and 4096");
            }
        }
        let seconds = [
            ("connect_seconds", self.connect_seconds),
            ("answer_seconds", self.answer_seconds),
            ("retry_seconds", self.retry_seconds),
        ];
        for (field, value) in seconds {
            if !(0.001..=1e6).contains(&value) {
                return wrong(field, "it should be a positive number of seconds");
            }
        }
        if self.tolerance.is_some_and(|tolerance| tolerance.is_nan() || tolerance < 0.0) {
            return wrong("tolerance", "it should be at least 0");
        }
        if self.api_key_env.is_some() && self.api_key_file.is_some() {
            return wrong("api_key_env", "the key comes from a variable or from a file, not both");
        }
        Ok(())
    }

    /// The addresses of all servers.
    pub fn servers(&self) -> Vec<&str> {
        self.url.iter().chain(&self.urls).map(String::as_str).collect()
    }

    /// The key, if one is named. `variable` reads an environment variable.
    ///
    /// # Errors
    /// [`Error::Setting`] if the variable is not set, [`Error::Read`] for the file.
    pub fn key(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>> {
        if let Some(name) = &self.api_key_env {
            let key = variable(name).map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
            return key.map(Some).ok_or_else(|| Error::Setting {
                engine: self.model.clone(),
                field: "api_key_env",
                reason: format!("the variable `{name}` is not set"),
            });
        }
        let Some(path) = &self.api_key_file else { return Ok(None) };
        let text = fs::read_to_string(path)
            .map_err(|source| Error::Read { path: path.clone(), source })?;
        Ok(Some(text.trim().to_owned()).filter(|key| !key.is_empty()))
    }

    /// The tolerance of the check at the start.
    pub fn tolerance(&self) -> f32 {
        self.tolerance.unwrap_or(match self.dtype {
            // Observed on vLLM for CPU: 8e-5.
            DataType::Float32 => 1e-3,
            // Observed with bf16 on a random model: 0.24.
            _ => 0.5,
        })
    }

    /// What names the model: the hash of the protocol's name for it, of the number format, of the
    /// adapter's content and of the revision. Where the servers are does not belong to it.
    ///
    /// # Errors
    /// [`Error::Read`] for the adapter.
    pub fn identity(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(self.protocol.name().as_bytes());
        part(self.model.as_bytes());
        part(format!("{:?}", self.dtype).as_bytes());
        part(self.revision.as_deref().unwrap_or_default().as_bytes());
        if let Some(uri) = &self.checkpoint {
            part(uri.as_bytes());
        }
        if let Some(folder) = &self.adapter {
            for name in ["adapter_config.json", "adapter_model.safetensors"] {
                let path = folder.join(name);
                part(&fs::read(&path).map_err(|source| Error::Read { path, source })?);
            }
        }
        let digest = hasher.finalize();
        Ok(digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit).collect())
    }
}

fn hex_digit(value: u8) -> char {
    char::from_digit(value.into(), 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_an_address_give_the_same_settings() {
        let text = "protocol = \"vllm\"\nurl = \"http://gpu:8000\"\nmodel = \"policy\"\n\
                    dtype = \"float32\"\nconcurrency = 8\n";
        let from_file: EngineSettings = toml::from_str(text).expect("valid");
        let address = Path::new("vllm://gpu:8000/policy?dtype=float32&concurrency=8");
        assert_eq!(EngineSettings::read(address).expect("valid"), from_file);
        assert_eq!(from_file.tolerance(), 1e-3);
    }

    #[test]
    fn unknown_and_invalid_settings_are_named() {
        for (address, named) in [
            ("vllm://gpu/policy?concurency=8", "concurency"),
            ("vllm://gpu/policy?concurrency=0", "concurrency"),
            ("vllm://gpu/policy?answer_seconds=-1", "answer_seconds"),
            ("vllm://gpu/", "model"),
            ("vllm://gpu/policy?dtype=float33", "float33"),
        ] {
            let error = EngineSettings::read(Path::new(address)).expect_err("refused").to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn the_identity_depends_on_the_number_format_and_not_on_the_place() {
        let identity = |address: &str| {
            EngineSettings::read(Path::new(address)).expect("valid").identity().expect("readable")
        };
        let known = identity("vllm://a/policy?dtype=float32");
        assert_eq!(known, identity("vllm://b:81/policy?dtype=float32&concurrency=3"));
        for other in [
            "vllm://a/policy",
            "vllm://a/other?dtype=float32",
            "openai://a/policy?dtype=float32",
            "vllm://a/policy?dtype=float32&revision=2",
        ] {
            assert_ne!(known, identity(other), "{other}");
        }
    }

    #[test]
    fn a_key_comes_from_a_variable_and_its_absence_is_an_error() {
        let address = Path::new("vllm://a/policy?api_key_env=NAME");
        let settings = EngineSettings::read(address).expect("valid");
        let key = settings.key(&|name| (name == "NAME").then(|| " secret\n".to_owned()));
        assert_eq!(key.expect("set").as_deref(), Some("secret"));
        assert!(settings.key(&|_| None).is_err());
    }
}
