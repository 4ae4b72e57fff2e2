//! The errors of the crate.

use std::path::PathBuf;

use gratis_data::Error as DataError;

/// The crate's result type.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a file of rollouts and a selected response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error of records and files, or of a setting.
    #[error(transparent)]
    Data(DataError),
    /// A problem without anything to choose from.
    #[error("problem `{problem}` has no completions to select from")]
    NoCandidates {
        /// The problem, as the rollouts name it.
        problem: String,
    },
    /// A file in which no line has what grading requires.
    #[error("no line of `{path}` has {wanted}: the fields of its first are {fields}")]
    NothingToGrade {
        /// The file; `-` is standard input.
        path: PathBuf,
        /// The fields that are needed.
        wanted: &'static str,
        /// The fields of the first line.
        fields: String,
    },
    /// Monte-Carlo labels without information: no continuation has a right answer.
    #[error(
        "every one of the {n_continuations} continuations sampled for {n_problems} problems has a \
         wrong answer: every step would be labelled bad"
    )]
    EveryContinuationWrong {
        /// Continuations sampled.
        n_continuations: u64,
        /// Problems they are of.
        n_problems: u64,
    },
    /// An objective on step labels, but responses without them.
    #[error("`{objective}` requires step labels, but problem `{problem}` has none")]
    NoStepLabels {
        /// The objective.
        objective: &'static str,
        /// The first problem without them.
        problem: String,
    },
    /// A completion does not fit into the model's context.
    #[error(
        "completion {completion} of problem `{problem}` has {n_tokens} tokens with its prompt, but \
         the context is {context_length}"
    )]
    TooLong {
        /// The problem's `id`, or its line if it has none.
        problem: String,
        /// The completion, counted from 1.
        completion: usize,
        /// Tokens of prompt and completion together.
        n_tokens: usize,
        /// Context length of the model.
        context_length: usize,
    },
    /// A token id that a completion brings is outside the vocabulary.
    #[error(
        "token {position} of completion {completion} of problem `{problem}` has the id {id}, but the \
         model's vocabulary has {vocab_size} tokens"
    )]
    TokenId {
        /// The problem's `id`, or its line if it has none.
        problem: String,
        /// The completion, counted from 1.
        completion: usize,
        /// The token, counted from 1.
        position: usize,
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// The token ids that completions bring are not those of this model's tokenizer.
    #[error("the token ids of {n} of {n_given} completions decode to texts unlike theirs")]
    ForeignTokenIds {
        /// Completions whose ids decode to a text unlike theirs.
        n: usize,
        /// Completions with token ids among those read together.
        n_given: usize,
    },
    /// There are no valid examples.
    #[error("no valid example to {purpose}{}", skipped(*.n_left_out))]
    NoExamples {
        /// What the examples are for: `train on`, `score`.
        purpose: &'static str,
        /// How many were left out.
        n_left_out: u64,
    },
    /// The loss or the gradient of a step is NaN or infinite; no parameter was changed by it.
    #[error("step {step}: the {what} is {value}, in a batch of the problems {problems}")]
    NonFiniteLoss {
        /// The step that failed, from 1.
        step: u64,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// NaN or an infinity.
        value: f64,
        /// The first problems of the batch.
        problems: String,
    },
    /// A number of a completion's rewards is NaN or infinite.
    #[error("completion {completion} of problem `{problem}` has no finite reward: {what}")]
    NonFiniteReward {
        /// The problem.
        problem: String,
        /// The completion, counted from 1.
        completion: usize,
        /// The first such number.
        what: String,
    },
    /// The folder of a new run already contains a run.
    #[error("`{path}` already contains a run")]
    RunExists {
        /// The run folder.
        path: PathBuf,
    },
    /// A run cannot be resumed because it was started differently.
    #[error("the run in `{path}` was started with other settings or data: {what} differs")]
    RunDiffers {
        /// The run folder.
        path: PathBuf,
        /// The first difference.
        what: String,
    },
    /// The engine's state does not match the trainer's state.
    #[error(
        "the weights of the checkpoint have taken {engine} steps, but its `trainer.json` says \
         {trainer}"
    )]
    StateDiffers {
        /// Steps that the engine's optimizer has taken.
        engine: u64,
        /// Steps by the trainer's state.
        trainer: u64,
    },
    /// A model could not be loaded.
    #[error("cannot load the model `{path}`")]
    Load {
        /// The path as given.
        path: PathBuf,
        /// The reason.
        source: Box<Self>,
    },
    /// The reference of a model could not be loaded.
    #[error("cannot load the reference")]
    LoadReference {
        /// The reason, with the path.
        source: Box<Self>,
    },
    /// An adapter's base could not be found.
    #[error("cannot find `{base}`, the base model of the adapter `{path}`")]
    AdapterBase {
        /// The adapter.
        path: PathBuf,
        /// The base as the adapter names it.
        base: String,
        /// The reason.
        source: Box<Self>,
    },
    /// A model is not on this machine and could not be fetched from a hub.
    #[error("`{name}` is not a local file or folder, so it was looked up on a hub")]
    OnHub {
        /// The given name.
        name: String,
        /// The reason.
        source: Box<Self>,
    },
    /// A prompt with earlier messages, and no chat template to render them.
    #[error("problem `{problem}` has earlier messages, and the prompt is not a chat template")]
    Conversation {
        /// The problem.
        problem: String,
    },
    /// A prompt with earlier messages, for a format whose prompt is one problem.
    #[error(
        "problem `{problem}` has earlier messages, and the published prompt of the kind `{format}` \
         has no place for them"
    )]
    PublishedConversation {
        /// The problem.
        problem: String,
        /// The format of the model.
        format: String,
    },
    /// A model's chat template could not be used.
    #[error("cannot use the chat template of `{path}`")]
    ChatTemplate {
        /// The model.
        path: PathBuf,
        /// The reason.
        source: Box<Self>,
    },
    /// An implicit reward model without a recorded reference.
    #[error("`{path}` has no `gratis.json` that names its reference")]
    NoReference {
        /// The model.
        path: PathBuf,
    },
    /// A reference whose weights differ from those used in training.
    #[error("`{path}` is not the reference used in training: its weights differ")]
    ReferenceDiffers {
        /// The reference.
        path: PathBuf,
    },
    /// A reference with another tokenizer.
    #[error(
        "the reference `{path}` has another tokenizer: token {id} is {got}, but {expected} in the \
         model"
    )]
    OtherTokenizer {
        /// The reference.
        path: PathBuf,
        /// The first token id that differs.
        id: u32,
        /// The token of the policy.
        expected: String,
        /// The token of the reference.
        got: String,
    },
    /// A required setting is missing.
    #[error("`{field}` is missing")]
    MissingSetting {
        /// The setting.
        field: &'static str,
    },
    /// Two inputs, or an input and a setting, that do not match.
    #[error("{what}")]
    Mismatch {
        /// The mismatch.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(gratis_engine::Error),
    /// An engine that runs elsewhere cannot be used.
    #[error(transparent)]
    Remote(#[from] gratis_remote::Error),
    /// The CPU engine could not be initialised.
    #[error(transparent)]
    Cpu(#[from] gratis_cpu::Error),
}

fn skipped(n: u64) -> String {
    if n == 0 { String::new() } else { format!(": {n} skipped") }
}

/// Converts an error of our own that the data layer passed on back to the original error.
impl From<DataError> for Error {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Caller(source) => match source.downcast::<Self>() {
                Ok(own) => *own,
                Err(source) => Self::Data(DataError::Caller(source)),
            },
            error => Self::Data(error),
        }
    }
}

