//! The errors of the seam, and whether it helps to try again.

use std::error::Error as StdError;

/// The result type of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request itself is at fault: the same request fails again.
    Input,
    /// The engine could not answer this time: the same request may succeed later. What the call
    /// had already handed over is valid and need not be asked for again.
    TryAgain,
    /// The engine or its model is broken: no request will succeed.
    Broken,
}

/// Why a caller of [`Train::forward_backward`](crate::Train::forward_backward) stopped it: any error
/// of its own, which comes back as [`Error::Stopped`].
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
    /// A value was asked of a model that gives log-probabilities only.
    #[error("the model is a language model without a scalar head")]
    NoValueHead,
    /// A batch that no engine can run.
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
        /// What it has to be.
        expected: &'static str,
        /// What was given.
        got: f32,
    },
    /// The model's logits hold a NaN or an infinity, so that nothing can be drawn from them.
    #[error("the logits after {n_tokens} tokens of request {key} are not finite")]
    NonFiniteLogits {
        /// Key of the request.
        key: u64,
        /// Tokens of the prompt and the sample so far.
        n_tokens: usize,
    },
    /// A response needs more positions than the model has.
    #[error("a sequence of {n_tokens} tokens is longer than the context of {context_length}")]
    ContextOverflow {
        /// Tokens of the prompt and the response together.
        n_tokens: usize,
        /// Positions the model was built for.
        context_length: usize,
    },
    /// The accumulated gradient holds a NaN or an infinity; nothing was updated.
    #[error("the gradient norm is {norm}; no parameter was changed")]
    NonFiniteGradient {
        /// The offending norm.
        norm: f64,
    },
    /// This engine does not offer what was asked.
    #[error("the {engine} engine cannot {what}")]
    Unsupported {
        /// The engine.
        engine: &'static str,
        /// What was asked.
        what: &'static str,
    },
    /// The caller's `weigh` asked to stop; nothing was added to the gradient since.
    #[error("stopped by the caller: {0}")]
    Stopped(#[source] Box<dyn StdError + Send + Sync>),
    /// An error of the engine behind the seam.
    #[error("{source}")]
    Engine {
        /// What the caller can do about it.
        kind: ErrorKind,
        /// The engine's own error.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// An error of the engine behind the seam.
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
