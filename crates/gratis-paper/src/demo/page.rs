//! The demo's report: a self-contained page.

use super::{DemoResult, Training};
use crate::report::{Bar, BarPlot, Cells, LinePlot, Page, Point, Series, Table, Unit, XScale};
use gratis::evaluation::Interval;
use gratis::evaluation::best_of_n::Row;
use gratis::selection::Method;

impl DemoResult {
    /// Rows of the best-of-N table with their names, in the order of the table.
    pub fn rows(&self) -> impl Iterator<Item = (String, &Row)> {
        self.best_of_n.rows.iter().map(|row| (name_of(row), row))
    }

    /// Rewards that far from the threshold are coloured strongly.
    pub fn colour_scale(&self) -> f64 {
        self.settings.beta * 4.0
    }
}

fn name_of(row: &Row) -> String {
    match row.selector.method {
        Method::Majority => "majority vote".to_owned(),
        Method::Random => "pass@1".to_owned(),
        Method::Oracle => "oracle".to_owned(),
        Method::WeightedVote { .. } => "weighted vote".to_owned(),
        Method::BestOfN => match row.selector.aggregation {
            gratis::selection::Aggregation::Min => "best of N".to_owned(),
            other => format!("best of N, {other}"),
        },
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn with_interval(interval: &Interval) -> String {
    let Interval { mean, low, high } = interval;
    format!("{:.1} ({:.1}–{:.1})", 100.0 * mean, 100.0 * low, 100.0 * high)
}

/// The page of a result.
pub fn page(result: &DemoResult) -> Page {
    let settings = &result.settings;
    let mut page = Page::new(
        "Process rewards for free",
        "An implicit process reward model in a tiny world: trained on nothing but whether the \
         final answer was right, it judges every step. Everything on this page was trained and \
         measured on the spot.",
    );
    key_figures(&mut page, result);
    best_of_n(&mut page, result);
    first_error(&mut page, result);

    page.heading("What the reward model sees");
    page.paragraph(
        "The first test problem on which the medium generator's majority is wrong and the reward \
         model's choice is right. Beside each step stands its process reward, the sum of \
         beta * log(pi / pi_ref) over its tokens. Blue is above the threshold, orange below.",
    );
    let threshold = result.first_error_validation.threshold;
    for example in &result.examples {
        page.paragraph(&example.caption);
        example.view(threshold, result.colour_scale()).add_to(&mut page);
    }

    page.heading("How the models learnt");
    let curves: Vec<String> = std::iter::once(("Base model", &result.base))
        .chain(result.generators.iter().map(|g| (g.strength.title(), &g.training)))
        .chain([("Reward model", &result.reward_model)])
        .map(|(title, training)| curve(title, training))
        .collect();
    page.figure(&curves, "Loss in nats against optimizer steps: per token for the language models, per response for the reward model (ln 2 = 0.69 is no knowledge).");
    costs(&mut page, result);
    if let Ok(json) = serde_json::to_string_pretty(settings) {
        page.details("Settings", &json);
    }
    page
}

fn key_figures(page: &mut Page, result: &DemoResult) {
    let average = |idx: usize| result.best_of_n.rows.get(idx).map_or(0.0, |row| row.average.mean);
    let gain = result.best_of_n.rows.get(1).map_or(0.0, |row| row.gain.mean);
    let f1 = result.generators.iter().map(|g| g.first_error.f1).sum::<f64>()
        / result.generators.len().max(1) as f64;
    page.key_figures(&[
        (percent(average(1)), "best of N by the implicit reward model, average".to_owned()),
        (percent(average(0)), "majority vote, average".to_owned()),
        (format!("{:+.1}", 100.0 * gain), "points gained over the majority vote".to_owned()),
        (percent(f1), "first-error F1, average over generators".to_owned()),
        (
            format!("{}", result.rollouts.verdicts.n()),
            "responses labelled right or wrong: all it learnt from".to_owned(),
        ),
    ]);
}

fn best_of_n(page: &mut Page, result: &DemoResult) {
    let table = &result.best_of_n;
    page.heading("Picking one of N");
    let shown = |row: &Row| {
        !matches!(row.selector.method, Method::BestOfN)
            || row.selector.aggregation == gratis::selection::Aggregation::Min
    };
    let plots: Vec<String> = result
        .generators
        .iter()
        .map(|generator| {
            let series = result.rows().filter(|(_, row)| shown(row)).enumerate().map(
                |(style, (label, row))| {
                    let cells = row.cells.iter();
                    let points = cells
                        .filter(|cell| cell.generator == generator.strength.name())
                        .map(|cell| point(cell.n, &cell.accuracy))
                        .collect();
                    Series { label, points, style: STYLES[style % STYLES.len()] }
                },
            );
            LinePlot {
                title: format!(
                    "{} generator, pass@1 {}",
                    generator.strength.title(),
                    percent(generator.pass_at_1)
                ),
                x_label: "candidates N".to_owned(),
                y_label: "accuracy, %".to_owned(),
                x_scale: XScale::Log2,
                y_range: Some((0.0, 1.0)),
                y_unit: Unit::Percent,
                size: Some((400.0, 320.0)),
                series: series.collect(),
            }
            .render()
        })
        .collect();
    let bootstrap = &table.settings.bootstrap;
    page.figure(
        &plots,
        &format!(
            "Accuracy of what is picked from N candidates on {} problems never seen in training; \
             bars are {:.0} % bootstrap intervals over problems.",
            table.n_problems,
            100.0 * bootstrap.confidence,
        ),
    );
    let mut bars: Vec<Bar> = result
        .rows()
        .map(|(label, row)| Bar {
            label,
            value: row.average.mean,
            interval: Some((row.average.low, row.average.high)),
            style: if matches!(row.selector.method, Method::BestOfN | Method::WeightedVote { .. }) {
                0
            } else {
                4
            },
        })
        .collect();
    bars.sort_by(|a, b| b.value.total_cmp(&a.value));
    let plot = BarPlot {
        title: "Average over generators and N".to_owned(),
        max: Some(1.0),
        unit: Unit::Percent,
        bars,
    };
    page.figure(
        &[plot.render()],
        "Blue: chosen by the implicit process reward model. Grey: without a reward model.",
    );

    let header = table.rows.first().map(|row| {
        let of_cells = row.cells.iter().map(|cell| format!("{} @{}", cell.generator, cell.n));
        std::iter::once(String::new())
            .chain(of_cells)
            .chain(["average".to_owned(), "above majority".to_owned()])
            .collect()
    });
    page.table(&Table {
        caption:
            "Accuracy in percent. The score of a response is its lowest process reward unless \
                  another rule is named."
                .to_owned(),
        header: header.unwrap_or_default(),
        rows: result
            .rows()
            .map(|(name, row)| {
                let cells = row.cells.iter().map(|c| format!("{:.1}", 100.0 * c.accuracy.mean));
                std::iter::once(name)
                    .chain(cells)
                    .chain([with_interval(&row.average), with_interval(&row.gain)])
                    .collect()
            })
            .collect(),
        spans: Vec::new(),
        emphasis: Some(1),
        cells: Cells::Numbers,
    });
}

/// Colours of the shown rows: majority, best of N, weighted vote, pass@1, oracle.
const STYLES: [usize; 5] = [1, 0, 2, 4, 6];

fn point(n: usize, interval: &Interval) -> Point {
    Point { x: n as f64, y: interval.mean, interval: Some((interval.low, interval.high)) }
}

fn first_error(page: &mut Page, result: &DemoResult) {
    page.heading("Finding the first wrong step");
    page.paragraph(&format!(
        "No step was ever labelled. A step is predicted to be wrong if its process reward is below \
         {:.2}, a threshold chosen on {} validation problems; F1 is the harmonic mean of the \
         accuracies on solutions with and without an error, as ProcessBench defines it. {} of the \
         training responses with a right answer have a wrong step all the same.",
        result.first_error_validation.threshold,
        result.settings.validation.n_problems,
        percent(result.rollouts.wrong_step_despite_right_answer),
    ));
    let row = |name: &str, n: usize, score: &gratis::evaluation::FirstErrorScore| {
        vec![
            name.to_owned(),
            n.to_string(),
            percent(score.accuracy_erroneous),
            percent(score.accuracy_correct),
            percent(score.f1),
        ]
    };
    let rows = result.generators.iter().map(|generator| {
        row(generator.strength.name(), generator.n_candidates, &generator.first_error)
    });
    page.table(&Table {
        caption: "First-error score on the candidates of each generator".to_owned(),
        header: ["", "solutions", "first error found", "none claimed where none is", "F1"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
        spans: Vec::new(),
        emphasis: None,
        cells: Cells::Numbers,
    });
}

fn curve(title: &str, training: &Training) -> String {
    let points = training
        .curve
        .iter()
        .map(|point| Point { x: point.step as f64, y: point.loss, interval: None })
        .collect();
    LinePlot {
        title: title.to_owned(),
        x_label: "step".to_owned(),
        y_label: "loss".to_owned(),
        size: Some((400.0, 240.0)),
        series: vec![Series { label: String::new(), points, style: 0 }],
        ..LinePlot::default()
    }
    .render()
}

fn costs(page: &mut Page, result: &DemoResult) {
    if result.stages.is_empty() {
        return;
    }
    page.heading("What it cost");
    let seconds = |value: f64| format!("{value:.1}");
    let total = |of: fn(&super::StageTime) -> f64| result.stages.iter().map(of).sum::<f64>();
    let mut rows: Vec<Vec<String>> = result
        .stages
        .iter()
        .map(|stage| {
            let cpu = stage.cpu_seconds.map_or("–".to_owned(), seconds);
            vec![stage.name.clone(), seconds(stage.wall_seconds), cpu]
        })
        .collect();
    rows.push(vec![
        "all".to_owned(),
        seconds(total(|stage| stage.wall_seconds)),
        seconds(total(|stage| stage.cpu_seconds.unwrap_or(0.0))),
    ]);
    page.table(&Table {
        caption: format!(
            "Seconds with {} threads; models of {} parameters",
            result.settings.n_threads, result.n_parameters
        ),
        header: ["stage", "on the clock", "processor"].map(str::to_owned).to_vec(),
        spans: Vec::new(),
        emphasis: Some(rows.len() - 1),
        cells: Cells::Numbers,
        rows,
    });
}
