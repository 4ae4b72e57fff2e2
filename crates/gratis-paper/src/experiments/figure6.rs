//! Figure 6: reward models and the majority vote together (paper appendix C.1).

use gratis::evaluation::Bootstrap;
use gratis::objective::Objective;

use crate::cast::Cast;
use crate::error::Result;
use crate::measured::{By, Measured, MeasuredControls, RowHeading, comparison};
use crate::outcome::{Claim, Outcome};
use crate::report::{LinePlot, Point, Series, Unit, XScale};
use crate::rows::objectives;

const SOURCE: &str = "appendix C.1, figure 6";

/// Votes weighted by every objective's reward model.
pub(super) fn run(cast: &mut dyn Cast) -> Result<Outcome> {
    let bootstrap = cast.bootstrap();
    let ns = cast.ns();
    let majority = MeasuredControls::evaluate(cast)?.majority;
    let mut table = comparison(
        cast,
        "Accuracy of the selected candidate in percent: best-of-N, and in the column `vote` the \
         average of the vote weighted by the reward model",
    );
    let row = RowHeading { group: "", name: "majority vote", detail: String::new(), paper: None };
    table.rows.push(majority.row(row, &bootstrap));
    let axes = (&ns[..], cast.generators().len());
    let mut series = vec![curve("majority", 4, &majority, By::BestOfN, axes, &bootstrap)];
    let mut claims = Vec::new();
    let mut measured: Vec<(Objective, Measured)> = Vec::new();
    for (style, objective) in objectives().into_iter().enumerate() {
        let Some(tuned) = cast.recipe(objective).filter(|tuned| tuned.paper.is_some()) else {
            continue;
        };
        let name = objective.name();
        let detail = tuned.recipe.detail();
        let own = Measured::evaluate(cast, name, tuned.recipe)?;
        let row = RowHeading { group: "", name, detail, paper: None };
        table.rows.push(own.row(row, &bootstrap));
        series.push(curve(
            &format!("{name} vote"),
            style,
            &own,
            By::WeightedVote,
            axes,
            &bootstrap,
        ));
        claims.push(Claim::above(
            &format!("the vote weighted by `{name}` is better than `{name}` alone"),
            SOURCE,
            "weighted vote minus best-of-N",
            own.gain(By::WeightedVote, (&own, By::BestOfN), &bootstrap),
            0.0,
        ));
        claims.push(Claim::above(
            &format!("the vote weighted by `{name}` is better than the majority vote"),
            SOURCE,
            "weighted vote minus majority",
            own.gain(By::WeightedVote, (&majority, By::BestOfN), &bootstrap),
            0.0,
        ));
        if matches!(objective, Objective::Kto(_) | Objective::Ce(_)) {
            claims.push(Claim::below(
                &format!("`{name}` alone does not surpass the majority vote"),
                SOURCE,
                "best-of-N minus majority",
                own.gain(By::BestOfN, (&majority, By::BestOfN), &bootstrap),
                0.0,
            ));
        }
        measured.push((objective, own));
    }
    let is_ce = |objective: &Objective| matches!(objective, Objective::Ce(_));
    if let Some((_, ce)) = measured.iter().find(|(objective, _)| is_ce(objective)) {
        for (objective, other) in measured.iter().filter(|(objective, _)| !is_ce(objective)) {
            claims.push(Claim::above(
                &format!("with the vote, CE is better than `{}`", objective.name()),
                SOURCE,
                "difference of weighted votes",
                ce.gain(By::WeightedVote, (other, By::WeightedVote), &bootstrap),
                0.0,
            ));
        }
    }
    Ok(Outcome {
        name: "Figure 6".to_owned(),
        title: "with the majority vote".to_owned(),
        question: "Does a vote in which each candidate has the weight exp(score / temperature) \
                   select better than the vote or the reward model alone?"
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
        conditions: cast.conditions(),
        ..Outcome::default()
    })
}

/// The mean over generators at each N.
fn curve(
    label: &str,
    style: usize,
    measured: &Measured,
    by: By,
    (ns, n_generators): (&[usize], usize),
    bootstrap: &Bootstrap,
) -> Series {
    let at = |(idx, &n): (usize, &usize)| {
        let cells: Vec<usize> = (0..n_generators).map(|g| g * ns.len() + idx).collect();
        let interval = measured.mean_of_cells(by, &cells, bootstrap);
        Point { x: n as f64, y: interval.mean, interval: Some((interval.low, interval.high)) }
    };
    Series { label: label.to_owned(), points: ns.iter().enumerate().map(at).collect(), style }
}
