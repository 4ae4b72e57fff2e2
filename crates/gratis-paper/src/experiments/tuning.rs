//! Beta and learning rate of each row, chosen on validation problems only.
//!
//! Every objective is tried on the same grid of beta and learning rate, extended where its best beta
//! is at the edge, as are step labels with the log-ratio on the common grid. Heads and label tokens, which have no beta, are tried at more learning rates. For
//! every baseline the aggregation is chosen as well. [`crate::rows`] has the chosen configurations.

use gratis::objective::Objective;
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::error::Result;
use crate::rows::{Baseline, Configuration, RewardModel};
use crate::rows::{baselines, implicit_configurations, objectives};

/// One point of an objective's grid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Trial {
    /// The objective with its beta.
    pub objective: Objective,
    /// The learning rate.
    pub learning_rate: f64,
    /// Best-of-N average over generators, N and validation problems.
    pub validation: f64,
}

/// A point of a baseline's grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct BaselineTrial {
    /// The row's name.
    pub name: String,
    /// What is chosen.
    pub configuration: Configuration,
    /// Best-of-N average over generators, N and validation problems.
    pub validation: f64,
}

/// All trials, and the best of each row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names in the file")]
pub struct Tuning {
    /// All trials.
    tuning: Trials,
    /// The best trial of each objective.
    objectives: Vec<Trial>,
    /// The best trial of each baseline.
    baselines: Vec<BaselineTrial>,
}

/// All trials.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Trials {
    /// Those of the objectives.
    objectives: Vec<Trial>,
    /// Those of the baselines.
    baselines: Vec<BaselineTrial>,
}

/// Trains every point of the grids in the world of `seed` and evaluates it on the validation problems.
pub(crate) fn run(cache: &mut Cache<'_>, seed: u64) -> Result<Tuning> {
    let mut trials = Trials::default();
    for objective in objectives() {
        for recipe in implicit_configurations(objective) {
            let (name, detail) = (objective.name(), recipe.detail());
            cache.begin_row(&format!("{name}, {detail}"), seed);
            let (objective, learning_rate) = (recipe.objective, recipe.learning_rate);
            let validation = cache.validate(seed, &recipe.into())?;
            cache
                .observer
                .note(&format!("{name}, {detail}: validation {:.1} %", 100.0 * validation));
            trials.objectives.push(Trial { objective, learning_rate, validation });
        }
    }
    for baseline in baselines() {
        for configuration in baseline.form.configurations() {
            let Configuration { learning_rate, beta } = configuration;
            let row = format!("{}, beta {beta}, learning rate {learning_rate}", baseline.name);
            cache.begin_row(&row, seed);
            let model = RewardModel::Baseline(Baseline { configuration, ..baseline.clone() });
            let validation = cache.validate(seed, &model)?;
            cache.observer.note(&format!("{row}: validation {:.1} %", 100.0 * validation));
            let name = baseline.name.clone();
            trials.baselines.push(BaselineTrial { name, configuration, validation });
        }
    }
    let (objectives, baselines) = (trials.best(), trials.best_baselines());
    Ok(Tuning { tuning: trials, objectives, baselines })
}

impl Trials {
    /// The best trial of each objective, in the order of the trials; the first of equals.
    fn best(&self) -> Vec<Trial> {
        let mut best: Vec<Trial> = Vec::new();
        for trial in &self.objectives {
            let same = |found: &&mut Trial| found.objective.name() == trial.objective.name();
            match best.iter_mut().find(same) {
                Some(found) if trial.validation > found.validation => *found = *trial,
                Some(_) => {}
                None => best.push(*trial),
            }
        }
        best
    }

    /// The best trial of each baseline.
    fn best_baselines(&self) -> Vec<BaselineTrial> {
        let mut best: Vec<BaselineTrial> = Vec::new();
        for trial in &self.baselines {
            match best.iter_mut().find(|found| found.name == trial.name) {
                Some(found) if trial.validation > found.validation => *found = trial.clone(),
                Some(_) => {}
                None => best.push(trial.clone()),
            }
        }
        best
    }
}