impl From<gratis_model::Error> for Error {
    fn from(error: gratis_model::Error) -> Self {
        Self::Data(error.into())
    }
}

/// Converts an error of our own that stopped the engine back to the original error.
impl From<gratis_engine::Error> for Error {
    fn from(error: gratis_engine::Error) -> Self {
        match error {
            gratis_engine::Error::Stopped(source) => match source.downcast::<Self>() {
                Ok(own) => *own,
                Err(source) => Self::Engine(gratis_engine::Error::Stopped(source)),
            },
            error => Self::Engine(error),
        }
    }
}

impl Error {
    /// What the user can do about the error, if known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Data(DataError::InvalidSetting { field: "beta", .. }) => Some(
                "set it with `--beta`, or leave it out to use the objective's default (see \
                 `docs/objectives.md`)",
            ),
            Self::Data(DataError::InvalidSetting { field: "continuations", .. }) => {
                Some("set it with `-n`; the default is 8 continuations per step")
            }
            Self::Data(error) => error.hint(),
            Self::Cpu(gratis_cpu::Error::Model(error)) => error.hint(),
            Self::Remote(error) => error.hint(),
            Self::Engine(gratis_engine::Error::Engine { source, .. }) => {
                source.downcast_ref::<gratis_remote::Error>()?.hint()
            }
            Self::Load { source, .. }
            | Self::LoadReference { source }
            | Self::AdapterBase { source, .. }
            | Self::OnHub { source, .. }
            | Self::ChatTemplate { source, .. } => source.hint(),
            Self::Mismatch { hint, .. } => Some(hint),
            Self::Conversation { .. } => Some(
                "use a model with a chat template (`--template chat`), or data whose prompts are one \
                 message of the user",
            ),
            Self::NoReference { .. } => Some(
                "give `--reference FOLDER`, or \
                 `--reference none` to score by log-probabilities alone",
            ),
            Self::ReferenceDiffers { .. } => Some(
                "give the reference used in training (`--reference`), or accept this one with \
                 `--accept-reference`",
            ),
            Self::OtherTokenizer { .. } => Some(
                "policy and reference must have the same tokenizer: use the model that the policy \
                 was trained from",
            ),
            Self::NoCandidates { .. } => Some("leave such problems out of both files"),
            Self::NothingToGrade { .. } => {
                Some("rename the fields that contain them, or add them; no output file was written")
            }
            Self::EveryContinuationWrong { .. } => Some(
                "check that `reference` has the final answers, that the model can solve such \
                 problems, and that `--max-tokens` is large enough",
            ),
            Self::NoStepLabels { .. } => Some(
                "use an objective on outcome labels, such as `ce`, or label the steps first \
                 (`gratis annotate math-shepherd` or `autopsv`)",
            ),
            Self::Engine(gratis_engine::Error::NonFiniteLogits { .. }) => Some(
                "the model computes numbers beyond single precision: its training diverged or its \
                 weights are damaged",
            ),
            Self::NonFiniteReward { .. } => Some(
                "lower `--beta` if it is extreme; otherwise the model or its reference computes numbers \
                 beyond single precision: its training diverged or its weights are damaged",
            ),
            Self::TooLong { .. } => Some(
                "truncate such completions (`--on-overlong truncate`) or skip them (`--on-overlong \
                 skip`)",
            ),
            Self::TokenId { .. } | Self::ForeignTokenIds { .. } => Some(
                "the ids are probably those of another tokenizer: tokenize the texts instead \
                 (`--token-ids ignore`)",
            ),
            Self::NoExamples { n_left_out: 0, .. } => {
                Some("the input is empty, or has nothing of that kind, such as completions")
            }
            Self::NoExamples { .. } => Some(
                "all were skipped: without `--skip-invalid`, or with `--on-overlong stop`, the first \
                 one is an error that says why",
            ),
            Self::NonFiniteLoss { .. } => Some(
                "lower the learning rate or `--beta`, or check these problems; the checkpoints before \
                 this step are valid",
            ),
            Self::RunExists { .. } => Some("continue it (`--resume`), or choose another folder"),
            Self::StateDiffers { .. } => Some(
                "the files of the checkpoint belong to different steps: remove its folder to \
                 resume from the previous checkpoint",
            ),
            Self::RunDiffers { .. } => {
                Some("use the original settings and data, or choose another folder")
            }
            _ => None,
        }
    }

    /// A [`DataError::Io`] for `map_err`.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| DataError::Io { action, path, source }.into()
    }

    /// A [`DataError::InvalidSetting`].
    pub(crate) fn setting(
        field: &'static str,
        expected: impl Into<String>,
        got: impl std::fmt::Display,
    ) -> Self {
        let (expected, got) = (expected.into(), format!("`{got}`"));
        DataError::InvalidSetting { field, expected, got }.into()
    }
}
