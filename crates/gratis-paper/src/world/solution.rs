//! Solutions: one line a step, then the answer. The separator of steps is the line break.

use std::fmt;

use super::problem::{Operator, PEOPLE};

/// What precedes the final answer.
pub(super) const ANSWER: &str = "Answer: ";

/// One written step, right or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// Whose value it gives, an index in [`PEOPLE`].
    pub person: usize,
    /// Left operand: the previous person's value.
    pub left: u32,
    /// What is done.
    pub operator: Operator,
    /// Right operand.
    pub right: u32,
    /// The result as written.
    pub result: u32,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { person, left, operator, right, result } = self;
        write!(f, "{}: {left} {} {right} = {result}", PEOPLE[*person], operator.symbol())
    }
}

/// A written solution; its `Display` is the completion's text. The answer line repeats the last
/// result and counts as a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// One step a derived person.
    pub steps: Vec<Step>,
}

impl Solution {
    /// The answer as written: the last result.
    pub fn answer(&self) -> Option<u32> {
        self.steps.last().map(|step| step.result)
    }
}

impl fmt::Display for Solution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        match self.answer() {
            Some(answer) => write!(f, "{ANSWER}{answer}"),
            None => Ok(()),
        }
    }
}
