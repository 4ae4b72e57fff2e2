//! Addresses of engines: `vllm://host:port/name?tokenizer=FOLDER`.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{Error, Result};

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The completions route of vLLM.
    Vllm,
    /// The native route of SGLang.
    Sglang,
    /// The completions route of OpenAI, with `echo`.
    Openai,
    /// The Tinker API: a training server.
    Tinker,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 4] = [Self::Vllm, Self::Sglang, Self::Openai, Self::Tinker];

    /// Its name, which is the scheme of its addresses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Openai => "openai",
            Self::Tinker => "tinker",
        }
    }

    /// The port if an address has none.
    fn default_port(self) -> u16 {
        match self {
            Self::Vllm | Self::Openai | Self::Tinker => 8000,
            Self::Sglang => 30000,
        }
    }
}

/// An address taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) protocol: Protocol,
    /// `http://host:port`.
    pub(crate) url: String,
    /// The model; empty if the address has none.
    pub(crate) model: String,
    /// Settings after `?`.
    pub(crate) settings: Vec<(String, String)>,
}

/// Whether a text is the address of an engine: it begins with the scheme of a protocol, or with
/// `PROTOCOL+https`.
pub fn is_address(text: &str) -> bool {
    protocol_of(text).is_some()
}

fn protocol_of(text: &str) -> Option<(Protocol, bool)> {
    let (scheme, _) = text.split_once("://")?;
    let (name, is_tls) = match scheme.split_once('+') {
        None => (scheme, false),
        Some((name, "https")) => (name, true),
        Some((name, "http")) => (name, false),
        Some(_) => return None,
    };
    let protocol = Protocol::ALL.into_iter().find(|protocol| protocol.name() == name)?;
    Some((protocol, is_tls))
}

/// Takes an address apart.
pub(crate) fn parse(text: &str) -> Result<Parts> {
    let shown = without_secrets(text);
    let wrong = |reason: &str| Error::Address { address: shown.clone(), reason: reason.into() };
    let (protocol, is_tls) = protocol_of(text).ok_or_else(|| {
        wrong("it should begin with `vllm://`, `sglang://`, `openai://` or `tinker://`")
    })?;
    let rest = text.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    let scheme = if is_tls { "https" } else { "http" };
    let url =
        Url::parse(&format!("{scheme}://{rest}")).map_err(|error| wrong(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it holds a user name or a password; use `api_key_env` in a file"));
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("no host"))?;
    let port = match url.port() {
        Some(port) => format!(":{port}"),
        None if is_tls => String::new(),
        // `url` leaves out the default port of http.
        None if rest.split(['/', '?']).next().is_some_and(|host| host.ends_with(":80")) => {
            ":80".to_owned()
        }
        None => format!(":{}", protocol.default_port()),
    };
    let settings = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned()));
    // A name may begin with a slash: a server's own folder.
    let path = url.path().strip_prefix('/').unwrap_or_default();
    let model = percent_decoded(path).ok_or_else(|| wrong("the name of the model is not UTF-8"))?;
    Ok(Parts {
        protocol,
        url: format!("{scheme}://{host}{port}"),
        model,
        settings: settings.collect(),
    })
}

/// An address without its user, its password and its settings.
pub(crate) fn without_secrets(text: &str) -> String {
    let text = text.split('?').next().unwrap_or_default();
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => text.to_owned(),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_protocol_a_server_a_model_and_settings() {
        let parts = parse("vllm://gpu:8001/org/policy?dtype=float32&tokenizer=a%20b").expect("one");
        assert_eq!((parts.protocol, &parts.url[..]), (Protocol::Vllm, "http://gpu:8001"));
        assert_eq!(parts.model, "org/policy");
        let settings = [("dtype", "float32"), ("tokenizer", "a b")];
        assert_eq!(parts.settings, settings.map(|(name, value)| (name.into(), value.into())));
        let parts = parse("sglang+https://gpu").expect("one");
        assert_eq!((&parts.url[..], &parts.model[..]), ("https://gpu", ""));
        assert_eq!(parse("sglang://gpu").expect("one").url, "http://gpu:30000");
        assert_eq!(parse("openai://gpu:80/m").expect("one").url, "http://gpu:80");
        assert_eq!(parse("tinker://h:1//srv/models/tiny").expect("one").model, "/srv/models/tiny");
        assert_eq!(parse("vllm://[::1]:8000/m").expect("one").url, "http://[::1]:8000");
    }

    #[test]
    fn what_is_no_address_is_refused_and_shows_no_secret() {
        for path in ["models/policy", "org/name@main", "C:\\models", "http://host/x", "ftp://x/y"] {
            assert!(!is_address(path), "{path}");
        }
        let message = parse("vllm://me:secret@gpu/m").expect_err("refused").to_string();
        assert!(!message.contains("secret") && message.contains("password"), "{message}");
        assert!(parse("vllm://").is_err());
    }
}
