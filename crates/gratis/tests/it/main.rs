//! Integration tests of the crate: one binary, one module a subject.

mod baselines;
mod grading;
mod objectives;
mod reward_models;
mod steps_in_tokens;
mod tabular;
mod theory;
mod training;
