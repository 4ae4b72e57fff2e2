//! The errors of the CPU engine.

use gratis_engine::ErrorKind;

/// The result type of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong when a model is loaded into the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error in the model's files or settings.
    #[error("{0}")]
    Model(#[from] gratis_model::Error),
    /// An invalid request to the engine.
    #[error("{0}")]
    Engine(#[from] gratis_engine::Error),
    /// The number of parameters does not match the model.
    #[error("the model has {expected} parameters, got {got}")]
    ParameterCount {
        /// Number according to the configuration.
        expected: usize,
        /// Number given.
        got: usize,
    },
    /// A read-out whose layers do not chain from the width of the model.
    #[error("the layers of the read-out do not fit a model of width {hidden_size}")]
    ReadoutWidth {
        /// Width of the model's states.
        hidden_size: usize,
    },
    /// The processor lacks the instructions of [`Precision::Bf16`](crate::Precision::Bf16).
    #[error("this processor has no products in bf16 (`avx512_bf16`)")]
    PrecisionUnavailable,
    /// The threads of an engine could not be started.
    #[error("cannot start {n_threads} threads")]
    Threads {
        /// The requested number.
        n_threads: usize,
        /// The reason.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
}

/// The error of the engine interface: an invalid request unchanged, everything else as an engine
/// error.
impl From<Error> for gratis_engine::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Engine(error) => error,
            Error::Model(error) => Self::engine(ErrorKind::Broken, error),
            error => Self::engine(ErrorKind::Input, error),
        }
    }
}
