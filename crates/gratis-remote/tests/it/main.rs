//! Integration tests of the crate: one binary, one module a subject.

mod faults;
mod inference;
mod servers;
mod training;
