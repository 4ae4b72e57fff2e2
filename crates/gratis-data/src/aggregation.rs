//! One score of a response from its process rewards, Q values and outcome reward.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the step rewards of a response are aggregated into a score.
///
/// The paper takes `Min`: the lowest process reward. Of an implicit process reward model `QLast` and
/// `Sum` equal `Outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Lowest process reward (the paper's).
    #[default]
    Min,
    /// Sum of the process rewards.
    Sum,
    /// Mean of the process rewards.
    Mean,
    /// Process reward of the last step.
    Last,
    /// Product of the process rewards, for those that are probabilities.
    Prod,
    /// Lowest Q value.
    QMin,
    /// Sum of the Q values.
    QSum,
    /// Mean of the Q values.
    QMean,
    /// Q value of the last step.
    QLast,
    /// Outcome reward of the whole response.
    Outcome,
}

impl Aggregation {
    /// Every aggregation.
    pub const ALL: [Self; 10] = [
        Self::Min,
        Self::Sum,
        Self::Mean,
        Self::Last,
        Self::Prod,
        Self::QMin,
        Self::QSum,
        Self::QMean,
        Self::QLast,
        Self::Outcome,
    ];

    /// Its name in configurations and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Last => "last",
            Self::Prod => "prod",
            Self::QMin => "q_min",
            Self::QSum => "q_sum",
            Self::QMean => "q_mean",
            Self::QLast => "q_last",
            Self::Outcome => "outcome",
        }
    }

    /// The score of a response from its process rewards and Q values (`[n_steps]` each) and its
    /// outcome reward; NaN where a response without steps is asked for a step's value.
    ///
    /// NaN stands for a step that was not read. The lowest value, sums, means and products are those
    /// of the steps that were read; the last step's value of a response that was not read to its end
    /// is NaN, and so is its outcome. A step with a Q value and a process reward of NaN is masked: the
    /// score is that of the other steps.
    pub fn score(self, process_rewards: &[f64], q_values: &[f64], outcome_reward: f64) -> f64 {
        let pairs = || process_rewards.iter().zip(q_values);
        let is_masked = |(reward, q_value): (&f64, &f64)| reward.is_nan() && !q_value.is_nan();
        if pairs().any(is_masked) {
            let (process_rewards, q_values): (Vec<f64>, Vec<f64>) =
                pairs().filter(|&pair| !is_masked(pair)).unzip();
            return self.score(&process_rewards, &q_values, outcome_reward);
        }
        let is_last = matches!(self, Self::Last | Self::QLast | Self::Outcome);
        if !is_last && process_rewards.iter().chain(q_values).any(|value| value.is_nan()) {
            let known = |values: &[f64]| -> Vec<f64> {
                values.iter().copied().filter(|value| !value.is_nan()).collect()
            };
            let (process_rewards, q_values) = (known(process_rewards), known(q_values));
            return match process_rewards.len() {
                0 => f64::NAN,
                _ => self.score(&process_rewards, &q_values, outcome_reward),
            };
        }
        let min = |values: &[f64]| values.iter().copied().reduce(f64::min).unwrap_or(f64::NAN);
        let sum = |values: &[f64]| values.iter().sum::<f64>();
        let mean = |values: &[f64]| sum(values) / values.len() as f64;
        let last = |values: &[f64]| values.last().copied().unwrap_or(f64::NAN);
        match self {
            Self::Min => min(process_rewards),
            Self::Sum => sum(process_rewards),
            Self::Mean => mean(process_rewards),
            Self::Last => last(process_rewards),
            Self::Prod => process_rewards.iter().copied().reduce(|a, b| a * b).unwrap_or(f64::NAN),
            Self::QMin => min(q_values),
            Self::QSum => sum(q_values),
            Self::QMean => mean(q_values),
            Self::QLast => last(q_values),
            Self::Outcome => outcome_reward,
        }
    }
}

impl fmt::Display for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Aggregation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|aggregation| aggregation.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(|a| format!("`{a}`")).join(", ");
            Error::setting("aggregation", format!("one of {names}"), name)
        })
    }
}
