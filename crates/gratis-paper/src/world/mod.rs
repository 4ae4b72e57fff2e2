//! The tiny world: procedurally generated reasoning problems on which the paper's claims can be
//! measured on a laptop, with models trained from scratch.
//!
//! A [`Problem`] is a short chain of additions, subtractions and multiplications modulo
//! [`MODULUS`], told in words. Each step of a solution has exactly one valid string, so [`check`]
//! knows the true first error of any candidate. These labels are used for evaluation only; no
//! reward model is trained on them (paper section 5, after ProcessBench). [`SyntheticGenerator`]s
//! write solutions with systematic errors, on which generator models of different strength are
//! trained (paper section 4.1 uses three such generators for best-of-N). The output of this module
//! are ordinary [`Rollout`](gratis::data::Rollout) records.

pub(crate) mod phrases;
pub(crate) mod pool;

mod checker;
mod generator;
mod hash;
mod problem;
mod solution;
mod split;

pub(crate) use checker::check;
pub(crate) use generator::{Strength, SyntheticGenerator};
pub(crate) use problem::Problem;
pub use split::validation_problems;
pub(crate) use split::{N_DERIVED, Split};
