//! Layouts of published reward models, by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A layout in which reward models are published: which tensors, which prompt, where the score is
/// read. What each of them is stands in `docs/reward-models.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ModelFormat {
    /// `...ForSequenceClassification` with one label: Skywork-Reward and similar models.
    SequenceClassification,
    /// `...ForTokenClassification` with one or two labels, as TRL's `PRMTrainer` writes.
    TokenClassification,
    /// Qwen2.5-Math-PRM: two-layer head, read at `<extra_0>`.
    QwenPrm,
    /// Skywork-o1-Open-PRM: a value head, read at the line end of each step.
    ValueHeadPrm,
    /// Eurus-RM: a regression head.
    EurusRm,
    /// `ArmoRM`: several objectives weighted by a gate.
    ArmoRm,
    /// Math-Shepherd's model: `+` against `-` at a tag after each step.
    MathShepherd,
    /// RLHFlow's process reward models: a turn that says `+` after each step.
    RlhflowPrm,
    /// RLHFlow's outcome reward models: a turn that says `+` after the solution.
    RlhflowOrm,
    /// `EurusPRM` and `ImplicitPRM`: log-ratios to a reference.
    ImplicitPrm,
}

impl ModelFormat {
    /// Every format.
    pub const ALL: [Self; 10] = [
        Self::SequenceClassification,
        Self::TokenClassification,
        Self::QwenPrm,
        Self::ValueHeadPrm,
        Self::EurusRm,
        Self::ArmoRm,
        Self::MathShepherd,
        Self::RlhflowPrm,
        Self::RlhflowOrm,
        Self::ImplicitPrm,
    ];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::SequenceClassification => "sequence-classification",
            Self::TokenClassification => "token-classification",
            Self::QwenPrm => "qwen-prm",
            Self::ValueHeadPrm => "value-head-prm",
            Self::EurusRm => "eurus-rm",
            Self::ArmoRm => "armo-rm",
            Self::MathShepherd => "math-shepherd",
            Self::RlhflowPrm => "rlhflow-prm",
            Self::RlhflowOrm => "rlhflow-orm",
            Self::ImplicitPrm => "implicit-prm",
        }
    }
}

impl fmt::Display for ModelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
