//! Requests to a hub: addresses, headers and redirects.
//!
//! The token goes to the origin of the endpoint (scheme, host and port) and nowhere else, whatever
//! the redirects. The number of redirects is bounded, none goes from https to http, and every wait
//! has a timeout.

use std::error::Error as StdError;
use std::io;
use std::ops::ControlFlow;
use std::thread::sleep;
use std::time::Duration;

use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};
use url::Url;

use super::HubSettings;
use super::name::HubName;
use crate::error::{Error, Result};
use crate::web::{ProxyOf, check_address, is_downgrade};

/// Where models are asked for if no endpoint is given.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// Redirects followed for one request.
const MAX_REDIRECTS: usize = 10;
/// Attempts to repeat a request, or to go on with a download, before it is given up.
pub(super) const N_RETRIES: u32 = 3;
/// Wait before the first retry; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// Longest time for the headers of an answer, and for the body of a small one.
const MAX_SMALL_ANSWER: Duration = Duration::from_secs(60);
/// Longest body of an answer that is read into memory.
const MAX_LISTING: u64 = 16 << 20;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// A final status.
    Status(u16),
    /// A transient failure: retrying may help.
    Transient(Box<dyn StdError + Send + Sync>),
    /// A timeout without data.
    Silent(Duration),
    /// Trying again will not help soon: no such host, nobody listens, no TLS.
    Failed(Box<dyn StdError + Send + Sync>),
    /// A response that must not be trusted.
    Refused(String),
    /// Content that does not match its hash; downloading it again may help.
    Mismatch(String),
    /// A file or folder of the cache.
    Local(Error),
}

/// A status of the hub as the source of an error.
#[derive(Debug, thiserror::Error)]
#[error("the hub answers with HTTP status {0}")]
struct Status(u16);

/// A timeout as the source of an error.
#[derive(Debug, thiserror::Error)]
#[error("the hub sent nothing for {} s", .0.as_secs_f32())]
struct Silence(Duration);

impl Fault {
    /// The error that tells of it: `what` of `name` was asked for.
    pub(super) fn into_error(self, name: &HubName, what: &str) -> Error {
        let (name, what) = (name.to_string(), what.to_owned());
        let failed = |name, what, source| Error::HubFailed { name, what, source };
        match self {
            Self::Status(404) => Error::HubNotFound { name, what },
            Self::Status(401 | 403) => Error::HubRefused { name, what },
            Self::Status(status) => failed(name, what, Status(status).into()),
            Self::Silent(limit) => failed(name, what, Silence(limit).into()),
            Self::Transient(source) | Self::Failed(source) => failed(name, what, source),
            Self::Refused(reason) | Self::Mismatch(reason) => {
                Error::HubUntrusted { name, what, reason }
            }
            Self::Local(error) => error,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Local(error)
    }
}

/// Asks one hub.
pub(super) struct Client {
    agent: Agent,
    endpoint: Url,
    token: Option<String>,
    proxy: ProxyOf,
    silence_timeout: Duration,
}

impl Client {
    pub(super) fn new(settings: &HubSettings) -> Result<Self> {
        let given = settings.endpoint.as_deref().unwrap_or(DEFAULT_ENDPOINT);
        let setting = |what, reason: String| Error::HubSetting { what, reason };
        let endpoint = Url::parse(given.trim_end_matches('/'))
            .map_err(|error| setting("endpoint", error.to_string()))?;
        if let Err(reason) = check_address(&endpoint) {
            return Err(setting("endpoint", reason));
        }
        let (connect_timeout, silence_timeout) =
            (settings.connect_timeout, settings.silence_timeout);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("gratis/", env!("CARGO_PKG_VERSION")))
            // What is hashed and counted is the file itself.
            .accept_encoding("identity")
            .proxy(None)
            .timeout_resolve(Some(connect_timeout))
            .timeout_connect(Some(connect_timeout))
            .timeout_per_read(Some(silence_timeout))
            .timeout_per_write(Some(silence_timeout))
            .timeout_recv_response(Some(MAX_SMALL_ANSWER))
            .build();
        let proxy =
            ProxyOf::new(&settings.proxies).map_err(|error| setting("proxy", error.to_string()))?;
        let token = settings.token.clone();
        Ok(Self { agent: config.into(), endpoint, token, proxy, silence_timeout })
    }

