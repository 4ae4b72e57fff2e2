//! Requests to one server: addresses, the key, redirects, proxies, timeouts, gzip, and which
//! failures are worth a retry.
//!
//! The key goes to the origin of the server (scheme, host and port) and nowhere else. It appears in
//! no message. Certificates are verified.

use std::fmt;
use std::io::{self, Read};
use std::time::Duration;

use flate2::read::GzDecoder;
use gratis_model::web::{Proxies, ProxyOf, check_address, is_downgrade};
use serde_json::Value;
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};
use url::Url;

use crate::error::{Error, Result};
use crate::settings::EngineSettings;
use crate::traffic::{Counters, Reason};

/// Redirects followed for one request.
const MAX_REDIRECTS: usize = 5;
/// Longest body of an answer.
const MAX_ANSWER: u64 = 1 << 30;
/// Idle connections older than this are not used again: servers close theirs after 5 s.
const MAX_IDLE: Duration = Duration::from_secs(3);
/// Characters of a server's message that are shown.
const MAX_MESSAGE: usize = 600;
/// Content type of protobuf bodies.
pub(crate) const PROTOBUF: &str = "application/x-protobuf";
/// Content type of JSON bodies.
pub(crate) const JSON: &str = "application/json";

/// What is needed to reach a server and is not in the settings of the engine.
#[derive(Clone, Default)]
pub struct Connection {
    /// The key.
    pub key: Option<String>,
    /// The proxies.
    pub proxies: Proxies,
}

impl fmt::Debug for Connection {
    /// All but the key and what a proxy's address may hold.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_key = self.key.is_some();
        formatter.debug_struct("Connection").field("has_key", &has_key).finish_non_exhaustive()
    }
}

/// In which header the key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyHeader {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// `X-API-Key: KEY`.
    ApiKey,
}

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The same request may succeed later.
    Transient {
        reason: Reason,
        message: String,
        /// The wait that the server asks for.
        after: Option<Duration>,
    },
    /// The same request will fail again.
    Final(Error),
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
    retry_after: Option<Duration>,
}

/// Asks one server.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    base: Url,
    key: Option<Key>,
    proxy: ProxyOf,
    answer_limit: Duration,
    name: String,
}

#[derive(Clone)]
struct Key {
    header: KeyHeader,
    text: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key")
    }
}

