//! The tiny world: a procedural family of reasoning problems in which the claims of the paper can
//! be measured on a laptop, with models trained on the spot.
//!
//! A [`Problem`] is a short chain of additions, subtractions and multiplications modulo
//! [`MODULUS`], told in words. Each step of a solution has exactly one valid string, so
//! [`check`] knows the true first error of any candidate: labels that no reward model is trained
//! on, for evaluation only (paper section 5, after ProcessBench). [`Author`]s write solutions with
//! systematic slips, from which generators of different strength are made (paper section 4.1 uses
//! three such generators for best-of-N). What leaves this module are ordinary
//! [`Rollout`](gratis::data::Rollout) records: nothing else needs to know that they are tiny.

pub mod author;
pub mod checker;
pub mod corpus;
pub mod phrases;
pub mod pool;
pub mod problem;
pub mod solution;

mod hash;

pub use author::{Author, Habits, Strength, Written};
pub use checker::{Verdict, check};
pub use corpus::Split;
pub use problem::{MODULUS, Operand, Operator, PEOPLE, Problem};
pub use solution::{Solution, Step};

/// The `dataset` column of this world's rollouts.
pub const DATASET: &str = "tiny-world";
