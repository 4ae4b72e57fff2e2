//! Integration tests of the crate: one binary, one module a subject.

mod common;
mod files;
mod operations;
mod parquet;
mod shapes;
