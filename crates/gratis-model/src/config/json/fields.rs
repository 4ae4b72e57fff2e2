//! Typed reading of the fields of a `config.json`; an invalid field is rejected by name.

use std::path::Path;

use serde_json::{Map, Value};

use super::considered::{self, Neutral};
use crate::config::Architecture;
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
    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
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

    pub(super) fn unsupported(&self, field: &str, supported: &str) -> Error {
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
        self.flag_or(field, false)
    }

    pub(super) fn flag_or(&self, field: &str, default: bool) -> Result<bool> {
        self.get(field).map_or(Ok(default), |value| {
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
        self.refuse_all_but_neutral(considered::NEUTRAL, Some(architecture))?;
        for (field, value) in self.map {
            if !value.is_null() && !considered::is_considered(field, architecture) {
                return Err(self.unconsidered(field));
            }
        }
        Ok(())
    }

    pub(super) fn unconsidered(&self, field: &str) -> Error {
        Error::UnknownField {
            path: self.path.to_owned(),
            field: format!("{}{field}", self.prefix),
            got: self.map.get(field).map_or_else(String::new, brief),
        }
    }

    /// Fields that `architecture` has a meaning for are left out.
    pub(super) fn refuse_all_but_neutral(
        &self,
        table: &[(&str, &[Neutral])],
        architecture: Option<Architecture>,
    ) -> Result<()> {
        for (field, neutral) in table {
            if architecture.is_some_and(|architecture| considered::is_of(field, architecture)) {
                continue;
            }
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
}

/// A value in a few words.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
