//! Implicit process reward models: the paper "Free Process Rewards without Process Labels"
//! ([arXiv:2412.01981](https://arxiv.org/abs/2412.01981)).
//!
//! An outcome reward written as a log-likelihood ratio, `r(y) = beta * log pi(y)/pi_ref(y)`, gives
//! a Q value at every prefix and process rewards as their differences (Proposition 3.1), whatever
//! the training objective. This crate implements the method as arithmetic over small f64 arrays.
//! Transformers are accessed through the traits of [`gratis_engine`].
//!
//! # From log-ratios to a selection
//!
//! ```
//! use gratis::objective::{Ce, Objective, ObjectiveBatch};
//! use gratis::reward::Rewards;
//! use gratis::selection::{Aggregation, best_of_n};
//!
//! // log pi(y_t|y_<t) - log pi_ref(y_t|y_<t) of two responses of four tokens, two steps each.
//! let log_ratios = [vec![0.4, 0.2, 1.0, 0.4], vec![0.6, -0.1, -2.0, 0.5]];
//! let rewards = log_ratios.each_ref().map(|log_ratios| Rewards::new(log_ratios, 0.05, &[2, 4]));
//! let [first, second] = rewards;
//! let (first, second) = (first?, second?);
//! // The process rewards add up to the outcome reward, the last Q value.
//! assert_eq!(first.steps.iter().sum::<f64>(), first.outcome);
//!
//! // Best of N by the lowest process reward.
//! let score = |r: &Rewards| Aggregation::Min.score(&r.steps, &r.q_values, r.outcome);
//! assert_eq!(best_of_n(&[score(&first), score(&second)]), Some(0));
//!
//! // The loss of Eq. 5 on outcome labels, and the weights dL/dlog pi that train the model.
//! let output = Objective::Ce(Ce { beta: 0.05 }).evaluate(&ObjectiveBatch {
//!     log_ratios: &log_ratios,
//!     labels: &[1.0, 0.0],
//!     pairs: &[],
//!     n_units: 2,
//!     mismatched_log_ratio: 0.0,
//!     steps: &[],
//! })?;
//! assert!(output.loss > 0.0 && output.weights[0][0] < 0.0);
//! # Ok::<(), gratis::Error>(())
//! ```
//!
//! # The main types by task
//!
//! | task | call | what it takes and returns |
//! |---|---|---|
//! | score rollouts with any reward model | [`reward_model::open`], [`RewardModel::score`] | [`OpenOptions`], [`LoadOptions`], [`PromptSettings`]; [`ProblemScores`] with a [`Scored`] per completion |
//! | train a reward model | [`run::train`] | [`TrainSettings`] ([`Objective`], [`RewardKind`]), [`TrainPlace`] |
//! | read and write data | [`RecordReader`], [`RecordWriter`] | [`Rollout`] with a [`Completion`] per response, [`ProblemScores`] |
//! | change training data | [`data::apply`] | [`DataOperation`] |
//! | sample and grade | [`Sampler`], [`rollout::grade`] | [`Rollout`], with and without completions; [`GradeCounts`] |
//! | label steps automatically | [`MonteCarlo`], [`annotate::autopsv`] | [`LabelKind`] |
//! | select among responses | [`selection::best_of_n`], [`selection::weighted_vote`] | [`Aggregation`], [`VoteWeight`] |
//! | measure | [`BestOfNTable`], [`ProcessBench`], [`PrmBench`] | [`GeneratorCandidates`], [`StepSignal`], [`Bootstrap`], [`Interval`] |
//! | rewards and losses of one response | [`Rewards`], [`Objective::evaluate`] | [`ValueRule`], [`ObjectiveBatch`] |
//! | check the propositions | [`theory::check`], [`theory::estimate`] | [`ExactCheck`], [`PrefixEstimate`] |
//!
//! Long calls report their progress to an [`Observer`]; errors are [`Error`]s.
//!
//! [`RewardModel::score`]: reward_model::RewardModel::score
//! [`OpenOptions`]: reward_model::OpenOptions
//! [`LoadOptions`]: reward_model::LoadOptions
//! [`PromptSettings`]: reward_model::PromptSettings
//! [`ProblemScores`]: data::ProblemScores
//! [`Scored`]: data::Scored
//! [`TrainSettings`]: run::TrainSettings
//! [`TrainPlace`]: run::TrainPlace
//! [`RewardKind`]: run::RewardKind
//! [`Objective`]: objective::Objective
//! [`Objective::evaluate`]: objective::Objective::evaluate
//! [`ObjectiveBatch`]: objective::ObjectiveBatch
//! [`RecordReader`]: data::RecordReader
//! [`RecordWriter`]: data::RecordWriter
//! [`Rollout`]: data::Rollout
//! [`Completion`]: data::Completion
//! [`DataOperation`]: data::DataOperation
//! [`Sampler`]: rollout::Sampler
//! [`GradeCounts`]: rollout::GradeCounts
//! [`MonteCarlo`]: annotate::MonteCarlo
//! [`LabelKind`]: annotate::LabelKind
//! [`Aggregation`]: selection::Aggregation
//! [`VoteWeight`]: selection::VoteWeight
//! [`BestOfNTable`]: evaluation::BestOfNTable
//! [`ProcessBench`]: evaluation::ProcessBench
//! [`PrmBench`]: evaluation::PrmBench
//! [`GeneratorCandidates`]: evaluation::GeneratorCandidates
//! [`StepSignal`]: evaluation::StepSignal
//! [`Bootstrap`]: evaluation::Bootstrap
//! [`Interval`]: evaluation::Interval
//! [`Rewards`]: reward::Rewards
//! [`ValueRule`]: reward::ValueRule
//! [`ExactCheck`]: theory::ExactCheck
//! [`PrefixEstimate`]: theory::PrefixEstimate

