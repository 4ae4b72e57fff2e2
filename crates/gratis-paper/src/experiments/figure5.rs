//! Figure 5: more responses per instruction (paper section 5.1).

use gratis::objective::{Ce, Objective};

use super::scaling::{self, Part, Scaling};
use crate::cache::Cache;
use crate::error::Result;
use crate::measured::{By, Measured, MeasuredControls, conditions};
use crate::outcome::{Claim, Outcome};
use crate::report::XScale;
use crate::rows::tuned;

/// Responses per instruction.
const RESPONSES: [usize; 4] = [1, 2, 4, 8];

/// Trains CE and DPO on some of the responses.
pub(super) fn run(cache: &mut Cache<'_>) -> Result<Outcome> {
    let bootstrap = cache.settings.bootstrap;
    let Scaling { table, plots, curves } =
        scaling::evaluate(cache, "responses per instruction", XScale::Log2, |objective| {
            // One response makes no pair.
            let smallest = if objective.needs_pairs() { 2 } else { 1 };
            RESPONSES.into_iter().filter(|&n| n >= smallest).map(Part::Responses).collect()
        })?;
    let random = MeasuredControls::evaluate(cache)?.random;
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
    claims.push(responses_against_instructions(cache)?);
    Ok(Outcome {
        name: "Figure 5".to_owned(),
        title: "scaling responses".to_owned(),
        question: "Does the reward model get better with more responses to the same instructions?"
            .to_owned(),
        comparisons: vec![table],
        plots,
        claims,
        conditions: conditions(cache),
        ..Outcome::default()
    })
}

/// A quarter of the responses against a quarter of the instructions: the same amount of data.
fn responses_against_instructions(cache: &mut Cache<'_>) -> Result<Claim> {
    let bootstrap = cache.settings.bootstrap;
    let recipe = tuned(Objective::Ce(Ce::default())).recipe;
    let mut evaluate = |part: Part, name| {
        let recipe = part.of(cache, &recipe);
        Measured::evaluate(cache, name, recipe)
    };
    let few_instructions = evaluate(Part::Instructions(25), "ce, 25 % of the instructions")?;
    let few_responses = evaluate(Part::Responses(2), "ce, 2 responses")?;
    Ok(Claim::above(
        "with a quarter of the data, `ce` misses responses more than instructions",
        "section 5.1",
        "average with 25 % of the instructions minus with 2 of 8 responses",
        few_instructions.gain(By::BestOfN, (&few_responses, By::BestOfN), &bootstrap),
        0.0,
    ))
}
