//! Table 4: the reference model, left out in training, in inference, or both (paper section 5.3.2).

use super::lab::{InferenceReference, Lab, Recipe, TrainingReference};
use super::measured::{By, Measured, RowName, comparison, conditions};
use super::outcome::{Claim, Outcome};
use super::table1::detail;
use super::tuning;
use crate::world::Strength;
use gratis::error::Result;
use gratis::objective::{Ce, Dpo, Objective};

/// A loss of fewer points than this is no loss.
const MARGIN: f64 = 0.02;

/// Trains with and without, and scores with and without.
///
/// # Errors
/// Those of the laboratory.
pub fn run(lab: &mut Lab<'_>) -> Result<Outcome> {
    let bootstrap = lab.settings.bootstrap;
    let mut table = comparison(lab, "Accuracy of the selected candidate in percent");
    let source = "section 5.3.2, table 4";
    let mut claims = Vec::new();

    let random = Measured::control(lab, |lab, seed| Ok(lab.controls(seed)?.random))?;
    let untrained = Measured::judge(lab, |lab, seed| {
        let generator = lab.generator(seed, Strength::Medium)?;
        lab.judge_model(seed, &generator, 1.0, InferenceReference::None)
    })?;
    table.rows.push(untrained.row(
        RowName {
            group: "Not trained",
            name: "medium generator's own log-probability",
            detail: "inference without reference".to_owned(),
            paper: Some(45.8),
        },
        &bootstrap,
    ));
    claims.push(Claim::above(
        "the reference model itself already selects well",
        source,
        "average minus pass@1",
        untrained.gain(By::BestOfN, (&random, By::BestOfN), &bootstrap),
        0.0,
    ));

    for (objective, paper) in [
        (Objective::Dpo(Dpo::default()), [Some(50.4), Some(50.6), Some(50.2), Some(50.3)]),
        (Objective::Ce(Ce::default()), [None; 4]),
    ] {
        let chosen = tuning::chosen(objective);
        let mut measured = Vec::new();
        for training in [TrainingReference::Start, TrainingReference::None] {
            for inference in [InferenceReference::Start, InferenceReference::None] {
                let recipe = Recipe { reference: training, ..chosen.recipe() };
                let own = Measured::judge(lab, |lab, seed| lab.judge(seed, &recipe, inference))?;
                let with = |is: bool| if is { "with" } else { "without" };
                let name = format!(
                    "trained {} reference, inference {}",
                    with(training == TrainingReference::Start),
                    with(inference == InferenceReference::Start),
                );
                table.rows.push(own.row(
                    RowName {
                        group: objective.name(),
                        name: &name,
                        detail: detail(&chosen),
                        paper: paper[measured.len()],
                    },
                    &bootstrap,
                ));
                measured.push(own);
            }
        }
        let gain =
            |row: usize| measured[row].gain(By::BestOfN, (&measured[0], By::BestOfN), &bootstrap);
        let name = objective.name();
        for (row, what) in [(1, "at inference"), (3, "in training and at inference")] {
            claims.push(Claim::above(
                &format!(
                    "`{name}` loses less than {} points without the reference {what}",
                    100.0 * MARGIN
                ),
                source,
                "average without minus with",
                gain(row),
                -MARGIN,
            ));
        }
    }
    Ok(Outcome {
        title: "Table 4: is the reference model needed?".to_owned(),
        question: "With a uniform reference the propositions still hold. What is lost if the \
                   reference is left out of the reward, in training or when scoring?"
            .to_owned(),
        comparisons: vec![table],
        claims,
        conditions: conditions(lab),
        ..Outcome::default()
    })
}
