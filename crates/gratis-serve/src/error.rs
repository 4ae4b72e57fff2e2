//! Why a request has no answer, and the HTTP status that says so.

use serde_json::{Value, json};

/// Kinds of failures, one per HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The request is malformed, or the reward model cannot score it: 400.
    Invalid,
    /// No token, or another one: 401.
    Unauthorised,
    /// The body or the number of tokens exceeds the limit: 413.
    TooLarge,
    /// The queue is full: 429.
    Busy,
    /// The service or the engine failed: 500.
    Internal,
    /// The service is stopping: 503.
    Stopping,
    /// The deadline has passed: 504.
    Deadline,
}

impl FailureKind {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthorised => 401,
            Self::TooLarge => 413,
            Self::Busy => 429,
            Self::Internal => 500,
            Self::Stopping => 503,
            Self::Deadline => 504,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid_request",
            Self::Unauthorised => "unauthorised",
            Self::TooLarge => "too_large",
            Self::Busy => "busy",
            Self::Internal => "internal",
            Self::Stopping => "stopping",
            Self::Deadline => "deadline",
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    kind: FailureKind,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// A fault of the request.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Invalid, message)
    }

    /// The deadline has passed.
    pub(crate) fn deadline() -> Self {
        Self::new(FailureKind::Deadline, "the deadline of the request has passed")
    }

    /// The queue is full.
    pub(crate) fn busy(n_queued: usize) -> Self {
        let message = format!("the queue is full with {n_queued} requests");
        Self::new(FailureKind::Busy, message)
            .hinted("send the request again after `Retry-After` seconds")
    }

    /// The engine panicked.
    pub(crate) fn panicked() -> Self {
        Self::new(FailureKind::Internal, "internal error: the engine failed on this request")
            .hinted("this is a bug in gratis; the log of the service has the reason")
    }

    /// The same failure with advice.
    #[must_use]
    pub(crate) fn hinted(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Its kind.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> Value {
        let Self { kind, message, hint } = self;
        json!({"error": {
            "message": message,
            "hint": hint,
            "type": kind.name(),
            "code": kind.status(),
        }})
    }
}

impl From<gratis::Error> for Failure {
    fn from(error: gratis::Error) -> Self {
        let kind = match &error {
            gratis::Error::Engine(_)
            | gratis::Error::NonFiniteReward { .. }
            | gratis::Error::Cpu(_)
            | gratis::Error::Data(gratis::data::Error::Io { .. }) => FailureKind::Internal,
            _ => FailureKind::Invalid,
        };
        let hint = error.hint().map(str::to_owned);
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Self { kind, message, hint }
    }
}

impl From<gratis::data::Error> for Failure {
    fn from(error: gratis::data::Error) -> Self {
        gratis::Error::from(error).into()
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::invalid(format!("malformed body: {error}"))
            .hinted("`/openapi.json` describes the body of each route")
    }
}
