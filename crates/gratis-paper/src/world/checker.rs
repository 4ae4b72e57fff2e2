//! The checker: the true first error of a candidate, for evaluation only.
//!
//! Each step has one valid string given the problem, so a step is wrong exactly where the text
//! differs from the only correct solution. The index of the first such step is the label of
//! ProcessBench (paper section 5); the answer line is a step like the others.

use super::problem::Problem;
use super::solution::ANSWER;

/// What the checker finds in a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Index of the first wrong step; `None` if every step is right and none is missing. A
    /// completion that stops too early errs in its last step (in step 0 if it has none).
    pub first_error: Option<usize>,
    /// Number of steps written, the answer line included.
    pub n_steps: usize,
    /// The final answer, where the last line gives one.
    pub answer: Option<u32>,
}

/// Compares a completion with the only correct solution of `problem`, step by step. A step is a
/// line; a line break belongs to the step it ends.
pub(crate) fn check(problem: &Problem, completion: &str) -> Verdict {
    let solution = problem.solution().to_string();
    let expected: Vec<&str> = solution.split('\n').collect();
    let written: Vec<&str> = completion
        .split_inclusive('\n')
        .map(|line| line.strip_suffix('\n').unwrap_or(line))
        .collect();
    let differs =
        written.iter().enumerate().position(|(idx, line)| expected.get(idx) != Some(line));
    let stops_early = written.len() < expected.len();
    Verdict {
        first_error: differs.or(stops_early.then(|| written.len().saturating_sub(1))),
        n_steps: written.len(),
        answer: written.last().and_then(|line| line.strip_prefix(ANSWER)?.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: &str = "Eve has 20 coins. Cal has 4 times as many. Dan has that plus Eve's. \
                          How many does the last one have, counting modulo 23?\n";

    #[test]
    fn the_first_wrong_line_is_found() {
        let problem = Problem::parse(PROMPT).expect("a problem");
        for (completion, first_error, answer) in [
            ("Cal: 20 * 4 = 11\nDan: 11 + 20 = 8\nAnswer: 8", None, Some(8)),
            ("Cal: 20 * 4 = 11\nDan: 11 + 20 = 8\nAnswer: 9", Some(2), Some(9)),
            ("Cal: 20 * 4 = 12\nDan: 12 + 20 = 9\nAnswer: 9", Some(0), Some(9)),
            // Two mistakes that cancel out: a right answer with a wrong step.
            ("Cal: 20 * 4 = 12\nDan: 12 + 20 = 8\nAnswer: 8", Some(0), Some(8)),
            ("Cal: 20 * 4 = 11\nDan: 11 + 11 = 22\nAnswer: 22", Some(1), Some(22)),
            ("Cal: 20 * 4 = 11\nDan: 11 + 20 = 8\n", Some(1), None),
            ("Cal: 20 * 4 = 11\nDan: 11 + 20 = 8\nAnswer: 8\nAnswer: 8", Some(3), Some(8)),
            ("", Some(0), None),
        ] {
            let verdict = check(&problem, completion);
            assert_eq!(
                (verdict.first_error, verdict.answer),
                (first_error, answer),
                "{completion}"
            );
        }
    }
}
