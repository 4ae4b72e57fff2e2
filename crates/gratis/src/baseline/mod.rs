//! Baselines: explicit reward models with the same engine, training loop and data as the implicit
//! ones (paper sections 3 and 4.1, "reward parameterization in existing work").
//!
//! - *Heads*: a number is read from the states of the transformer, pooled into a value of each
//!   prefix ([`Pooling`]) and trained on outcome labels or step labels ([`ValueObjective`]).
//! - *Tokens*: after each step the language model predicts a good or a bad token
//!   ([`LabelTokens`]).
//!
//! The training loop passes one array of numbers between engine and task: with a head, its values
//! replace the log-probabilities ([`Learner::Values`](crate::training::Learner)); everything else
//! is the same.

mod head_task;
mod loss;
mod pooling;
mod scoring;
mod self_certainty;
mod token_task;

pub use loss::ValueObjective;
pub use pooling::Pooling;
pub use self_certainty::SelfCertainty;
pub use token_task::{LabelTexts, LabelTokens};
