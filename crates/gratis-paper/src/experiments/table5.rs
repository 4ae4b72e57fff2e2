//! Table 5: other factors that may affect a reward model: other instructions, deduplication,
//! responses of the base model, step labels (paper appendix C.2).

use gratis::objective::Magnitude;
use gratis::objective::{Dpo, Objective};

use crate::cast::Cast;
use crate::error::Result;
use crate::measured::{By, Measured, RowHeading, comparison};
use crate::outcome::{Claim, Comparison, Outcome};
use crate::rows::{Factor, Recipe, RewardModel, Tuned};

/// The paper's average without any of the factors, in percent.
const PAPER_PLAIN: f64 = 49.3;

/// Trains DPO with each factor.
pub(super) fn run(cast: &mut dyn Cast) -> Result<Outcome> {
    let bootstrap = cast.bootstrap();
    let mut table = comparison(cast, "Accuracy of the selected candidate in percent, DPO");
    let objective = Objective::Dpo(Dpo::default());
    let Some(Tuned { recipe, .. }) = cast.recipe(objective) else {
        return Ok(outcome(cast, Vec::new(), Vec::new()));
    };
    let detail = recipe.detail();
    let plain = Measured::evaluate(cast, "implicit PRM", recipe.clone())?;
    let heading = |name, detail, paper| RowHeading { group: "", name, detail, paper: Some(paper) };
    table.rows.push(plain.row(heading("implicit PRM", detail.clone(), PAPER_PLAIN), &bootstrap));
    let with_factor = |factor| RewardModel::from(Recipe { factor, ..recipe.clone() });
    let with_labels = |magnitude| RewardModel::SecondStage(recipe.clone(), magnitude);
    let second_stage = |form: &str| format!("second stage, {form}");
    let mut claims = Vec::new();
    for (name, model, detail, paper) in [
        (
            "+ other instructions, one pair each",
            with_factor(Factor::OtherInstructionsOnePair),
            detail.clone(),
            49.2,
        ),
        (
            "+ other instructions, all responses",
            with_factor(Factor::OtherInstructions),
            detail.clone(),
            49.2,
        ),
        ("+ deduplication by 8-grams", with_factor(Factor::Deduplicated), detail.clone(), 47.6),
        (
            "+ half of the responses from the base",
            with_factor(Factor::BaseResponses),
            detail.clone(),
            48.7,
        ),
        (
            "+ Math-Shepherd's step labels",
            with_labels(Magnitude::Absolute),
            second_stage("|r| as printed"),
            49.2,
        ),
        (
            "+ Math-Shepherd's step labels, signed",
            with_labels(Magnitude::Signed),
            second_stage("signed r"),
            49.2,
        ),
    ] {
        if let Err(why) = cast.offers(&model) {
            cast.leave_out(&format!("row `{name}`"), why);
            continue;
        }
        let own = Measured::evaluate(cast, name, model)?;
        table.rows.push(own.row(heading(name, detail, paper), &bootstrap));
        // The paper's claim is that none of them helps.
        claims.push(Claim::below(
            &format!("`{name}` does not help by as much as 2 points"),
            "appendix C.2, table 5",
            &format!("difference of averages, paper {:+.1}", paper - PAPER_PLAIN),
            own.gain(By::BestOfN, (&plain, By::BestOfN), &bootstrap),
            0.02,
        ));
    }
    Ok(outcome(cast, vec![table], claims))
}

/// The table and what it means.
fn outcome(cast: &dyn Cast, comparisons: Vec<Comparison>, claims: Vec<Claim>) -> Outcome {
    Outcome {
        name: "Table 5".to_owned(),
        title: "other factors".to_owned(),
        question:
            "Do instructions of another kind, less repetition, more diverse responses or step \
             labels improve an implicit process reward model? The other instructions are a second \
             family of the tiny world, `tiny-pool`: everybody's coins are added up one after the \
             other, in the same words but with nothing to look up and no operation but addition; \
             half as many problems, whose responses are part of the data set and are wrong in 15 % \
             of the steps. The base's responses replace half of the generator's; repetition is \
             measured by the 8-grams of a problem's responses; Math-Shepherd's labels train a \
             second stage."
                .to_owned(),
        comparisons,
        claims,
        conditions: cast.conditions(),
        ..Outcome::default()
    }
}
