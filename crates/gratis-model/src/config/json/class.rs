//! The `config.json` of a model whose class is not that of a language model: which class it is, and
//! the shape of its body.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::read_text;
use crate::config::{Head, ModelConfig};
use crate::error::{Error, Result};

/// A `config.json` as it is written, before anything is made of its class.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    path: PathBuf,
    map: Map<String, Value>,
}

impl ConfigFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::MissingFile`], [`Error::Io`] or [`Error::MalformedFile`].
    pub fn read(path: &Path) -> Result<Self> {
        let map = serde_json::from_str(&read_text(path)?).map_err(|error| {
            Error::MalformedFile { path: path.to_owned(), reason: error.to_string() }
        })?;
        Ok(Self { path: path.to_owned(), map })
    }

    /// The names in `architectures`.
    pub fn classes(&self) -> impl Iterator<Item = &str> {
        let names = self.map.get("architectures").and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str)
    }

    /// A number among the fields, where it is one.
    pub fn number(&self, field: &str) -> Option<f64> {
        self.map.get(field)?.as_f64()
    }

    /// A token id among the fields, where it is one.
    pub fn token(&self, field: &str) -> Option<u32> {
        u32::try_from(self.map.get(field)?.as_u64()?).ok()
    }

    /// The shape of the body, by `model_type`: a decoder whose language-model head, if the files
    /// hold one, is not used. `of_head` are the fields that describe the head.
    ///
    /// # Errors
    /// As [`ModelConfig::read`].
    pub fn body(&self, of_head: &[&str]) -> Result<ModelConfig> {
        let mut map = self.map.clone();
        for field in of_head.iter().chain(&["architectures"]) {
            map.remove(*field);
        }
        let config = ModelConfig::from_json(&Value::Object(map).to_string(), &self.path)?;
        Ok(ModelConfig { head: Head::Tied, ..config })
    }
}
