//! Table 2: reward models as policies (paper section 5.2).

use gratis::evaluation::{Bootstrap, Interval};
use gratis::objective::Objective;

use crate::cast::Cast;
use crate::error::Result;
use crate::measured::interval;
use crate::outcome::{Claim, Outcome, PlainTable, Side};
use crate::rows::{InferenceReference, RewardModel, objectives};

/// Samples of each test problem.
const N_SAMPLES: usize = 8;

/// Samples from every reward model and grades.
pub(super) fn run(cast: &mut dyn Cast) -> Result<Outcome> {
    let bootstrap = cast.bootstrap();
    let start = pass_at_1(cast, "generator", &RewardModel::Generator)?;
    let name = format!("{}, the initial model", cast.start_name());
    let mut rows = vec![row(&name, &start, None, &bootstrap)];
    let mut claims = Vec::new();
    for objective in objectives() {
        let name = objective.name();
        let Some(tuned) = cast.recipe(objective) else { continue };
        let model = RewardModel::Implicit(tuned.recipe, InferenceReference::Start);
        let own = pass_at_1(cast, name, &model)?;
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
                cast.temperature()
            ),
            header: ["", "pass@1", "minus the generator"].map(str::to_owned).to_vec(),
            rows,
        }],
        claims,
        conditions: cast.conditions(),
        ..Outcome::default()
    })
}

/// The pass@1 of each problem: `[n_seeds][n_problems]`.
fn pass_at_1(cast: &mut dyn Cast, name: &str, model: &RewardModel) -> Result<Vec<Vec<f64>>> {
    let mut by_seed = Vec::new();
    for seed in cast.seeds() {
        cast.begin_row(name, seed);
        by_seed.push(cast.policy(seed, model, N_SAMPLES)?);
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
