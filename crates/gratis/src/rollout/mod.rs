//! Rollouts: solutions sampled from a model and graded by their final answers (paper section 4.1).

mod cases;
mod grading;
mod sampling;

pub use cases::grade_cases;
pub use grading::{GradeCounts, grade, grade_all};
pub use sampling::{Problem, SAMPLING, SampledIds, Sampler};
