//! From the text of an answer to its expression tree.

mod alphabet;
mod bound;
mod call;
mod environment;
mod number;
mod operand;
mod structure;
mod token;
pub(crate) mod words;

pub(crate) use structure::{parse, parse_euler};
