//! Integration tests of the crate: one binary, one module a subject.

mod files;
mod operations;
mod parquet;
mod shapes;
