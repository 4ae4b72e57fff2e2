//! Integration tests of the crate: one binary, one module a subject.

mod tabular;
mod training;
