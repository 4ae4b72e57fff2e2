//! Figure 1: accuracy against operations (paper section 4.2).

use gratis::evaluation::Interval;

use crate::cast::{Cast, Way};
use crate::error::Result;
use crate::measured::{By, Measured};
use crate::outcome::{Outcome, PlainTable};
use crate::report::{LinePlot, Point, Series, Unit};

/// Best-of-N with the most candidates against operations.
pub(super) fn run(cast: &mut dyn Cast) -> Result<Outcome> {
    let bootstrap = cast.bootstrap();
    let n_all = cast.train_size()?.1;
    let n_ns = cast.ns().len();
    let largest: Vec<usize> = (1..=cast.generators().len()).map(|g| g * n_ns - 1).collect();
    let mut series = Vec::new();
    let mut rows = Vec::new();
    for (style, way) in Way::ALL.into_iter().enumerate() {
        let mut points = Vec::new();
        let parts = [2, 4].into_iter().filter(|&n| n < n_all && way != Way::MathShepherd);
        for n_responses in parts.chain([n_all]) {
            let part = (n_responses < n_all).then_some(n_responses);
            let Some(model) = cast.way_model(way, part) else {
                cast.leave_out(&cast.way_name(way), "the cast has no row of this kind");
                break;
            };
            let name = format!("{}, {n_responses} responses", cast.way_name(way));
            let measured = Measured::evaluate(cast, &name, model)?;
            let mut total = 0.0;
            let seeds = cast.seeds();
            for &seed in &seeds {
                total += cast.operations(seed, way, n_responses)?.as_counted;
            }
            let operations = total / seeds.len().max(1) as f64;
            let accuracy = measured.mean_of_cells(By::BestOfN, &largest, &bootstrap);
            points.push(Point {
                x: operations.log10(),
                y: accuracy.mean,
                interval: Some((accuracy.low, accuracy.high)),
            });
            rows.push(vec![
                name,
                format!("{operations:.2e}"),
                with_ends(&accuracy),
                measured.first_error(&bootstrap).as_ref().map_or(String::new(), with_ends),
            ]);
        }
        if !points.is_empty() {
            series.push(Series { label: cast.way_name(way), points, style });
        }
    }
    Ok(Outcome {
        name: "Figure 1".to_owned(),
        title: "accuracy against operations".to_owned(),
        question:
            "How does the accuracy of a reward model depend on the operations for collecting \
             labels and training?"
                .to_owned(),
        tables: vec![PlainTable {
            caption: "Best of the largest N, mean over generators".to_owned(),
            header: [
                "",
                "operations, as the paper counts",
                "accuracy, %",
                "first-error F1, % (all candidates)",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows,
        }],
        plots: vec![LinePlot {
            title: "Best of the largest N".to_owned(),
            x_label: "log10 of operations".to_owned(),
            y_label: "accuracy, %".to_owned(),
            y_unit: Unit::Percent,
            series,
            ..LinePlot::default()
        }],
        conditions: cast.conditions().into_iter().chain([cast.counting()]).collect(),
        ..Outcome::default()
    })
}

/// A share in percent with the ends of its interval.
fn with_ends(share: &Interval) -> String {
    let Interval { mean, low, high } = share;
    format!("{:.1} ({:.1} to {:.1})", 100.0 * mean, 100.0 * low, 100.0 * high)
}
