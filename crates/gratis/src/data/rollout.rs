//! Rollouts: a problem, its gold answer, and candidate solutions with their outcome labels.
//!
//! The columns are those of the authors' published data set, so that it loads as it is.

use serde::{Deserialize, Serialize};

/// One line of a rollout file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Names the problem; its line number where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The problem as the model reads it.
    pub prompt: String,
    /// The gold answer.
    #[serde(default)]
    pub reference: String,
    /// Where the problem comes from.
    #[serde(default)]
    pub dataset: String,
    /// Candidate solutions.
    pub completions: Vec<String>,
    /// Outcome label of each completion; absent before grading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correctness: Option<Vec<bool>>,
    /// Steps of each completion, where they are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Vec<String>>>,
    /// Further columns, carried along unchanged.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}
