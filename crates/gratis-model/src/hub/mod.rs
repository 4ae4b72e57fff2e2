//! Models by name: downloaded from a hub into the cache that the Hugging Face libraries share.
//!
//! A name is `org/name` or `org/name@revision`. Cached files are used without a request; the
//! network is used only if a file is missing or damaged, and an interrupted download continues
//! where it stopped.
//!
//! Neither the hub nor the cache is trusted: names, commits and entity tags are checked before they
//! become paths (`name`), the token is sent to one origin only and every wait has a timeout
//! (`client`), content is kept only if its length and hash are right (`download`), and cached files
//! are checked before they are used (`cache`). Settings are passed in: nothing here reads the
//! environment.

mod cache;
mod client;
mod digest;
mod download;
mod name;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::lora::peft;
use crate::web::Proxies;
use cache::{Entry, RepositoryCache, Scrutiny};
use client::{Client, Fault};
use name::Commit;
pub use name::HubName;

/// Files that are fetched where a repository has them, weights excepted. The configurations come
/// last: a folder that has one has all before it.
const SMALL_FILES: &[&str] = &[
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "gratis.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
    TOKENIZER,
    INDEX,
    peft::CONFIG_FILE,
    "config.json",
];
const TOKENIZER: &str = "tokenizer.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Whether the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Where the cache lacks a file.
    #[default]
    Online,
    /// Not at all.
    Offline,
}

/// The default of both timeouts.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where models are looked for.
#[derive(Clone)]
pub struct HubSettings {
    /// The cache, a folder.
    pub cache: PathBuf,
    /// Address of the hub; without it that of Hugging Face.
    pub endpoint: Option<String>,
    /// The access token.
    pub token: Option<String>,
    /// Whether the network may be used.
    pub access: Access,
    /// Proxies on the way to it.
    pub proxies: Proxies,
    /// Timeout for a connection.
    pub connect_timeout: Duration,
    /// Timeout without a single byte.
    pub silence_timeout: Duration,
}

impl HubSettings {
    /// Asks the usual hub, without a token, for what `cache` lacks.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            endpoint: None,
            token: None,
            access: Access::Online,
            proxies: Proxies::default(),
            connect_timeout: TIMEOUT,
            silence_timeout: TIMEOUT,
        }
    }

    /// Asks another hub.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: &str) -> Self {
        self.endpoint = Some(endpoint.to_owned());
        self
    }
}

impl fmt::Debug for HubSettings {
    /// All but the token and what a proxy's address may hold.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache, endpoint, access, connect_timeout, silence_timeout, .. } = self;
        let mut shown = formatter.debug_struct("HubSettings");
        shown.field("cache", cache).field("endpoint", endpoint).field("access", access);
        shown.field("connect_timeout", connect_timeout).field("silence_timeout", silence_timeout);
        shown.finish_non_exhaustive()
    }
}

/// Receives download events.
pub trait DownloadObserver {
    /// A file of `n_bytes` begins, or begins again.
    fn file(&mut self, name: &str, n_bytes: u64);
    /// This many bytes more are there.
    fn advance(&mut self, n_bytes: u64);
    /// Another process fetches the same file; it is waited for.
    fn wait(&mut self, name: &str);
    /// A file of the cache is damaged and will be downloaded again.
    fn damaged(&mut self, name: &str, reason: &str);
}

/// What a hub lists of a model.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// The folder of a model, fetched if it is not in the cache.
///
/// # Errors
/// [`Error::HubOffline`] for a model that is not in the cache and must not be asked for,
/// [`Error::HubDamaged`] for one that is damaged there, [`Error::HubNotFound`],
/// [`Error::HubRefused`], [`Error::HubFailed`], [`Error::HubSetting`], [`Error::HubUntrusted`] for
/// an answer or content that cannot be what was asked for, [`Error::Io`] for the cache.
pub fn fetch(
    name: &HubName,
    settings: &HubSettings,
    observer: &mut dyn DownloadObserver,
) -> Result<PathBuf> {
    let cache = RepositoryCache::new(&settings.cache, name);
    let revision = name.revision_or_default();
    if let Some(commit) = cache.commit_of(revision) {
        let folder = cache.snapshot(&commit);
        match state(&cache, &folder) {
            State::Whole => return Ok(folder),
            State::WithoutTokenizer if settings.access == Access::Offline => return Ok(folder),
            State::Damaged { path, reason } if settings.access == Access::Offline => {
                return Err(Error::HubDamaged { path, reason });
            }
            State::WithoutTokenizer | State::Damaged { .. } | State::Partial => {}
        }
    }
    if settings.access == Access::Offline {
        return Err(Error::HubOffline { name: name.to_string(), cache: settings.cache.clone() });
    }
    let client = Client::new(settings)?;
    let (commit, files) =
        listing(&client, name).map_err(|fault| fault.into_error(name, "the list of files"))?;
    let folder = cache.snapshot(&commit);
    let source = Source { client: &client, cache: &cache, name, commit: &commit };
    for file in SMALL_FILES.iter().filter(|file| files.contains(**file)) {
        source.obtain(file, observer).map_err(|fault| fault.into_error(name, file))?;
    }
    let lacks = |what: &str| Error::HubNotFound { name: name.to_string(), what: what.to_owned() };
    if !files.contains("config.json") && !files.contains(peft::CONFIG_FILE) {
        return Err(lacks("`config.json`"));
    }
    for file in weight_names(&folder, &files) {
        if !name::is_file_name(&file) {
            return Err(Error::HubUntrusted {
                name: name.to_string(),
                what: INDEX.to_owned(),
                reason: format!("it places weights in {file:?}, which is no file beside it"),
            });
        }
        if !files.contains(&file) {
            return Err(lacks(&format!("`{file}`, nor other weights as safetensors")));
        }
        source.obtain(&file, observer).map_err(|fault| fault.into_error(name, &file))?;
    }
    cache.note_commit(revision, &commit)?;
    Ok(folder)
}

