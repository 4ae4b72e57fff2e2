//! Final answers of mathematical solutions: extraction, equivalence, verdicts.
//!
//! Outcome labels are the only labels an implicit process reward model is trained on (paper section
//! 3), so this crate decides whether an answer is correct. It uses no tensors and does no I/O.
//!
//! # Grading a solution
//!
//! [`grade`] takes a gold answer and a solution, finds the final answer of the solution and
//! compares the two:
//!
//! ```
//! use gratis_grading::{Extraction, Options, Verdict, grade};
//!
//! let solution = r"Half of it is left, so the probability is $\boxed{\frac{1}{2}}$.";
//! let grade = grade(r"\dfrac{1}{2}", solution, &Options::default());
//! assert_eq!(grade.verdict, Verdict::Correct);
//! assert_eq!(grade.extracted.as_deref(), Some(r"\frac{1}{2}"));
//! assert_eq!(grade.how, Extraction::Boxed);
//! ```
//!
//! A solution without an answer, or with a box that is never closed, gets a verdict of its own:
//!
//! ```
//! # use gratis_grading::{Options, Verdict, grade};
//! let options = Options::default();
//! assert_eq!(grade("5", "I do not know.", &options).verdict, Verdict::NoAnswer);
//! assert_eq!(grade("5", r"It is \boxed{5", &options).verdict, Verdict::Malformed);
//! ```
//!
//! # Conventions
//!
//! Graders differ on percent signs, rounding, units, order and form. [`Options`] names these
//! conventions; [`Options::strict`] accepts only what is equal as written:
//!
//! ```
//! # use gratis_grading::{Options, equivalent};
//! let (default, strict) = (Options::default(), Options::strict());
//! assert!(equivalent("5", "5 cm", &default) && !equivalent("5", "5 cm", &strict));
//! assert!(equivalent(r"\frac{1}{3}", "0.333", &default));
//! assert!(!equivalent(r"\frac{1}{3}", "0.333", &strict));
//! // Two different amounts differ under every convention.
//! assert!(!equivalent("5 cm", "5 m", &default) && equivalent("500 cm", "5 m", &default));
//! ```
//!
//! # Voting
//!
//! [`classes`] groups the answers of several solutions for a vote; [`canonical`] gives a key that
//! equal answers usually share:
//!
//! ```
//! assert_eq!(gratis_grading::classes(&["0.5", "1/2", "2"]), [0, 0, 1]);
//! ```
#![deny(missing_docs)]

mod budget;
mod compare;
mod exact;
mod extract;
mod fraction;
mod markup;
mod numeric;
mod options;
mod parse;
mod syntax;
mod units;
mod verdict;

pub use compare::{canonical, classes, equivalent};
pub use extract::extract;
pub use options::{Decimals, Form, Fractions, ListOrder, Options, Percent, Units};
pub use verdict::{Extracted, Extraction, Grade, Verdict};

use compare::{Gold, answers};
use extract::extract_for;

/// Grades `solution`, a whole solution or a bare answer, against `gold`, likewise either.
///
/// The solution's answer is right when it is [`equivalent`] to the gold answer, and also when it
/// names a combination of variables whose value is the gold number: `m + n = 113` for 113.
///
/// Time and memory are bounded for any input whatever: a comparison that runs out of
/// [`Options::budget`] is `Incorrect`.
pub fn grade(gold: &str, solution: &str, options: &Options) -> Grade {
    Grader::new(gold, options).grade(solution)
}

/// Grades many solutions of one problem: reads its gold answer once.
pub struct Grader<'a> {
    gold: Gold<'a>,
    options: &'a Options,
}

impl<'a> Grader<'a> {
    /// For the gold answer `gold`, a whole solution or a bare answer.
    pub fn new(gold: &'a str, options: &'a Options) -> Self {
        Self { gold: Gold::new(gold), options }
    }

    /// As [`grade`].
    pub fn grade(&self, solution: &str) -> Grade {
        let Extracted { answer, how } = extract_for(&self.gold.answer, solution);
        let verdict = match (&answer, how) {
            (Some(answer), _) if answers(&self.gold, answer, self.options) => Verdict::Correct,
            (Some(_), _) => Verdict::Incorrect,
            (None, Extraction::Malformed) => Verdict::Malformed,
            (None, _) => Verdict::NoAnswer,
        };
        Grade { verdict, extracted: answer, how }
    }
}
