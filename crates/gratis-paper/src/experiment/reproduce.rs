//! The paper's tables and figures by name, and what this project asks beside them.

use serde::{Deserialize, Serialize};

use super::lab::Lab;
use super::outcome::Outcome;
use super::scaling::{self, Axis};
use super::{costs, figure6, heads, section3, table1, table2, table3, table4, table5};
use gratis::error::Result;

/// A table or figure of the paper, or a question of this project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Experiment {
    /// The propositions.
    Section3,
    /// Best-of-N with every reward model.
    Table1,
    /// Reward models as policies.
    Table2,
    /// What generation, reward model and reference cost at inference.
    Table3,
    /// The reference model left out.
    Table4,
    /// Other factors.
    Table5,
    /// Accuracy against operations.
    Figure1,
    /// Operations of collection and training.
    Figure3,
    /// More instructions.
    Figure4,
    /// More responses.
    Figure5,
    /// With the majority vote.
    Figure6,
    /// Beyond the paper: what a head needs to learn from true step labels.
    Heads,
}

impl Experiment {
    /// All tables and figures of the paper, in an order in which each finds much of what it needs.
    pub const ALL: [Self; 11] = [
        Self::Section3,
        Self::Table1,
        Self::Figure6,
        Self::Table2,
        Self::Table3,
        Self::Table4,
        Self::Table5,
        Self::Figure1,
        Self::Figure3,
        Self::Figure4,
        Self::Figure5,
    ];

    /// As on the command line and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Section3 => "section3",
            Self::Table1 => "table1",
            Self::Table2 => "table2",
            Self::Table3 => "table3",
            Self::Table4 => "table4",
            Self::Table5 => "table5",
            Self::Figure1 => "figure1",
            Self::Figure3 => "figure3",
            Self::Figure4 => "figure4",
            Self::Figure5 => "figure5",
            Self::Figure6 => "figure6",
            Self::Heads => "heads",
        }
    }

    /// Runs it in the laboratory.
    ///
    /// # Errors
    /// Those of the laboratory.
    pub fn run(self, lab: &mut Lab<'_>) -> Result<Outcome> {
        match self {
            Self::Section3 => section3::run(lab),
            Self::Table1 => table1::run(lab),
            Self::Table2 => table2::run(lab),
            Self::Table3 => table3::run(lab),
            Self::Table4 => table4::run(lab),
            Self::Table5 => table5::run(lab),
            Self::Figure1 => costs::figure1(lab),
            Self::Figure3 => costs::figure3(lab),
            Self::Figure4 => scaling::run(lab, Axis::Instructions),
            Self::Figure5 => scaling::run(lab, Axis::Responses),
            Self::Figure6 => figure6::run(lab),
            Self::Heads => heads::run(lab),
        }
    }
}
