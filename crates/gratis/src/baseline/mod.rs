//! The other side of the comparison: reward models of the usual kinds, on the same engine, loop
//! and data as the implicit ones (paper sections 3 and 4.1, "reward parameterization in existing
//! work").
//!
//! - *Heads*: a number is read from the states of the transformer, pooled into a value of each
//!   prefix ([`Pooling`]) and trained on outcome labels or step labels ([`ValueObjective`]).
//! - *Tokens*: after each step the language model is asked for a good or a bad token
//!   ([`LabelTokens`]).
//!
//! The training loop moves one array of numbers between engine and task: a head's values stand where
//! log-probabilities usually are ([`Learner::Values`](crate::training::Learner)), and everything else
//! stays the same.

mod head_task;
mod loss;
mod pooling;
mod scoring;
mod self_certainty;
mod token_task;

pub use head_task::HeadTask;
pub use loss::ValueObjective;
pub use pooling::Pooling;
pub use scoring::{HeadScorer, TokenScorer};
pub use self_certainty::SelfCertainty;
pub use token_task::{LabelTexts, LabelTokens, TokenTask};
