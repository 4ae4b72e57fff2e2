//! Numerical evaluation, for what has no exact normal form.

mod complex;
mod evaluate;

pub(crate) use complex::Complex;
pub(crate) use evaluate::{Assignment, evaluate, real};
