//! The paper "Free Process Rewards without Process Labels" on a small synthetic world.
//!
//! The method itself is in the crate `gratis`. This crate uses it to reproduce the paper: [`demo`]
//! runs the whole idea once in one to two minutes, [`reproduce()`] runs every table and figure,
//! compares our numbers with the paper's, decides which of its claims hold, and writes a report of
//! HTML pages, Markdown and JSON. Models are trained from scratch; the results of an experiment are
//! kept in a cache folder, checked by SHA-256, and reused by other experiments.
//!
//! Everything is based on the tiny world: arithmetic problems whose solutions have one valid string
//! per step, so the true first error of every candidate is known. A cast file ([`CastFile`]) names
//! models and problems of a user's own instead; [`reproduce_on`] runs on them.
//!
//! This crate is made for the command line: it exposes these entry points and what they take and
//! return, which can be serialized, written as pages or shown as a summary ([`SummaryPart`]).
//!
//! ```
//! // Problems are a function of the seed.
//! let problem = &gratis_paper::validation_problems(1, 0)[0];
//! assert!(problem.prompt.ends_with("counting modulo 23?\n"));
//! assert_eq!(problem.prompt, gratis_paper::validation_problems(2, 0)[0].prompt);
//! ```
//!
//! A reproduction takes minutes to hours, by its [`Scale`]:
//!
//! ```no_run
//! use gratis_paper::{Experiment, Folders, Scale, Settings, reproduce};
//!
//! # fn main() -> gratis_paper::Result<()> {
//! let settings = Settings::new(Scale::Quick, None, 2);
//! let folders = Folders { cache: "gratis-cache".as_ref(), report: "report".as_ref() };
//! let finished = reproduce(settings, &[Experiment::Table4], folders, &mut gratis::Silent)?;
//! println!("{} claims hold", finished.iter().map(|of| of.n_claims_that_hold()).sum::<usize>());
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]

pub mod calculator;
pub mod demo;

mod cache;
mod cast;
mod error;
mod evaluation;
mod example;
mod experiments;
mod measured;
mod outcome;
mod own;
mod pages;
mod progress;
mod report;
mod reproduce;
mod rows;
mod settings;
mod summary;
mod tiny;
mod trainer;
mod truth;
mod world;

pub use error::{Error, Result};
pub use experiments::Experiment;
pub use experiments::tuning::Tuning;
pub use own::{CastFile, Checked, Machine, Plan};
pub use own::{TEMPLATE as CAST_TEMPLATE, check as check_cast};
pub use pages::{Finished, summary};
pub use reproduce::{Folders, plan_on, reproduce, reproduce_on, tune};
pub use settings::{Scale, Settings};
pub use summary::{Colours, SummaryPart};
pub use world::validation_problems;
