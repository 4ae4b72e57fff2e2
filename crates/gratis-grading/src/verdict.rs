//! The result of grading a solution: the verdict, the answer found, and how it was found.
//!
//! The paper's outcome label (section 3) is `Correct` or not; the other verdicts give the reason,
//! so errors of the grader can be distinguished from errors of the model.

use serde::{Deserialize, Serialize};

/// The outcome of grading one solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The answer found is equivalent to the gold answer.
    Correct,
    /// An answer was found and it is not equivalent to the gold answer.
    Incorrect,
    /// The solution gives no answer: it is empty, a refusal, or prose without one.
    NoAnswer,
    /// The solution marks an answer that cannot be read, such as a box never closed.
    Malformed,
}

impl Verdict {
    /// The outcome label of the paper: 1 for a correct answer, 0 for anything else.
    pub fn is_correct(self) -> bool {
        self == Self::Correct
    }
}

/// How an answer was found in a solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extraction {
    /// In the last `\boxed{}` or `\fbox{}` (or in several that are listed together).
    Boxed,
    /// After a phrase: `the answer is`, `Answer:`, `####`, and their like in other languages.
    Phrase,
    /// The whole text is an answer and not a solution: `\frac{1}{2}`, `10 cm`, `(1, 2)`.
    Whole,
    /// The last number, or the last formula between dollar signs, as a last resort.
    LastNumber,
    /// No answer found: the text is empty, a refusal, or prose without a number.
    NotFound,
    /// A box was opened and never closed.
    Malformed,
}

/// An answer found in a solution, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extracted {
    /// The answer as it was written, without its box; absent when none was found.
    #[serde(rename = "extracted")]
    pub answer: Option<String>,
    /// Where it stood.
    pub how: Extraction,
}

/// The grade of one solution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grade {
    /// Whether the answer is right, or why there is none.
    pub verdict: Verdict,
    /// The answer as it was written, without its box; absent when none was found.
    pub extracted: Option<String>,
    /// Where the answer stood.
    pub how: Extraction,
}
