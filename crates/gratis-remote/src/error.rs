//! The errors of the crate, with whether to retry.

use std::path::PathBuf;

use gratis_engine::ErrorKind;

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a request and an answer that may be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address of an engine cannot be used.
    #[error("`{address}` does not name an engine: {reason}")]
    Address {
        /// The address as given, without what may be secret.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// A file with the settings of an engine cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file of the engine cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A setting of an engine is invalid.
    #[error("`{field}` of the engine `{engine}`: {reason}")]
    Setting {
        /// The engine as given.
        engine: String,
        /// The setting.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A server refuses a request.
    #[error("`{server}` refuses {what} with HTTP status {status}: {message}")]
    Refused {
        /// The server.
        server: String,
        /// What was requested.
        what: &'static str,
        /// The HTTP status.
        status: u16,
        /// The server's message.
        message: String,
    },
    /// A request failed however often it was repeated.
    #[error("`{server}` did not answer {what} after {n_attempts} attempts: {message}")]
    Exhausted {
        /// The server that was asked last.
        server: String,
        /// What was requested.
        what: &'static str,
        /// Number of attempts.
        n_attempts: u32,
        /// The last failure.
        message: String,
    },
    /// The first request to a server failed however often it was repeated.
    #[error("`{server}` does not answer ({n_attempts} attempts): {message}")]
    Unreachable {
        /// The server.
        server: String,
        /// Number of attempts.
        n_attempts: u32,
        /// The last failure.
        message: String,
    },
    /// No server is left to ask.
    #[error("no server answers; the last failure of `{server}`: {message}")]
    NoServer {
        /// The server that failed last.
        server: String,
        /// Its failure.
        message: String,
    },
    /// An answer does not have the shape of what was requested.
    #[error("the answer of `{server}` to {what} cannot be used: {reason}")]
    Answer {
        /// The server.
        server: String,
        /// What was requested.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The check at the start of an engine failed.
    #[error("`{server}` fails the check at the start: {reason}")]
    Canary {
        /// The server.
        server: String,
        /// What differs.
        reason: String,
    },
    /// The check at the start of the head of a reward model failed.
    #[error("`{server}` fails the check of its head at the start: {reason}")]
    Head {
        /// The server.
        server: String,
        /// What differs.
        reason: String,
    },
    /// The tokenizer of a server is not that of the engine's `tokenizer` folder.
    #[error(
        "the tokenizer of `{server}` differs: it encodes {text:?} as {got}, expected {expected}"
    )]
    Tokenizer {
        /// The server.
        server: String,
        /// The text of the probe.
        text: String,
        /// Its tokens by the tokenizer folder.
        expected: String,
        /// Its tokens by the server.
        got: String,
    },
    /// A token id that is not in the vocabulary.
    #[error("token {token} is not in the vocabulary of {vocab_size} tokens")]
    Vocabulary {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// The server does not offer what was asked for.
    #[error("`{server}` cannot {what}")]
    Unsupported {
        /// The server.
        server: String,
        /// The operation, with the reason.
        what: String,
    },
    /// A worker thread cannot be started.
    #[error("cannot start {n_threads} threads for requests")]
    Threads {
        /// The number of threads.
        n_threads: usize,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Exhausted { .. } | Self::Unreachable { .. } | Self::NoServer { .. } => {
                ErrorKind::TryAgain
            }
            Self::Answer { .. }
            | Self::Canary { .. }
            | Self::Head { .. }
            | Self::Threads { .. } => ErrorKind::Broken,
            _ => ErrorKind::Input,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Address { .. } | Self::Setting { .. } | Self::Read { .. } => {
                "see `docs/engines.md` for the settings of an engine"
            }
            Self::Refused { status: 401 | 403, .. } => {
                "set `api_key_env` or `api_key_file` in the engine's file"
            }
            Self::Refused { status: 404, .. } => {
                "check the name of the model (`model`) and the address: `gratis inspect` lists what \
                 the server offers"
            }
            Self::Unreachable { .. } => {
                "check the address and that the server runs; inference servers refuse connections until \
                 their model is loaded"
            }
            Self::Exhausted { .. } | Self::NoServer { .. } => {
                "run the same command again once the server answers: it continues where it stopped"
            }
            Self::Canary { .. } => {
                "see the troubleshooting section of `docs/engines.md`: adapters are the usual cause"
            }
            Self::Head { .. } => {
                "the server computes other values than the head of this model: see the section on published \
                 reward models of `docs/engines.md` for how to start it"
            }
            Self::Tokenizer { .. } => {
                "`tokenizer` must be the folder of the model that the server runs"
            }
            Self::Answer { .. } | Self::Unsupported { .. } => {
                "`docs/engines.md` has a table of what each server can do"
            }
            Self::Refused { .. }
            | Self::Vocabulary { .. }
            | Self::Threads { .. }
            | Self::Write { .. } => return None,
        })
    }
}

impl From<Error> for gratis_engine::Error {
    fn from(error: Error) -> Self {
        Self::engine(error.kind(), error)
    }
}
