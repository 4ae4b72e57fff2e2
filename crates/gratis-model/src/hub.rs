//! Models by name: fetched from a hub through the `hf-hub` crate and kept in its usual cache.
//!
//! A name is `org/name` or `org/name@revision`. What is in the cache is taken from there without a
//! request; the network is touched only where a file is missing, and a download that was cut off
//! goes on where it stopped. Settings are passed in: this module reads no environment of its own.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use crate::error::{Error, Result};
use crate::lora::peft;

/// Attempts to go on with a download before it is given up.
const N_RETRIES: usize = 3;

/// Files that are fetched where a repository has them, weights excepted. The configurations come
/// last: a folder that has one has all before it.
const SMALL_FILES: &[&str] = &[
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "gratis.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "tokenizer.json",
    INDEX,
    peft::CONFIG_FILE,
    "config.json",
];
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The name of a model on a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// `org/name`.
    pub repository: String,
    /// Branch, tag or commit.
    pub revision: Option<String>,
}

impl FromStr for HubName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (text, None),
        };
        let is_part = |part: &str| {
            let is_known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(is_known)
        };
        let mut parts = repository.split('/');
        let is_name = parts.by_ref().take(2).filter(|part| is_part(part)).count() == 2;
        if !is_name || parts.next().is_some() || revision.is_some_and(str::is_empty) {
            return Err(Error::HubName { name: text.to_owned() });
        }
        let revision = revision.map(str::to_owned);
        Ok(Self { repository: repository.to_owned(), revision })
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.repository)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(formatter, "@{revision}"))
    }
}

/// Whether the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Where the cache lacks a file.
    #[default]
    Online,
    /// Not at all.
    Offline,
}

/// Where models are looked for.
#[derive(Debug, Clone, Default)]
pub struct HubSettings {
    /// The cache; without it the one that `hf-hub` takes.
    pub cache: Option<PathBuf>,
    /// Address of the hub; without it the one that `hf-hub` knows.
    pub endpoint: Option<String>,
    /// Proves who asks; without it the one that stands beside the cache.
    pub token: Option<String>,
    /// Whether the network may be used.
    pub access: Access,
}

/// Is told of downloads.
pub trait DownloadObserver {
    /// A file of `n_bytes` begins, or begins again.
    fn file(&mut self, name: &str, n_bytes: u64);
    /// This many bytes more are there.
    fn advance(&mut self, n_bytes: u64);
}

/// The folder of a model, fetched if it is not in the cache.
///
/// # Errors
/// [`Error::HubOffline`] for a model that is not in the cache and must not be asked for,
/// [`Error::HubNotFound`], [`Error::HubRefused`], [`Error::HubFailed`].
pub fn fetch(
    name: &HubName,
    settings: &HubSettings,
    observer: &mut dyn DownloadObserver,
) -> Result<PathBuf> {
    let cache = settings.cache.clone().map_or_else(Cache::from_env, Cache::new);
    let revision = name.revision.clone().unwrap_or_else(|| "main".to_owned());
    let repo = Repo::with_revision(name.repository.clone(), RepoType::Model, revision);
    let known = cache.repo(repo.clone());
    let found = ["config.json", peft::CONFIG_FILE].into_iter().find_map(|file| known.get(file));
    if let Some(folder) = found.as_deref().and_then(Path::parent)
        && is_whole(folder)
    {
        return Ok(folder.to_owned());
    }
    if settings.access == Access::Offline {
        return Err(Error::HubOffline { name: name.to_string(), cache: cache.path().clone() });
    }
    let mut builder = ApiBuilder::from_cache(cache).with_progress(false).with_retries(N_RETRIES);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    if let Some(token) = &settings.token {
        builder = builder.with_token(Some(token.clone()));
    }
    let failed = |what: &str, error: ApiError| failure(name, what, error);
    let remote = builder.build().map_err(|error| failed("the hub", error))?.repo(repo);
    let info = remote.info().map_err(|error| failed("the list of files", error))?;
    let files: BTreeSet<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();

    let mut fetch_file = |file: &str| {
        remote
            .download_with_progress(file, Relay(&mut *observer))
            .map_err(|error| failed(file, error))
    };
    let mut config = None;
    for file in SMALL_FILES.iter().filter(|file| files.contains(**file)) {
        config = Some(cached_or(&known, file, &mut fetch_file)?);
    }
    let folder = config.as_deref().and_then(Path::parent).map(Path::to_owned);
    let lacks = |what: &str| Error::HubNotFound { name: name.to_string(), what: what.to_owned() };
    let folder = folder.ok_or_else(|| lacks("`config.json`"))?;
    for file in weight_names(&folder, &files) {
        if !files.contains(&file) {
            return Err(lacks(&format!("`{file}`, nor other weights as safetensors")));
        }
        cached_or(&known, &file, &mut fetch_file)?;
    }
    Ok(folder)
}

