//! Propositions 3.1 and 3.2 of the paper, checked rather than believed.
//!
//! [`exact`] enumerates every sequence of a small world; there the propositions hold to rounding.
//! [`monte_carlo`] estimates both sides on real models, with standard errors.

pub mod exact;
pub mod monte_carlo;
pub mod tabular;

pub use exact::{ExactCheck, PrefixValues, check, limits, prefix_values};
pub use monte_carlo::{MonteCarloSettings, MonteCarloSummary, Prefix, PrefixEstimate, estimate};
pub use tabular::TabularModel;
