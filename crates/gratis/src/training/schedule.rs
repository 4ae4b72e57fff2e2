//! Learning rates over the steps of a run: warm-up, then constant or falling to a floor.

use serde::{Deserialize, Serialize};

/// How the learning rate decays after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Half a cosine, down to the floor.
    #[default]
    Cosine,
    /// Linear, down to the floor.
    Linear,
    /// No decay.
    Constant,
}

/// A learning-rate schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Schedule {
    /// Peak learning rate.
    pub(super) peak: f64,
    /// Steps of the linear warm-up; the last of them has the peak rate.
    pub(super) n_warm_up_steps: u64,
    /// All steps of the run, the warm-up included.
    pub(super) n_steps: u64,
    /// What follows the warm-up.
    pub(super) decay: Decay,
    /// The rate at the end, as a share of the peak: `0.1` ends at a tenth.
    pub(super) floor: f64,
}

impl Schedule {
    /// The learning rate of step `step`, counted from 0. Past the last step it is the floor's.
    pub(super) fn learning_rate(&self, step: u64) -> f64 {
        if step < self.n_warm_up_steps {
            return self.peak * (step + 1) as f64 / self.n_warm_up_steps as f64;
        }
        let n_decaying = self.n_steps.saturating_sub(self.n_warm_up_steps).max(1);
        let progress = ((step - self.n_warm_up_steps) as f64 / n_decaying as f64).min(1.0);
        let height = match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => 1.0 - progress,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        };
        let floor = if self.decay == Decay::Constant { 0.0 } else { self.floor };
        self.peak * (floor + (1.0 - floor) * height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_climbs_then_falls_to_the_floor() {
        let schedule = Schedule {
            peak: 2.0,
            n_warm_up_steps: 4,
            n_steps: 14,
            decay: Decay::Linear,
            floor: 0.1,
        };
        let rates: Vec<f64> = (0..5).map(|step| schedule.learning_rate(step)).collect();
        assert_eq!(rates, [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((schedule.learning_rate(9) - 1.1).abs() < 1e-12);
        assert!((schedule.learning_rate(14) - 0.2).abs() < 1e-12);
        assert!((schedule.learning_rate(99) - 0.2).abs() < 1e-12);

        let cosine = Schedule { decay: Decay::Cosine, ..schedule };
        assert!((cosine.learning_rate(9) - 1.1).abs() < 1e-12);
        assert!(cosine.learning_rate(5) > schedule.learning_rate(5));
        let constant = Schedule { decay: Decay::Constant, n_warm_up_steps: 0, ..schedule };
        assert_eq!(constant.learning_rate(13), 2.0);
    }
}
