//! Plots as inline SVG: lines with error bars and labels at their ends, and horizontal bars.
//!
//! Colours are the classes `s0`, `s1`, ... of the page's style sheet, so that one
//! plot serves the light and the dark theme. Each series has a marker of its own as well.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::axis::Axis;
pub(crate) use super::axis::{Unit, XScale};

/// Different colours and markers; further series begin again.
const N_STYLES: usize = 7;
const LINE_HEIGHT: f64 = 15.0;
/// Between error bars at the same place.
const ERROR_BAR_PITCH: f64 = 3.5;
/// Width of a letter of a label, on the generous side: fonts differ.
const LETTER: f64 = 7.6;

/// A measured value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Place on the horizontal axis.
    pub x: f64,
    /// Value.
    pub y: f64,
    /// Lower and upper end of the error bar.
    pub interval: Option<(f64, f64)>,
}

/// A line of a plot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// Its name, written at the line's end; empty for the only line of a plot.
    pub label: String,
    /// The points, from left to right; values that are not finite leave a gap.
    pub points: Vec<Point>,
    /// Number of its colour and marker, so that a series looks the same in every plot of a page.
    pub style: usize,
}

/// A plot of one or more lines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LinePlot {
    /// What it shows, above it and for screen readers.
    pub title: String,
    /// Below the horizontal axis.
    pub x_label: String,
    /// Above the vertical axis.
    pub y_label: String,
    /// Spread of the horizontal axis.
    pub x_scale: XScale,
    /// Ends of the vertical axis; found from the points where absent.
    pub y_range: Option<(f64, f64)>,
    /// How values are written.
    pub y_unit: Unit,
    /// Width and height in pixels at the natural size; the page scales it.
    pub size: Option<(f64, f64)>,
    /// The lines.
    pub series: Vec<Series>,
}

impl LinePlot {
    /// The plot as an `<svg>` element.
    pub(crate) fn render(&self) -> String {
        let (width, height) = self.size.unwrap_or((640.0, 340.0));
        let longest = self.series.iter().map(|s| s.label.chars().count()).max().unwrap_or(0);
        let (left, right) = (46.0, width - 22.0 - LETTER * longest as f64);
        let (top, bottom) = (52.0, height - 42.0);
        let points = || self.series.iter().flat_map(|series| &series.points);
        // Where several series have error bars they stand beside each other.
        let middle = (self.series.len().saturating_sub(1)) as f64 / 2.0;
        let has_bars = points().any(|point| point.interval.is_some());
        let pitch = if has_bars { ERROR_BAR_PITCH } else { 0.0 };
        let ends = (left + pitch * middle, right - pitch * middle);
        let x = Axis::new(points().map(|p| p.x), None, self.x_scale, Unit::Number, ends);
        let y_values = points().flat_map(|p| {
            let (low, high) = p.interval.unwrap_or((p.y, p.y));
            [p.y, low, high]
        });
        let y = Axis::new(y_values, self.y_range, XScale::Linear, self.y_unit, (bottom, top));

        let mut svg = open(width, height, &self.title);
        for (place, label) in &y.ticks {
            put(
                &mut svg,
                &format!(
                    r#"<path class="grid" d="M{left:.1} {place:.1}H{right:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
                    left - 8.0,
                    place + 4.0,
                ),
            );
        }
        for (place, label) in &x.ticks {
            put(
                &mut svg,
                &format!(
                    r#"<path class="axis" d="M{place:.1} {bottom:.1}v5"/><text class="tick" x="{place:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
                    bottom + 18.0,
                ),
            );
        }
        put(
            &mut svg,
            &format!(
                r#"<path class="axis" d="M{left:.1} {bottom:.1}H{right:.1}"/><text class="label" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text><text class="label" x="{:.1}" y="{:.1}">{}</text>"#,
                f64::midpoint(left, right),
                bottom + 36.0,
                escape(&self.x_label),
                left - 40.0,
                top - 12.0,
                escape(&self.y_label),
            ),
        );
        for (idx, series) in self.series.iter().enumerate() {
            draw_series(&mut svg, series, &x, &y, pitch * (idx as f64 - middle));
        }
        self.draw_end_labels(&mut svg, &x, &y, (top, bottom));
        svg + "</svg>"
    }

    /// Labels beside the last points, moved apart where they would overlap.
    fn draw_end_labels(&self, svg: &mut String, x: &Axis, y: &Axis, (top, bottom): (f64, f64)) {
        let mut ends: Vec<(&Series, f64, f64)> = self
            .series
            .iter()
            .filter(|series| !series.label.is_empty())
            .filter_map(|series| {
                let last = series.points.iter().rfind(|p| p.y.is_finite())?;
                Some((series, x.place(last.x), y.place(last.y).clamp(top, bottom)))
            })
            .collect();
        ends.sort_by(|a, b| a.2.total_cmp(&b.2));
        let places: Vec<f64> = ends.iter().map(|end| end.2).collect();
        let right = ends.iter().map(|end| end.1).fold(f64::NEG_INFINITY, f64::max);
        for ((series, end_x, end_y), label_y) in
            ends.iter().zip(moved_apart(&places, LINE_HEIGHT, (top, bottom)))
        {
            let style = series.style % N_STYLES;
            put(
                svg,
                &format!(
                    r#"<path class="s{style} leader" d="M{:.1} {end_y:.1}L{:.1} {label_y:.1}"/><text class="s{style} end" x="{:.1}" y="{:.1}">{}</text>"#,
                    end_x + 5.0,
                    right + 12.0,
                    right + 15.0,
                    label_y + 4.0,
                    escape(&series.label),
                ),
            );
        }
    }
}

