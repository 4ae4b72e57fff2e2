//! Table 4: without the reference model in training, in inference, or both (paper section 5.3.2).

use gratis::objective::{Ce, Dpo, Objective};

use crate::cast::Cast;
use crate::error::Result;
use crate::measured::{By, Measured, MeasuredControls, RowHeading, comparison};
use crate::outcome::{Claim, Outcome};
use crate::rows::{InferenceReference, Recipe, RewardModel, TrainingReference, Tuned};

/// A loss of fewer points than this does not count as a loss.
const MARGIN: f64 = 0.02;

/// Trains with and without, and scores with and without.
pub(super) fn run(cast: &mut dyn Cast) -> Result<Outcome> {
    let bootstrap = cast.bootstrap();
    let mut table = comparison(cast, "Accuracy of the selected candidate in percent");
    let source = "section 5.3.2, table 4";
    let mut claims = Vec::new();

    let random = MeasuredControls::evaluate(cast)?.random;
    let name = &format!("{}'s own log-probability", cast.start_name());
    let untrained = Measured::evaluate(cast, name, RewardModel::Generator)?;
    table.rows.push(untrained.row(
        RowHeading {
            group: "Not trained",
            name,
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
        let Some(Tuned { recipe: chosen, .. }) = cast.recipe(objective) else { continue };
        let mut measured = Vec::new();
        for training in [TrainingReference::Start, TrainingReference::None] {
            for inference in [InferenceReference::Start, InferenceReference::None] {
                let recipe = Recipe { reference: training, ..chosen.clone() };
                let with = |is: bool| if is { "with" } else { "without" };
                let name = format!(
                    "trained {} reference, inference {}",
                    with(training == TrainingReference::Start),
                    with(inference == InferenceReference::Start),
                );
                let row = format!("{}, {name}", objective.name());
                let model = RewardModel::Implicit(recipe, inference);
                let own = Measured::evaluate(cast, &row, model)?;
                table.rows.push(own.row(
                    RowHeading {
                        group: objective.name(),
                        name: &name,
                        detail: chosen.detail(),
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
        name: "Table 4".to_owned(),
        title: "is the reference model needed?".to_owned(),
        question:
            "With a uniform reference the propositions still hold. How much accuracy is lost if \
             the reference is left out of the reward, in training or when scoring?"
                .to_owned(),
        comparisons: vec![table],
        claims,
        conditions: cast.conditions(),
        ..Outcome::default()
    })
}