/// A request body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    None,
    Json(&'a [u8]),
    Protobuf(&'a [u8]),
}

impl Client {
    /// A client of the server at `address`.
    ///
    /// # Errors
    /// [`Error::Setting`] for an address or a proxy that cannot be used.
    pub(crate) fn new(
        address: &str,
        settings: &EngineSettings,
        connection: &Connection,
        header: KeyHeader,
    ) -> Result<Self> {
        let wrong = |field, reason: String| Error::Setting {
            engine: settings.model.clone(),
            field,
            reason,
        };
        let base = Url::parse(address).map_err(|error| wrong("url", error.to_string()))?;
        check_address(&base).map_err(|reason| wrong("url", reason))?;
        let seconds = Duration::from_secs_f64;
        let (connect, answer_limit) =
            (seconds(settings.connect_seconds), seconds(settings.answer_seconds));
        let n_connections = settings.concurrency.max(settings.scoring_concurrency) + 2;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("gratis/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("gzip")
            .proxy(None)
            .max_idle_connections(n_connections)
            .max_idle_connections_per_host(n_connections)
            .max_idle_age(MAX_IDLE)
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .build();
        // The reason could hold the password of the proxy.
        let proxy = ProxyOf::new(&connection.proxies)
            .map_err(|_| wrong("proxy", "its address cannot be used".to_owned()))?;
        let name = base.as_str().trim_end_matches('/').to_owned();
        Ok(Self {
            agent: config.into(),
            key: connection.key.clone().map(|text| Key { header, text }),
            proxy,
            base,
            answer_limit,
            name,
        })
    }

    /// What the server is called in messages: its address.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A JSON answer to a JSON body.
    pub(crate) fn post_json(
        &self,
        path: &str,
        body: &[u8],
        what: &'static str,
        counters: &Counters,
    ) -> Result<Value, Fault> {
        let answer = self.ask("POST", path, Content::Json(body), what, counters)?;
        self.json(&answer, what)
    }

    /// A JSON answer to a GET within `limit`.
    pub(crate) fn get_json(
        &self,
        path: &str,
        limit: Duration,
        what: &'static str,
        counters: &Counters,
    ) -> Result<Value, Fault> {
        let answer = self.ask_within("GET", path, Content::None, limit, what, counters)?;
        self.json(&answer, what)
    }

    /// An answer with success; every other status is a fault.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        content: Content<'_>,
        what: &'static str,
        counters: &Counters,
    ) -> Result<Answer, Fault> {
        self.ask_within(method, path, content, self.answer_limit, what, counters)
    }

    fn ask_within(
        &self,
        method: &str,
        path: &str,
        content: Content<'_>,
        limit: Duration,
        what: &'static str,
        counters: &Counters,
    ) -> Result<Answer, Fault> {
        let answer =
            self.exchange(method, path, content, limit.min(self.answer_limit), counters)?;
        match answer.status {
            200..=299 => Ok(answer),
            status @ (408 | 409 | 425 | 429 | 500..=599) => Err(Fault::Transient {
                reason: Reason::Status(status),
                message: format!("HTTP status {status}: {}", self.message_of(&answer.body)),
                after: answer.retry_after,
            }),
            status => Err(Fault::Final(Error::Refused {
                server: self.name.clone(),
                what,
                status,
                message: self.message_of(&answer.body),
            })),
        }
    }

    /// Any answer, whatever its status, within `limit`.
    pub(crate) fn exchange(
        &self,
        method: &str,
        path: &str,
        content: Content<'_>,
        limit: Duration,
        counters: &Counters,
    ) -> Result<Answer, Fault> {
        let _in_flight = counters.request();
        let base = self.base.as_str().trim_end_matches('/');
        let refused = |reason: String| {
            Fault::Final(Error::Answer { server: self.name.clone(), what: "a request", reason })
        };
        let mut url = Url::parse(&format!("{base}{path}"))
            .map_err(|error| refused(format!("`{path}` is no address: {error}")))?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(method, &url, content, limit)?;
            let status = response.status().as_u16();
            match status {
                307 | 308 => {}
                301..=303 if method == "GET" => {}
                // These would turn a request with a body into one without.
                301..=303 => return Err(refused(format!("it redirects with status {status}"))),
                _ => return self.receive(response, content, counters),
            }
            url = redirect(&url, response.headers()).map_err(refused)?;
        }
        Err(refused(format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    fn send(
        &self,
        method: &str,
        url: &Url,
        content: Content<'_>,
        limit: Duration,
    ) -> Result<Response<Body>, Fault> {
        let mut builder = ureq::http::Request::builder().method(method).uri(url.as_str());
        if let Some(key) = self.key.as_ref().filter(|_| url.origin() == self.base.origin()) {
            builder = match key.header {
                KeyHeader::Bearer => {
                    builder.header("authorization", format!("Bearer {}", key.text))
                }
                KeyHeader::ApiKey => builder.header("x-api-key", &key.text),
            };
        }
        let proxy = self.proxy.of(url);
        let (kind, accept, body) = match content {
            Content::None => (None, JSON, &[][..]),
            Content::Json(body) => (Some(JSON), JSON, body),
            Content::Protobuf(body) => (Some(PROTOBUF), PROTOBUF, body),
        };
        builder = builder.header("accept", accept);
        if let Some(kind) = kind {
            builder = builder.header("content-type", kind);
        }
        let invalid = |_| {
            // The reason could hold the key.
            Fault::Final(Error::Setting {
                engine: self.name.clone(),
                field: "api_key",
                reason: "the key cannot be sent in a header".to_owned(),
            })
        };
        let run = |request: ureq::http::Request<&[u8]>| {
            let mut configured = self.agent.configure_request(request);
            configured = configured
                .proxy(proxy.clone())
                .timeout_send_body(Some(limit))
                .timeout_recv_response(Some(limit))
                .timeout_recv_body(Some(limit));
            self.agent.run(configured.build())
        };
        let answer = match content {
            Content::None => {
                let request = builder.body(()).map_err(invalid)?;
                let configured = self.agent.configure_request(request);
                let configured = configured
                    .proxy(proxy.clone())
                    .timeout_recv_response(Some(limit))
                    .timeout_recv_body(Some(limit));
                self.agent.run(configured.build())
            }
            Content::Json(_) | Content::Protobuf(_) => run(builder.body(body).map_err(invalid)?),
        };
        answer.map_err(|error| self.fault(error))
    }

    fn receive(
        &self,
        response: Response<Body>,
        content: Content<'_>,
        counters: &Counters,
    ) -> Result<Answer, Fault> {
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_lowercase()
        };
        let status = response.status().as_u16();
        let content_type = header("content-type");
        let is_gzip = header("content-encoding") == "gzip";
        let retry_after = header("retry-after").parse::<f64>().ok();
        let retry_after = retry_after.filter(|s| (0.0..=3600.0).contains(s));
        let mut body = response.into_body();
        let raw = body.with_config().limit(MAX_ANSWER).read_to_vec();
        let raw = raw.map_err(|error| self.fault(error))?;
        let n_sent = match content {
            Content::None => 0,
            Content::Json(body) | Content::Protobuf(body) => body.len(),
        };
        counters.bytes(n_sent, raw.len());
        let body = if is_gzip {
            let mut plain = Vec::new();
            let unpacked = GzDecoder::new(&raw[..]).take(MAX_ANSWER).read_to_end(&mut plain);
            unpacked.map_err(|error| cut(format!("its gzip body is damaged: {error}")))?;
            plain
        } else {
            raw
        };
        let retry_after = retry_after.map(Duration::from_secs_f64);
        Ok(Answer { status, content_type, body, retry_after })
    }

    /// The message of an error's body, without the key if the server repeats it.
    pub(crate) fn message_of(&self, body: &[u8]) -> String {
        message_of(body, self.key.as_ref().map(|key| &key.text[..]))
    }

    fn json(&self, answer: &Answer, what: &'static str) -> Result<Value, Fault> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            let (server, reason) = (self.name.clone(), format!("it is not JSON: {error}"));
            Fault::Final(Error::Answer { server, what, reason })
        })
    }

    /// What an error of the transport means.
    fn fault(&self, error: ureq::Error) -> Fault {
        let transient = |reason, message: String| Fault::Transient { reason, message, after: None };
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                transient(Reason::Connection, "no connection in time".to_owned())
            }
            ureq::Error::Timeout(_) => transient(Reason::Timeout, "no answer in time".to_owned()),
            ureq::Error::Io(error) => {
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
                let reason = match (error.kind(), inner) {
                    (_, Some(ureq::Error::Timeout(_)))
                    | (io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock, _) => Reason::Timeout,
                    (
                        io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::HostUnreachable
                        | io::ErrorKind::NetworkUnreachable
                        | io::ErrorKind::AddrNotAvailable,
                        _,
                    ) => Reason::Connection,
                    _ => Reason::Cut,
                };
                transient(reason, error.to_string())
            }
            ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => {
                transient(Reason::Connection, error.to_string())
            }
            ureq::Error::Protocol(_) => cut(error.to_string()),
            error => Fault::Final(Error::Unsupported {
                server: self.name.clone(),
                what: format!("be asked: {error}"),
            }),
        }
    }
}

