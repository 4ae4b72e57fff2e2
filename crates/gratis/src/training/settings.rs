//! Settings of optimization and checkpoints.

use gratis_engine::OptimizerStep;
use serde::{Deserialize, Serialize};

use super::learning_rate::Trained;
use super::schedule::{Decay, Schedule};
use crate::error::{Error, Result};
use crate::numeric::check_positive;
use crate::observer::Observer;

/// The order of the data in an epoch. It is drawn anew for each epoch from the seed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum DataOrder {
    /// Problems are shuffled, and the responses of a problem follow one another, so that a batch
    /// computes their prompt once. A sixteenth of a batch at most is of one problem.
    #[default]
    Problems,
    /// Responses (or pairs) are shuffled, wherever they come from.
    Responses,
}

/// How a model is optimized. The defaults are those of the authors' recipe; the default learning
/// rate depends on the size of the model ([`Model::set_learning_rate`]).
///
/// [`Model::set_learning_rate`]: crate::reward_model::Model::set_learning_rate
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(deny_unknown_fields, default)]
pub struct OptimizationSettings {
    /// Number of passes over the data.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().epochs))]
    pub epochs: usize,
    /// Stop after this many optimizer steps, regardless of `epochs`; 0 for no limit.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().max_steps))]
    pub max_steps: u64,
    /// Responses (or pairs, for a pairwise objective) per optimizer step.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().batch_size))]
    pub batch_size: usize,
    /// Order of the data in an epoch.
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Self::default().order))]
    pub order: DataOrder,
    /// Peak learning rate [default: depends on the number of parameters and on `--lora-rank`;
    /// printed at the start, table in `docs/training.md`].
    #[cfg_attr(feature = "clap", arg(long, value_name = "RATE"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Share of the steps used for the warm-up of the learning rate from 0.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().warmup))]
    pub warmup: f64,
    /// Decay of the learning rate after the warm-up.
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Self::default().decay))]
    pub decay: Decay,
    /// Final learning rate, as a share of the peak.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().floor))]
    pub floor: f64,
    /// AdamW beta1: decay of the first moment.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().beta1))]
    pub beta1: f64,
    /// AdamW beta2: decay of the second moment.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().beta2))]
    pub beta2: f64,
    /// AdamW weight decay (decoupled).
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().weight_decay))]
    pub weight_decay: f64,
    /// Maximum global gradient norm; 0 for no clipping.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().clip))]
    pub clip: f64,
    /// Tokens per micro-batch; bounds the memory and changes results only by rounding.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().micro_batch_tokens))]
    pub micro_batch_tokens: usize,
    /// Seed of the data order, the validation split and new weights.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().seed))]
    pub seed: u64,
}

impl Default for OptimizationSettings {
    fn default() -> Self {
        Self {
            epochs: 1,
            max_steps: 0,
            batch_size: 64,
            order: DataOrder::default(),
            learning_rate: None,
            warmup: 0.03,
            decay: Decay::Cosine,
            floor: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            weight_decay: 0.0,
            clip: 1.0,
            micro_batch_tokens: 2048,
            seed: 0,
        }
    }
}

/// AdamW's epsilon.
const ADAM_EPSILON: f64 = 1e-8;

impl OptimizationSettings {
    /// Sets the default learning rate where none was given, and reports the rate with its source.
    pub(crate) fn resolve(&mut self, trained: &Trained, observer: &mut dyn Observer) {
        if let Some(rate) = self.learning_rate {
            observer.note(&format!("learning rate {rate:e} (as set)"));
        } else {
            let rate = trained.learning_rate();
            observer.note(&format!("learning rate {rate:e} ({trained})"));
            self.learning_rate = Some(rate);
        }
    }

    /// Number of optimizer steps for `n_units` units.
    pub fn n_steps(&self, n_units: usize) -> u64 {
        let n_steps = (self.epochs * n_units.div_ceil(self.batch_size)) as u64;
        if self.max_steps == 0 { n_steps } else { n_steps.min(self.max_steps) }
    }

