//! How rollout files are read: the shape of their records, the names of their columns, what counts as
//! the label of a correct response, and what to do with a record that does not fit.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

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
    #[cfg_attr(feature = "clap", arg(long = "column", value_name = "OURS=THEIRS"))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnName>,
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
    pub(super) fn is_plain(&self) -> bool {
        self.columns.is_empty() && self.label_threshold.is_none()
    }
}

#[cfg(feature = "clap")]
fn finite(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() { Ok(number) } else { Err("not a finite number".to_owned()) }
}

/// A column that is read under another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ColumnName {
    /// Our name.
    pub ours: String,
    /// The name in the file.
    pub theirs: String,
}

impl FromStr for ColumnName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((ours, theirs)) if !ours.is_empty() && !theirs.is_empty() => {
                Ok(Self { ours: ours.to_owned(), theirs: theirs.to_owned() })
            }
            _ => Err("expected `OURS=THEIRS`, such as `prompt=question`".to_owned()),
        }
    }
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.ours, self.theirs)
    }
}

impl TryFrom<String> for ColumnName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ColumnName> for String {
    fn from(column: ColumnName) -> Self {
        column.to_string()
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
    /// What the first record of the file says about a column such as `score`.
    pub doubtful_label: DoubtfulLabel,
    /// The filter of the first sample of lm-evaluation-harness; those of others are left out.
    pub filter: Option<String>,
}

/// Whether a column that may hold labels or other numbers, such as `score`, holds labels in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DoubtfulLabel {
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
