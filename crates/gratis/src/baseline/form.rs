//! What `gratis.json` says of a baseline, so that whoever holds the model can score with it.

use gratis_model::ValueHead;
use serde::{Deserialize, Serialize};

use super::loss::ValueObjective;
use super::pooling::Pooling;
use super::token_task::LabelTexts;

/// How a reward model that is not implicit gives its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BaselineForm {
    /// By a scalar head.
    Head {
        /// What is read from the states.
        head: ValueHead,
        /// How the tokens' values become those of prefixes.
        pooling: Pooling,
        /// What it was trained on.
        objective: ValueObjective,
    },
    /// By label tokens after each step.
    Tokens {
        /// The texts of tag and labels.
        labels: LabelTexts,
    },
}
