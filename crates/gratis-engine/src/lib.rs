//! The interface between the method and a transformer.
//!
//! The gradient of every objective is a weighted log-likelihood gradient, `dL/dtheta = sum_t w_t *
//! d lp_t / dtheta` with `lp_t = log pi(y_t | y_<t)` and `w_t = dL/dlp_t`. So an engine returns
//! log-probabilities and takes weights, and does not need to know the objective. The traits are
//! split by capability:
//!
//! - [`Score`] returns log-probabilities of response tokens, which is sufficient for ranking.
//! - [`Generate`] draws samples.
//! - [`Train`] makes a weighted backward pass and an optimizer step.
//! - [`Values`] and [`TrainValues`] do the same with the values of a scalar head instead of
//!   log-probabilities.
//!
//! A batch is a forest ([`PackedBatch`]): a prompt is stored once and its responses are its
//! children. This crate has no model and no I/O; `gratis-cpu` is the engine for the local CPU.
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

mod batch;
mod engine;
mod error;
mod sampling;

pub use batch::{PackedBatch, PackedBatchBuilder, Role, Segment, SegmentIdx, TokenValues};
pub use engine::{
    Activity, Generate, ModelDescription, OptimizerStep, Score, StateName, StateRef, StepReport,
    Train, TrainValues, Values, Weigh,
};
pub use error::{Error, ErrorKind, Result, Stop};
pub use sampling::{FinishReason, Sample, SampleRequest, SamplingSettings};
