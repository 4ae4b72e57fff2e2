//! Operations on rollouts, and applying them to rollouts in memory and to files of any size.

pub(crate) mod apply;
mod balance;
pub(crate) mod dedup;
mod group;
pub(crate) mod mix;
pub(crate) mod operation;
mod pairs;
mod replace;
mod scratch;
pub(crate) mod segment;
pub(crate) mod split;
mod subsample;
