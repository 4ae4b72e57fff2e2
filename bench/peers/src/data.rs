//! The token ids that every engine is given, in named sets.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// A prompt with its responses and their labels.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Problem {
    pub(crate) prompt: Vec<u32>,
    pub(crate) responses: Vec<Vec<u32>>,
    /// 1 for a correct response, 0 for an incorrect one.
    pub(crate) labels: Vec<u8>,
}

/// All sets of a data file.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Data(HashMap<String, Vec<Problem>>);

impl Data {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    pub(crate) fn set(&self, name: &str) -> Result<&[Problem]> {
        self.0.get(name).map(Vec::as_slice).with_context(|| format!("no set `{name}`"))
    }
}
