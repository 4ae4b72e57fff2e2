//! The results of an experiment: tables, plots and claims with verdicts, for HTML, Markdown and
//! JSON.

use gratis::evaluation::{Interval, StepSignal};
use gratis::reward::ValueRule;
use gratis::selection::Aggregation;
use serde::{Deserialize, Serialize};

use crate::example::Examples;
pub(crate) use crate::report::LinePlot;

/// The result of one experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The paper's name for it: `Table 1`.
    pub name: String,
    /// Its subject: `best-of-N with every reward model`.
    pub title: String,
    /// The question, and how it is tested here.
    pub question: String,
    /// Best-of-N tables in the paper's layout.
    pub comparisons: Vec<Comparison>,
    /// Other tables.
    pub tables: Vec<PlainTable>,
    /// Plots.
    pub plots: Vec<LinePlot>,
    /// Example solutions.
    pub examples: Option<Examples>,
    /// The paper's claims with verdicts.
    pub claims: Vec<Claim>,
    /// Everything that a number here depends on: aggregation, thresholds, sampling, seeds.
    pub conditions: Vec<String>,
}

/// A best-of-N table: one row per reward model, one column per generator and N.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// What it shows.
    pub caption: String,
    /// What the cells of a row are of.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<ComparedRow>,
}

/// A column of a best-of-N table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    /// The generator of the candidates.
    pub generator: String,
    /// Number of candidates that one is selected from.
    pub n: usize,
}

/// A reward model's figures, as shares in `0..=1` with intervals over seeds and problems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ComparedRow {
    /// The rows' common heading.
    pub group: String,
    /// The row's name.
    pub name: String,
    /// Its settings: objective, beta, learning rate.
    pub detail: String,
    /// Best-of-N accuracies: `[n_columns]`.
    pub cells: Vec<Interval>,
    /// Their mean.
    pub average: Interval,
    /// The same mean for the vote weighted by the reward model.
    pub weighted_vote: Option<Interval>,
    /// First-error F1, mean over generators.
    pub first_error: Option<Interval>,
    /// The paper's average in percent, where it has this row.
    pub paper: Option<f64>,
    /// What was chosen on validation problems: `[n_seeds]`; empty where there was nothing to choose.
    pub chosen: Vec<Chosen>,
}

/// What a seed's figures of a reward model depend on, beside its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chosen {
    /// The seed.
    pub seed: u64,
    /// The chosen aggregation of steps.
    pub aggregation: Aggregation,
    /// How the log-ratios of a prefix make the value behind the selection.
    #[serde(default, skip_serializing_if = "is_sum")]
    pub value_rule: ValueRule,
    /// The signal compared with the threshold.
    pub signal: StepSignal,
    /// How the log-ratios of a prefix make the value behind the signal.
    #[serde(default, skip_serializing_if = "is_sum")]
    pub signal_rule: ValueRule,
    /// A step is predicted wrong below this threshold; `None` where first errors are not known.
    pub threshold: Option<f64>,
    /// Temperature of the vote.
    pub vote_temperature: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_sum(rule: &ValueRule) -> bool {
    *rule == ValueRule::Sum
}

/// A table of text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlainTable {
    /// What it shows.
    pub caption: String,
    /// Column headings; the first column holds labels.
    pub header: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

/// The verdict on a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The claim holds: the whole interval is on its side.
    Holds,
    /// The claim does not hold: the whole interval is on the other side.
    DoesNotHold,
    /// The interval lies on both sides.
    WithinNoise,
}

impl Verdict {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::DoesNotHold => "does not hold",
            Self::WithinNoise => "within noise",
        }
    }

    /// As a symbol.
    pub(crate) fn mark(self) -> char {
        match self {
            Self::Holds => '✓',
            Self::DoesNotHold => '✗',
            Self::WithinNoise => '~',
        }
    }
}

/// A claim of the paper and what we measured of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// The claim, in our words.
    pub statement: String,
    /// Where the paper makes it.
    pub source: String,
    /// The measure and what the paper has for it.
    pub measure: String,
    /// What we have for it, with its interval.
    pub ours: Interval,
    /// What `ours` is in: points of percent, or a ratio.
    pub unit: ClaimUnit,
    /// The claim is that `ours` is above this; below it for [`Side::Below`].
    pub bound: f64,
    /// The side of the bound.
    pub side: Side,
    /// The verdict.
    pub verdict: Verdict,
    /// Why the verdict is not counted, if so.
    pub caveat: Option<String>,
}

/// What a claim's measure is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClaimUnit {
    /// A difference of shares, shown in points of percent.
    Points,
    /// A plain number.
    Number,
}

impl ClaimUnit {
    /// A value in this unit.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Points => format!("{:+.1}", 100.0 * value),
            Self::Number if value != 0.0 && value.abs() < 1e-3 => format!("{value:.1e}"),
            Self::Number => format!("{value:.3}"),
        }
    }
}

/// Which side of its bound a claim is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// Above.
    Above,
    /// Below.
    Below,
}

impl Claim {
    /// A claim that a difference of shares is above `bound`, and its verdict.
    pub(crate) fn above(
        statement: &str,
        source: &str,
        measure: &str,
        ours: Interval,
        bound: f64,
    ) -> Self {
        Self::new(statement, source, measure, ours, ClaimUnit::Points, bound, Side::Above)
    }

    /// A claim that a difference of shares is below `bound`, and its verdict.
    pub(crate) fn below(
        statement: &str,
        source: &str,
        measure: &str,
        ours: Interval,
        bound: f64,
    ) -> Self {
        Self::new(statement, source, measure, ours, ClaimUnit::Points, bound, Side::Below)
    }

    /// The same verdict, not counted, for this reason.
    #[must_use]
    pub(crate) fn with_caveat(mut self, reason: String) -> Self {
        self.caveat = Some(reason);
        self
    }

    /// The same for a plain number.
    #[must_use]
    pub(crate) fn in_numbers(mut self) -> Self {
        self.unit = ClaimUnit::Number;
        self
    }

    fn new(
        statement: &str,
        source: &str,
        measure: &str,
        ours: Interval,
        unit: ClaimUnit,
        bound: f64,
        side: Side,
    ) -> Self {
        let (above, below) = (ours.low > bound, ours.high < bound);
        let verdict = match side {
            Side::Above if above => Verdict::Holds,
            Side::Below if below => Verdict::Holds,
            Side::Above if below => Verdict::DoesNotHold,
            Side::Below if above => Verdict::DoesNotHold,
            _ => Verdict::WithinNoise,
        };
        Self {
            statement: statement.to_owned(),
            source: source.to_owned(),
            measure: measure.to_owned(),
            ours,
            unit,
            bound,
            side,
            verdict,
            caveat: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_the_whole_interval() {
        let interval = |low, high| Interval { mean: f64::midpoint(low, high), low, high };
        let above = |low, high| Claim::above("", "", "", interval(low, high), 0.0).verdict;
        let below = |low, high| Claim::below("", "", "", interval(low, high), 0.0).verdict;
        assert_eq!(above(0.01, 0.05), Verdict::Holds);
        assert_eq!(above(-0.01, 0.05), Verdict::WithinNoise);
        assert_eq!(above(-0.05, -0.01), Verdict::DoesNotHold);
        assert_eq!(below(-0.05, -0.01), Verdict::Holds);
        assert_eq!(below(0.01, 0.05), Verdict::DoesNotHold);
    }
}
