//! The paper "Free Process Rewards without Process Labels" on a small synthetic world: the demo, one
//! module per table and figure, the claims that are checked, and the report.

#![deny(missing_docs)]

pub mod experiment;
pub mod report;
pub mod world;
