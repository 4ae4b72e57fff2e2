//! Figure 6: reward models and the majority vote together (paper appendix C.1).

use super::lab::{InferenceReference, Lab};
use super::measured::{By, Measured, RowName, comparison, conditions};
use super::outcome::{Claim, Outcome};
use super::table1::detail;
use super::tuning;
use crate::report::svg::Unit;
use crate::report::{LinePlot, Point, Series, XScale};
use crate::world::Strength;
use gratis::error::Result;
use gratis::objective::Objective;

/// Votes weighted by every objective's reward model.
///
/// # Errors
/// Those of the laboratory.
pub fn run(lab: &mut Lab<'_>) -> Result<Outcome> {
    let bootstrap = lab.settings.bootstrap;
    let ns = lab.settings.ns.clone();
    let majority = Measured::control(lab, |lab, seed| Ok(lab.controls(seed)?.majority))?;
    let mut table = comparison(
        lab,
        "Accuracy of the selected candidate in percent: best-of-N, and in the column `vote` the average \
         of the vote weighted by the reward model",
    );
    let row = RowName { group: "", name: "majority vote", detail: String::new(), paper: None };
    table.rows.push(majority.row(row, &bootstrap));
    let mut series = vec![curve("majority", 4, &majority, By::BestOfN, &ns, &bootstrap)];
    let mut claims = Vec::new();
    let mut ce: Option<Measured> = None;
    let mut others: Vec<(&str, Measured)> = Vec::new();
    for (style, objective) in tuning::objectives().into_iter().enumerate() {
        if !matches!(
            objective,
            Objective::Dpo(_) | Objective::Kto(_) | Objective::Nca(_) | Objective::Ce(_)
        ) {
            continue;
        }
        let name = objective.name();
        let chosen = tuning::chosen(objective);
        let recipe = chosen.recipe();
        let own =
            Measured::judge(lab, |lab, seed| lab.judge(seed, &recipe, InferenceReference::Start))?;
        let row = RowName { group: "", name, detail: detail(&chosen), paper: None };
        table.rows.push(own.row(row, &bootstrap));
        series.push(curve(&format!("{name} vote"), style, &own, By::WeightedVote, &ns, &bootstrap));
        let source = "appendix C.1, figure 6";
        claims.push(Claim::above(
            &format!("the vote weighted by `{name}` is better than `{name}` alone"),
            source,
            "weighted vote minus best-of-N",
            own.gain(By::WeightedVote, (&own, By::BestOfN), &bootstrap),
            0.0,
        ));
        claims.push(Claim::above(
            &format!("the vote weighted by `{name}` is better than the majority vote"),
            source,
            "weighted vote minus majority",
            own.gain(By::WeightedVote, (&majority, By::BestOfN), &bootstrap),
            0.0,
        ));
        if matches!(objective, Objective::Kto(_) | Objective::Ce(_)) {
            claims.push(Claim::below(
                &format!("`{name}` alone does not surpass the majority vote"),
                source,
                "best-of-N minus majority",
                own.gain(By::BestOfN, (&majority, By::BestOfN), &bootstrap),
                0.0,
            ));
        }
        if name == "ce" { ce = Some(own) } else { others.push((name, own)) }
    }
    if let Some(ce) = &ce {
        for (name, other) in &others {
            claims.push(Claim::above(
                &format!("with the vote, CE is better than `{name}`"),
                "appendix C.1, figure 6",
                "difference of weighted votes",
                ce.gain(By::WeightedVote, (other, By::WeightedVote), &bootstrap),
                0.0,
            ));
        }
    }
    Ok(Outcome {
        title: "Figure 6: with the majority vote".to_owned(),
        question: "Does a vote in which each candidate weighs exp(score / temperature) select \
                   better than the vote or the reward model alone?"
            .to_owned(),
        plots: vec![LinePlot {
            title: "Average over generators".to_owned(),
            x_label: "candidates N".to_owned(),
            y_label: "accuracy, %".to_owned(),
            x_scale: XScale::Log2,
            y_unit: Unit::Percent,
            series,
            ..LinePlot::default()
        }],
        comparisons: vec![table],
        claims,
        conditions: conditions(lab),
        ..Outcome::default()
    })
}

/// The mean over generators at each N.
fn curve(
    label: &str,
    style: usize,
    measured: &Measured,
    by: By,
    ns: &[usize],
    bootstrap: &gratis::evaluation::Bootstrap,
) -> Series {
    let at = |(idx, &n): (usize, &usize)| {
        let cells: Vec<usize> = (0..Strength::ALL.len()).map(|g| g * ns.len() + idx).collect();
        let interval = measured.mean_of_cells(by, &cells, bootstrap);
        Point { x: n as f64, y: interval.mean, interval: Some((interval.low, interval.high)) }
    };
    Series { label: label.to_owned(), points: ns.iter().enumerate().map(at).collect(), style }
}
