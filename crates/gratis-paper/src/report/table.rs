//! Tables as data: rows and typed cells, which pages and Markdown show in their own ways.

use std::fmt::Write as _;

use gratis::evaluation::Interval;
use serde::Serialize;

/// A table: the first column holds labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Table {
    /// What it shows.
    pub(crate) caption: String,
    /// Headings above the column headings. They cover all columns, or there are none.
    pub(crate) spans: Vec<Span>,
    /// Column headings.
    pub(crate) header: Vec<String>,
    /// The rows.
    pub(crate) rows: Vec<Row>,
    /// Whether cells are words, which need room, or numbers.
    pub(crate) cells: Cells,
}

/// A heading above some column headings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Span {
    pub(crate) heading: String,
    pub(crate) n_columns: usize,
}

/// What most cells of a table hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cells {
    /// Numbers: aligned to the right, on one line.
    #[default]
    Numbers,
    /// Words: aligned to the left, on as many lines as they need.
    Text,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Row {
    /// The heading of the rows below it.
    Group { heading: String, link: Option<String> },
    /// A label with cells.
    Cells { label: String, detail: Option<String>, cells: Vec<Cell>, emphasis: Emphasis },
}

/// Whether a row stands out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Emphasis {
    #[default]
    Ordinary,
    Strong,
}

/// A cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Cell {
    /// There is nothing to show.
    Empty,
    /// Words, which may be broken over lines.
    Text { text: String },
    /// A number, with its unit or interval: never broken over lines.
    Number { text: String },
    /// A mean and half of its interval.
    MeanAndHalf { mean: String, half: String },
    /// A verdict.
    Verdict { mark: char, text: String, tone: Tone },
}

/// The colour of a verdict; its mark and its words say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tone {
    Up,
    Down,
    Neutral,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    pub(crate) fn number(text: impl Into<String>) -> Self {
        Self::Number { text: text.into() }
    }

    /// A share in percent with half of its interval.
    pub(crate) fn percent(interval: &Interval) -> Self {
        let Interval { mean, low, high } = interval;
        Self::MeanAndHalf {
            mean: format!("{:.1}", 100.0 * mean),
            half: format!("{:.1}", 50.0 * (high - low)),
        }
    }

    /// A share in percent with the ends of its interval: `-3.6 (-5.6 to -1.5)`.
    pub(crate) fn percent_with_ends(interval: &Interval) -> Self {
        let [mean, low, high] = [interval.mean, interval.low, interval.high]
            .map(|share| format!("{:.1}", 100.0 * share));
        Self::number(format!("{mean} ({low} to {high})"))
    }

    fn to_markdown(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text { text } | Self::Number { text } => text.clone(),
            Self::MeanAndHalf { mean, half } => format!("{mean} ± {half}"),
            Self::Verdict { mark, text, .. } => format!("{mark} {text}"),
        }
    }
}

impl Row {
    /// A row without detail or emphasis.
    pub(crate) fn new(label: impl Into<String>, cells: Vec<Cell>) -> Self {
        Self::Cells { label: label.into(), detail: None, cells, emphasis: Emphasis::Ordinary }
    }
}

impl Table {
    /// The table as Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut headings: Vec<String> = Vec::new();
        let above = self
            .spans
            .iter()
            .flat_map(|span| std::iter::repeat_n(span.heading.as_str(), span.n_columns));
        for (heading, above) in self.header.iter().zip(above.chain(std::iter::repeat(""))) {
            let space = if above.is_empty() || heading.is_empty() { "" } else { " " };
            headings.push(format!("{above}{space}{heading}"));
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write!(text, "\n{}:\n\n", self.caption.trim_end_matches('.'));
        text += &line(&headings);
        text += &line(&vec!["---".to_owned(); headings.len()]);
        for row in &self.rows {
            let mut shown = vec![String::new(); headings.len()];
            match row {
                Row::Group { heading, .. } => shown[0] = format!("**{heading}**"),
                Row::Cells { label, detail, cells, .. } => {
                    shown[0] = match detail {
                        Some(detail) => format!("{label} ({detail})"),
                        None => label.clone(),
                    };
                    for (shown, cell) in shown[1..].iter_mut().zip(cells) {
                        *shown = cell.to_markdown();
                    }
                }
            }
            text += &line(&shown);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown_with_spans_in_its_headings() {
        let interval = Interval { mean: -0.036, low: -0.056, high: -0.015 };
        let heading = |heading: &str, n_columns| Span { heading: heading.to_owned(), n_columns };
        let table = Table {
            caption: "c.".to_owned(),
            spans: vec![heading("", 1), heading("weak", 2), heading("", 1)],
            header: ["", "@4", "@16", "x|y"].map(str::to_owned).to_vec(),
            rows: vec![
                Row::Group { heading: "g".to_owned(), link: None },
                Row::Cells {
                    label: "r".to_owned(),
                    detail: Some("d".to_owned()),
                    cells: vec![
                        Cell::percent(&interval),
                        Cell::Empty,
                        Cell::percent_with_ends(&interval),
                    ],
                    emphasis: Emphasis::Ordinary,
                },
            ],
            ..Table::default()
        };
        insta::assert_snapshot!(table.to_markdown(), @r"

        c:

        |  | weak @4 | weak @16 | x\|y |
        | --- | --- | --- | --- |
        | **g** |  |  |  |
        | r (d) | -3.6 ± 2.1 |  | -3.6 (-5.6 to -1.5) |
        ");
    }
}
