//! Exact arithmetic: the normal form of rational expressions over named atoms.

mod normal;
mod poly;

pub(crate) use normal::{Context, Normal, normal};
