//! The errors of the engine.

use std::path::PathBuf;

/// The engine's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a checkpoint folder and a log-probability.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was attempted: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A batch that no engine can run.
    #[error("invalid batch: {reason}")]
    InvalidBatch {
        /// What is wrong with it.
        reason: String,
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
    /// The parameters given are not as many as the model has.
    #[error("the model has {expected} parameters, got {got}")]
    ParameterCount {
        /// Number by the configuration.
        expected: usize,
        /// Number given.
        got: usize,
    },
    /// The threads of an engine could not be started.
    #[error("cannot start {n_threads} threads")]
    Threads {
        /// How many were asked for.
        n_threads: usize,
        /// The reason.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
    /// This engine does not offer what was asked.
    #[error("the {engine} engine cannot {what}")]
    Unsupported {
        /// The engine.
        engine: &'static str,
        /// What was asked.
        what: &'static str,
    },
}