/// The file in the cache, or what `fetch` brings there.
fn cached_or(
    known: &hf_hub::CacheRepo,
    file: &str,
    fetch: &mut dyn FnMut(&str) -> Result<PathBuf>,
) -> Result<PathBuf> {
    known.get(file).map_or_else(|| fetch(file), Ok)
}

/// The weights that a folder with its configuration needs.
fn weight_names(folder: &Path, in_repository: &BTreeSet<String>) -> Vec<String> {
    if peft::AdapterConfig::is_in(folder) {
        return vec![peft::WEIGHTS_FILE.to_owned()];
    }
    let is_sharded = folder.join(INDEX).exists() && !in_repository.contains(SINGLE);
    shards(folder).filter(|_| is_sharded).unwrap_or_else(|| vec![SINGLE.to_owned()])
}

/// The shards that the index of a folder names.
fn shards(folder: &Path) -> Option<Vec<String>> {
    let index: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join(INDEX)).ok()?).ok()?;
    let names = index["weight_map"].as_object()?.values().filter_map(|name| name.as_str());
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    Some(names.into_iter().collect())
}

/// Whether nothing that a model needs is missing from its folder in the cache.
fn is_whole(folder: &Path) -> bool {
    let is_there = |file: &str| folder.join(file).exists();
    let all_shards = || shards(folder).is_some_and(|names| names.iter().all(|name| is_there(name)));
    if peft::AdapterConfig::is_in(folder) {
        return is_there(peft::WEIGHTS_FILE);
    }
    is_there("config.json") && (is_there(SINGLE) || all_shards())
}

/// An error of `hf-hub` in the words of this crate.
fn failure(name: &HubName, what: &str, error: ApiError) -> Error {
    let (name, what) = (name.to_string(), what.to_owned());
    let mut root = &error;
    while let ApiError::TooManyRetries(inner) = root {
        root = inner;
    }
    let status = match root {
        ApiError::RequestError(request) => match **request {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    };
    match status {
        Some(404) => Error::HubNotFound { name, what },
        Some(401 | 403) => Error::HubRefused { name, what },
        _ => {
            Error::HubFailed { name, what, source: Box::<dyn StdError + Send + Sync>::from(error) }
        }
    }
}

/// Tells an observer what `hf-hub` tells.
struct Relay<'a>(&'a mut dyn DownloadObserver);

impl Progress for Relay<'_> {
    fn init(&mut self, size: usize, filename: &str) {
        self.0.file(filename, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.0.advance(size as u64);
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_two_parts_and_perhaps_a_revision() {
        let name: HubName = "org/name.v1@refs/pr/3".parse().expect("a name");
        assert_eq!(name.repository, "org/name.v1");
        assert_eq!(name.revision.as_deref(), Some("refs/pr/3"));
        assert_eq!(name.to_string(), "org/name.v1@refs/pr/3");
        for text in ["name", "a/b/c", "/name", "../name", "org/", "org/na me", "org/name@", ""] {
            assert!(text.parse::<HubName>().is_err(), "`{text}`");
        }
    }
}
