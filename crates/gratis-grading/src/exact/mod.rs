//! Exact arithmetic: the normal form of rational expressions over named atoms, and products of
//! powers too large to multiply out.

mod function;
mod normal;
mod poly;
mod power;

pub(crate) use normal::{Context, Multiple, Normal, normal};
pub(crate) use power::powers;
