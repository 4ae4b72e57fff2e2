//! What labels, training and selection cost: the plain data of figures 1 and 3 and of table 3.

use serde::{Deserialize, Serialize};

use crate::calculator::InferenceShares;

/// Ways to get a reward model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The implicit model with cross-entropy.
    Ce,
    /// The implicit model with DPO.
    Dpo,
    /// Step labels from continuations of every prefix, and a head that learns them.
    MathShepherd,
}

impl Way {
    /// In the order of the figures.
    pub(crate) const ALL: [Self; 3] = [Self::Ce, Self::Dpo, Self::MathShepherd];
}

/// Operations of collecting step labels and of training, without the rollouts, which all ways share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Operations {
    /// Every sequence on its own, as the paper counts.
    pub(crate) as_counted: f64,
    /// With shared prefixes and duplicates computed once.
    pub(crate) as_run: f64,
}

/// Generation, reward model and reference, when one of the candidates of a generator is selected.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inference {
    /// The generator.
    pub(crate) generator: String,
    /// Shares of operations.
    pub(crate) by_operations: InferenceShares,
    /// Processor seconds of generation, and the shares of time, where they were measured.
    pub(crate) by_time: Option<(f64, InferenceShares)>,
}

/// How large the Monte-Carlo check of the propositions of section 3 is: continuations of prefixes, sampled
/// from the reference and scored by both models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "the names in the file")]
pub(crate) struct Propositions {
    /// Test problems.
    pub n_problems: usize,
    /// Prefixes of one response to each.
    pub n_prefixes: usize,
    /// Continuations of each prefix, at least 2.
    pub n_continuations: usize,
}

impl Default for Propositions {
    fn default() -> Self {
        Self { n_problems: 4, n_prefixes: 4, n_continuations: 64 }
    }
}
