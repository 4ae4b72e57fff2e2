//! Figure 3: operations of collecting labels and training, by the number of responses per instruction
//! (paper section 4.2).

use gratis::evaluation::Interval;
use serde_json::json;

use crate::calculator::Assumptions;
use crate::cast::{Cast, Operations, Way};
use crate::error::Result;
use crate::measured::interval;
use crate::outcome::{Claim, Outcome, PlainTable};
use crate::report::{LinePlot, Point, Series, Unit, XScale};

/// Responses per instruction, below all there are.
const RESPONSES: [usize; 2] = [2, 4];

/// Counts the operations of every way, and measures their processor time.
pub(super) fn run(cast: &mut dyn Cast) -> Result<Outcome> {
    let seeds = cast.seeds();
    let n_all = cast.train_size()?.1;
    let mut series = Vec::new();
    let mut rows = Vec::new();
    let mut ratios = Vec::new();
    for n_responses in RESPONSES.into_iter().filter(|&n| n < n_all).chain([n_all]) {
        let mut ours = Vec::new();
        for way in Way::ALL {
            let mut by_seed = Vec::new();
            for &seed in &seeds {
                by_seed.push(cast.operations(seed, way, n_responses)?);
            }
            ours.push(by_seed);
        }
        let over = |way: usize, of: fn(&Operations) -> f64| -> Vec<f64> {
            ours[2].iter().zip(&ours[way]).map(|(a, b)| of(a) / of(b)).collect()
        };
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        rows.push(vec![
            format!("{n_responses} responses"),
            format!("{:.2}", mean(over(0, |o| o.as_counted))),
            format!("{:.2}", mean(over(1, |o| o.as_counted))),
            format!("{:.2}", mean(over(0, |o| o.as_run))),
            format!("{:.2}", mean(over(1, |o| o.as_run))),
        ]);
        ratios.push(over(0, |o| o.as_counted));
        for (style, (way, by_seed)) in Way::ALL.into_iter().zip(&ours).enumerate() {
            let y = by_seed.iter().map(|o| o.as_counted).sum::<f64>() / by_seed.len() as f64;
            let name = cast.way_name(way);
            let point = Point { x: n_responses as f64, y: y.log10(), interval: None };
            match series.iter_mut().find(|s: &&mut Series| s.label == name) {
                Some(found) => found.points.push(point),
                None => {
                    series.push(Series { label: name, points: vec![point], style });
                }
            }
        }
    }
    let mut measured = Vec::new();
    for way in Way::ALL {
        let mut row = vec![cast.way_name(way)];
        for &seed in &seeds {
            let seconds = cast.processor_seconds(seed, way)?;
            row.push(seconds.map_or_else(String::new, |seconds| format!("{seconds:.1}")));
        }
        measured.push(row);
    }
    let paper_scale = Assumptions::default();
    let calculated = paper_scale.figure_3().into_iter().map(|costs| {
        vec![
            format!("{} responses", costs.n_responses),
            format!("{:.1}", costs.over_ce()),
            format!("{:.1}", costs.over_dpo()),
        ]
    });
    let varied = paper_scale.variations().into_iter().map(|(what, varied)| {
        let costs = varied.figure_3();
        let over_dpo = costs.iter().map(|costs| format!("{:.1}", costs.over_dpo()));
        [what, format!("{:.1}", costs[0].over_ce())].into_iter().chain(over_dpo).collect()
    });
    let by_seed: Vec<Vec<f64>> =
        ratios.last().map(|last| last.iter().map(|&r| vec![r]).collect()).unwrap_or_default();
    let ratio = interval(&cast.bootstrap(), &by_seed);
    let at_paper_scale = paper_scale.costs(8).over_ce();
    Ok(Outcome {
        name: "Figure 3".to_owned(),
        title: "cost of collecting labels and training".to_owned(),
        question: "How many operations does a reward model take, from graded rollouts to the \
                   trained model? Math-Shepherd continues every step prefix; the implicit models \
                   need only the outcome labels."
            .to_owned(),
        tables: vec![
            PlainTable {
                caption: "At the paper's scale, from stated assumptions: Math-Shepherd over the \
                          implicit model (paper: 38.6 to 38.8 over CE; 146.5, 49.9, 21.3 over DPO)"
                    .to_owned(),
                header: ["", "over CE", "over DPO"].map(str::to_owned).to_vec(),
                rows: calculated.collect(),
            },
            PlainTable {
                caption: "How the ratios at the paper's scale depend on each assumption".to_owned(),
                header: [
                    "changed",
                    "over CE",
                    "over DPO, 2 responses",
                    "4 responses",
                    "8 responses",
                ]
                .map(str::to_owned)
                .to_vec(),
                rows: varied.collect(),
            },
            PlainTable {
                caption: format!(
                    "{}: Math-Shepherd over the implicit model, every sequence on its own as the \
                     paper counts, and as run (prefixes shared, duplicates once, reference cached)",
                    sentence(cast.here())
                ),
                header: ["", "over CE", "over DPO", "over CE, as run", "over DPO, as run"]
                    .map(str::to_owned)
                    .to_vec(),
                rows,
            },
            PlainTable {
                caption:
                    "Measured: processor seconds of labels and training with all responses, the \
                          reference's pass included"
                        .to_owned(),
                header: std::iter::once(String::new())
                    .chain(seeds.iter().map(|seed| format!("seed {seed}")))
                    .collect(),
                rows: measured,
            },
        ],
        plots: vec![LinePlot {
            title: "Operations, as the paper counts".to_owned(),
            x_label: "responses per instruction".to_owned(),
            y_label: "log10 of operations".to_owned(),
            x_scale: XScale::Log2,
            y_unit: Unit::Number,
            series,
            ..LinePlot::default()
        }],
        claims: vec![
            Claim::above(
                "Math-Shepherd costs many times as much as CE, at the paper's scale",
                "section 4.2, figure 3",
                "ratio of operations, paper 38.8 (calculated from assumptions)",
                Interval { mean: at_paper_scale, low: at_paper_scale, high: at_paper_scale },
                38.0,
            )
            .in_numbers(),
            Claim::above(
                &format!("Math-Shepherd costs many times as much as CE, {}", cast.here()),
                "section 4.2, figure 3",
                &format!("ratio of operations with {n_all} responses, paper 38.8"),
                ratio,
                1.0,
            )
            .in_numbers(),
        ],
        conditions: {
            let mut all = cast.conditions();
            all.push(format!(
                "{} Assumptions at the paper's scale: {}.",
                cast.counting(),
                json!(paper_scale)
            ));
            all
        },
        ..Outcome::default()
    })
}

/// With a capital letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