/// The commit of a model's revision, and its files.
fn listing(client: &Client, name: &HubName) -> Result<(Commit, BTreeSet<String>), Fault> {
    let bytes = client.read(&client.listing_url(name)?)?;
    let listing: Listing = serde_json::from_slice(&bytes)
        .map_err(|error| Fault::Refused(format!("it is not a list of files: {error}")))?;
    let commit = Commit::parse(&listing.sha).ok_or_else(|| {
        Fault::Refused(format!("it names the commit {:?}, which is none", listing.sha))
    })?;
    let asked = Commit::of_revision(name.revision_or_default());
    if asked.as_ref().is_some_and(|asked| *asked != commit) {
        let reason = format!("it names the commit {} instead", commit.as_str());
        return Err(Fault::Refused(reason));
    }
    Ok((commit, listing.siblings.into_iter().map(|sibling| sibling.rfilename).collect()))
}

/// Where the files of one commit come from and go to.
struct Source<'a> {
    client: &'a Client,
    cache: &'a RepositoryCache,
    name: &'a HubName,
    commit: &'a Commit,
}

impl Source<'_> {
    /// Makes sure that a file is in the snapshot.
    fn obtain(&self, file: &str, observer: &mut dyn DownloadObserver) -> Result<(), Fault> {
        let scrutiny = match self.cache.entry(&self.cache.snapshot(self.commit).join(file)) {
            Entry::Good => return Ok(()),
            Entry::Absent => Scrutiny::Ordinary,
            Entry::Damaged(reason) => {
                observer.damaged(file, &reason);
                Scrutiny::Full
            }
        };
        let url = self.client.file_url(self.name, file)?;
        let metadata = download::metadata(self.client, &url)?;
        if metadata.commit != *self.commit {
            return Err(Fault::Refused(format!(
                "it is of commit {} and the list of files of {}: the revision moved meanwhile",
                metadata.commit.as_str(),
                self.commit.as_str()
            )));
        }
        let _lock = self.cache.lock(&metadata.tag, file, observer)?;
        if !self.cache.has_blob(&metadata.tag, metadata.n_bytes, scrutiny)? {
            let blob = self.cache.blob(&metadata.tag)?;
            download::download(self.client, &url, &metadata, (file, &blob), observer)?;
        }
        Ok(self.cache.link(&metadata.tag, self.commit, file)?)
    }
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

/// What there is of a model in the cache.
enum State {
    /// All that it needs.
    Whole,
    /// All but the tokenizer, which other libraries do not fetch with the weights.
    WithoutTokenizer,
    Partial,
    /// A file is not what it should be.
    Damaged {
        path: PathBuf,
        reason: String,
    },
}

/// Looks at a snapshot file by file.
fn state(cache: &RepositoryCache, folder: &Path) -> State {
    let is_there = |file: &str| folder.join(file).exists();
    let is_adapter = peft::AdapterConfig::is_in(folder);
    let weights = match () {
        () if is_adapter => vec![peft::WEIGHTS_FILE.to_owned()],
        () if is_there("config.json") && is_there(SINGLE) => vec![SINGLE.to_owned()],
        () if is_there("config.json") => shards(folder).unwrap_or_default(),
        () => vec![],
    };
    if weights.is_empty() || !weights.iter().all(|file| name::is_file_name(file)) {
        return State::Partial;
    }
    for file in SMALL_FILES {
        let path = folder.join(file);
        if let Entry::Damaged(reason) = cache.entry(&path) {
            return State::Damaged { path, reason };
        }
    }
    for file in &weights {
        let path = folder.join(file);
        match cache.entry(&path) {
            Entry::Damaged(reason) => return State::Damaged { path, reason },
            Entry::Absent => return State::Partial,
            Entry::Good => {}
        }
    }
    if is_adapter || is_there(TOKENIZER) { State::Whole } else { State::WithoutTokenizer }
}