/// A bar with its label and value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    /// What is measured.
    pub(crate) label: String,
    /// Length of the bar, at least 0.
    pub(crate) value: f64,
    /// Lower and upper end of the error bar.
    pub(crate) interval: Option<(f64, f64)>,
    /// Number of its colour.
    pub(crate) style: usize,
}

/// Horizontal bars.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BarPlot {
    /// What it shows, above it and for screen readers.
    pub(crate) title: String,
    /// Longest possible value; found from the bars where absent.
    pub(crate) max: Option<f64>,
    /// How values are written.
    pub(crate) unit: Unit,
    /// The bars, from the top.
    pub(crate) bars: Vec<Bar>,
}

impl BarPlot {
    /// The plot as an `<svg>` element.
    pub(crate) fn render(&self) -> String {
        const BAR: f64 = 18.0;
        const PITCH: f64 = 28.0;
        let width = 640.0;
        let height = 46.0 + PITCH * self.bars.len() as f64;
        let longest = self.bars.iter().map(|bar| bar.label.chars().count()).max().unwrap_or(0);
        let (left, right) = (16.0 + LETTER * longest as f64, width - 70.0);
        let values =
            self.bars.iter().flat_map(|bar| [bar.value, bar.interval.map_or(0.0, |i| i.1)]);
        let max = values.filter(|v| v.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
        let range = Some((0.0, self.max.unwrap_or(max)));
        let x = Axis::new(std::iter::empty(), range, XScale::Linear, self.unit, (left, right));

        let mut svg = open(width, height, &self.title);
        for (idx, bar) in self.bars.iter().enumerate() {
            let y = 40.0 + PITCH * idx as f64;
            let (middle, end) = (y + BAR / 2.0, x.place(bar.value.max(0.0)));
            let style = bar.style % N_STYLES;
            put(
                &mut svg,
                &format!(
                    r#"<text class="bar-label" x="{:.1}" y="{:.1}" text-anchor="end">{}</text><rect class="s{style} bar" x="{left:.1}" y="{y:.1}" width="{:.1}" height="{BAR}" rx="2"/>"#,
                    left - 8.0,
                    middle + 4.0,
                    escape(&bar.label),
                    end - left,
                ),
            );
            let mut value_x = end;
            if let Some((low, high)) = bar.interval {
                let (low, high) = (x.place(low), x.place(high));
                value_x = value_x.max(high);
                put(
                    &mut svg,
                    &format!(
                        r#"<path class="whisker" d="M{low:.1} {middle:.1}H{high:.1}M{low:.1} {0:.1}v6M{high:.1} {0:.1}v6"/>"#,
                        middle - 3.0,
                    ),
                );
            }
            put(
                &mut svg,
                &format!(
                    r#"<text class="value" x="{:.1}" y="{:.1}">{}</text>"#,
                    value_x + 7.0,
                    middle + 4.0,
                    self.unit.value(bar.value),
                ),
            );
        }
        put(&mut svg, &format!(r#"<path class="axis" d="M{left:.1} 34V{:.1}"/>"#, height - 6.0));
        svg + "</svg>"
    }
}

/// Text as HTML, safe in elements and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn put(svg: &mut String, element: &str) {
    svg.push_str(element);
    svg.push('\n');
}

fn open(width: f64, height: f64, title: &str) -> String {
    let title = escape(title);
    let class = if width > 500.0 { " class=\"wide-plot\"" } else { "" };
    format!(
        "<svg{class} viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n<text class=\"title\" x=\"12\" y=\"18\">{title}</text>\n"
    )
}

/// `aside` is how far the series is moved to the right.
fn draw_series(svg: &mut String, series: &Series, x: &Axis, y: &Axis, aside: f64) {
    let style = series.style % N_STYLES;
    let mut line = String::new();
    let mut marks = String::new();
    let mut pen_is_down = false;
    // A long curve is a line; markers would hide it.
    let marked = series.points.len() <= 24;
    for point in &series.points {
        if !point.y.is_finite() {
            pen_is_down = false;
            continue;
        }
        let (px, py) = (x.place(point.x) + aside, y.place(point.y));
        // Writing to a string does not fail.
        let _ = write!(line, "{}{px:.1} {py:.1}", if pen_is_down { 'L' } else { 'M' });
        pen_is_down = true;
        if let Some((low, high)) = point.interval {
            let (low, high) = (y.place(low), y.place(high));
            let _ = write!(
                marks,
                r#"<path class="s{style} error" d="M{px:.1} {low:.1}V{high:.1}M{0:.1} {low:.1}h6M{0:.1} {high:.1}h6"/>"#,
                px - 3.0,
            );
        }
        if marked {
            let _ = write!(marks, r#"<path class="s{style} mark" d="{}"/>"#, marker(style, px, py));
        }
    }
    put(svg, &format!(r#"<path class="s{style} line" d="{line}"/>{marks}"#));
}

/// The outline of a series' marker around a point.
fn marker(style: usize, x: f64, y: f64) -> String {
    match style {
        0 => format!("M{:.1} {y:.1}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", x - 4.0), // circle
        1 => format!("M{:.1} {:.1}h7v7h-7z", x - 3.5, y - 3.5),               // square
        2 => format!("M{x:.1} {:.1}l4.5 8h-9z", y - 5.0),                     // triangle
        3 => format!("M{x:.1} {:.1}l4.5 5l-4.5 5l-4.5 -5z", y - 5.0),         // diamond
        4 => format!("M{x:.1} {:.1}l4.5 -8h-9z", y + 5.0), // triangle, upside down
        5 => format!("M{:.1} {:.1}h10v3h-10z", x - 5.0, y - 1.5), // dash
        _ => format!("M{:.1} {:.1}h3v10h-3z", x - 1.5, y - 5.0), // upright dash
    }
}

/// Sorted places moved as little as a simple sweep allows, so that neighbours are at least
/// `distance` apart and all lie in `range` where there is room for that.
fn moved_apart(places: &[f64], distance: f64, (low, high): (f64, f64)) -> Vec<f64> {
    let mut moved = places.to_vec();
    let mut floor = low;
    for place in &mut moved {
        *place = place.max(floor);
        floor = *place + distance;
    }
    let mut ceiling = high;
    for place in moved.iter_mut().rev() {
        *place = place.min(ceiling);
        ceiling = *place - distance;
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(label: &str, style: usize, ys: &[f64]) -> Series {
        let point = |(idx, &y): (usize, &f64)| Point {
            x: 4f64.powi(idx as i32 + 1),
            y,
            interval: Some((y - 0.05, y + 0.05)),
        };
        Series {
            label: label.to_owned(),
            style,
            points: ys.iter().enumerate().map(point).collect(),
        }
    }

    #[test]
    fn a_line_plot_holds_every_series_and_escapes_its_text() {
        let plot = LinePlot {
            title: "a < b & c".to_owned(),
            x_scale: XScale::Log2,
            y_unit: Unit::Percent,
            series: vec![series("one", 0, &[0.2, 0.4, 0.8]), series("two", 1, &[0.3, 0.4, 0.5])],
            ..LinePlot::default()
        };
        let svg = plot.render();
        assert!(svg.contains("a &lt; b &amp; c") && !svg.contains("a < b"));
        assert_eq!(svg.matches("mark\"").count(), 6);
        assert_eq!(svg.matches("error\"").count(), 6);
        for label in [">4<", ">16<", ">64<", ">one<", ">two<"] {
            assert!(svg.contains(label), "{label}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn a_value_that_is_not_finite_leaves_a_gap() {
        let mut gap = series("gap", 0, &[0.1, f64::NAN, 0.3]);
        gap.points.iter_mut().for_each(|point| point.interval = None);
        let svg = LinePlot { series: vec![gap], ..LinePlot::default() }.render();
        assert!(!svg.contains("NaN"), "{svg}");
        let line = svg.lines().find(|l| l.contains("line\"")).expect("a line");
        assert_eq!((line.matches("mark\"").count(), line.contains('L')), (2, false));
    }

    #[test]
    fn a_line_without_a_name_has_no_leader() {
        let named =
            LinePlot { series: vec![series("loss", 0, &[0.5, 0.4])], ..LinePlot::default() };
        assert!(named.render().contains("leader"));
        let unnamed = LinePlot { series: vec![series("", 0, &[0.5, 0.4])], ..LinePlot::default() };
        assert!(!unnamed.render().contains("leader"));
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bar =
            |label: &str, value| Bar { label: label.to_owned(), value, interval: None, style: 0 };
        let plot = BarPlot {
            max: Some(1.0),
            unit: Unit::Percent,
            bars: vec![bar("half", 0.5), bar("all", 1.0)],
            ..BarPlot::default()
        };
        let svg = plot.render();
        let widths: Vec<f64> = svg
            .match_indices("width=\"")
            .map(|(at, key)| svg[at + key.len()..].split('"').next().expect("a value"))
            .map(|value| value.parse().expect("a number"))
            .collect();
        assert!((2.0 * widths[0] - widths[1]).abs() < 0.2, "{widths:?}");
        assert!(svg.contains("50.0 %") && svg.contains("100.0 %"));
    }

    #[test]
    fn labels_are_moved_apart_within_the_plot() {
        assert_eq!(moved_apart(&[10.0, 12.0, 90.0], 10.0, (0.0, 100.0)), [10.0, 20.0, 90.0]);
        assert_eq!(moved_apart(&[98.0, 99.0, 100.0], 10.0, (0.0, 100.0)), [80.0, 90.0, 100.0]);
    }
}
