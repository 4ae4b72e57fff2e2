//! The errors of model files.

use std::path::PathBuf;

/// The result type of the crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a checkpoint folder and a model in memory.
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
    /// Another process is writing a file or a folder.
    #[error("`{path}` is being written by {}{}", holder(*.pid), since_when(.since.as_deref()))]
    Locked {
        /// The file or folder.
        path: PathBuf,
        /// The process that holds its lock, if the system reports it.
        pid: Option<u32>,
        /// Since when, in UTC.
        since: Option<String>,
    },
    /// The path of an output file is a folder.
    #[error("`{path}` is a folder: a file was expected")]
    IsFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of a new model contains another model.
    #[error("`{path}` already contains another model: its `{file}` differs")]
    FolderDiffers {
        /// The folder.
        path: PathBuf,
        /// The first file that is missing there or differs.
        file: String,
    },
    /// A required file does not exist.
    #[error("`{path}` is absent: {hint}")]
    MissingFile {
        /// The absent file or folder.
        path: PathBuf,
        /// Why it is needed, or how to get it.
        hint: String,
    },
    /// A file without the format that its name says: truncated, not JSON, not safetensors.
    #[error("`{path}` is malformed: {reason}")]
    MalformedFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A field of `config.json` is absent or has an impossible value.
    #[error("`{path}`: field `{field}` must be {expected}, got {got}")]
    InvalidConfig {
        /// The configuration file.
        path: PathBuf,
        /// Name of the field.
        field: String,
        /// What it has to be.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// A field of `config.json` requires an unsupported computation.
    #[error("`{path}`: `{field}` = {got} is not supported; supported: {supported}")]
    UnsupportedConfig {
        /// The configuration file.
        path: PathBuf,
        /// Name of the field.
        field: String,
        /// The value that is not supported.
        got: String,
        /// The values that are.
        supported: String,
    },
    /// An unknown field, which may change the computation.
    #[error("`{path}`: unknown field `{field}` = {got}")]
    UnknownField {
        /// The configuration file.
        path: PathBuf,
        /// Name of the field.
        field: String,
        /// Its value.
        got: String,
    },
    /// A parameter of the model is in none of the checkpoint's files.
    #[error("`{path}` has no tensor `{tensor}`, which the model needs")]
    MissingTensor {
        /// The file or index that was searched.
        path: PathBuf,
        /// Hugging Face name of the parameter.
        tensor: String,
    },
    /// A checkpoint has a tensor that the model of its `config.json` does not have.
    #[error(
        "`{path}` has the tensor `{tensor}`, which a {architecture} of this shape does not have"
    )]
    UnexpectedTensor {
        /// The file that holds it.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// The architecture of the configuration.
        architecture: &'static str,
    },
    /// A tensor's shape is not the one that `config.json` implies.
    #[error("`{path}`: tensor `{tensor}` must have shape {expected:?}, got {got:?}")]
    WrongShape {
        /// The file that holds it.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// Shape by the configuration.
        expected: Vec<usize>,
        /// Shape in the file.
        got: Vec<usize>,
    },
    /// A tensor has an unsupported data type.
    #[error("`{path}`: tensor `{tensor}` has type {got}; supported: {supported}")]
    UnsupportedDtype {
        /// The file that holds it.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// Type in the file.
        got: String,
        /// The types that are read.
        supported: String,
    },
    /// A weight is NaN or infinite.
    #[error("`{path}`: tensor `{tensor}` has {value} at flat index {index}")]
    NonFiniteWeight {
        /// The file that holds it.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// First offending index, row-major.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A tokenizer could not be built, or a text could not be encoded by it.
    #[error("{what}: {reason}")]
    Tokenizer {
        /// What was attempted, and on what.
        what: String,
        /// The reason, by the tokenizer.
        reason: String,
    },
    /// The tokenizer lacks a required special token.
    #[error("the tokenizer names no `{which}`: add it to `tokenizer_config.json`")]
    MissingSpecialToken {
        /// Name of the field, such as `eos_token`.
        which: &'static str,
    },
    /// The tokenizer makes tokens that the model has no embedding for.
    #[error("the tokenizer has token {largest}, but the model has only {vocab_size} embeddings")]
    VocabularyMismatch {
        /// Largest token of the tokenizer.
        largest: u32,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// An invalid adapter setting.
    #[error("LoRA `{field}` must be {expected}, got {got}")]
    InvalidLora {
        /// Name of the setting.
        field: &'static str,
        /// What it has to be.
        expected: String,
        /// What was given.
        got: String,
    },
    /// A chat template that is not valid Jinja, or no template at all.
    #[error("invalid chat template in `{origin}`{}: {reason}", at_line(*.line))]
    InvalidTemplate {
        /// The file it came from.
        origin: String,
        /// Line of the template.
        line: Option<usize>,
        /// What is wrong with it.
        reason: String,
    },
    /// A chat template that the model does not have.
    #[error("`{origin}` has no chat template `{name}`; it has {known}")]
    UnknownTemplate {
        /// The file or folder.
        origin: String,
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A chat template rejected its input with `raise_exception`.
    #[error("the chat template in `{origin}` rejects this conversation: {message}")]
    TemplateRaised {
        /// The file it came from.
        origin: String,
        /// The template's message.
        message: String,
    },
    /// A chat template could not be run on these messages.
    #[error("cannot render the chat template in `{origin}`{}: {reason}", at_line(*.line))]
    TemplateFailed {
        /// The file it came from.
        origin: String,
        /// Line of the template.
        line: Option<usize>,
        /// What went wrong.
        reason: String,
    },
    /// A text that is not a valid model name on a hub.
    #[error(
        "`{name}` is not the name of a model on a hub, such as `org/name` or `org/name@revision`"
    )]
    HubName {
        /// What was given.
        name: String,
    },
    /// A model is not in the cache, and the network must not be used.
    #[error("`{name}` is not in the cache `{cache}`, and network access is off")]
    HubOffline {
        /// Name on the hub.
        name: String,
        /// The cache folder that was searched.
        cache: PathBuf,
    },
    /// The hub does not know a model, a revision or a file.
    #[error("the hub has no `{name}`, or it lacks {what}")]
    HubNotFound {
        /// Name on the hub.
        name: String,
        /// What was asked for.
        what: String,
    },
    /// The hub denies access to a model.
    #[error("the hub denies access to {what} of `{name}`")]
    HubRefused {
        /// Name on the hub.
        name: String,
        /// What was asked for.
        what: String,
    },
    /// A file could not be fetched.
    #[error("cannot fetch {what} of `{name}` from the hub")]
    HubFailed {
        /// Name on the hub.
        name: String,
        /// What was asked for.
        what: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A response of a hub, or its content, that does not match the request. Nothing of it is kept.
    #[error("the hub's response for {what} of `{name}` is rejected: {reason}")]
    HubUntrusted {
        /// Name on the hub.
        name: String,
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file in the cache is damaged, and the network must not be used.
    #[error("`{path}` in the cache is damaged: {reason}")]
    HubDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An invalid address of a hub or proxy.
    #[error("the hub's {what} cannot be used: {reason}")]
    HubSetting {
        /// Which address.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A link in a model's folder that points outside it.
    #[error("`{path}` is a link out of the model's folder, to `{target}`")]
    ForeignLink {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A text that is neither a calendar date nor a known date format.
    #[error("`{text}` is not a date such as `2024-07-26`, nor a format of one")]
    InvalidDate {
        /// What was given.
        text: String,
    },
}

impl Error {
    /// What the user can do about the error, if the message does not say so.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Locked { .. } => Some(
                "wait until that process has ended (this releases the lock), or write to another \
                 path",
            ),
            Self::IsFolder { .. } => Some("name a file in that folder"),
            Self::FolderDiffers { .. } => Some("choose another folder, or remove this one first"),
            Self::HubOffline { .. } => Some(
                "unset `HF_HUB_OFFLINE` to download it, set `HF_HOME` to the cache that has it, or \
                 give a folder",
            ),
            Self::HubNotFound { .. } => Some(
                "check the path if a folder was meant, or the name and the revision; a private \
                 model is visible only with a token (`HF_TOKEN`)",
            ),
            Self::HubRefused { .. } => Some(
                "set `HF_TOKEN` to a token that can read it; some models require their terms to be \
                 accepted on their page first",
            ),
            Self::HubFailed { .. } => Some(
                "check the path if a folder was meant, or the network and `HF_ENDPOINT`; then run \
                 the same command again: a download continues where it stopped",
            ),
            Self::UnknownTemplate { .. } => Some("name one of them with `--chat-template NAME`"),
            Self::UnknownField { .. } => Some(
                "it may change what the model computes; if you know that it does not, delete it \
                 from the file",
            ),
            Self::HubUntrusted { .. } => Some(
                "nothing was kept: the hub, or a proxy on the way to it, is faulty; run the same \
                 command again, or set `HF_ENDPOINT` to another hub",
            ),
            Self::HubDamaged { .. } => {
                Some("unset `HF_HUB_OFFLINE` to download it again, or delete it")
            }
            Self::HubSetting { .. } => Some(
                "`HF_ENDPOINT` must be an address such as `https://host`; proxies are read from \
                 `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY`",
            ),
            Self::ForeignLink { .. } => {
                Some("copy the file into the folder, or use the folder that contains it")
            }
            Self::VocabularyMismatch { .. } => {
                Some("the folder mixes files of two models: take all files from one model")
            }
            Self::MissingTensor { tensor, .. } if tensor.contains("score.") => Some(
                "the weights are those of a language model without a scalar head: train one \
                 (`gratis train --kind orm` or `prm-head`), or use the folder as it was written",
            ),
            Self::MalformedFile { .. } => Some(
                "the file is truncated or has another format than its name says: download it, or \
                 save it, again",
            ),
            Self::MissingTensor { .. }
            | Self::UnexpectedTensor { .. }
            | Self::WrongShape { .. } => Some(
                "`config.json` and the weights seem to belong to different models: take all files \
                 from one model",
            ),
            Self::UnsupportedDtype { .. } => Some(
                "save the weights as F32, BF16 or F16, or take a GGUF file of a type that is read, \
                 such as Q8_0 or Q4_K",
            ),
            Self::NonFiniteWeight { .. } => Some(
                "the model had diverged when it was saved, or the file is damaged: use an earlier \
                 checkpoint, or download it again",
            ),
            Self::InvalidTemplate { .. }
            | Self::TemplateRaised { .. }
            | Self::TemplateFailed { .. } => {
                Some("give the prompt template as text instead: `--template 'Question: {prompt}'`")
            }
            _ => None,
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn since_when(since: Option<&str>) -> String {
    since.map_or_else(String::new, |since| format!(" since {since}"))
}

fn at_line(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(", line {line}"))
}
