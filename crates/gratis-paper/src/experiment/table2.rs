//! Table 2: reward models as policies (paper section 5.2).

use super::lab::{Lab, Recipe};
use super::measured::{conditions, interval};
use super::outcome::{Claim, Outcome, PlainTable};
use super::tuning;
use super::workshop::DrawSettings;
use crate::world::{Split, Strength};
use gratis::error::Result;
use gratis::evaluation::Interval;
use gratis::objective::Objective;
use gratis::selection::mean_pass_at_1;

/// Samples of each test problem.
const N_SAMPLES: usize = 8;

/// Samples from every reward model and grades.
///
/// # Errors
/// Those of the laboratory.
pub fn run(lab: &mut Lab<'_>) -> Result<Outcome> {
    let bootstrap = lab.settings.bootstrap;
    let draw = DrawSettings { n_samples: N_SAMPLES, ..lab.settings.test };
    let mut pass_at_1 = |recipe: Option<Recipe>| -> Result<Vec<Vec<f64>>> {
        let mut by_seed = Vec::new();
        for seed in lab.settings.seeds.clone() {
            let model = match &recipe {
                Some(recipe) => lab.reward_model(seed, recipe)?,
                None => lab.generator(seed, Strength::Medium)?,
            };
            let samples = lab.samples(seed, &model, Split::Test, draw)?;
            let rollouts = lab.rollouts(&samples)?;
            let mean =
                |rollout: &gratis::data::Rollout| Ok(mean_pass_at_1(rollout.labels("pass@1")?));
            by_seed.push(rollouts.iter().map(mean).collect::<Result<Vec<f64>>>()?);
        }
        Ok(by_seed)
    };
    let start = pass_at_1(None)?;
    let mut rows = vec![row("medium generator, where all start", &start, None, &bootstrap)];
    let mut claims = Vec::new();
    for objective in tuning::objectives() {
        let name = objective.name();
        let own = pass_at_1(Some(tuning::chosen(objective).recipe()))?;
        let differences: Vec<Vec<f64>> = own
            .iter()
            .zip(&start)
            .map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect())
            .collect();
        let gain = interval(&bootstrap, &differences);
        rows.push(row(name, &own, Some(gain), &bootstrap));
        if let Some((statement, side)) = claim(objective) {
            let make = if side { Claim::above } else { Claim::below };
            claims.push(make(
                statement,
                "section 5.2, table 2",
                "pass@1 minus the generator's",
                gain,
                0.0,
            ));
        }
    }
    Ok(Outcome {
        title: "Table 2: reward models as policies".to_owned(),
        question: "An implicit process reward model is still a language model. Does judging well \
                   make it solve well?"
            .to_owned(),
        tables: vec![PlainTable {
            caption: format!(
                "pass@1 on the test problems in percent, {N_SAMPLES} samples a problem at \
                 temperature {}",
                draw.temperature
            ),
            header: ["", "pass@1", "against the generator"].map(str::to_owned).to_vec(),
            rows,
        }],
        claims,
        conditions: conditions(lab),
        ..Outcome::default()
    })
}

/// What the paper says of an objective, and whether it is that pass@1 rises.
fn claim(objective: Objective) -> Option<(&'static str, bool)> {
    match objective {
        Objective::Kto(_) => Some(("training with KTO makes a better policy", true)),
        Objective::Dpo(_) => Some(("training with DPO makes a worse policy", false)),
        Objective::Ce(_) => Some(("training with CE makes a worse policy", false)),
        _ => None,
    }
}

fn row(
    name: &str,
    values: &[Vec<f64>],
    gain: Option<Interval>,
    bootstrap: &gratis::evaluation::Bootstrap,
) -> Vec<String> {
    let Interval { mean, low, high } = interval(bootstrap, values);
    let gain = gain.map_or(String::new(), |gain| {
        format!("{:+.1} ({:+.1} to {:+.1})", 100.0 * gain.mean, 100.0 * gain.low, 100.0 * gain.high)
    });
    vec![
        name.to_owned(),
        format!("{:.1} ({:.1} to {:.1})", 100.0 * mean, 100.0 * low, 100.0 * high),
        gain,
    ]
}
