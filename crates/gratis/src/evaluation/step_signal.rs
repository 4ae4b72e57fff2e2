//! The signal of a step that is compared with a threshold to predict that the step is wrong: its
//! process reward (paper Eq. 3), or the Q value at its end (Eq. 2).

use serde::{Deserialize, Serialize};

use crate::data::{Extent, ProblemScores, Rollout, Scored};
use crate::error::{Error, Result};

/// Signal of a step that is compared with a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum StepSignal {
    /// The process reward of the step: for implicit process reward models.
    #[default]
    Reward,
    /// The Q value at its end: for models whose head or label tokens estimate the quality of a
    /// prefix.
    QValue,
}

impl StepSignal {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reward => "process reward",
            Self::QValue => "Q value",
        }
    }

    /// The signal of each step: `[n_steps]`.
    pub fn of(self, score: &Scored) -> &[f64] {
        match self {
            Self::Reward => &score.steps,
            Self::QValue => &score.q_values,
        }
    }

    /// The signal with what a truncated solution has in place of the steps that were not read: no
    /// reward, and the Q value of the last step that was.
    fn read(self, signal: &[f64]) -> Vec<f64> {
        let mut before = 0.0;
        let value = |&value: &f64| {
            match (value.is_nan(), self) {
                (false, _) => before = value,
                (true, Self::Reward) => before = 0.0,
                (true, Self::QValue) => {}
            }
            before
        };
        signal.iter().map(value).collect()
    }

    /// The signal of each step of rollouts with one completion each, which give their steps:
    /// `[n_rollouts][n_steps]`.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) if the scores are not those of the rollouts: another number, or
    /// one with another number of steps.
    pub fn of_single(
        self,
        rollouts: &[Rollout],
        scores: &[ProblemScores],
    ) -> Result<Vec<Vec<f64>>> {
        if scores.len() != rollouts.len() {
            let expected = format!("one for each of {} solutions", rollouts.len());
            return Err(Error::setting("scores", expected, scores.len()));
        }
        let of = |(rollout, score): (&Rollout, &ProblemScores)| {
            score.check(rollout)?;
            let steps =
                rollout.completions.iter().filter_map(|completion| completion.steps.as_ref());
            let n_steps = steps.map(Vec::len).sum::<usize>();
            let scored = score.scores.first();
            if scored.is_some_and(|scored| {
                matches!(scored.extent, Some(Extent::Skipped | Extent::Absent))
            }) {
                return Ok(vec![0.0; n_steps]);
            }
            let signal = scored.map_or(&[][..], |score| self.of(score));
            if signal.len() != n_steps {
                let id = rollout.id.as_deref().unwrap_or_default();
                let expected = format!("{n_steps}, one for each step of `{id}`");
                return Err(Error::setting("scores", expected, signal.len()));
            }
            Ok(self.read(signal))
        };
        rollouts.iter().zip(scores).map(of).collect()
    }
}
