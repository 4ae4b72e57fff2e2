//! Evaluation: best-of-N accuracy (paper section 4.1), the first-error F1 of ProcessBench, and the
//! step labels of PRMBench, each with bootstrap intervals.
//!
//! Results are plain serialisable structs that record everything they depend on: aggregation,
//! threshold, the rule for N, seeds.

pub mod best_of_n;
mod bootstrap;
pub mod first_error;
pub mod length;
pub mod prm_bench;
pub mod process_bench;
mod step_signal;

pub use best_of_n::{
    BestOfNSettings, BestOfNTable, Cell, GeneratorCandidates, ProblemCandidates, ScoredProblem,
    Selector,
};
pub use bootstrap::{Bootstrap, Interval};
pub use first_error::{
    FirstErrorCounts, FirstErrorScore, JudgedSolution, first_error_counts, first_error_score,
    tune_threshold,
};
pub use length::{LengthStatistics, LengthUnit, WithinProblems};
pub use prm_bench::PrmBench;
pub use process_bench::ProcessBench;
pub use step_signal::StepSignal;
