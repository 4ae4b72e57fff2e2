//! Common code of figures 4 and 5 (paper section 5.1): CE and DPO trained on parts of the data.

use gratis::objective::{Ce, Dpo, Objective};

use crate::cast::Cast;
use crate::error::Result;
use crate::measured::{By, Measured, RowHeading, comparison};
use crate::outcome::Comparison;
use crate::report::{LinePlot, Point, Series, Unit, XScale};
use crate::rows::Recipe;

/// A part of the training data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// This share of the instructions in percent, with all their responses.
    Instructions(usize),
    /// This many responses per instruction.
    Responses(usize),
}

impl Part {
    pub(super) fn amount(self) -> usize {
        match self {
            Self::Instructions(amount) | Self::Responses(amount) => amount,
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Instructions(percent) => format!("{percent} % of the instructions"),
            Self::Responses(1) => "1 response".to_owned(),
            Self::Responses(n) => format!("{n} responses"),
        }
    }

    /// `recipe` on this part of so many problems and responses of each.
    pub(super) fn of(self, (n_problems, n_responses): (usize, usize), recipe: &Recipe) -> Recipe {
        match self {
            Self::Instructions(percent) => Recipe {
                n_problems: (percent < 100).then_some(n_problems * percent / 100),
                ..recipe.clone()
            },
            Self::Responses(n) => {
                Recipe { n_responses: (n < n_responses).then_some(n), ..recipe.clone() }
            }
        }
    }
}

/// An objective on parts of the data, from the smallest to all of it.
pub(super) struct Curve {
    pub(super) objective: Objective,
    pub(super) parts: Vec<OnPart>,
}

/// Best-of-N on a part.
pub(super) struct OnPart {
    pub(super) part: Part,
    pub(super) measured: Measured,
}

/// A table, one plot per generator and one of the average, and what they show.
pub(super) struct Scaling {
    pub(super) table: Comparison,
    pub(super) plots: Vec<LinePlot>,
    pub(super) curves: Vec<Curve>,
}

/// Trains CE and DPO on the parts that `parts` names for an objective.
pub(super) fn evaluate(
    cast: &mut dyn Cast,
    x_label: &str,
    x_scale: XScale,
    parts: impl Fn(Objective) -> Vec<Part>,
) -> Result<Scaling> {
    let bootstrap = cast.bootstrap();
    let size = cast.train_size()?;
    let mut table = comparison(cast, "Accuracy of the selected candidate in percent");
    let plot = |title: String| LinePlot {
        title,
        x_label: x_label.to_owned(),
        y_label: "accuracy, %".to_owned(),
        x_scale,
        y_unit: Unit::Percent,
        size: Some((400.0, 300.0)),
        ..LinePlot::default()
    };
    let largest_n = cast.ns().last().copied().unwrap_or_default();
    let generators = cast.generators();
    let mut plots: Vec<LinePlot> = generators
        .iter()
        .map(|name| plot(format!("{} generator, best of {largest_n}", title(name))))
        .collect();
    plots.push(plot("Average over generators and N".to_owned()));
    let n_ns = cast.ns().len();
    let mut curves = Vec::new();
    for (style, objective) in
        [Objective::Ce(Ce::default()), Objective::Dpo(Dpo::default())].into_iter().enumerate()
    {
        let Some(tuned) = cast.recipe(objective) else { continue };
        let group = objective.name();
        let mut points = vec![Vec::new(); plots.len()];
        let mut along = Vec::new();
        for part in parts(objective) {
            let recipe = part.of(size, &tuned.recipe);
            let name = part.name();
            let own = Measured::evaluate(cast, &format!("{group}, {name}"), recipe)?;
            let row = RowHeading { group, name: &name, detail: String::new(), paper: None };
            table.rows.push(own.row(row, &bootstrap));
            for (idx, points) in points.iter_mut().enumerate() {
                // The largest N of each generator, then the average.
                let interval = if idx < generators.len() {
                    own.cell(By::BestOfN, (idx + 1) * n_ns - 1, &bootstrap)
                } else {
                    own.average(By::BestOfN, &bootstrap)
                };
                let ends = Some((interval.low, interval.high));
                points.push(Point { x: part.amount() as f64, y: interval.mean, interval: ends });
            }
            along.push(OnPart { part, measured: own });
        }
        for (plot, points) in plots.iter_mut().zip(points) {
            plot.series.push(Series { label: group.to_owned(), points, style });
        }
        curves.push(Curve { objective, parts: along });
    }
    Ok(Scaling { table, plots, curves })
}

/// A generator's name at the beginning of a heading.
fn title(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
