//! Integration tests of the crate: one binary, one module a subject.

mod baselines;
mod data_files;
mod data_operations;
mod objectives;
mod parquet_files;
mod reward_models;
mod shapes;
mod steps_in_tokens;
mod tabular;
mod theory;
mod training;
