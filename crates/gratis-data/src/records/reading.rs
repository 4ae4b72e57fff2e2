//! How rollout files are read: the shape of their records, the names of their columns, what counts as
//! the label of a correct response, and what to do with a record that does not fit.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::OnInvalid;
use super::shapes::DataShape;

/// How the records of a file become rollouts, where its content does not say enough.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct ShapeSettings {
    /// Shape of the records; by default it is found from the first record of each file (docs/data.md
    /// lists the shapes).
    #[cfg_attr(feature = "clap", arg(long, value_name = "SHAPE"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<DataShape>,
    /// Read a column under another name: `--column prompt=question`; may be repeated.
    //
    // Pairs of our name and the name in the file.
    #[cfg_attr(
        feature = "clap",
        arg(long = "column", value_name = "OURS=THEIRS", value_parser = column_names::parse)
    )]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "column_names")]
    pub columns: Vec<(String, String)>,
    /// Label responses correct from this number on; needed for labels other than booleans, 0 and 1.
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = finite)
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_threshold: Option<f64>,
    /// Requests of an OpenAI batch, whose results are the input.
    #[cfg_attr(feature = "clap", arg(long, value_name = "FILE"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_input: Option<PathBuf>,
}

impl ShapeSettings {
    /// Whether nothing was asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether records in gratis' own columns need no conversion.
    pub(crate) fn is_plain(&self) -> bool {
        self.columns.is_empty() && self.label_threshold.is_none()
    }
}

#[cfg(feature = "clap")]
fn finite(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() { Ok(number) } else { Err("not a finite number".to_owned()) }
}

/// Names of columns as text, `OURS=THEIRS`.
mod column_names {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn parse(text: &str) -> Result<(String, String), String> {
        match text.split_once('=') {
            Some((ours, theirs)) if !ours.is_empty() && !theirs.is_empty() => {
                Ok((ours.to_owned(), theirs.to_owned()))
            }
            _ => Err("expected `OURS=THEIRS`, such as `prompt=question`".to_owned()),
        }
    }

    pub(crate) fn serialize<S: Serializer>(
        columns: &[(String, String)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(columns.iter().map(|(ours, theirs)| format!("{ours}={theirs}")))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        source: D,
    ) -> Result<Vec<(String, String)>, D::Error> {
        let texts = Vec::<String>::deserialize(source)?;
        texts.iter().map(|text| parse(text).map_err(D::Error::custom)).collect()
    }
}

/// How rollout files are read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// What to do with a record that does not fit.
    pub on_invalid: OnInvalid,
    /// How records become rollouts.
    pub shape: ShapeSettings,
    /// Told once per file how it is read, if not as gratis' own columns.
    pub notice: Option<fn(&Path, &str)>,
}

/// How the records of one file become rollouts: what was asked for, and what its records so far say.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileReading {
    pub(crate) shape: ShapeSettings,
    /// Whether a column such as `score` holds labels.
    pub(crate) doubtful_label: DoubtfulLabel,
    /// The filter of the first sample of lm-evaluation-harness; samples of other filters are left
    /// out.
    pub(crate) filter: Option<String>,
}

/// Whether a column that may hold labels or other numbers, such as `score`, holds labels in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DoubtfulLabel {
    /// No record had such a column yet.
    #[default]
    Unknown,
    /// The first one had a boolean, 0 or 1.
    Label,
    /// The first one had something else.
    NoLabel,
}

impl From<OnInvalid> for Reading {
    fn from(on_invalid: OnInvalid) -> Self {
        Self { on_invalid, ..Self::default() }
    }
}
