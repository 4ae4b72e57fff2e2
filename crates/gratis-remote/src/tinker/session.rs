//! A session of the Tinker API: requests become futures, futures become results, and heartbeats keep
//! the session alive.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::http::{Client, Content, Fault, PROTOBUF};
use crate::pool::Retries;
use crate::traffic::{Counters, Reason};

/// Time between heartbeats; a server forgets a session after minutes without one.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long one request for a result waits before it is repeated.
const POLL: Duration = Duration::from_secs(60);
/// What requests are called in messages.
const WHAT: &str = "a training request";

/// Why a request of a session failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server no longer has the model or the session: it was restarted.
    Lost(String),
    /// The name of a checkpoint is taken.
    NameTaken,
    /// Anything else.
    Failed(Error),
}

/// A result that is there.
#[derive(Debug)]
pub(crate) enum Outcome {
    Json(Value),
    Protobuf(Vec<u8>),
}

impl Outcome {
    pub(crate) fn json(self) -> Result<Value, String> {
        match self {
            Self::Json(value) => Ok(value),
            Self::Protobuf(_) => Err("it is protobuf where JSON was expected".to_owned()),
        }
    }

    pub(crate) fn protobuf(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Protobuf(bytes) => Ok(bytes),
            Self::Json(value) => Err(format!("it is JSON where protobuf was expected: {value}")),
        }
    }
}

/// A connection with a session.
#[derive(Debug)]
pub(crate) struct Session {
    client: Arc<Client>,
    counters: Arc<Counters>,
    retries: Retries,
    /// Longest wait for one result.
    answer_limit: Duration,
    id: String,
    heart: Arc<Heart>,
}