    /// The learning rate of each of `n_steps` steps: a linear warm-up over
    /// `ceil(warmup * n_steps)` steps that ends at the highest rate, then the decay to the floor.
    ///
    /// # Errors
    /// [`Error::MissingSetting`] without a learning rate: its default depends on the model
    /// ([`Self::resolve`]).
    pub(super) fn schedule(&self, n_steps: u64) -> Result<Schedule> {
        let missing = Error::MissingSetting { field: "learning_rate" };
        Ok(Schedule {
            peak: self.learning_rate.ok_or(missing)?,
            n_warm_up_steps: (self.warmup * n_steps as f64).ceil() as u64,
            n_steps,
            decay: self.decay,
            floor: self.floor,
        })
    }

    /// The optimizer step at this learning rate.
    pub fn optimizer_step(&self, learning_rate: f64) -> OptimizerStep {
        OptimizerStep {
            learning_rate,
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: ADAM_EPSILON,
            weight_decay: self.weight_decay,
            max_gradient_norm: (self.clip > 0.0).then_some(self.clip),
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) names the first one outside its domain.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("epochs", self.epochs),
            ("batch_size", self.batch_size),
            ("micro_batch_tokens", self.micro_batch_tokens),
        ];
        for (field, value) in positive {
            if value == 0 {
                return Err(Error::setting(field, "at least 1", value));
            }
        }
        if let Some(rate) = self.learning_rate {
            check_positive("learning_rate", rate)?;
        }
        for (field, value) in [("warmup", self.warmup), ("floor", self.floor)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::setting(field, "within 0..=1", value));
            }
        }
        for (field, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::setting(field, "within 0..1", value));
            }
        }
        for (field, value) in [("weight_decay", self.weight_decay), ("clip", self.clip)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::setting(field, "a finite number, 0 or more", value));
            }
        }
        Ok(())
    }
}

/// When a run is saved and validated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointSettings {
    /// Steps between checkpoints; 0 saves only the last one.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().checkpoint_every))]
    pub checkpoint_every: u64,
    /// Number of newest checkpoints to keep.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().keep_last))]
    pub keep_last: usize,
    /// Steps between validations; 0 validates only at the end.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().validate_every))]
    pub validate_every: u64,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        Self { checkpoint_every: 100, keep_last: 2, validate_every: 100 }
    }
}

impl CheckpointSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) if no checkpoint would be kept.
    pub fn validate(&self) -> Result<()> {
        if self.keep_last == 0 {
            return Err(Error::setting("keep_last", "at least 1", 0));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_over_the_warmup_and_falls_to_the_floor() {
        let settings = OptimizationSettings {
            learning_rate: Some(1.0),
            warmup: 0.2,
            floor: 0.1,
            ..OptimizationSettings::default()
        };
        for decay in [Decay::Cosine, Decay::Linear] {
            let settings = OptimizationSettings { decay, ..settings.clone() };
            let schedule = settings.schedule(10).expect("a rate");
            let rates: Vec<_> = (0..10).map(|step| schedule.learning_rate(step)).collect();
            assert_eq!(&rates[..3], [0.5, 1.0, 1.0]);
            assert!(rates[2..].windows(2).all(|pair| pair[1] < pair[0]), "{rates:?}");
            assert!(rates[9] > 0.1 && (schedule.learning_rate(10) - 0.1).abs() < 1e-12);
        }
    }

    #[test]
    fn an_unknown_field_is_an_error() {
        let error = toml::from_str::<OptimizationSettings>("epoch = 3").expect_err("unknown");
        assert!(error.to_string().contains("unknown field `epoch`"), "{error}");
    }

    #[test]
    fn a_setting_outside_its_domain_is_named() {
        let settings = OptimizationSettings { warmup: 1.5, ..OptimizationSettings::default() };
        let error = settings.validate().expect_err("outside");
        assert_eq!(error.to_string(), "`warmup` should be within 0..=1, got `1.5`");
    }
}