    /// Address of what is known of a model.
    pub(super) fn listing_url(&self, name: &HubName) -> Result<Url, Fault> {
        let revision = name.revision_or_default().replace('/', "%2F");
        self.url(&format!("api/models/{}/revision/{revision}", name.repository()))
    }

    /// Address of a file of a model.
    pub(super) fn file_url(&self, name: &HubName, file: &str) -> Result<Url, Fault> {
        let revision = name.revision_or_default().replace('/', "%2F");
        self.url(&format!("{}/resolve/{revision}/{file}", name.repository()))
    }

    /// An address below the endpoint; `path` is made of checked names.
    fn url(&self, path: &str) -> Result<Url, Fault> {
        let endpoint = self.endpoint.as_str().trim_end_matches('/');
        Url::parse(&format!("{endpoint}/{path}")).map_err(|error| Fault::Failed(error.into()))
    }

    /// A small answer as a whole.
    pub(super) fn read(&self, url: &Url) -> Result<Vec<u8>, Fault> {
        retried(|| {
            let response = self.get(url, None, &mut |_, _| ControlFlow::Continue(()))?;
            let mut body = response.into_body();
            let body = body.with_config().limit(MAX_LISTING).read_to_vec();
            body.map_err(|error| self.fault(error))
        })
    }

    /// The last answer on the way from `url`. `visit` is shown the headers of each, with the
    /// address of its redirect, and may break off before that is followed.
    pub(super) fn get(
        &self,
        url: &Url,
        range: Option<&str>,
        visit: &mut dyn FnMut(&HeaderMap, Option<&Url>) -> ControlFlow<()>,
    ) -> Result<Response<Body>, Fault> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.get_one(&url, range)?;
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                if !matches!(status, 200 | 206) {
                    return Err(match status {
                        408 | 425 | 429 | 500 | 502..=504 => {
                            Fault::Transient(Status(status).into())
                        }
                        _ => Fault::Status(status),
                    });
                }
                let _ = visit(response.headers(), None);
                return Ok(response);
            }
            let location = response.headers().get("location").map(|value| value.to_str());
            let location = location.transpose().map_err(|_| {
                Fault::Refused("it redirects to an address that is not text".to_owned())
            })?;
            let next = redirect_target(&url, location).map_err(Fault::Refused)?;
            if visit(response.headers(), Some(&next)).is_break() {
                return Ok(response);
            }
            url = next;
        }
        Err(Fault::Refused(format!("it redirects more than {MAX_REDIRECTS} times")))
    }

    /// Whether an address is of the hub itself.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }

    fn get_one(&self, url: &Url, range: Option<&str>) -> Result<Response<Body>, Fault> {
        let mut request = self.agent.get(url.as_str());
        if let Some(token) = self.token.as_deref().filter(|_| self.is_own(url)) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let mut request = request.config().proxy(self.proxy.of(url));
        if range.is_none() {
            request = request.timeout_recv_body(Some(MAX_SMALL_ANSWER));
        }
        let response = request.build().call().map_err(|error| self.fault(error))?;
        match response.headers().get("content-encoding") {
            Some(encoding) if encoding.as_bytes() != b"identity" => Err(Fault::Refused(format!(
                "it is encoded as {encoding:?}, which was not asked for"
            ))),
            _ => Ok(response),
        }
    }

    /// What an error of the transport means.
    fn fault(&self, error: ureq::Error) -> Fault {
        match error {
            ureq::Error::Io(error) => self.io_fault(error),
            ureq::Error::Timeout(_) => Fault::Silent(self.silence_timeout),
            ureq::Error::Protocol(_) => Fault::Transient(error.into()),
            error => Fault::Failed(error.into()),
        }
    }

    /// What an error of reading a body means.
    pub(super) fn io_fault(&self, error: io::Error) -> Fault {
        let is_timeout = |error: &ureq::Error| matches!(error, ureq::Error::Timeout(_));
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
        match error.kind() {
            _ if inner.is_some_and(is_timeout) => Fault::Silent(self.silence_timeout),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                Fault::Silent(self.silence_timeout)
            }
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => Fault::Failed(error.into()),
            _ => Fault::Transient(error.into()),
        }
    }
}

