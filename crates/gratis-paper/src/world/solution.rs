//! Solutions: one line per step, then the answer. Steps are separated by line breaks.

use std::fmt;

use super::problem::{Derivation, Operand, Operator, PEOPLE, Problem};

/// What precedes the final answer.
pub(super) const ANSWER: &str = "Answer: ";

/// One written step, right or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Step {
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
pub(crate) struct Solution {
    /// One step per derived person.
    pub steps: Vec<Step>,
}

impl Solution {
    /// The answer as written: the last result.
    pub(crate) fn answer(&self) -> Option<u32> {
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

impl Problem {
    /// The only correct solution.
    pub(crate) fn solution(&self) -> Solution {
        let mut left = self.start;
        let steps = self.derivations.iter().map(|&Derivation { person, operator, operand }| {
            let right = match operand {
                Operand::Constant(n) => n,
                Operand::BasePerson => self.start,
            };
            let result = operator.apply(left, right);
            let step = Step { person, left, operator, right, result };
            left = result;
            step
        });
        Solution { steps: steps.collect() }
    }

    /// The final answer.
    pub(crate) fn answer(&self) -> u32 {
        self.solution().answer().unwrap_or(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_one_solution() {
        let text = "Eve has 20 coins. Cal has 4 times as many. Dan has that plus Eve's. \
                    Fay has 2 more. Ben has that minus Eve's. Ann has 3 fewer. \
                    How many does the last one have, counting modulo 23?\n";
        let problem = Problem::parse(text).expect("a problem");
        assert_eq!(
            problem.solution().to_string(),
            "Cal: 20 * 4 = 11\nDan: 11 + 20 = 8\nFay: 8 + 2 = 10\nBen: 10 - 20 = 13\n\
             Ann: 13 - 3 = 10\nAnswer: 10"
        );
        assert_eq!(problem.answer(), 10);
    }
}
