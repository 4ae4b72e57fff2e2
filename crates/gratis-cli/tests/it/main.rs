//! Integration tests of the workspace and its binary.

mod cli;
mod data;
mod faults;
mod kill;
mod theory;
mod tidy;
mod workspace;