/// Repeats a small request while that may help.
pub(super) fn retried<T>(mut attempt: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
    for retry_idx in 0..N_RETRIES {
        match attempt() {
            Err(Fault::Transient(_)) => sleep(wait_before(retry_idx)),
            outcome => return outcome,
        }
    }
    attempt()
}

/// The wait before a retry.
pub(super) fn wait_before(retry_idx: u32) -> Duration {
    FIRST_WAIT * 2_u32.pow(retry_idx)
}

/// The text of a header, where there is one.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Fault> {
    let value = headers.get(name).map(|value| value.to_str()).transpose();
    value.map_err(|_| Fault::Refused(format!("its header `{name}` is not text")))
}

/// Where a redirect leads, if it may be followed.
fn redirect_target(from: &Url, location: Option<&str>) -> Result<Url, String> {
    let location = location.ok_or("it redirects without saying where to (no `Location`)")?;
    let target = from
        .join(location)
        .map_err(|error| format!("it redirects to {location:?}, which is no address: {error}"))?;
    check_address(&target).map_err(|reason| format!("it redirects to {location:?}: {reason}"))?;
    if is_downgrade(from, &target) {
        return Err(format!("it redirects from https to {location:?}"));
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved_and_some_are_refused() {
        let from = Url::parse("https://hub.example/org/name/resolve/main/a?x=1").expect("valid");
        let to = |location: Option<&str>| redirect_target(&from, location).map(String::from);
        assert_eq!(to(Some("/b")).as_deref(), Ok("https://hub.example/b"));
        assert_eq!(
            to(Some("b?y=2")).as_deref(),
            Ok("https://hub.example/org/name/resolve/main/b?y=2")
        );
        assert_eq!(to(Some("//cdn.example/b")).as_deref(), Ok("https://cdn.example/b"));
        assert_eq!(
            to(Some("https://cdn.example:8443/")).as_deref(),
            Ok("https://cdn.example:8443/")
        );
        for (location, reason) in [
            (None, "no `Location`"),
            (Some("http://hub.example/b"), "from https to"),
            (Some("file:///etc/passwd"), "neither http nor https"),
            (Some("https://user:secret@cdn.example/"), "a user name or a password"),
            (Some("https://"), "no address"),
        ] {
            let message = to(location).expect_err("refused");
            assert!(message.contains(reason), "{message}");
        }
    }

    #[test]
    fn the_token_is_for_one_scheme_host_and_port() {
        let settings = HubSettings::new("cache").with_endpoint("https://hub.example/prefix/");
        let client = Client::new(&settings).expect("valid");
        let is_own = |text: &str| client.is_own(&Url::parse(text).expect("valid"));
        assert!(is_own("https://hub.example/x") && is_own("https://hub.example:443/x"));
        for other in [
            "http://hub.example/x",
            "https://hub.example:8443/x",
            "https://hub.example.evil.example/x",
            "https://cdn.hub.example/x",
        ] {
            assert!(!is_own(other), "{other}");
        }
        let url = client.listing_url(&"org/name@refs/pr/1".parse().expect("a name"));
        assert_eq!(
            url.expect("an address").as_str(),
            "https://hub.example/prefix/api/models/org/name/revision/refs%2Fpr%2F1"
        );
    }

    #[test]
    fn settings_that_are_no_addresses_are_refused() {
        for endpoint in ["hub.example", "ftp://hub.example", "https://me:secret@hub.example", ""] {
            let settings = HubSettings::new("cache").with_endpoint(endpoint);
            let error = Client::new(&settings).err().expect("refused").to_string();
            assert!(error.starts_with("the hub's endpoint cannot be used: "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let mut settings = HubSettings::new("cache");
        settings.proxies.https = Some("gopher://me:secret@proxy".to_owned());
        let error = Client::new(&settings).err().expect("refused").to_string();
        assert!(error.starts_with("the hub's proxy cannot be used: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
