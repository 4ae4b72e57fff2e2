//! Numerical evaluation, for expressions without an exact normal form.

mod bound;
mod complex;
mod evaluate;
mod value;

pub(crate) use evaluate::{Assignment, evaluate, real};
pub(crate) use value::Value;
