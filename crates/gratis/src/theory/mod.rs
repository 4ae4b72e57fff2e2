//! Propositions 3.1 and 3.2 of the paper, checked rather than believed.
//!
//! [`exact`] enumerates every sequence of a small world; there the propositions hold to rounding.

pub mod exact;
pub mod tabular;

pub use exact::{ExactCheck, PrefixValues, check, limits, prefix_values};
pub use tabular::TabularModel;
