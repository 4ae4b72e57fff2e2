//! Table 2: reward models as policies (paper section 5.2).

use gratis::data::Rollout;
use gratis::evaluation::{Bootstrap, Interval};
use gratis::objective::Objective;
use gratis::selection::mean_pass_at_1;

use crate::cache::Cache;
use crate::cast::Cast as _;
use crate::error::Result;
use crate::measured::interval;
use crate::outcome::{Claim, Outcome, PlainTable, Side};
use crate::rows::{InferenceReference, RewardModel, objectives, tuned};
use crate::settings::SampleSettings;
use crate::world::Split;

/// Samples of each test problem.
const N_SAMPLES: usize = 8;

/// Samples from every reward model and grades.
pub(super) fn run(cache: &mut Cache<'_>) -> Result<Outcome> {
    let bootstrap = cache.settings.bootstrap;
    let draw = SampleSettings { n_samples: N_SAMPLES, ..cache.settings.test };
    let start = pass_at_1(cache, "generator", &RewardModel::Generator, draw)?;
    let mut rows = vec![row("medium generator, the initial model", &start, None, &bootstrap)];
    let mut claims = Vec::new();
    for objective in objectives() {
        let name = objective.name();
        let model = RewardModel::Implicit(tuned(objective).recipe, InferenceReference::Start);
        let own = pass_at_1(cache, name, &model, draw)?;
        let differences: Vec<Vec<f64>> = own
            .iter()
            .zip(&start)
            .map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect())
            .collect();
        let gain = interval(&bootstrap, &differences);
        rows.push(row(name, &own, Some(gain), &bootstrap));
        if let Some((statement, side)) = claim(objective) {
            let make = match side {
                Side::Above => Claim::above,
                Side::Below => Claim::below,
            };
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
        name: "Table 2".to_owned(),
        title: "reward models as policies".to_owned(),
        question: "An implicit process reward model is still a language model. Does reward \
                   training make it a better policy?"
            .to_owned(),
        tables: vec![PlainTable {
            caption: format!(
                "pass@1 on the test problems in percent, {N_SAMPLES} samples per problem at \
                 temperature {}",
                draw.temperature
            ),
            header: ["", "pass@1", "minus the generator"].map(str::to_owned).to_vec(),
            rows,
        }],
        claims,
        conditions: cache.conditions(),
        ..Outcome::default()
    })
}

/// The pass@1 of each problem: `[n_seeds][n_problems]`.
fn pass_at_1(
    cache: &mut Cache<'_>,
    name: &str,
    model: &RewardModel,
    draw: SampleSettings,
) -> Result<Vec<Vec<f64>>> {
    let mut by_seed = Vec::new();
    for seed in cache.settings.seeds.clone() {
        cache.begin_row(name, seed);
        let model = cache.model(seed, model)?;
        let samples = cache.samples(seed, &model, Split::Test, draw)?;
        let rollouts = cache.rollouts(&samples)?;
        let mean = |rollout: &Rollout| Ok(mean_pass_at_1(&rollout.labels("pass@1")?));
        by_seed.push(rollouts.iter().map(mean).collect::<Result<Vec<f64>>>()?);
    }
    Ok(by_seed)
}

/// The paper's claim about an objective, and the side of 0 that the change of pass@1 is on.
fn claim(objective: Objective) -> Option<(&'static str, Side)> {
    match objective {
        Objective::Kto(_) => Some(("training with KTO makes a better policy", Side::Above)),
        Objective::Dpo(_) => Some(("training with DPO makes a worse policy", Side::Below)),
        Objective::Ce(_) => Some(("training with CE makes a worse policy", Side::Below)),
        _ => None,
    }
}

fn row(
    name: &str,
    values: &[Vec<f64>],
    gain: Option<Interval>,
    bootstrap: &Bootstrap,
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
