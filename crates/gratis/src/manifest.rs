//! `gratis.json`: the file beside a trained model that records how to score with it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use gratis_model::ValueHead;
use gratis_model::chat_template::Date;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::baseline::{LabelTexts, Pooling, ValueObjective};
use crate::data::Error as DataError;
use crate::data::StepSplit;
use crate::digest::hex;
use crate::error::{Error, Result};
use crate::objective::Objective;
use crate::reward::ValueRule;
use crate::selection::Aggregation;

/// How a model was trained and how to score with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this file's format.
    pub version: u32,
    /// Kind of reward model.
    pub kind: Kind,
    /// Factor of the log-ratio, or of the model's value, in the rewards.
    pub beta: f64,
    /// How the log-ratios of a prefix make its Q value; absent for the objective's rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_rule: Option<ValueRule>,
    /// The reference of the log-ratio; `None` for log-probabilities alone.
    pub reference: Option<ReferenceModel>,
    /// How a solution is split into steps.
    pub step_split: StepSplit,
    /// How step rewards are aggregated into a response's score.
    pub aggregation: Aggregation,
    /// The prompt, `{prompt}` standing for the problem.
    pub template: String,
    /// How the chat template was rendered into the prompt; `None` for a prompt given as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatSettings>,
    /// SHA-256 of the training tokens.
    pub data_hash: String,
}

/// The inputs of the chat template when it was rendered into the prompt: a record only, not used
/// for scoring.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChatSettings {
    /// Its name among the model's templates; `None` for the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The system message; `None` for the template's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The date used as today's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// Further variables by name.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub arguments: Map<String, Value>,
}

/// What a reward model computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Kind {
    /// `r = beta * log pi/pi_ref`: the paper's implicit process reward model.
    Implicit {
        /// The objective with its settings.
        objective: Objective,
    },
    /// The values of a scalar head.
    Head {
        /// How the head reads the states.
        head: ValueHead,
        /// How token values are combined into prefix values.
        pooling: Pooling,
        /// The loss of training.
        objective: ValueObjective,
    },
    /// The log-odds of label tokens after each step.
    LabelTokens {
        /// The texts of tag and labels.
        labels: LabelTexts,
    },
}

/// The model in the denominator of the log-ratio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceModel {
    /// Folder or file, relative to the model's folder or absolute, or a name on a hub.
    pub path: String,
    /// SHA-256 of its weights.
    pub hash: String,
}

impl ReferenceModel {
    /// The path of a reference in the `gratis.json` of a model in `folder`: relative if both are on
    /// this machine, so that they can be moved together. `place` is an absolute path, or a name on
    /// a hub.
    pub fn named(place: &str, hash: String, folder: &Path) -> Self {
        let absolute = |path: &Path| {
            path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_default()
        };
        let place_path = Path::new(place);
        if !place_path.is_absolute() {
            return Self { path: place.to_owned(), hash };
        }
        // The folder need not exist yet; its parent's real path is used.
        let folder = match (folder.parent(), folder.file_name()) {
            (Some(parent), Some(name)) => absolute(parent).join(name),
            _ => absolute(folder),
        };
        let path = relative(&absolute(place_path), &folder).unwrap_or_else(|| place.into());
        Self { path: path.display().to_string(), hash }
    }

    /// The same reference in the `gratis.json` of a model in another folder.
    #[must_use]
    pub fn moved(self, from: &Path, to: &Path) -> Self {
        let place = self.place_from(from);
        match place.canonicalize() {
            Ok(absolute) => Self::named(&absolute.display().to_string(), self.hash, to),
            Err(_) => self,
        }
    }

    /// The path of the reference of a model in `folder`.
    pub(crate) fn place_from(&self, folder: &Path) -> PathBuf {
        let path = Path::new(&self.path);
        let beside = folder.join(path);
        if path.is_relative() && beside.exists() { beside } else { path.to_owned() }
    }
}

/// `path` as seen from `folder`, both absolute; `None` if they share only the root.
fn relative(path: &Path, folder: &Path) -> Option<PathBuf> {
    let n_shared = path.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    if n_shared < 2 {
        return None;
    }
    let up = folder.components().skip(n_shared).map(|_| std::path::Component::ParentDir);
    Some(up.chain(path.components().skip(n_shared)).collect())
}

impl Manifest {
    /// File name.
    pub const FILE_NAME: &str = "gratis.json";
    /// The version that this program writes; version 1 can also be read.
    pub const VERSION: u32 = 2;

    /// Reads the manifest of a model folder; `None` if the model has none.
    ///
    /// # Errors
    /// [`InvalidFile`](crate::data::Error::InvalidFile) for a file of another version or with unknown fields.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(Self::FILE_NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let invalid = |got: String| DataError::InvalidFile {
            path: path.clone(),
            expected: format!("a `{}` of version {} at most", Self::FILE_NAME, Self::VERSION),
            got,
        };
        let value = serde_json::from_slice::<serde_json::Value>(&bytes)
            .map_err(|error| invalid(error.to_string()))?;
        let manifest = match value["version"].as_u64() {
            Some(1) => serde_json::from_value::<Version1>(value).map(Self::from),
            Some(2) => serde_json::from_value(value),
            _ => return Err(invalid(format!("version {}", value["version"])).into()),
        };
        Ok(manifest.map(Some).map_err(|error| invalid(error.to_string()))?)
    }

    /// How the log-ratios of a prefix make its Q value.
    pub fn value_rule(&self) -> ValueRule {
        let of_objective = match &self.kind {
            Kind::Implicit { objective } => objective.value_rule(),
            Kind::Head { .. } | Kind::LabelTokens { .. } => ValueRule::Sum,
        };
        self.value_rule.unwrap_or(of_objective)
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        format!("{:#}\n", serde_json::json!(self)).into_bytes()
    }
}