/// Ends the thread of the heartbeats.
#[derive(Debug, Default)]
struct Heart {
    is_stopped: Mutex<bool>,
    stopped: Condvar,
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'a> {
    Json(&'a Value),
    Protobuf(&'a [u8]),
}

impl Session {
    /// Begins a session.
    pub(crate) fn begin(
        client: Arc<Client>,
        counters: Arc<Counters>,
        retries: Retries,
        answer_limit: Duration,
    ) -> Result<Self, Trouble> {
        let heart = Arc::new(Heart::default());
        let mut session =
            Self { client, counters, retries, answer_limit, id: String::new(), heart };
        let body = json!({
            "tags": ["gratis"],
            "user_metadata": null,
            "sdk_version": "0.25.0",
            "type": "create_session",
        });
        let answer = session.ask("/api/v1/create_session", Body::Json(&body))?;
        let id = answer["session_id"].as_str().ok_or_else(|| {
            session.unusable("a request for a session", "it has no `session_id`".to_owned())
        })?;
        session.id = id.to_owned();
        session.start_heartbeats().map_err(Trouble::Failed)?;
        Ok(session)
    }

    /// Goes on with the session of an earlier process. If the server has ended it, its requests are
    /// those of a lost model.
    pub(crate) fn resume(
        client: Arc<Client>,
        counters: Arc<Counters>,
        retries: Retries,
        answer_limit: Duration,
        id: &str,
    ) -> Result<Self, Trouble> {
        let heart = Arc::new(Heart::default());
        let session = Self { client, counters, retries, answer_limit, id: id.to_owned(), heart };
        session.start_heartbeats().map_err(Trouble::Failed)?;
        Ok(session)
    }

    fn start_heartbeats(&self) -> Result<()> {
        let (client, counters) = (Arc::clone(&self.client), Arc::clone(&self.counters));
        let heart = Arc::clone(&self.heart);
        let body = json!({ "session_id": self.id }).to_string();
        let beat = move || {
            let lock = || heart.is_stopped.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let waited = heart.stopped.wait_timeout_while(lock(), HEARTBEAT, |stop| !*stop);
                if waited.map_or(true, |(stop, _)| *stop) {
                    return;
                }
                let path = "/api/v1/session_heartbeat";
                // A lost session is noticed by the next request of the training.
                let _ = client.exchange(
                    "POST",
                    path,
                    Content::Json(body.as_bytes()),
                    HEARTBEAT,
                    &counters,
                );
            }
        };
        let spawned = thread::Builder::new().name("heartbeat".to_owned()).spawn(beat);
        spawned.map_err(|source| Error::Threads { n_threads: 1, source })?;
        Ok(())
    }

    /// The name of the server.
    pub(crate) fn server(&self) -> &str {
        self.client.name()
    }

    /// The id of the session.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// An answer that cannot be used.
    pub(crate) fn unusable(&self, what: &'static str, reason: String) -> Trouble {
        Trouble::Failed(Error::Answer { server: self.server().to_owned(), what, reason })
    }

    /// The answer to a request, repeated while that may help. Requests have sequence numbers, so one
    /// that the server got twice is done once.
    pub(crate) fn ask(&self, path: &str, body: Body<'_>) -> Result<Value, Trouble> {
        let text;
        let content = match body {
            Body::Json(value) => {
                text = value.to_string();
                Content::Json(text.as_bytes())
            }
            Body::Protobuf(bytes) => Content::Protobuf(bytes),
        };
        let (mut waited, mut n) = (Duration::ZERO, 0);
        loop {
            let limit = self.answer_limit;
            let (reason, message) =
                match self.client.exchange("POST", path, content, limit, &self.counters) {
                    Ok(answer) if (200..300).contains(&answer.status) => {
                        return serde_json::from_slice(&answer.body)
                            .map_err(|error| self.unusable(WHAT, format!("not JSON: {error}")));
                    }
                    Ok(answer) => {
                        let message = self.client.message_of(&answer.body);
                        match answer.status {
                            409 if message.contains("already exists") => {
                                return Err(Trouble::NameTaken);
                            }
                            408 | 425 | 429 | 500..=599 => (Reason::Status(answer.status), message),
                            status => return Err(self.refused(status, message)),
                        }
                    }
                    Err(Fault::Final(error)) => return Err(Trouble::Failed(error)),
                    Err(Fault::Transient { reason, message, .. }) => (reason, message),
                };
            self.wait(reason, &message, &mut waited, &mut n)?;
        }
    }

    /// The result of the request `id`.
    pub(crate) fn result(&self, id: &str) -> Result<Outcome, Trouble> {
        let body = json!({ "request_id": id }).to_string();
        let content = Content::Json(body.as_bytes());
        let path = "/api/v1/retrieve_future";
        let (mut waited, mut n) = (Duration::ZERO, 0);
        let (mut polled, poll) = (Duration::ZERO, POLL.min(self.answer_limit));
        loop {
            let asked = self.client.exchange("POST", path, content, poll, &self.counters);
            let (reason, message) = match asked {
                Ok(answer) => match answer.status {
                    200..=299 if answer.content_type.starts_with(PROTOBUF) => {
                        return Ok(Outcome::Protobuf(answer.body));
                    }
                    200..=299 => {
                        let value: Value = serde_json::from_slice(&answer.body)
                            .map_err(|error| self.unusable(WHAT, format!("not JSON: {error}")))?;
                        if value["type"] == "try_again" {
                            (Reason::Status(200), "not there yet".to_owned())
                        } else if let Some(error) = value["error"].as_str() {
                            return Err(self.refused(400, error.to_owned()));
                        } else {
                            return Ok(Outcome::Json(value));
                        }
                    }
                    status => {
                        let message = self.client.message_of(&answer.body);
                        match status {
                            408 | 425 | 429 | 500..=599 => (Reason::Status(status), message),
                            _ => return Err(self.refused(status, message)),
                        }
                    }
                },
                Err(Fault::Transient { reason: Reason::Timeout, message, .. }) => {
                    (Reason::Timeout, message)
                }
                Err(Fault::Transient { reason, message, .. }) => (reason, message),
                Err(Fault::Final(error)) => return Err(Trouble::Failed(error)),
            };
            // The server works: that it has no result yet is no failure.
            if matches!(reason, Reason::Timeout | Reason::Status(408)) {
                polled += poll;
                if polled < self.answer_limit {
                    continue;
                }
            }
            self.wait(reason, &message, &mut waited, &mut n)?;
        }
    }

    /// What a status means that will not change.
    fn refused(&self, status: u16, message: String) -> Trouble {
        // A load that arrived twice is refused the second time; a fresh model is loaded then.
        let is_lost = status == 410
            || message.contains("not loaded")
            || message.contains("LoadWeights is not permitted")
            || status == 404
                && ["Model", "Session", "Future"].iter().any(|of| message.contains(of));
        if is_lost {
            return Trouble::Lost(message);
        }
        let server = self.server().to_owned();
        Trouble::Failed(Error::Refused { server, what: WHAT, status, message })
    }

    fn wait(
        &self,
        reason: Reason,
        message: &str,
        waited: &mut Duration,
        n: &mut u32,
    ) -> Result<(), Trouble> {
        self.counters.retry(reason);
        *n += 1;
        let wait = self.retries.wait(*n, u64::from(*n));
        *waited += wait;
        if *waited > self.retries.budget {
            return Err(Trouble::Failed(Error::Exhausted {
                server: self.server().to_owned(),
                what: WHAT,
                n_attempts: *n,
                message: message.to_owned(),
            }));
        }
        thread::sleep(wait);
        Ok(())
    }

    /// A whole file of the server.
    pub(crate) fn download(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        let (mut waited, mut n) = (Duration::ZERO, 0);
        loop {
            let limit = self.answer_limit;
            let answer = self.client.exchange("GET", path, Content::None, limit, &self.counters);
            let (reason, message) = match answer {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer.body),
                Ok(answer) => match answer.status {
                    408 | 425 | 429 | 500..=599 => {
                        (Reason::Status(answer.status), self.client.message_of(&answer.body))
                    }
                    status => {
                        return Err(self.refused(status, self.client.message_of(&answer.body)));
                    }
                },
                Err(Fault::Transient { reason, message, .. }) => (reason, message),
                Err(Fault::Final(error)) => return Err(Trouble::Failed(error)),
            };
            self.wait(reason, &message, &mut waited, &mut n)?;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        *self.heart.is_stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heart.stopped.notify_all();
    }
}
