//! Rollouts: solutions sampled from a model and graded by their final answers (paper section 4.1).

pub(crate) mod cases;
mod grading;
mod sampling;

pub use grading::{GradeCounts, grade, grade_all};
pub use sampling::Sampler;
