//! What requests to a hub and to an engine that runs elsewhere have in common: which addresses may be
//! asked, and by which proxy.

use ureq::Proxy;
use url::Url;

/// Addresses of proxies, such as `http://proxy:8080` or `socks5://proxy`.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For addresses that begin with `http:`.
    pub http: Option<String>,
    /// For addresses that begin with `https:`.
    pub https: Option<String>,
    /// Hosts that are asked without one: `host`, `.domain` or `*`.
    pub bypass: Vec<String>,
}

impl Proxies {
    /// Those that the usual variables name, in upper or lower case: `HTTP_PROXY`, `HTTPS_PROXY`,
    /// `ALL_PROXY` and `NO_PROXY`.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| variable(&name.to_lowercase()).or_else(|| variable(name));
        let all = || either("ALL_PROXY");
        let bypass = either("NO_PROXY").unwrap_or_default();
        let bypass = bypass.split(',').map(str::trim).filter(|host| !host.is_empty());
        Self {
            http: either("HTTP_PROXY").or_else(all),
            https: either("HTTPS_PROXY").or_else(all),
            bypass: bypass.map(str::to_owned).collect(),
        }
    }
}

/// The proxies of a client, by the scheme of an address.
#[derive(Debug)]
pub struct ProxyOf {
    http: Option<Proxy>,
    https: Option<Proxy>,
}

impl ProxyOf {
    /// The proxies at these addresses.
    ///
    /// # Errors
    /// An address that names no proxy; its message may hold the password of the address.
    pub fn new(proxies: &Proxies) -> Result<Self, ureq::Error> {
        let made = |address: &Option<String>| {
            address.as_deref().map(|address| proxy(address, &proxies.bypass)).transpose()
        };
        Ok(Self { http: made(&proxies.http)?, https: made(&proxies.https)? })
    }

    /// The proxy by which an address is asked.
    pub fn of(&self, url: &Url) -> Option<Proxy> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.clone()
    }
}

/// A proxy that is not used for the hosts of `bypass`.
fn proxy(address: &str, bypass: &[String]) -> Result<Proxy, ureq::Error> {
    let given = Proxy::new(address)?;
    let mut builder = Proxy::builder(given.protocol()).host(given.host()).port(given.port());
    if let Some(name) = given.username() {
        builder = builder.username(name);
    }
    if let Some(password) = given.password() {
        builder = builder.password(password);
    }
    bypass.iter().fold(builder, |builder, host| builder.no_proxy(host)).build()
}

/// Checks that an address may be asked: of http or https, without a user name or a password.
///
/// # Errors
/// Why not, in words that do not repeat the address.
pub fn check_address(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}` is neither http nor https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user name or a password".to_owned());
    }
    Ok(())
}

/// Whether a redirect leads from https to http.
pub fn is_downgrade(from: &Url, target: &Url) -> bool {
    from.scheme() == "https" && target.scheme() != "https"
}
