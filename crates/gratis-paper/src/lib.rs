//! The paper "Free Process Rewards without Process Labels" on a small synthetic world.
//!
//! The method itself is in the crate `gratis`. This crate uses it to reproduce the paper: [`demo`]
//! runs the whole idea once in one to two minutes, [`reproduce()`] runs every table and figure,
//! compares our numbers with the paper's, decides which of its claims hold, and writes a report of
//! HTML pages, Markdown and JSON. Models are trained from scratch; the results of an experiment are
//! kept in a cache folder, checked by SHA-256, and reused by other experiments.
//!
//! Everything is based on the [`world`]: arithmetic problems whose solutions have one valid string
//! per step, so the true first error of every candidate is known.
//!
//! ```
//! use gratis_paper::world::{N_DERIVED, Problem, Split, check};
//!
//! // Problems of a split are a function of the seed. Prompts can be parsed back.
//! let problem = &Split::Test.draw(1, N_DERIVED, 0)[0];
//! assert_eq!(Problem::parse(&problem.prompt()).as_ref(), Some(problem));
//!
//! // The checker finds no error in the solution, and the right answer.
//! let solution = problem.solution().to_string();
//! let verdict = check(problem, &solution);
//! assert_eq!((verdict.first_error, verdict.answer), (None, Some(problem.answer())));
//!
//! // A wrong first line is the first error, whatever the answer.
//! let wrong = solution.replacen(" = ", " = 1", 1);
//! assert_eq!(check(problem, &wrong).first_error, Some(0));
//! ```
//!
//! A reproduction takes minutes to hours, by its [`Scale`]:
//!
//! ```no_run
//! use gratis_paper::outcome::Verdict;
//! use gratis_paper::{Experiment, Folders, Scale, Settings, reproduce};
//!
//! # fn main() -> gratis_paper::Result<()> {
//! let settings = Settings::new(Scale::Quick, None, 2);
//! let folders = Folders { cache: "gratis-cache".as_ref(), report: "report".as_ref() };
//! let finished = reproduce(settings, &[Experiment::Table4], folders, &mut gratis::Silent)?;
//! let claims = finished.iter().flat_map(|of| &of.outcome.claims);
//! println!("{} claims hold", claims.filter(|claim| claim.verdict == Verdict::Holds).count());
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

pub mod demo;
pub mod outcome;
pub mod world;

mod cache;
mod cast;
mod error;
mod evaluation;
mod example;
mod experiments;
mod measured;
mod own;
mod pages;
mod report;
mod reproduce;
mod rows;
mod settings;
mod tiny;
mod trainer;
mod truth;

pub use error::{Error, Result};
pub use example::{Example, Examples};
pub use experiments::Experiment;
pub use experiments::tuning::{BaselineTrial, Trial, Tuning};
pub use own::{
    Annotation, Generator, Order, Part, Propositions, RowKind, RowSettings, Sampling, StepBench,
    StepTruth, TrainSource,
};
pub use own::{CastFile, Checked, CheckedGenerator, Job, Machine, Plan, PlannedJob};
pub use own::{TEMPLATE as CAST_TEMPLATE, check as check_cast};
pub use pages::{Finished, markdown};
pub use report::{Colours, JudgedStep, SolutionView};
pub use reproduce::{Folders, plan_on, reproduce, reproduce_on, tune};
pub use rows::Configuration;
pub use settings::{BaseSettings, LearningSettings, SampleSettings, Scale, Settings};
pub use trainer::{CurvePoint, Training};
