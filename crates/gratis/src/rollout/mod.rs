//! Rollouts: solutions drawn from a model and graded by their final answers (paper section 4.1).

mod grading;
mod sampling;

pub use grading::{GradeCounts, grade};
pub use sampling::{Problem, SAMPLING, Sampler};
