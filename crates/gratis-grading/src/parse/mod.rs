//! From the text of an answer to its expression tree.

mod alphabet;
mod bound;
mod call;
mod environment;
mod name;
mod number;
mod operand;
mod structure;
mod token;
mod word;
pub(crate) mod words;

pub(crate) use structure::{parse, parse_euler};
