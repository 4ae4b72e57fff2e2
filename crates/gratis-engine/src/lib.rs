//! The seam between the paper and a transformer.
//!
//! Whatever the objective, its gradient is a weighted log-likelihood gradient,
//! `dL/dtheta = sum_t w_t * d lp_t / dtheta` with `lp_t = log pi(y_t | y_<t)` and `w_t = dL/dlp_t`.
//! So an engine gives log-probabilities, takes weights, and never learns what they mean. What it
//! may be asked is split by what engines can do:
//!
//! - [`Score`] gives log-probabilities of response tokens: enough to rank.
//! - [`Generate`] draws samples.
//! - [`Train`] makes a weighted backward pass and an optimizer step.
//! - [`Values`] and [`TrainValues`] do the same with the numbers of a scalar head in place of log-probabilities.
//!
//! A batch is a forest ([`PackedBatch`]): a prompt is stored once and its responses are its
//! children. This crate has no model and no I/O; `gratis-cpu` is the engine that runs here.
//!
//! ```
//! use gratis_engine::PackedBatch;
//!
//! // Two responses of one prompt: the prompt's two tokens are stored once.
//! let prompt = [1, 5];
//! let responses = [&[7, 8, 2][..], &[9, 2]];
//! let batch = PackedBatch::from_groups([(&prompt[..], responses)])?;
//! assert_eq!((batch.n_tokens(), batch.n_response_tokens()), (7, 5));
//! # Ok::<(), gratis_engine::Error>(())
//! ```

#![deny(missing_docs)]

pub mod batch;
pub mod engine;
pub mod error;
pub mod sampling;
pub mod schedule;

pub use batch::{PackedBatch, PackedBatchBuilder, Role, Segment, SegmentIdx, TokenValues};
pub use engine::{
    Generate, ModelDescription, OptimizerStep, Score, StateName, StateRef, StepReport, Train,
    TrainValues, Values, Weigh,
};
pub use error::{Error, ErrorKind, Result, Stop};
pub use sampling::{FinishReason, Sample, SampleRequest, SamplingSettings};
pub use schedule::{Decay, Schedule};
