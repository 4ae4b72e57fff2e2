//! The errors of the crate.

use std::path::PathBuf;

/// The crate's result type.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with records: reading, checking, changing and writing them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was attempted: `open`, `read`, `create`, `write`.
        action: &'static str,
        /// The file; `-` is standard input or output.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A line (or row) of a file does not have the required format.
    #[error("`{path}`, line {line}: `{field}` should be {expected}, got {got}")]
    InvalidRecord {
        /// The file; `-` is standard input.
        path: PathBuf,
        /// Line, or row of a Parquet file, counted from 1.
        line: u64,
        /// The invalid field.
        field: String,
        /// The expected value.
        expected: String,
        /// The actual value.
        got: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// A file does not have the expected format.
    #[error("`{path}` should be {expected}, got {got}")]
    InvalidFile {
        /// The file.
        path: PathBuf,
        /// The expected format.
        expected: String,
        /// The actual format.
        got: String,
    },
    /// A setting, or an argument of a pure function, outside its domain.
    #[error("`{field}` should be {expected}, got {got}")]
    InvalidSetting {
        /// The setting or argument.
        field: &'static str,
        /// Its domain.
        expected: String,
        /// Its value.
        got: String,
    },
    /// The rollouts carry no outcome labels.
    #[error("{needed_by} requires `correctness`, but {record} has none")]
    NoCorrectness {
        /// What requires the labels.
        needed_by: String,
        /// The record without them.
        record: String,
    },
    /// A label lies between 0 and 1 where only hard ones can be used.
    #[error(
        "{needed_by} requires labels 0 or 1, but problem `{problem}` has the soft label {label}"
    )]
    SoftLabel {
        /// What requires hard labels.
        needed_by: String,
        /// The problem's `id`, or its line if it has none.
        problem: String,
        /// The label.
        label: f64,
    },
    /// Steps that are given and are not those of their completion.
    #[error("the `steps` of completion {completion} of problem `{problem}` do not fit its text")]
    Steps {
        /// The problem, as the rollouts name it.
        problem: String,
        /// The completion, counted from 1.
        completion: usize,
        /// The step at fault.
        source: Box<Self>,
    },
    /// An input that is read twice was written in between.
    #[error("`{path}` changed while it was read")]
    InputChanged {
        /// The input.
        path: PathBuf,
    },
    /// Standard input, which can be read once, is asked for again.
    #[error("standard input (`-`) is named twice, and can be read only once")]
    StandardInputTwice,
    /// Scores that do not belong to the completions.
    #[error("the scores of problem `{problem}` do not belong to its completions: {reason}")]
    ScoresDiffer {
        /// The problem's id in the rollouts.
        problem: String,
        /// The first difference.
        reason: String,
    },
    /// Labels of one class only, but both are needed.
    #[error(
        "{needed_by} needs correct and incorrect responses, but `correctness` has {n_correct} \
         correct and {n_incorrect} incorrect ones"
    )]
    OneClass {
        /// What requires both classes.
        needed_by: String,
        /// Responses labelled correct.
        n_correct: u64,
        /// Responses labelled incorrect.
        n_incorrect: u64,
    },
    /// No problem has responses of both classes, but one is needed.
    #[error(
        "{needed_by} needs a problem with correct and incorrect responses, but no problem has \
         both: `correctness` has {n_correct} correct and {n_incorrect} incorrect ones in total"
    )]
    NoPairs {
        /// What requires such a problem.
        needed_by: String,
        /// Responses labelled correct.
        n_correct: u64,
        /// Responses labelled incorrect.
        n_incorrect: u64,
    },
    /// The lines of an interrupted job belong to a different job.
    #[error("`{path}` was written by another job: {what}")]
    PartialDiffers {
        /// The file of the lines so far.
        path: PathBuf,
        /// The first difference.
        what: String,
    },
    /// The output is one of the inputs.
    #[error("the output `{output}` is its input `{input}`")]
    OutputIsInput {
        /// The output as given.
        output: PathBuf,
        /// The input as given.
        input: PathBuf,
    },
    /// An error of the library's caller.
    #[error("{0}")]
    Caller(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file could not be written in one piece, or its lock not be taken.
    #[error(transparent)]
    Model(#[from] gratis_model::Error),
}

impl Error {
    /// What the user can do about the error, if known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Model(error) => error.hint(),
            Self::InvalidRecord { hint, .. } => Some(hint),
            Self::Steps { .. } => {
                Some("`steps` are parts of the text one after the other; without them it is split")
            }
            Self::InputChanged { .. } => {
                Some("run the command again once nothing writes the file any more")
            }
            Self::StandardInputTwice => Some("write one of the inputs to a file and name that"),
            Self::SoftLabel { .. } => Some(
                "train with the objective `ce`, which takes soft labels, or say from which number on a \
                 response counts as correct (`--label-threshold 0.5`)",
            ),
            Self::NoCorrectness { .. } => {
                Some("grade the rollouts against their `reference` first (`gratis grade`)")
            }
            Self::ScoresDiffer { .. } => Some(
                "scores must be in the order of their rollouts: score these rollouts again, or \
                 restore the order",
            ),
            Self::OneClass { .. } => {
                Some("sample more responses per problem, or mix in other data")
            }
            Self::NoPairs { .. } => Some(
                "use an objective on single responses (`ce`, `kto`), or sample more responses per \
                 problem",
            ),
            Self::PartialDiffers { .. } => Some(
                "run the original command, choose another output, or discard the lines and start \
                 over (`--restart`)",
            ),
            Self::OutputIsInput { .. } => Some(
                "choose another file: the input would be \
                                                overwritten",
            ),
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

    /// An [`Error::InvalidSetting`].
    pub(crate) fn setting(
        field: &'static str,
        expected: impl Into<String>,
        got: impl std::fmt::Display,
    ) -> Self {
        Self::InvalidSetting { field, expected: expected.into(), got: format!("`{got}`") }
    }
}
