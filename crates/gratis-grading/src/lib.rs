//! Final answers of mathematical solutions: extraction, equivalence, verdicts.
//!
//! Outcome labels are the only labels an implicit process reward model is trained on
//! (paper section 3), so this crate decides what "correct" means. It knows no tensors
//! and does no I/O.
//!
//! ```
//! use gratis_grading::{Options, Verdict, grade};
//!
//! let solution = r"Half of it is left, so the probability is $\boxed{\frac{1}{2}}$.";
//! let grade = grade(r"\dfrac{1}{2}", solution, &Options::default());
//! assert_eq!(grade.verdict, Verdict::Correct);
//! assert_eq!(grade.extracted.as_deref(), Some(r"\frac{1}{2}"));
//! ```
#![deny(missing_docs)]

mod budget;
mod compare;
mod exact;
mod extract;
mod numeric;
mod options;
mod parse;
mod syntax;
mod verdict;

pub use compare::{canonical, classes, equivalent};
pub use extract::{extract, extract_for};
pub use options::{Decimals, Form, Fractions, ListOrder, Options, Percent, Units};
pub use verdict::{Extracted, Extraction, Grade, Verdict};

/// Grades `solution`, a whole solution or a bare answer, against `gold`, likewise either.
///
/// Time and memory are bounded for any input whatever: a comparison that runs out of
/// [`Options::budget`] is `Incorrect`.
pub fn grade(gold: &str, solution: &str, options: &Options) -> Grade {
    let Extracted { answer, how } = extract_for(gold, solution);
    let verdict = match (&answer, how) {
        (Some(answer), _) if equivalent(gold, answer, options) => Verdict::Correct,
        (Some(_), _) => Verdict::Incorrect,
        (None, Extraction::Malformed) => Verdict::Malformed,
        (None, _) => Verdict::NoAnswer,
    };
    Grade { verdict, extracted: answer, how }
}
