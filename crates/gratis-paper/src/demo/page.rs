//! The demo's report: a self-contained page.

use gratis::evaluation::{FirstErrorScore, Interval, Selector};
use gratis::selection::{Aggregation, Method};

use super::{DemoResult, StageTime, Training};
use crate::error::Result;
use crate::pages::PAPER;
use crate::report::{
    Bar, BarPlot, Block, Cell, Emphasis, KeyFigure, LinePlot, Link, Page, Point, Row, Series,
    Table, Unit, XScale,
};

impl DemoResult {
    /// The selectors of the best-of-N table with their names and averages, in the order of the table.
    pub(super) fn rows(&self) -> impl Iterator<Item = (String, Selector, Interval)> {
        let table = &self.best_of_n;
        let selectors = table.settings.selectors.iter();
        selectors.filter_map(|&of| Some((name_of(of), of, table.average(of)?)))
    }

    /// The columns of the best-of-N table: each generator with each N.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, usize)> {
        let first = self.best_of_n.settings.selectors.first();
        let cells = first.into_iter().flat_map(|&of| self.best_of_n.accuracies(of));
        cells.map(|(generator, n, _)| (generator, n))
    }

    /// Distance from the threshold at which a reward is coloured strongly.
    pub(super) fn colour_scale(&self) -> f64 {
        self.settings.beta * 4.0
    }
}

