//! Beta and learning rate of each objective, chosen on validation problems only.
//!
//! The paper's beta of 0.05 was found for models of eight billion parameters; a small model that
//! moves further from its reference wants a larger one. Every objective gets the same grid of beta and
//! learning rate, as do step labels under the log-ratio; heads and label tokens, which have no beta,
//! get a longer one of learning rates, and every baseline chooses its aggregation besides.

use serde::{Deserialize, Serialize};

use super::baselines::{Baseline, Configuration, Form, baselines};
use super::lab::{Lab, Recipe};
use gratis::error::Result;
use gratis::objective::{Ce, Dpo, Ipo, Kto, Nca, Objective, PrefixCe, Sppo};

/// Betas that are tried: the paper's, and larger ones.
pub const BETAS: [f64; 3] = [0.05, 0.3, 1.0];
/// Learning rates that are tried.
pub const LEARNING_RATES: [f64; 3] = [3e-4, 1e-3, 3e-3];

/// One point of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The objective with its beta.
    pub objective: Objective,
    /// The learning rate.
    pub learning_rate: f64,
    /// Best-of-N average over generators, N and validation problems.
    pub validation: f64,
}

impl Trial {
    /// The recipe of this point.
    pub fn recipe(&self) -> Recipe {
        Recipe::new(self.objective, self.learning_rate)
    }
}

/// The objectives of the paper and those beyond it, as they are tuned and compared.
pub fn objectives() -> Vec<Objective> {
    vec![
        Objective::Dpo(Dpo::default()),
        Objective::Kto(Kto::default()),
        Objective::Nca(Nca::default()),
        Objective::Ce(Ce::default()),
        Objective::Ipo(Ipo::default()),
        Objective::Sppo(Sppo::default()),
        Objective::PrefixCe(PrefixCe::default()),
    ]
}

/// A point of a baseline's grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineTrial {
    /// The row's name.
    pub name: String,
    /// What is chosen.
    pub configuration: Configuration,
    /// Best-of-N average over generators, N and validation problems.
    pub validation: f64,
}

/// All trials.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// Those of the objectives.
    pub objectives: Vec<Trial>,
    /// Those of the baselines.
    pub baselines: Vec<BaselineTrial>,
}

/// Trains every point of the grids in the world of `seed` and looks at its validation problems.
///
/// # Errors
/// Those of the laboratory.
pub fn run(lab: &mut Lab<'_>, seed: u64) -> Result<Tuning> {
    let mut tuning = Tuning::default();
    for objective in objectives() {
        for beta in BETAS {
            for learning_rate in LEARNING_RATES {
                let objective = objective.with_beta(beta);
                let recipe = Recipe::new(objective, learning_rate);
                let validation = lab.validate(seed, &recipe)?;
                tuning.objectives.push(Trial { objective, learning_rate, validation });
                lab.observer().note(&format!(
                    "{} beta {beta} learning rate {learning_rate}: {:.1} on validation",
                    objective.name(),
                    100.0 * validation
                ));
            }
        }
    }
    for baseline in baselines() {
        for configuration in baseline.configurations() {
            let validation = lab.validate_baseline(seed, &baseline, configuration)?;
            lab.observer().note(&format!(
                "{} learning rate {}, beta {}: {:.1} on validation",
                baseline.name,
                configuration.learning_rate,
                configuration.beta,
                100.0 * validation
            ));
            let name = baseline.name.clone();
            tuning.baselines.push(BaselineTrial { name, configuration, validation });
        }
    }
    Ok(tuning)
}

impl Tuning {
    /// The best trial of each objective, in the order of the trials; the first of equals.
    pub fn best(&self) -> Vec<Trial> {
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
    pub fn best_baselines(&self) -> Vec<BaselineTrial> {
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

/// Beta and learning rate that tables use for an objective: chosen by [`run`] in the world of seed
/// 0 at full scale, on its validation problems.
pub fn chosen(objective: Objective) -> Trial {
    let (beta, learning_rate) = match objective {
        Objective::Dpo(_) | Objective::Kto(_) => (1.0, 1e-3),
        Objective::Nca(_) | Objective::Sppo(_) => (0.05, 3e-3),
        Objective::Ipo(_) => (0.05, 1e-3),
        Objective::PrefixCe(_) => (1.0, 3e-3),
        _ => (0.3, 3e-3),
    };
    Trial { objective: objective.with_beta(beta), learning_rate, validation: f64::NAN }
}

/// What tables use for a baseline, chosen the same way. The bounds of true labels are not tuned.
/// Two rows have another rate than the best, by a point at most and in their favour:
/// `docs/baselines.md`.
pub fn chosen_baseline(baseline: &Baseline) -> Configuration {
    let (learning_rate, beta) = match (baseline.form, baseline.name.as_str()) {
        (Form::Likelihood | Form::SelfCertainty, _) => (0.0, 1.0),
        (_, "Math-Shepherd hard, log-ratio") => (3e-3, 0.3),
        (Form::LogRatio(_), _) | (_, "Math-Shepherd soft, label tokens") => (1e-3, 1.0),
        (Form::LabelTokens, _) | (_, "AutoPSV, fair head" | "AutoPSV, classic head") => (5e-4, 1.0),
        (_, "ORM CE, classic head" | "Math-Shepherd hard, classic head") => (8e-3, 1.0),
        _ => (2e-3, 1.0),
    };
    Configuration { learning_rate, beta }
}