#![deny(missing_docs)]

pub mod annotate;
// Hidden modules are internal to this workspace and have no stability guarantee.
#[doc(hidden)]
pub mod baseline;
#[doc(hidden)]
pub mod cost;
#[doc(hidden)]
pub mod encoding;
pub mod error;
pub mod evaluation;
#[doc(hidden)]
pub mod hint;
#[doc(hidden)]
pub mod manifest;
#[doc(hidden)]
pub mod numeric;
pub mod objective;
pub mod reward;
pub mod reward_model;
pub mod rollout;
pub mod run;
#[doc(hidden)]
pub mod scoring;
pub mod selection;
pub mod theory;
#[doc(hidden)]
pub mod training;
#[doc(hidden)]
pub mod visible;

pub use error::Error;
/// Rollouts, scores and the operations on them: the crate [`gratis_data`].
pub use gratis_data as data;
pub use gratis_data::observer;
pub use gratis_data::{Figure, Observer, Silent};

// Internals of documented modules: for the command line, the service and the experiments.
#[doc(hidden)]
pub use annotate::monte_carlo::AnnotationCounts;
#[doc(hidden)]
pub use evaluation::best_of_n::ProblemCandidates;
#[doc(hidden)]
pub use evaluation::first_error::{FirstErrorCounts, JudgedSolution};
#[doc(hidden)]
pub use evaluation::length::{LengthStatistics, LengthUnit, WithinProblems};
#[doc(hidden)]
pub use reward_model::place::{Place, PlaceKind};
#[doc(hidden)]
pub use reward_model::published::PublishedAt;
#[doc(hidden)]
pub use reward_model::tokens::{Room, TokenCounts};
#[doc(hidden)]
pub use rollout::cases::grade_cases;
#[doc(hidden)]
pub use run::explicit::{AfterError, ExplicitSettings, StepLabelUse};
#[doc(hidden)]
pub use selection::accuracy::Candidates;
#[doc(hidden)]
pub use theory::monte_carlo::MonteCarloSummary;

// Modules of the crate below, used here like our own.
use gratis_data::digest;
#[doc(hidden)]
pub use gratis_data::named_settings;
