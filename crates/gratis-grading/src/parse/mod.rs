//! From the text of an answer to its expression tree.

mod alphabet;
mod call;
mod number;
mod operand;
mod structure;
mod token;
pub(crate) mod words;

pub(crate) use structure::parse;