fn cut(message: String) -> Fault {
    Fault::Transient { reason: Reason::Cut, message, after: None }
}

/// The message of an error's body: the field of the usual shapes, or else its beginning. The key is left
/// out.
fn message_of(body: &[u8], key: Option<&str>) -> String {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let field = value.as_ref().and_then(|value| {
        let at = |pointer: &str| value.pointer(pointer).filter(|found| !found.is_null());
        at("/error/message").or_else(|| at("/detail")).or_else(|| at("/message"))
    });
    let text = match field {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::from_utf8_lossy(&body[..body.len().min(16 * MAX_MESSAGE)]).into_owned(),
    };
    let text = match key.filter(|key| !key.is_empty()) {
        Some(key) => text.replace(key, "[key]"),
        None => text,
    };
    let short: String = text.chars().take(MAX_MESSAGE).collect();
    if short.trim().is_empty() { "no message".to_owned() } else { short }
}

/// Where a redirect leads, if it may be followed.
fn redirect(from: &Url, headers: &HeaderMap) -> Result<Url, String> {
    let location = headers.get("location").and_then(|value| value.to_str().ok());
    let location = location.ok_or("it redirects without an address")?;
    let target =
        from.join(location).map_err(|error| format!("it redirects to no address: {error}"))?;
    check_address(&target)
        .map_err(|reason| format!("it redirects to an address that is refused: {reason}"))?;
    if is_downgrade(from, &target) {
        return Err("it redirects from https to http".to_owned());
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_the_bodies_of_real_servers() {
        let vllm =
            br#"{"error":{"message":"Token id 512 is out of vocabulary","type":"x","code":400}}"#;
        assert_eq!(message_of(vllm, None), "Token id 512 is out of vocabulary");
        assert_eq!(message_of(br#"{"detail":"Model m not loaded"}"#, None), "Model m not loaded");
        assert_eq!(message_of(br#"{"detail":[{"msg":"wrong"}]}"#, None), r#"[{"msg":"wrong"}]"#);
        assert_eq!(message_of(b"Bad Gateway", None), "Bad Gateway");
        assert_eq!(message_of(b"", None), "no message");
        assert_eq!(message_of(b"Bad key: k-1.", Some("k-1")), "Bad key: [key].");
        assert_eq!(message_of(b"none", Some("")), "none");
    }

    #[test]
    fn redirects_that_would_leak_or_downgrade_are_refused() {
        let from = Url::parse("https://gpu.example/v1/completions").expect("valid");
        let to = |location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("location", location.parse().expect("a header"));
            redirect(&from, &headers).map(String::from)
        };
        assert_eq!(to("/v2/completions").as_deref(), Ok("https://gpu.example/v2/completions"));
        assert_eq!(to("https://other.example/x").as_deref(), Ok("https://other.example/x"));
        assert!(to("http://gpu.example/x").is_err());
        assert!(to("https://me:secret@gpu.example/x").is_err_and(|text| !text.contains("secret")));
    }

    #[test]
    fn no_debug_output_shows_a_key() {
        let connection = Connection { key: Some("secret".to_owned()), ..Connection::default() };
        let settings = EngineSettings::new(crate::Protocol::Vllm, "http://gpu:1", "m");
        let client = Client::new("http://gpu:1", &settings, &connection, KeyHeader::Bearer);
        let shown = format!("{connection:?} {:?}", client.expect("valid"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
