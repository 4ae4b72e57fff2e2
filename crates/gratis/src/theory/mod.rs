//! Numerical checks of Propositions 3.1 and 3.2 of the paper.
//!
//! [`ExactCheck`] enumerates every sequence of small models, where the propositions hold up to rounding.
//! [`estimate`] estimates both sides on real models, with standard errors.

mod exact;
pub(crate) mod monte_carlo;
mod tabular;

pub use exact::{ExactCheck, check, limits};
pub use monte_carlo::{MonteCarloSettings, Prefix, PrefixEstimate, estimate};
