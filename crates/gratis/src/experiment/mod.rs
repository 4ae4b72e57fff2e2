//! Experiments: each file is one figure, one table or one story of the paper, from settings to a
//! serialisable result and its page.

pub mod baselines;
pub mod demo;
pub mod lab;
pub mod tuning;

mod truth;
mod workshop;
