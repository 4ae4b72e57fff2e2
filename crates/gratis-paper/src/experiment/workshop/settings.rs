//! What can be chosen about the models and samples of the tiny world, and what a training leaves.

use serde::{Deserialize, Serialize};

use gratis::training::Decay;

/// How the base model is optimised. It stays on a plateau for a number of steps that depends on the
/// seed, so a measure and not a count ends the first part: the probability of the correct solution,
/// averaged over problems it has not seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseSettings {
    /// Until the measure has reached `turn`.
    pub ascent: LearningSettings,
    /// Where the measure ends the ascent.
    pub turn: f64,
    /// Afterwards, to the last step.
    pub descent: LearningSettings,
    /// A base model that ends below this is an error.
    pub target: f64,
}

/// How a model is optimised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningSettings {
    /// Optimizer steps; the most there may be where a measure or the data end the training.
    pub n_steps: u64,
    /// Passes over the data, where these end the training: of a reward model.
    pub n_epochs: u64,
    /// Responses in an optimizer step.
    pub batch_size: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises from 0.
    pub n_warm_up_steps: u64,
    /// How it falls afterwards.
    pub decay: Decay,
}

impl LearningSettings {
    /// The same number of responses in a step where they come in pairs.
    #[must_use]
    pub(in crate::experiment) fn in_pairs(self) -> Self {
        Self { batch_size: self.batch_size / 2, ..self }
    }

    /// With as many steps as `n_epochs` passes over so many responses, or pairs, take; no more than
    /// there were.
    pub(super) fn for_units(self, n_units: usize) -> Self {
        let one_pass = (n_units as u64).div_ceil(self.batch_size as u64);
        Self { n_steps: self.n_steps.min(self.n_epochs.saturating_mul(one_pass)), ..self }
    }
}

/// What is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrawSettings {
    /// Number of problems.
    pub n_problems: usize,
    /// Solutions of each problem.
    pub n_samples: usize,
    /// Divides the logits.
    pub temperature: f32,
}

/// The course of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Optimizer steps taken.
    pub n_steps: u64,
    /// Tokens that went through the model.
    pub n_tokens: u64,
    /// Loss now and then.
    pub curve: Vec<CurvePoint>,
}

impl Training {
    /// Goes on with a second part.
    pub(super) fn append(&mut self, part: Self) {
        let later = |point: CurvePoint| CurvePoint { step: point.step + self.n_steps, ..point };
        self.curve.extend(part.curve.into_iter().map(later));
        self.n_steps += part.n_steps;
        self.n_tokens += part.n_tokens;
    }
}

/// The loss at a step, averaged over the steps since the point before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Optimizer steps taken.
    pub step: u64,
    /// Loss in nats.
    pub loss: f64,
    /// Share of responses whose reward has the sign of their label; reward models only.
    pub accuracy: Option<f64>,
}
