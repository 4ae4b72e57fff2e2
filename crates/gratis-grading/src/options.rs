//! The conventions on which graders differ, with the defaults of this crate.

use serde::{Deserialize, Serialize};

/// What a percent sign means next to a number without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Percent {
    /// `10%` is only `0.1`.
    Fraction,
    /// `10%` may stand for `0.1` or for `10`: this depends on the question, which is not known
    /// here.
    Either,
}

/// When a decimal may represent a value that it does not equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decimals {
    /// Never: `0.33` is 33/100.
    Exact,
    /// When the value has no finite decimal and the decimal is that value rounded to the
    /// places shown: `0.333` for 1/3, `1.414` for the root of two.
    Rounded,
}

/// How units, currencies and the degree sign are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// A unit may be left out, but two different units are two different answers.
    Optional,
    /// Both answers carry the same unit, or neither carries one.
    Required,
}

/// Whether the order of a list without brackets matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListOrder {
    /// `1, 2` is `2, 1`: the answers of one question, in any order.
    Free,
    /// `1, 2` is not `2, 1`.
    Kept,
}

/// Whether two ways to write one thing need the same form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `x = 5` answers `5`, `x < 2` answers the interval below two, a column of a matrix
    /// answers the tuple of its entries, `1,5` may be a decimal comma, `{5}` answers `5`.
    Loose,
    /// An equation answers an equation, a set a set, a tuple a tuple.
    Same,
}

/// Whether fractions must be in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fractions {
    /// `8/46` is `4/23`.
    Any,
    /// A predicted fraction of integers must be reduced when the gold answer's is.
    Reduced,
}

/// The conventions of one grading run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// What a percent sign means; [`Percent::Either`] by default.
    pub percent: Percent,
    /// When a decimal may be a rounded value; [`Decimals::Rounded`] by default.
    pub decimals: Decimals,
    /// How units are compared; [`Units::Optional`] by default.
    pub units: Units,
    /// Whether a bare list is ordered; [`ListOrder::Free`] by default.
    pub list_order: ListOrder,
    /// Whether forms must agree; [`Form::Loose`] by default.
    pub form: Form,
    /// Whether fractions must be reduced; [`Fractions::Any`] by default.
    pub fractions: Fractions,
    /// Maximum number of steps per comparison; beyond it the answer is "not equal".
    pub budget: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            percent: Percent::Either,
            decimals: Decimals::Rounded,
            units: Units::Optional,
            list_order: ListOrder::Free,
            form: Form::Loose,
            fractions: Fractions::Any,
            budget: 200_000,
        }
    }
}

impl Options {
    /// The profile that accepts only answers equal as written: exact decimals, percent as
    /// a fraction, units required, ordered lists, the same form, reduced fractions.
    pub fn strict() -> Self {
        Self {
            percent: Percent::Fraction,
            decimals: Decimals::Exact,
            units: Units::Required,
            list_order: ListOrder::Kept,
            form: Form::Same,
            fractions: Fractions::Reduced,
            ..Self::default()
        }
    }
}
