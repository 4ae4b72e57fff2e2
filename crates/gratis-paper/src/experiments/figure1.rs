//! Figure 1: accuracy against operations (paper section 4.2).

use gratis::evaluation::Interval;

use super::operations::{Way, operations};
use crate::cache::Cache;
use crate::cast::Cast as _;
use crate::error::Result;
use crate::measured::{By, Measured};
use crate::outcome::{Outcome, PlainTable};
use crate::report::{LinePlot, Point, Series, Unit};
use crate::world::Strength;

/// Best-of-N with the most candidates against operations.
pub(super) fn run(cache: &mut Cache<'_>) -> Result<Outcome> {
    let bootstrap = cache.settings.bootstrap;
    let n_all = cache.settings.train.n_samples;
    let n_ns = cache.settings.ns.len();
    let largest: Vec<usize> = (1..=Strength::ALL.len()).map(|g| g * n_ns - 1).collect();
    let mut series = Vec::new();
    let mut rows = Vec::new();
    for (style, way) in Way::ALL.into_iter().enumerate() {
        let mut points = Vec::new();
        let amounts = if way == Way::MathShepherd { vec![n_all] } else { vec![2, 4, n_all] };
        for n_responses in amounts {
            let part = (n_responses < n_all).then_some(n_responses);
            let name = format!("{}, {n_responses} responses", way.name());
            let measured = Measured::evaluate(cache, &name, way.model(part))?;
            let mut total = 0.0;
            let seeds = cache.settings.seeds.clone();
            for &seed in &seeds {
                total += operations(cache, seed, way, n_responses)?.as_counted;
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
        series.push(Series { label: way.name(), points, style });
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
        conditions: cache.conditions(),
        ..Outcome::default()
    })
}

/// A share in percent with the ends of its interval.
fn with_ends(share: &Interval) -> String {
    let Interval { mean, low, high } = share;
    format!("{:.1} ({:.1} to {:.1})", 100.0 * mean, 100.0 * low, 100.0 * high)
}
