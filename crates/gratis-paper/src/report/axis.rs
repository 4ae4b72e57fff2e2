//! Axes: mapping from numbers to positions on a plot, and the ticks.

use serde::{Deserialize, Serialize};

/// How the numbers of an axis are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum XScale {
    /// Evenly.
    #[default]
    Linear,
    /// Logarithmic: each doubling has the same width; there is a tick at every value that occurs.
    Log2,
}

/// How the numbers of an axis are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// As they are.
    #[default]
    Number,
    /// A share in `0..=1` as a percentage.
    Percent,
}

impl Unit {
    /// A value beside a mark: `53.4 %`, `1.25`.
    pub(super) fn value(self, value: f64) -> String {
        match self {
            Self::Number => format!("{value:.2}"),
            Self::Percent => format!("{:.1} %", 100.0 * value),
        }
    }

    /// A tick's label, with the decimals that `step` between ticks needs.
    fn tick(self, value: f64, step: f64) -> String {
        let (value, step) = match self {
            Self::Number => (value, step),
            Self::Percent => (100.0 * value, 100.0 * step),
        };
        let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
        // No `-0`.
        format!("{:.decimals$}", value + 0.0)
    }
}

/// From a range of numbers to a range of places.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// Numbers at the two ends, after the scale's function.
    ends: (f64, f64),
    /// Places of the two ends.
    places: (f64, f64),
    scale: XScale,
    /// Place and label of each tick.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis over all of `values`, or over `range` where one is given.
    pub(super) fn new(
        values: impl Iterator<Item = f64>,
        range: Option<(f64, f64)>,
        scale: XScale,
        unit: Unit,
        places: (f64, f64),
    ) -> Self {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let (low, high) = range.unwrap_or_else(|| {
            let low = values.first().copied().unwrap_or(0.0);
            let high = values.last().copied().unwrap_or(1.0);
            if low < high { (low, high) } else { (low - 0.5, high + 0.5) }
        });
        match scale {
            XScale::Linear => {
                let step = tick_step(high - low);
                let (first, last) = ((low / step).floor(), (high / step).ceil());
                // A given range is kept; a found one is rounded outwards to whole ticks.
                let ends = if range.is_some() { (low, high) } else { (first * step, last * step) };
                let mut axis = Self { ends, places, scale, ticks: Vec::new() };
                axis.ticks = (first as i64..=last as i64)
                    .map(|idx| idx as f64 * step)
                    .filter(|tick| (ends.0 - 1e-9 * step..=ends.1 + 1e-9 * step).contains(tick))
                    .map(|tick| (axis.place(tick), unit.tick(tick, step)))
                    .collect();
                axis
            }
            XScale::Log2 => {
                let ends = (low.max(f64::MIN_POSITIVE).log2(), high.max(f64::MIN_POSITIVE).log2());
                let mut axis = Self { ends, places, scale, ticks: Vec::new() };
                axis.ticks = values.iter().map(|&v| (axis.place(v), unit.tick(v, 1.0))).collect();
                axis
            }
        }
    }

    /// The position of `value`.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = match self.scale {
            XScale::Linear => value,
            XScale::Log2 => value.max(f64::MIN_POSITIVE).log2(),
        };
        let share = (value - self.ends.0) / (self.ends.1 - self.ends.0);
        self.places.0 + share * (self.places.1 - self.places.0)
    }
}

/// A step of 1, 2 or 5 times a power of ten that makes four to nine ticks.
fn tick_step(span: f64) -> f64 {
    let rough = span / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = match rough / power {
        r if r < 1.4 => 1.0,
        r if r < 3.2 => 2.0,
        r if r < 7.1 => 5.0,
        _ => 10.0,
    };
    step * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.1.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_places_are_linear() {
        let values = [0.02, 0.87];
        let axis = Axis::new(values.into_iter(), None, XScale::Linear, Unit::Percent, (100.0, 0.0));
        assert_eq!(labels(&axis), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!((axis.place(0.0), axis.place(1.0)), (100.0, 0.0));
        let axis =
            Axis::new([0.0, 0.03].into_iter(), None, XScale::Linear, Unit::Number, (0.0, 1.0));
        assert_eq!(labels(&axis), ["0.000", "0.005", "0.010", "0.015", "0.020", "0.025", "0.030"]);
    }

    #[test]
    fn a_doubling_takes_the_same_room() {
        let values = [4.0, 16.0, 64.0, 16.0];
        let axis = Axis::new(values.into_iter(), None, XScale::Log2, Unit::Number, (0.0, 8.0));
        assert_eq!(labels(&axis), ["4", "16", "64"]);
        assert_eq!([4.0, 16.0, 64.0].map(|n| axis.place(n)), [0.0, 4.0, 8.0]);
    }

    #[test]
    fn one_value_or_none_still_makes_an_axis() {
        for values in [vec![], vec![3.0], vec![f64::NAN]] {
            let axis =
                Axis::new(values.into_iter(), None, XScale::Linear, Unit::Number, (0.0, 1.0));
            assert!(axis.ticks.len() >= 2);
            assert!(axis.ticks.iter().all(|tick| tick.0.is_finite()));
        }
    }
}
