//! Figures 4 and 5: more instructions, more responses an instruction (paper section 5.1).

use super::lab::{InferenceReference, Lab, Recipe};
use super::measured::{By, Measured, RowName, comparison, conditions};
use super::outcome::{Claim, Outcome};
use super::tuning;
use crate::report::svg::Unit;
use crate::report::{LinePlot, Point, Series, XScale};
use crate::world::Strength;
use gratis::error::Result;
use gratis::objective::{Ce, Dpo, Objective};

/// Shares of the instructions, in percent.
const SHARES: [usize; 4] = [25, 50, 75, 100];
/// Responses an instruction.
const RESPONSES: [usize; 4] = [1, 2, 4, 8];

/// What is varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Instructions, with all their responses: figure 4.
    Instructions,
    /// Responses, with all instructions: figure 5.
    Responses,
}

/// Trains CE and DPO on parts of the data.
///
/// # Errors
/// Those of the laboratory.
pub fn run(lab: &mut Lab<'_>, axis: Axis) -> Result<Outcome> {
    let bootstrap = lab.settings.bootstrap;
    let mut table = comparison(lab, "Accuracy of the selected candidate in percent");
    let mut plots: Vec<LinePlot> = Strength::ALL
        .iter()
        .map(|strength| {
            let n = lab.settings.ns.last().copied().unwrap_or_default();
            plot(&format!("{} generator, best of {n}", strength.title()), axis)
        })
        .collect();
    plots.push(plot("Average over generators and N", axis));
    let random = Measured::control(lab, |lab, seed| Ok(lab.controls(seed)?.random))?;
    let n_ns = lab.settings.ns.len();
    let mut claims = Vec::new();
    for (style, objective) in
        [Objective::Ce(Ce::default()), Objective::Dpo(Dpo::default())].into_iter().enumerate()
    {
        let name = objective.name();
        let mut curves = vec![Vec::new(); plots.len()];
        let mut along: Vec<Measured> = Vec::new();
        let amounts = match axis {
            Axis::Instructions => SHARES.to_vec(),
            // One response makes no pair.
            Axis::Responses => {
                RESPONSES.into_iter().filter(|&n| n > 1 || !objective.needs_pairs()).collect()
            }
        };
        for &amount in &amounts {
            let recipe = part(lab, &tuning::chosen(objective).recipe(), axis, amount);
            let own = Measured::judge(lab, |lab, seed| {
                lab.judge(seed, &recipe, InferenceReference::Start)
            })?;
            let unit =
                if axis == Axis::Instructions { "% of the instructions" } else { "responses" };
            table.rows.push(own.row(
                RowName {
                    group: name,
                    name: &format!("{amount} {unit}"),
                    detail: String::new(),
                    paper: None,
                },
                &bootstrap,
            ));
            for (idx, curve) in curves.iter_mut().enumerate() {
                // The largest N of each generator, then the average.
                let interval = if idx < Strength::ALL.len() {
                    own.cell(By::BestOfN, (idx + 1) * n_ns - 1, &bootstrap)
                } else {
                    own.average(By::BestOfN, &bootstrap)
                };
                let ends = Some((interval.low, interval.high));
                curve.push(Point { x: amount as f64, y: interval.mean, interval: ends });
            }
            along.push(own);
        }
        for (plot, points) in plots.iter_mut().zip(curves) {
            plot.series.push(Series { label: name.to_owned(), points, style });
        }
        if let (Some(least), Some(most)) = (along.first(), along.last()) {
            let (what, figure) = match axis {
                Axis::Instructions => ("more instructions help", "figure 4"),
                Axis::Responses => ("more responses help", "figure 5"),
            };
            claims.push(Claim::above(
                &format!("{what} `{name}`"),
                &format!("section 5.1, {figure}"),
                "average with the most minus with the least",
                most.gain(By::BestOfN, (least, By::BestOfN), &bootstrap),
                0.0,
            ));
            if axis == Axis::Responses {
                claims.push(Claim::above(
                    &format!("`{name}` improves on the generators with {} response(s)", amounts[0]),
                    "section 5.1, figure 5",
                    "average minus pass@1",
                    least.gain(By::BestOfN, (&random, By::BestOfN), &bootstrap),
                    0.0,
                ));
            }
        }
    }
    if axis == Axis::Responses {
        claims.push(responses_against_instructions(lab)?);
    }
    let (title, question) = match axis {
        Axis::Instructions => (
            "Figure 4: scaling instructions",
            "Does the reward model get better with more instructions?",
        ),
        Axis::Responses => (
            "Figure 5: scaling responses",
            "Does the reward model get better with more responses to the same instructions?",
        ),
    };
    Ok(Outcome {
        title: title.to_owned(),
        question: question.to_owned(),
        comparisons: vec![table],
        plots,
        claims,
        conditions: conditions(lab),
        ..Outcome::default()
    })
}

/// A quarter of the responses against a quarter of the instructions: equally much data.
fn responses_against_instructions(lab: &mut Lab<'_>) -> Result<Claim> {
    let bootstrap = lab.settings.bootstrap;
    let recipe = tuning::chosen(Objective::Ce(Ce::default())).recipe();
    let mut judge = |axis, amount| {
        let recipe = part(lab, &recipe, axis, amount);
        Measured::judge(lab, |lab, seed| lab.judge(seed, &recipe, InferenceReference::Start))
    };
    let few_instructions = judge(Axis::Instructions, 25)?;
    let few_responses = judge(Axis::Responses, 2)?;
    Ok(Claim::above(
        "with a quarter of the data, `ce` misses responses more than instructions",
        "section 5.1",
        "average with 25 % of the instructions minus with 2 of 8 responses",
        few_instructions.gain(By::BestOfN, (&few_responses, By::BestOfN), &bootstrap),
        0.0,
    ))
}

fn part(lab: &Lab<'_>, recipe: &Recipe, axis: Axis, amount: usize) -> Recipe {
    let settings = lab.settings.train;
    match axis {
        Axis::Instructions => Recipe {
            n_problems: (amount < 100).then_some(settings.n_problems * amount / 100),
            ..recipe.clone()
        },
        Axis::Responses => Recipe {
            n_responses: (amount < settings.n_samples).then_some(amount),
            ..recipe.clone()
        },
    }
}

fn plot(title: &str, axis: Axis) -> LinePlot {
    LinePlot {
        title: title.to_owned(),
        x_label: match axis {
            Axis::Instructions => "instructions, %".to_owned(),
            Axis::Responses => "responses an instruction".to_owned(),
        },
        y_label: "accuracy, %".to_owned(),
        x_scale: if axis == Axis::Responses { XScale::Log2 } else { XScale::Linear },
        y_unit: Unit::Percent,
        size: Some((400.0, 300.0)),
        ..LinePlot::default()
    }
}
