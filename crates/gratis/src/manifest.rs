//! `gratis.json`: what stands beside a trained model, so that whoever holds it knows how to score
//! with it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::baseline::BaselineForm;
use crate::data::hex;
use crate::data::steps::StepSplit;
use crate::error::{Error, Result};
use crate::objective::Objective;
use crate::selection::Aggregation;

/// Name of the file.
pub const FILE_NAME: &str = "gratis.json";
/// Version of the format.
const VERSION: u32 = 1;

/// How a model was trained and how to score with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this file's format.
    pub version: u32,
    /// The objective with its settings; `None` for a baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// How a baseline gives its values; `None` for an implicit process reward model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineForm>,
    /// Factor of the log-ratio in the rewards, or of a baseline's value.
    pub beta: f64,
    /// What the log-ratio was taken to; `None` for log-probabilities alone.
    pub reference: Option<ReferenceModel>,
    /// How a solution is split into steps.
    pub step_split: StepSplit,
    /// How the steps become a response's score.
    pub aggregation: Aggregation,
    /// The prompt, `{prompt}` standing for the problem.
    pub template: String,
    /// SHA-256 of the training tokens.
    pub data_hash: String,
}

/// The model in the denominator of the log-ratio.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceModel {
    /// Folder, as it was given.
    pub path: String,
    /// SHA-256 of its weights.
    pub hash: String,
}

impl Manifest {
    /// The version written by this program.
    pub const VERSION: u32 = VERSION;

    /// Reads the manifest of a model folder; `None` if the model has none.
    ///
    /// # Errors
    /// [`Error::InvalidFile`] for a file of another version or with unknown fields.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE_NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let invalid = |got: String| Error::InvalidFile {
            path: path.clone(),
            expected: format!("a `{FILE_NAME}` of version {VERSION}"),
            got,
        };
        let version = serde_json::from_slice::<serde_json::Value>(&bytes)
            .map_err(|error| invalid(error.to_string()))?["version"]
            .clone();
        if version != VERSION {
            return Err(invalid(format!("version {version}")));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| invalid(error.to_string()))
    }

    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        format!("{:#}\n", serde_json::json!(self)).into_bytes()
    }
}

/// SHA-256 of a file in hexadecimal.
///
/// # Errors
/// [`Error::Io`].
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

/// What names the weights in several files: that of [`hash_file`] for one, otherwise the SHA-256 of
/// theirs, one after the other.
///
/// # Errors
/// [`Error::Io`].
pub fn hash_files(paths: &[PathBuf]) -> Result<String> {
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
            version: VERSION,
            objective: Some(Objective::default()),
            baseline: None,
            beta: 0.05,
            reference: None,
            step_split: StepSplit::Lines,
            aggregation: Aggregation::Min,
            template: "{prompt}".to_owned(),
            data_hash: "d".to_owned(),
        }
    }

    #[test]
    fn it_is_read_as_written_and_a_later_version_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Manifest::read(folder.path()).expect("readable"), None);
        let path = folder.path().join(FILE_NAME);
        std::fs::write(&path, manifest().to_bytes()).expect("written");
        assert_eq!(Manifest::read(folder.path()).expect("readable"), Some(manifest()));
        let later = Manifest { version: 2, ..manifest() };
        std::fs::write(&path, later.to_bytes()).expect("written");
        let error = Manifest::read(folder.path()).expect_err("later");
        assert!(error.to_string().ends_with("of version 1, got version 2"), "{error}");
    }
}
