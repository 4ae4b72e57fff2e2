//! Evaluation: best-of-N accuracy (paper section 4.1), the first-error F1 of ProcessBench, and the
//! step labels of PRMBench, each with bootstrap intervals.
//!
//! Results are plain serialisable structs that record everything they depend on: aggregation,
//! threshold, the rule for N, seeds.

pub(crate) mod best_of_n;
mod bootstrap;
pub(crate) mod first_error;
pub(crate) mod length;
pub mod prm_bench;
pub mod process_bench;
mod step_signal;

pub use best_of_n::{BestOfNSettings, BestOfNTable, GeneratorCandidates, Selector};
pub use bootstrap::{Bootstrap, Interval};
pub use first_error::FirstErrorScore;
pub use prm_bench::PrmBench;
pub use process_bench::ProcessBench;
pub use step_signal::StepSignal;
