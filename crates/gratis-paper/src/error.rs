//! The errors of the crate.

use std::path::PathBuf;

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while the paper is reproduced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was attempted: `create`, `read`, `lock`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file of the cache is not valid JSON of this version.
    #[error("cannot read `{path}` as JSON of this version")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A training run did not reach its target within the maximum number of steps.
    #[error("{what} is {reached:.3} after {n_steps} steps, below the target of {target}")]
    TargetNotReached {
        /// The measure.
        what: &'static str,
        /// The target value.
        target: f64,
        /// The value reached.
        reached: f64,
        /// Optimizer steps taken.
        n_steps: u64,
    },
    /// No validation solution can be used to choose the threshold of the first error.
    #[error("no validation solution has both a step reward and a known first error")]
    NoThreshold,
    /// The file of a cast is wrong.
    #[error("`{path}`: {reason}")]
    CastFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line where it is known.
        reason: String,
    },
    /// The data of a cast cannot be used.
    #[error("{what}")]
    CastData {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// An experiment that runs in the tiny world only.
    #[error("`{experiment}` needs the tiny world, because {why}")]
    NeedsTinyWorld {
        /// The experiment.
        experiment: &'static str,
        /// The reason.
        why: &'static str,
    },
    /// A row that the cast does not have.
    #[error("the cast has no row `{name}`")]
    NoRow {
        /// The row's name.
        name: String,
    },
    /// A baseline that cannot be trained.
    #[error("the log-ratio baseline `{baseline}` must start from the generator, its reference")]
    NoReference {
        /// The baseline's name.
        baseline: String,
    },
    /// A page of the report could not be rendered.
    #[error("cannot render the template `{template}`")]
    Template {
        /// The template.
        template: &'static str,
        /// What is wrong with it.
        #[source]
        source: minijinja::Error,
    },
    /// The method, a model or the engine failed.
    #[error(transparent)]
    Method(#[from] gratis::Error),
}

impl From<gratis::data::Error> for Error {
    fn from(error: gratis::data::Error) -> Self {
        Self::Method(error.into())
    }
}

impl From<gratis_model::Error> for Error {
    fn from(error: gratis_model::Error) -> Self {
        Self::Method(error.into())
    }
}

impl From<gratis_engine::Error> for Error {
    fn from(error: gratis_engine::Error) -> Self {
        Self::Method(error.into())
    }
}

impl From<gratis_cpu::Error> for Error {
    fn from(error: gratis_cpu::Error) -> Self {
        Self::Method(error.into())
    }
}

impl Error {
    /// What the user can do about the error, if known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TargetNotReached { .. } => Some("try another seed (`--seed`)"),
            Self::CastData { hint, .. } => Some(hint),
            Self::CastFile { .. } => Some("`gratis cast init` writes a file with every setting"),
            Self::Method(error) => error.hint(),
            _ => None,
        }
    }

    /// An [`Error::Io`] for `map_err`.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