fn name_of(selector: Selector) -> String {
    match selector.method {
        Method::Majority => "majority vote".to_owned(),
        Method::Random => "pass@1".to_owned(),
        Method::Oracle => "oracle".to_owned(),
        Method::WeightedVote { .. } => "weighted vote".to_owned(),
        Method::BestOfN => match selector.aggregation {
            Aggregation::Min => "best of N".to_owned(),
            other => format!("best of N, {other}"),
        },
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// The page of a result, as HTML. Its links lead to the files that [`run`](super::run) wrote beside
/// it.
///
/// # Errors
/// [`Error::Template`](crate::Error::Template) if a template is wrong.
pub fn page(result: &DemoResult) -> Result<String> {
    let mut page = Page::new(
        "Process rewards for free",
        "An implicit process reward model in a tiny world: trained only on whether the final answer \
         was right, it scores every step. Everything on this page was trained and measured on the \
         spot.",
    );
    page.links([
        Link::new("models/", "the models"),
        Link::new("data/", "rollouts and scores"),
        Link::new(PAPER, "the paper (arXiv)"),
    ]);
    key_figures(&mut page, result);
    best_of_n(&mut page, result);
    first_error(&mut page, result);

    page.heading("What the reward model sees");
    page.paragraph(
        "The first test problem on which the medium generator's majority is wrong and the reward \
         model's choice is right. Beside each step is its process reward, the sum of \
         `beta * log(pi / pi_ref)` over its tokens. Blue is above the threshold, orange below.",
    );
    let threshold = result.first_error_validation.threshold;
    for example in &result.examples {
        page.paragraph(&*example.caption);
        page.solution(&example.view(threshold, result.colour_scale()));
    }

    page.heading("Training");
    let curves: Vec<String> = std::iter::once(("Base model", &result.base))
        .chain(result.generators.iter().map(|g| (g.strength.title(), &g.training)))
        .chain([("Reward model", &result.reward_model)])
        .map(|(title, training)| curve(title, training))
        .collect();
    page.figure(
        curves,
        "Loss in nats against optimizer steps: per token for the language models, per response for \
         the reward model, where a model that knows nothing has ln 2 = 0.69.",
    );
    costs(&mut page, result);
    if let Ok(text) = serde_json::to_string_pretty(&result.settings) {
        page.blocks.push(Block::Details { summary: "Settings".to_owned(), text });
    }
    page.render()
}

fn key_figures(page: &mut Page, result: &DemoResult) {
    let table = &result.best_of_n;
    let selector = |idx: usize| table.settings.selectors.get(idx).copied();
    let average = |idx| selector(idx).and_then(|of| table.average(of)).map_or(0.0, |of| of.mean);
    let gain = selector(1).and_then(|of| table.gain(of)).map_or(0.0, |of| of.mean);
    let f1 = result.generators.iter().map(|g| g.first_error.f1).sum::<f64>()
        / result.generators.len().max(1) as f64;
    let figure = |value, label: &str| KeyFigure { value, label: label.to_owned() };
    page.blocks.push(Block::KeyFigures {
        figures: vec![
            figure(percent(average(1)), "best of N by the implicit reward model, average"),
            figure(percent(average(0)), "majority vote, average"),
            figure(format!("{:+.1}", 100.0 * gain), "points gained over the majority vote"),
            figure(percent(f1), "first-error F1, average over generators"),
            figure(
                result.rollouts.verdicts.n().to_string(),
                "responses labelled right or wrong: the only training labels",
            ),
        ],
    });
}

fn best_of_n(page: &mut Page, result: &DemoResult) {
    let table = &result.best_of_n;
    page.heading("Picking one of N");
    let shown = |selector: Selector| {
        !matches!(selector.method, Method::BestOfN) || selector.aggregation == Aggregation::Min
    };
    let plots: Vec<String> = result
        .generators
        .iter()
        .map(|generator| {
            let series = result.rows().filter(|(_, selector, _)| shown(*selector)).enumerate().map(
                |(style, (label, selector, _))| {
                    let points = table
                        .accuracies(selector)
                        .filter(|(name, ..)| *name == generator.strength.name())
                        .map(|(_, n, accuracy)| point(n, &accuracy))
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
        plots,
        format!(
            "Accuracy of the selected one of N candidates on {} problems never seen in training; \
             bars are {:.0} % bootstrap intervals over problems.",
            table.n_problems,
            100.0 * bootstrap.confidence,
        ),
    );
    let mut bars: Vec<Bar> = result
        .rows()
        .map(|(label, selector, average)| Bar {
            label,
            value: average.mean,
            interval: Some((average.low, average.high)),
            style: if matches!(selector.method, Method::BestOfN | Method::WeightedVote { .. }) {
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
        vec![plot.render()],
        "Blue: selected by the implicit process reward model. Grey: without a reward model.",
    );

    let mut header = vec![String::new()];
    header.extend(result.columns().map(|(generator, n)| format!("{generator} @{n}")));
    header.extend(["average".to_owned(), "above majority".to_owned()]);
    let rows = result.rows().enumerate().map(|(idx, (label, selector, average))| {
        let mut cells: Vec<Cell> = table
            .accuracies(selector)
            .map(|(_, _, accuracy)| Cell::number(format!("{:.1}", 100.0 * accuracy.mean)))
            .collect();
        cells.push(Cell::percent_with_ends(&average));
        cells.extend(table.gain(selector).as_ref().map(Cell::percent_with_ends));
        // The implicit reward model as the paper uses it.
        let emphasis = if idx == 1 { Emphasis::Strong } else { Emphasis::Ordinary };
        Row::Cells { label, detail: None, cells, emphasis }
    });
    page.table(Table {
        caption:
            "Accuracy in percent, with the interval of the averages. The score of a response is \
                  its lowest process reward unless another rule is named."
                .to_owned(),
        header,
        rows: rows.collect(),
        ..Table::default()
    });
}

/// Colours of the shown rows: majority, best of N, weighted vote, pass@1, oracle.
const STYLES: [usize; 5] = [1, 0, 2, 4, 6];

fn point(n: usize, interval: &Interval) -> Point {
    Point { x: n as f64, y: interval.mean, interval: Some((interval.low, interval.high)) }
}

fn first_error(page: &mut Page, result: &DemoResult) {
    page.heading("Finding the first wrong step");
    page.paragraph(format!(
        "No step was ever labelled. A step is predicted to be wrong if its process reward is below \
         {:.2}, a threshold chosen on {} validation problems; F1 is the harmonic mean of the \
         accuracies on solutions with and without an error, as ProcessBench defines it. {} of the \
         training responses with a right answer have a wrong step all the same.",
        result.first_error_validation.threshold,
        result.settings.validation.n_problems,
        percent(result.rollouts.wrong_step_despite_right_answer),
    ));
    let row = |name: &str, n: usize, score: &FirstErrorScore| {
        let FirstErrorScore { accuracy_erroneous, accuracy_correct, f1, .. } = *score;
        let mut cells = vec![Cell::number(n.to_string())];
        cells.extend([accuracy_erroneous, accuracy_correct, f1].map(|s| Cell::number(percent(s))));
        Row::new(name, cells)
    };
    let rows = result.generators.iter().map(|generator| {
        row(generator.strength.name(), generator.n_candidates, &generator.first_error)
    });
    page.table(Table {
        caption: "First-error score on the candidates of each generator".to_owned(),
        header: ["", "solutions", "first error found", "none reported where none is", "F1"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
        ..Table::default()
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
    let seconds = |value: f64| Cell::number(format!("{value:.1}"));
    let total = |of: fn(&StageTime) -> f64| result.stages.iter().map(of).sum::<f64>();
    let mut rows: Vec<Row> = result
        .stages
        .iter()
        .map(|stage| {
            let cpu = stage.cpu_seconds.map_or(Cell::Empty, seconds);
            Row::new(&*stage.name, vec![seconds(stage.wall_seconds), cpu])
        })
        .collect();
    rows.push(Row::Cells {
        label: "all".to_owned(),
        detail: None,
        cells: vec![
            seconds(total(|stage| stage.wall_seconds)),
            seconds(total(|stage| stage.cpu_seconds.unwrap_or(0.0))),
        ],
        emphasis: Emphasis::Strong,
    });
    page.table(Table {
        caption: format!(
            "Seconds with {} threads; models of {} parameters",
            result.settings.n_threads, result.n_parameters
        ),
        header: ["stage", "on the clock", "processor"].map(str::to_owned).to_vec(),
        rows,
        ..Table::default()
    });
}
