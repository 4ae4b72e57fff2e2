//! The errors of the engine interface, with whether to retry.

use std::error::Error as StdError;

/// The result type of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is invalid: the same request will fail again.
    Input,
    /// A temporary failure: the same request may succeed later. Results that the call has already
    /// returned are valid and need not be requested again.
    TryAgain,
    /// The engine or its model is broken: no request will succeed.
    Broken,
}

/// The error with which a caller of [`Train::forward_backward`](crate::Train::forward_backward)
/// stops it; it is returned as [`Error::Stopped`].
#[derive(Debug)]
pub struct Stop(pub Box<dyn StdError + Send + Sync>);

impl Stop {
    /// Stops because of `error`.
    pub fn because(error: impl StdError + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

/// What can go wrong between a batch and its log-probabilities.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Values were requested from a model without a scalar head.
    #[error("the model is a language model without a scalar head")]
    NoValueHead,
    /// An invalid batch.
    #[error("invalid batch: {reason}")]
    InvalidBatch {
        /// What is wrong with it.
        reason: String,
    },
    /// A sampling setting that defines no distribution.
    #[error("sampling setting `{field}` must be {expected}, got {got}")]
    InvalidSampling {
        /// Name of the setting.
        field: &'static str,
        /// The allowed values.
        expected: &'static str,
        /// The given value.
        got: f32,
    },
    /// The model's logits contain a NaN or an infinity, so no token can be sampled.
    #[error("the logits after {n_tokens} tokens of request {key} are not finite")]
    NonFiniteLogits {
        /// Key of the request.
        key: u64,
        /// Tokens of the prompt and the sample so far.
        n_tokens: usize,
    },
    /// A sequence is longer than the model's context.
    #[error("a sequence of {n_tokens} tokens is longer than the context of {context_length}")]
    ContextOverflow {
        /// Tokens of the prompt and the response together.
        n_tokens: usize,
        /// The context length of the model.
        context_length: usize,
    },
    /// The accumulated gradient contains a NaN or an infinity; nothing was updated.
    #[error("the gradient norm is {norm}; no parameter was changed")]
    NonFiniteGradient {
        /// The offending norm.
        norm: f64,
    },
    /// The engine does not support the request.
    #[error("the {engine} engine cannot {what}")]
    Unsupported {
        /// The engine.
        engine: &'static str,
        /// The unsupported operation.
        what: &'static str,
    },
    /// The caller's `weigh` function stopped the pass; nothing was added to the gradient
    /// afterwards.
    #[error("stopped by the caller: {0}")]
    Stopped(#[source] Box<dyn StdError + Send + Sync>),
    /// An error of the concrete engine.
    #[error("{source}")]
    Engine {
        /// What the caller can do about it.
        kind: ErrorKind,
        /// The engine's own error.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// An error of the concrete engine.
    pub fn engine(kind: ErrorKind, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::Engine { kind, source: Box::new(source) }
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Engine { kind, .. } => *kind,
            Self::NonFiniteLogits { .. } => ErrorKind::Broken,
            _ => ErrorKind::Input,
        }
    }
}

impl From<Stop> for Error {
    fn from(Stop(source): Stop) -> Self {
        Self::Stopped(source)
    }
}
