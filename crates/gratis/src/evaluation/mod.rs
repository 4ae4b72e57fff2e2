//! Evaluation: best-of-N accuracy (paper section 4.1), the first-error F1 of ProcessBench, and the
//! step labels of PRMBench, each with bootstrap intervals.
//!
//! Results are plain serialisable structs that record everything they depend on: aggregation,
//! threshold, the rule for N, seeds.
//!
//! ```
//! use gratis::data::{Completion, ProblemScores, Rollout, Scored};
//! use gratis::evaluation::{
//!     BestOfNSettings, BestOfNTable, Bootstrap, GeneratorCandidates, Selector,
//! };
//! use gratis::selection::{Aggregation, Method, Subsets};
//!
//! // One problem: two graded candidates, and the rewards that a model gave them.
//! let rollout = Rollout {
//!     id: Some("1".to_owned()),
//!     completions: vec![
//!         Completion::graded("The answer is 3.", false),
//!         Completion::graded("The answer is 4.", true),
//!     ],
//!     ..Rollout::default()
//! };
//! let scored = |outcome| Scored { outcome, ..Scored::default() };
//! let scores = ProblemScores::new("1", vec![scored(-0.2), scored(0.3)]);
//! let mut generator = GeneratorCandidates::new("small");
//! generator.add(&rollout, &scores)?;
//!
//! let best_of_n = Selector { method: Method::BestOfN, aggregation: Aggregation::Outcome };
//! let settings = BestOfNSettings {
//!     ns: vec![2],
//!     selectors: vec![Selector::without_score(Method::Majority), best_of_n],
//!     subsets: Subsets::First,
//!     bootstrap: Bootstrap::default(),
//! };
//! let table = BestOfNTable::new(settings, &[generator])?;
//! let gain = table.gain(best_of_n).map(|gain| gain.mean);
//! assert_eq!(gain, Some(1.0), "over the majority, where ties go to the first");
//! # Ok::<(), gratis::Error>(())
//! ```

pub(crate) mod best_of_n;
mod bootstrap;
pub(crate) mod first_error;
pub(crate) mod length;
pub mod prm_bench;
pub mod process_bench;
mod step_signal;

pub use best_of_n::{BestOfNSettings, BestOfNTable, GeneratorCandidates, Selector};
pub use bootstrap::{Bootstrap, Interval};
pub use first_error::FirstErrorScore;
pub use prm_bench::PrmBench;
pub use process_bench::ProcessBench;
pub use step_signal::StepSignal;