/// Format version 1, before there was one field for the kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Version1 {
    #[expect(dead_code, reason = "the kind is known here")]
    version: u32,
    #[serde(default)]
    objective: Option<Objective>,
    #[serde(default)]
    baseline: Option<BaselineOfVersion1>,
    beta: f64,
    reference: Option<ReferenceModel>,
    step_split: StepSplit,
    aggregation: Aggregation,
    template: String,
    data_hash: String,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum BaselineOfVersion1 {
    Head { head: ValueHead, pooling: Pooling, objective: ValueObjective },
    Tokens { labels: LabelTexts },
}

impl From<Version1> for Manifest {
    fn from(old: Version1) -> Self {
        Self {
            version: Self::VERSION,
            kind: match old.baseline {
                None => Kind::Implicit { objective: old.objective.unwrap_or_default() },
                Some(BaselineOfVersion1::Head { head, pooling, objective }) => {
                    Kind::Head { head, pooling, objective }
                }
                Some(BaselineOfVersion1::Tokens { labels }) => Kind::LabelTokens { labels },
            },
            beta: old.beta,
            value_rule: None,
            reference: old.reference,
            step_split: old.step_split,
            aggregation: old.aggregation,
            template: old.template,
            chat: None,
            data_hash: old.data_hash,
        }
    }
}

/// SHA-256 of a file in hexadecimal.
///
/// # Errors
/// [`Io`](crate::data::Error::Io).
pub fn hash_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hex(&hasher.finalize()))
}

/// A hash of weights in several files: that of [`hash_file`] for one file, otherwise the SHA-256 of
/// the concatenated hashes.
///
/// # Errors
/// [`Io`](crate::data::Error::Io).
pub(crate) fn hash_files(paths: &[PathBuf]) -> Result<String> {
    if let [one] = paths {
        return hash_file(one);
    }
    let mut hasher = Sha256::new();
    for path in paths {
        hasher.update(hash_file(path)?);
    }
    Ok(hex(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            version: Manifest::VERSION,
            kind: Kind::Implicit { objective: Objective::default() },
            beta: 0.05,
            value_rule: None,
            reference: None,
            step_split: StepSplit::Lines,
            aggregation: Aggregation::Min,
            template: "{prompt}".to_owned(),
            chat: None,
            data_hash: "d".to_owned(),
        }
    }

    #[test]
    fn it_is_read_as_written_and_a_later_version_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Manifest::read(folder.path()).expect("readable"), None);
        let path = folder.path().join(Manifest::FILE_NAME);
        std::fs::write(&path, manifest().to_bytes()).expect("written");
        assert_eq!(Manifest::read(folder.path()).expect("readable"), Some(manifest()));
        let later = Manifest { version: 3, ..manifest() };
        std::fs::write(&path, later.to_bytes()).expect("written");
        let error = Manifest::read(folder.path()).expect_err("later");
        assert!(error.to_string().ends_with("of version 2 at most, got version 3"), "{error}");
    }

    #[test]
    fn version_1_is_still_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |kind: &str| {
            let text = format!(
                r#"{{"version": 1, {kind}, "beta": 0.05, "reference": null, "step_split": "lines",
                    "aggregation": "min", "template": "{{prompt}}", "data_hash": "d"}}"#
            );
            std::fs::write(folder.path().join(Manifest::FILE_NAME), text).expect("written");
            Manifest::read(folder.path()).expect("readable").expect("there")
        };
        assert_eq!(read(r#""objective": {"name": "ce", "beta": 0.05}"#), manifest());
        let head = read(
            r#""baseline": {"kind": "head", "head": {"name": "linear"}, "pooling": "own",
                "objective": "outcome"}"#,
        );
        assert!(matches!(head.kind, Kind::Head { head: ValueHead::Linear, .. }), "{head:?}");
    }

    #[test]
    fn a_reference_on_this_machine_is_found_after_both_were_moved() {
        let top = tempfile::tempdir().expect("a folder");
        let here = top.path().join("here");
        std::fs::create_dir_all(here.join("base")).expect("made");
        std::fs::create_dir_all(here.join("run/model")).expect("made");
        let base = here.join("base").display().to_string();
        let named = ReferenceModel::named(&base, "h".to_owned(), &here.join("run/model"));
        assert_eq!(named.path, Path::new("../../base").display().to_string());
        let there = top.path().join("there");
        std::fs::rename(&here, &there).expect("moved");
        let found = named.place_from(&there.join("run/model"));
        assert_eq!(found.canonicalize().ok(), there.join("base").canonicalize().ok());
        let on_hub = ReferenceModel::named("org/name@v1", "h".to_owned(), &there);
        assert_eq!(on_hub.place_from(&there), Path::new("org/name@v1"));
    }
}
