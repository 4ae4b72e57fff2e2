//! The paper's tables and figures, one file each, and additional experiments of this project.

mod figure1;
mod figure3;
mod figure4;
mod figure5;
mod figure6;
mod heads;
mod scaling;
mod section3;
mod table1;
mod table2;
mod table3;
mod table4;
mod table5;
pub(crate) mod tuning;

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::cast::{self, Cast};
use crate::error::{Error, Result};
use crate::outcome::Outcome;

/// A table or figure of the paper, or an additional experiment.
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
    /// Cost of generation, reward model and reference at inference.
    Table3,
    /// Without the reference model.
    Table4,
    /// Other factors.
    Table5,
    /// Accuracy against operations.
    Figure1,
    /// Operations of collecting labels and training.
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

    /// Runs the experiment in the tiny world.
    pub(crate) fn run(self, cache: &mut Cache<'_>) -> Result<Outcome> {
        match self {
            Self::Heads => heads::run(cache),
            _ => self.run_on(cache),
        }
    }

    /// Runs the experiment on a cast.
    ///
    /// # Errors
    /// [`Error::NeedsTinyWorld`] for one that cannot run on any other; those of the cast.
    pub(crate) fn run_on(self, cast: &mut dyn Cast) -> Result<Outcome> {
        let mut outcome = match self {
            Self::Section3 => section3::run(cast),
            Self::Table3 => table3::run(cast),
            Self::Figure1 => figure1::run(cast),
            Self::Figure3 => figure3::run(cast),
            Self::Table1 => table1::run(cast),
            Self::Table2 => table2::run(cast),
            Self::Table4 => table4::run(cast),
            Self::Table5 => table5::run(cast),
            Self::Figure4 => figure4::run(cast),
            Self::Figure5 => figure5::run(cast),
            Self::Figure6 => figure6::run(cast),
            Self::Heads => {
                let why = self.needs_tiny_world().unwrap_or_default();
                return Err(Error::NeedsTinyWorld { experiment: self.name(), why });
            }
        }?;
        outcome.tables.extend(cast::left_out(cast));
        Ok(outcome)
    }

    /// Why the experiment runs in the tiny world only; `None` if it runs on every cast.
    pub fn needs_tiny_world(self) -> Option<&'static str> {
        match self {
            Self::Heads => Some(
                "it trains base models of four sizes from nothing, and heads on the true labels of all \
                 their steps",
            ),
            _ => None,
        }
    }
}
