//! Figure 5: more responses per instruction (paper section 5.1).

use gratis::objective::{Ce, Objective};

use super::scaling::{self, Part, Scaling};
use crate::cast::Cast;
use crate::error::Result;
use crate::measured::{By, Measured, MeasuredControls};
use crate::outcome::{Claim, Outcome};
use crate::report::XScale;

/// Responses per instruction, besides all there are.
const RESPONSES: [usize; 4] = [1, 2, 4, 8];

/// Trains CE and DPO on some of the responses.
pub(super) fn run(cast: &mut dyn Cast) -> Result<Outcome> {
    let bootstrap = cast.bootstrap();
    let (_, all) = cast.train_size()?;
    let Scaling { table, plots, curves } =
        scaling::evaluate(cast, "responses per instruction", XScale::Log2, |objective| {
            // One response makes no pair.
            let smallest = if objective.needs_pairs() { 2 } else { 1 };
            let few = RESPONSES.into_iter().filter(|&n| n < all);
            let counts = few.chain([all]).filter(|&n| n >= smallest);
            counts.map(Part::Responses).collect()
        })?;
    let random = MeasuredControls::evaluate(cast)?.random;
    let mut claims = Vec::new();
    for curve in &curves {
        let name = curve.objective.name();
        if let (Some(least), Some(most)) = (curve.parts.first(), curve.parts.last()) {
            claims.push(Claim::above(
                &format!("more responses help `{name}`"),
                "section 5.1, figure 5",
                "average with the most minus with the least",
                most.measured.gain(By::BestOfN, (&least.measured, By::BestOfN), &bootstrap),
                0.0,
            ));
            claims.push(Claim::above(
                &format!("`{name}` improves on the generators with {}", least.part.name()),
                "section 5.1, figure 5",
                "average minus pass@1",
                least.measured.gain(By::BestOfN, (&random, By::BestOfN), &bootstrap),
                0.0,
            ));
        }
    }
    claims.extend(responses_against_instructions(cast)?);
    Ok(Outcome {
        name: "Figure 5".to_owned(),
        title: "scaling responses".to_owned(),
        question: "Does the reward model get better with more responses to the same instructions?"
            .to_owned(),
        comparisons: vec![table],
        plots,
        claims,
        conditions: cast.conditions(),
        ..Outcome::default()
    })
}

/// A quarter of the responses against a quarter of the instructions: the same amount of data.
fn responses_against_instructions(cast: &mut dyn Cast) -> Result<Option<Claim>> {
    let bootstrap = cast.bootstrap();
    let size = cast.train_size()?;
    let all = size.1;
    let Some(tuned) = cast.recipe(Objective::Ce(Ce::default())).filter(|_| all >= 4) else {
        return Ok(None);
    };
    let n = all / 4;
    let mut evaluate = |part: Part, name: &str| {
        let recipe = part.of(size, &tuned.recipe);
        Measured::evaluate(cast, name, recipe)
    };
    let few_instructions = evaluate(Part::Instructions(25), "ce, 25 % of the instructions")?;
    let few_responses = evaluate(Part::Responses(n), &format!("ce, {n} responses"))?;
    Ok(Some(Claim::above(
        "with a quarter of the data, `ce` misses responses more than instructions",
        "section 5.1",
        &format!("average with 25 % of the instructions minus with {n} of {all} responses"),
        few_instructions.gain(By::BestOfN, (&few_responses, By::BestOfN), &bootstrap),
        0.0,
    )))
}
