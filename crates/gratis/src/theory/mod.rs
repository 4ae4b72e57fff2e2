//! Numerical checks of Propositions 3.1 and 3.2 of the paper.
//!
//! [`exact`] enumerates every sequence of small models, where the propositions hold up to rounding.
//! [`monte_carlo`] estimates both sides on real models, with standard errors.

pub mod exact;
pub mod monte_carlo;
pub mod tabular;

pub use exact::{ExactCheck, PrefixValues, check, limits, prefix_values};
pub use monte_carlo::{MonteCarloSettings, MonteCarloSummary, Prefix, PrefixEstimate, estimate};
pub use tabular::TabularModel;
