//! Automatic step labels for training explicit process reward models (paper sections 2 and 4.1).
//!
//! - [`MonteCarlo`], as Math-Shepherd does: continuations of every step prefix, graded;
//! - [`autopsv`], from the relative change of an outcome verifier's confidence.
//!
//! Both write [step labels](crate::data::Rollout::step_labels) into rollouts.

pub mod autopsv;
pub(crate) mod monte_carlo;

pub use monte_carlo::{LabelKind, MonteCarlo};
