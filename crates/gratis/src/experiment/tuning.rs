//! Beta and learning rate of each objective, chosen on validation problems only.
//!
//! The paper's beta of 0.05 was found for models of eight billion parameters; a small model that
//! moves further from its reference wants a larger one. Every objective gets the same grid, and
//! every baseline as many trials.

use serde::{Deserialize, Serialize};

use super::lab::{InferenceReference, Lab, Recipe};
use crate::error::Result;
use crate::objective::{Ce, Dpo, Ipo, Kto, Nca, Objective, PrefixCe, Sppo};

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

/// Trains and judges every point of the grid in the world of `seed`.
///
/// # Errors
/// Those of the laboratory.
pub fn run(lab: &mut Lab<'_>, seed: u64) -> Result<Vec<Trial>> {
    let mut trials = Vec::new();
    for objective in objectives() {
        for beta in BETAS {
            for learning_rate in LEARNING_RATES {
                let objective = objective.with_beta(beta);
                let recipe = Recipe::new(objective, learning_rate);
                let validation = lab.judge(seed, &recipe, InferenceReference::Start)?.validation;
                trials.push(Trial { objective, learning_rate, validation });
                lab.observer().note(&format!(
                    "{} beta {beta} learning rate {learning_rate}: {:.1} on validation",
                    objective.name(),
                    100.0 * validation
                ));
            }
        }
    }
    Ok(trials)
}

/// The best trial of each objective, in the order of the trials.
pub fn best(trials: &[Trial]) -> Vec<Trial> {
    let mut best: Vec<Trial> = Vec::new();
    for trial in trials {
        match best.iter_mut().find(|found| found.objective.name() == trial.objective.name()) {
            Some(found) if trial.validation > found.validation => *found = *trial,
            Some(_) => {}
            None => best.push(*trial),
        }
    }
    best
}
