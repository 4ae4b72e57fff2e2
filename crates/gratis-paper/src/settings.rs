//! The size of a reproduction and the optimisation of its models.

use gratis::evaluation::Bootstrap;
use gratis::training::Decay;
use serde::{Deserialize, Serialize};

/// The two scales of a reproduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// One seed, fewer problems: minutes.
    #[default]
    Quick,
    /// Three seeds and about as many test problems as in the paper: about ten minutes on two cores.
    Full,
}

/// What all experiments of a reproduction share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Each seed has its own world: problems, error contexts, weights, samples.
    pub(crate) seeds: Vec<u64>,
    /// Threads that compute.
    pub(crate) n_threads: usize,
    /// Optimisation of the base model.
    pub(crate) base: BaseSettings,
    /// Optimisation of each generator.
    pub(crate) generators: LearningSettings,
    /// Optimisation of every reward model; learning rate and epochs are those of its row.
    pub(crate) reward_model: LearningSettings,
    /// Rollouts of the medium generator that reward models learn from.
    pub(crate) train: SampleSettings,
    /// Candidates per generator on which everything is chosen: beta and learning rate, the threshold
    /// of the first error, the temperature of the vote.
    pub(crate) validation: SampleSettings,
    /// Candidates per generator that the tables report on.
    pub(crate) test: SampleSettings,
    /// Values of N.
    pub(crate) ns: Vec<usize>,
    /// Intervals over seeds and test problems.
    pub(crate) bootstrap: Bootstrap,
}

impl Settings {
    /// The settings of a scale with `n_seeds` seeds from 0; `None` for the scale's own number.
    pub fn new(scale: Scale, n_seeds: Option<u64>, n_threads: usize) -> Self {
        let (seeds, n_train, n_test) = match scale {
            Scale::Quick => (1, 1000, 120),
            Scale::Full => (3, 1500, 300),
        };
        Self {
            seeds: (0..n_seeds.unwrap_or(seeds)).collect(),
            n_threads,
            base: BaseSettings::default(),
            generators: LearningSettings::of_generators(),
            reward_model: LearningSettings::of_reward_models(),
            train: SampleSettings { n_problems: n_train, n_samples: 8, temperature: 1.0 },
            validation: SampleSettings { n_problems: 100, n_samples: 64, temperature: 0.7 },
            test: SampleSettings { n_problems: n_test, n_samples: 64, temperature: 0.7 },
            ns: vec![4, 16, 64],
            bootstrap: Bootstrap::default(),
        }
    }
}

/// How the base model is optimised. It stays on a plateau for a number of steps that depends on the
/// seed, so a measure and not a count ends the first part: the probability of the correct solution,
/// averaged over unseen problems.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BaseSettings {
    /// Until the measure has reached `turn`.
    pub ascent: LearningSettings,
    /// Value of the measure that ends the ascent.
    pub turn: f64,
    /// Afterwards, to the last step.
    pub descent: LearningSettings,
    /// A base model that ends below this is an error.
    pub target: f64,
}

impl Default for BaseSettings {
    fn default() -> Self {
        let ascent = LearningSettings {
            n_steps: Some(4000),
            n_epochs: 1,
            batch_size: 48,
            learning_rate: 4e-3,
            n_warm_up_steps: 50,
            decay: Decay::Constant,
        };
        let descent = LearningSettings {
            n_steps: Some(400),
            n_warm_up_steps: 0,
            decay: Decay::Linear,
            ..ascent
        };
        Self { ascent, turn: 0.7, descent, target: 0.9 }
    }
}

/// How a model is optimised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LearningSettings {
    /// Most optimizer steps; `None` where the data alone end the training.
    pub n_steps: Option<u64>,
    /// Passes over the data, where these end the training: of a reward model.
    pub n_epochs: u64,
    /// Responses per optimizer step.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises from 0.
    pub n_warm_up_steps: u64,
    /// How it falls afterwards.
    pub decay: Decay,
}

impl LearningSettings {
    /// Those of a generator.
    pub(crate) fn of_generators() -> Self {
        Self {
            n_steps: Some(300),
            n_epochs: 1,
            batch_size: 64,
            learning_rate: 3e-3,
            n_warm_up_steps: 10,
            decay: Decay::Linear,
        }
    }

    /// Those of a reward model.
    pub(crate) fn of_reward_models() -> Self {
        Self {
            n_steps: None,
            n_epochs: 1,
            batch_size: 64,
            learning_rate: 1e-3,
            n_warm_up_steps: 20,
            decay: Decay::Linear,
        }
    }

    /// The same number of responses per step where they come in pairs.
    #[must_use]
    pub(crate) fn in_pairs(self) -> Self {
        Self { batch_size: self.batch_size / 2, ..self }
    }

    /// Responses that `n_steps` steps take, if each is taken once.
    pub(crate) fn n_drawn(&self) -> usize {
        let n_steps = self.n_steps.map_or(usize::MAX, |n_steps| n_steps as usize);
        n_steps.saturating_mul(self.batch_size)
    }

    /// Steps that `n_epochs` passes over so many responses, or pairs, take, `n_steps` at most.
    pub(crate) fn steps_for(&self, n_units: usize) -> u64 {
        let one_pass = (n_units as u64).div_ceil(self.batch_size as u64);
        let passes = self.n_epochs.saturating_mul(one_pass);
        self.n_steps.map_or(passes, |n_steps| n_steps.min(passes))
    }
}

/// What is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleSettings {
    /// Number of problems.
    pub n_problems: usize,
    /// Solutions per problem.
    pub n_samples: usize,
    /// Sampling temperature.
    pub temperature: f32,
}
