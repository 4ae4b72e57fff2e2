//! Training objectives: pure functions of log-ratios and labels (paper section 3).
//!
//! An objective is given the log-ratios `log pi(y_t|y_<t) - log pi_ref(y_t|y_<t)` of each response
//! token (without a reference: `log pi` alone) and returns the loss and `w_t = dL/dlog
//! pi(y_t|y_<t)`. It knows no model and no text. Pairs and the mismatched responses of KTO are
//! indices into the same list of responses.
//!
//! To add an objective, write one file, declare it here, and add one line to the table of
//! `objectives!`.

mod batch;
mod ce;
mod dpo;
mod ipo;
mod kto;
mod nca;
mod prefix_ce;
mod sppo;
mod step_ce;
mod step_kto;
mod step_mse;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::named_settings;
use crate::numeric::check_positive;

pub use batch::{ObjectiveBatch, ObjectiveOutput, Pair, StepLabel};
pub use ce::Ce;
pub use dpo::Dpo;
pub use ipo::Ipo;
pub use kto::Kto;
pub use nca::Nca;
pub use prefix_ce::PrefixCe;
pub use sppo::Sppo;
pub use step_ce::StepCe;
pub use step_kto::{Magnitude, StepKto};
pub use step_mse::StepMse;

/// What an objective's loss is a mean over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Single responses with an outcome label, or with step labels.
    Response,
    /// Pairs of a correct and an incorrect response of one prompt.
    Pair,
}

/// The definition of an objective.
trait Definition {
    /// Its name in configurations and on the command line.
    fn name(&self) -> &'static str;

    /// The factor of the log-ratio in the reward.
    fn beta(&self) -> f64;

    /// Replaces beta.
    fn set_beta(&mut self, beta: f64);

    /// Where the defaults come from.
    fn defaults_source(&self) -> &'static str;

    /// What the loss is a mean over.
    fn unit(&self) -> Unit {
        Unit::Response
    }

    /// Whether a response's weight depends on the rest of the batch beyond the division by
    /// `n_units`.
    fn couples_batch(&self) -> bool {
        false
    }

    /// Whether steps must come with labels.
    fn needs_step_labels(&self) -> bool {
        false
    }

    /// Whether outcome labels may lie between 0 and 1. Objectives on step labels do not use them.
    fn takes_soft_labels(&self) -> bool {
        self.needs_step_labels()
    }

    /// Why the gradient is 0 at a model that equals its reference, where it is, and what to do.
    fn reason_for_no_gradient(&self) -> Option<&'static str> {
        None
    }

    /// Rejects settings other than beta that are outside their domain.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Loss and weights of a validated batch.
    fn evaluate(&self, batch: &ObjectiveBatch) -> ObjectiveOutput;
}

macro_rules! objectives {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// The closed set of objectives, each with its settings.
        ///
        /// In a configuration: a table with the objective's `name` and whichever settings differ
        /// from the defaults, `{ name = "ce", beta = 0.3 }`; on a command line the same in short,
        /// `ce,beta=0.3`. Unknown settings are errors.
        #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", rename_all = "snake_case")]
        pub enum Objective {
            $($(#[$doc])* $variant($variant),)*
        }

        impl Objective {
            /// Every objective with its default settings.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant($variant::default()),)*]
            }

            fn definition(&self) -> &dyn Definition {
                match self {
                    $(Self::$variant(settings) => settings,)*
                }
            }

            fn definition_mut(&mut self) -> &mut dyn Definition {
                match self {
                    $(Self::$variant(settings) => settings,)*
                }
            }
        }
    };
}

objectives! {
    /// Cross-entropy on outcome labels (Eq. 5).
    Ce,
    /// Direct preference optimisation on pairs.
    Dpo,
    /// Kahneman-Tversky optimisation on unpaired labels.
    Kto,
    /// Noise contrastive alignment on pairs.
    Nca,
    /// Identity preference optimisation on pairs.
    Ipo,
    /// Squared loss of self-play preference optimisation on pairs.
    Sppo,
    /// Step-level KTO on step labels (appendix C.2).
    StepKto,
    /// Squared error of step values on step labels.
    StepMse,
    /// Cross-entropy of step labels on Q values.
    StepCe,
    /// Cross-entropy of the outcome label at every prefix.
    PrefixCe,
}

impl Default for Objective {
    fn default() -> Self {
        Self::Ce(Ce::default())
    }
}

impl FromStr for Objective {
    type Err = Error;

    /// `NAME` or `NAME,KEY=VALUE,...`, see [`named_settings`].
    fn from_str(text: &str) -> Result<Self> {
        Ok(named_settings::parse("objective", text)?)
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&named_settings::display(self)?)
    }
}

impl Objective {
    /// Its name in configurations and on the command line.
    pub fn name(&self) -> &'static str {
        self.definition().name()
    }

    /// The factor of the log-ratio in the reward `r = beta * sum_t log_ratio_t`.
    pub fn beta(&self) -> f64 {
        self.definition().beta()
    }

    /// The same objective with another beta.
    #[must_use]
    pub fn with_beta(mut self, beta: f64) -> Self {
        self.definition_mut().set_beta(beta);
        self
    }

    /// Where the default settings come from: the paper, the authors' code, or a publication.
    pub fn defaults_source(&self) -> &'static str {
        self.definition().defaults_source()
    }

    /// What the loss is a mean over.
    pub(crate) fn unit(&self) -> Unit {
        self.definition().unit()
    }

    /// Whether it trains on pairs of a correct and an incorrect response.
    pub fn needs_pairs(&self) -> bool {
        self.unit() == Unit::Pair
    }

    /// Whether a response's weight depends on the other responses of the optimizer batch beyond
    /// the division by `n_units`: KTO, through [`ObjectiveBatch::mismatched_log_ratio`].
    pub fn couples_batch(&self) -> bool {
        self.definition().couples_batch()
    }

    /// Whether it trains on labels of steps, [`ObjectiveBatch::steps`].
    pub fn needs_step_labels(&self) -> bool {
        self.definition().needs_step_labels()
    }

    /// Whether outcome labels may lie between 0 and 1: `ce` takes them as its target, and objectives
    /// on step labels do not use them.
    pub fn takes_soft_labels(&self) -> bool {
        self.definition().takes_soft_labels()
    }

    /// Why the gradient is 0 at a model that equals its reference, where it is, and what to do.
    pub fn reason_for_no_gradient(&self) -> Option<&'static str> {
        self.definition().reason_for_no_gradient()
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) if beta is not a finite number above 0, or another setting is
    /// outside its domain.
    pub fn validate(&self) -> Result<()> {
        check_positive("beta", self.beta())?;
        self.definition().validate()
    }

    /// The loss of a (micro-)batch and `w_t = dL/dlog pi(y_t|y_<t)`.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) if a setting is outside its domain or the parts of the batch do
    /// not fit together. A NaN among the log-ratios is no error here: it comes out as the loss.
    pub fn evaluate(&self, batch: &ObjectiveBatch) -> Result<ObjectiveOutput> {
        self.validate()?;
        batch.validate(self.needs_step_labels(), self.takes_soft_labels())?;
        Ok(self.definition().evaluate(batch))
    }
}

#[cfg(test)]
mod tests;
