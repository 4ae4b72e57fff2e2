//! How large an experiment is.

use serde::{Deserialize, Serialize};

use crate::experiment::demo::DemoSettings;
use crate::experiment::workshop::{BaseSettings, DrawSettings, LearningSettings};
use gratis::evaluation::Bootstrap;

/// Two sizes of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// One seed, fewer problems: minutes.
    #[default]
    Quick,
    /// Three seeds and the test problems of the paper's order: an hour or so.
    Full,
}

/// What all experiments of a run share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabSettings {
    /// Each seed is a world of its own: problems, habits of the authors, weights, samples.
    pub seeds: Vec<u64>,
    /// Threads that compute.
    pub n_threads: usize,
    /// Optimisation of the base model.
    pub base: BaseSettings,
    /// Optimisation of each generator.
    pub generators: LearningSettings,
    /// Optimisation of every reward model, but for the rate, which its recipe has.
    pub reward_model: LearningSettings,
    /// Rollouts of the medium generator that reward models learn from.
    pub train: DrawSettings,
    /// Candidates of each generator on which everything is chosen: beta and learning rate, the
    /// threshold of the first error, the temperature of the vote.
    pub validation: DrawSettings,
    /// Candidates of each generator that the tables are about.
    pub test: DrawSettings,
    /// Values of N.
    pub ns: Vec<usize>,
    /// Intervals over seeds and test problems.
    pub bootstrap: Bootstrap,
}

impl LabSettings {
    /// The settings of a scale with `n_seeds` seeds from 0; `None` for the scale's own number.
    pub fn new(scale: Scale, n_seeds: Option<u64>, n_threads: usize) -> Self {
        let demo = DemoSettings::default();
        let (seeds, n_train, n_test) = match scale {
            Scale::Quick => (1, 1000, 120),
            Scale::Full => (3, 1500, 300),
        };
        Self {
            seeds: (0..n_seeds.unwrap_or(seeds)).collect(),
            n_threads,
            base: demo.base,
            generators: demo.generators,
            reward_model: demo.reward_model,
            train: DrawSettings { n_problems: n_train, n_samples: 8, temperature: 1.0 },
            validation: DrawSettings { n_problems: 100, n_samples: 64, temperature: 0.7 },
            test: DrawSettings { n_problems: n_test, n_samples: 64, temperature: 0.7 },
            ns: vec![4, 16, 64],
            bootstrap: Bootstrap::default(),
        }
    }
}
