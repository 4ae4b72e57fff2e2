//! Table 5: what else may change a reward model: other instructions, deduplication, responses of
//! the base model, step labels (paper appendix C.2).

use super::lab::{Factor, InferenceReference, Lab, Recipe};
use super::measured::{By, Measured, RowName, comparison, conditions};
use super::outcome::{Claim, Outcome};
use super::table1::detail;
use super::tuning;
use gratis::error::Result;
use gratis::objective::step_kto::Magnitude;
use gratis::objective::{Dpo, Objective};

/// Trains DPO with each factor.
///
/// # Errors
/// Those of the laboratory.
pub fn run(lab: &mut Lab<'_>) -> Result<Outcome> {
    let bootstrap = lab.settings.bootstrap;
    let mut table = comparison(lab, "Accuracy of the selected candidate in percent, DPO");
    let chosen = tuning::chosen(Objective::Dpo(Dpo::default()));
    let plain = chosen.recipe();
    let mut claims = Vec::new();
    let mut first: Option<Measured> = None;
    for (name, factor, paper) in [
        ("implicit PRM", Factor::None, 49.3),
        ("+ other instructions, one pair each", Factor::OtherInstructionsOnePair, 49.2),
        ("+ other instructions, all responses", Factor::OtherInstructions, 49.2),
        ("+ deduplication by 8-grams", Factor::Deduplicated, 47.6),
        ("+ half of the responses from the base", Factor::BaseResponses, 48.7),
    ] {
        let recipe = Recipe { factor, ..plain.clone() };
        let own =
            Measured::judge(lab, |lab, seed| lab.judge(seed, &recipe, InferenceReference::Start))?;
        let row = RowName { group: "", name, detail: detail(&chosen), paper: Some(paper) };
        table.rows.push(own.row(row, &bootstrap));
        match &first {
            Some(first) => claims.push(gain(name, paper - 49.3, &own, first, lab)),
            None => first = Some(own),
        }
    }
    if let Some(first) = &first {
        for (name, magnitude, detail) in [
            ("+ Math-Shepherd's step labels", Magnitude::Absolute, "second stage, |r| as printed"),
            ("+ Math-Shepherd's step labels, signed", Magnitude::Signed, "second stage, signed r"),
        ] {
            let own =
                Measured::judge(lab, |lab, seed| lab.judge_second_stage(seed, &plain, magnitude))?;
            let detail = detail.to_owned();
            let row = RowName { group: "", name, detail, paper: Some(49.2) };
            table.rows.push(own.row(row, &bootstrap));
            claims.push(gain(name, -0.1, &own, first, lab));
        }
    }
    Ok(Outcome {
        title: "Table 5: other factors".to_owned(),
        question:
            "Do instructions of another kind, less repetition, more diverse responses or step labels \
             improve an implicit process reward model? The other instructions are a second family of \
             the tiny world, `tiny-pool`: everybody's coins are put together one after the other, in \
             the same words but with nothing to look up and no operation but addition; half as many \
             problems, whose responses come with them and slip in 15 % of the steps. The base's \
             responses replace half of the generator's; repetition is judged by the 8-grams of a \
             problem's responses; Math-Shepherd's labels train a second stage."
                .to_owned(),
        comparisons: vec![table],
        claims,
        conditions: conditions(lab),
        ..Outcome::default()
    })
}

/// The paper's claim is that none of them helps.
fn gain(name: &str, paper: f64, own: &Measured, first: &Measured, lab: &Lab<'_>) -> Claim {
    Claim::below(
        &format!("`{name}` does not help by as much as 2 points"),
        "appendix C.2, table 5",
        &format!("difference of averages, paper {paper:+.1}"),
        own.gain(By::BestOfN, (first, By::BestOfN), &lab.settings.bootstrap),
        0.02,
    )
}
