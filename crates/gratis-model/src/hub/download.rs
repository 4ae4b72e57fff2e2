//! Downloads one file from a hub into the cache and checks its metadata and content.
//!
//! Bytes go to `blobs/TAG.incomplete` and get the name of a blob only when length and hash are
//! right. An existing part is hashed as well, so a part that is not a prefix of the content is
//! detected and downloaded again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread::sleep;

use ureq::http::HeaderMap;
use url::Url;

use super::DownloadObserver;
use super::client::{Client, Fault, N_RETRIES, header, retried, wait_before};
use super::digest::{CHUNK, Digest, read_into};
use super::name::{Commit, EntityTag, TagHash};
use crate::atomic;
use crate::error::{Error, Result};

/// How often content that does not match the hub's hash is downloaded again.
const N_FRESH_STARTS: usize = 1;

/// What a hub says of a file.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) commit: Commit,
    pub(super) tag: EntityTag,
    pub(super) n_bytes: Option<u64>,
}

/// Asks for the metadata of a file.
pub(super) fn metadata(client: &Client, url: &Url) -> Result<Metadata, Fault> {
    retried(|| {
        let mut found = Found::default();
        let mut here = url.clone();
        let mut fault = None;
        let response = client.get(url, Some("bytes=0-0"), &mut |headers, next| {
            if let Err(error) = found.add(headers, client.is_own(&here)) {
                fault = Some(error);
                return ControlFlow::Break(());
            }
            match next {
                // Storage elsewhere knows no more than this.
                Some(next) if !client.is_own(next) && found.is_complete() => ControlFlow::Break(()),
                Some(next) => {
                    here = next.clone();
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Continue(()),
            }
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        let response = response?;
        let length = match response.status().as_u16() {
            206 => content_range(response.headers())?.and_then(|range| range.n_bytes),
            200 => content_length(response.headers())?,
            _ => None,
        };
        found.finish(length)
    })
}

/// Headers of several answers to one question.
#[derive(Default)]
struct Found {
    commit: Option<Commit>,
    tag: Option<EntityTag>,
    n_linked: Option<u64>,
}

impl Found {
    /// Adds an answer's headers. Those of the hub itself count before those of other hosts.
    fn add(&mut self, headers: &HeaderMap, is_own: bool) -> Result<(), Fault> {
        let unusable = |name: &str, text: &str| {
            Fault::Refused(format!("its header `{name}` is {text:?}, which names no file"))
        };
        if let Some(text) = header(headers, "x-repo-commit")?
            && (is_own || self.commit.is_none())
        {
            let commit = Commit::parse(text).ok_or_else(|| unusable("X-Repo-Commit", text))?;
            self.commit = Some(commit);
        }
        let linked = header(headers, "x-linked-etag")?;
        let tag = linked.map_or_else(|| header(headers, "etag"), |linked| Ok(Some(linked)))?;
        if let Some(text) = tag
            && (is_own || self.tag.is_none())
        {
            self.tag = Some(EntityTag::parse(text).ok_or_else(|| unusable("ETag", text))?);
        }
        if let Some(text) = header(headers, "x-linked-size")?
            && is_own
        {
            self.n_linked = Some(number(text, "X-Linked-Size")?);
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.commit.is_some() && self.tag.is_some() && self.n_linked.is_some()
    }

    fn finish(self, length: Option<u64>) -> Result<Metadata, Fault> {
        let lacks = |what: &str| Fault::Refused(format!("it names no {what}"));
        let commit = self.commit.ok_or_else(|| lacks("commit (`X-Repo-Commit`)"))?;
        let tag = self.tag.ok_or_else(|| lacks("content (`ETag`)"))?;
        if let (Some(linked), Some(length)) = (self.n_linked, length)
            && linked != length
        {
            let reason = format!("it gives two lengths, {linked} and {length} bytes");
            return Err(Fault::Refused(reason));
        }
        let n_bytes = self.n_linked.or(length);
        if n_bytes.is_none() && tag.hash() != Some(TagHash::Sha256) {
            return Err(lacks("length and no SHA-256, so that nothing could be checked"));
        }
        Ok(Metadata { commit, tag, n_bytes })
    }
}

/// Brings the content that `metadata` names to `blob`.
pub(super) fn download(
    client: &Client,
    url: &Url,
    metadata: &Metadata,
    (file, blob): (&str, &Path),
    observer: &mut dyn DownloadObserver,
) -> Result<(), Fault> {
    let mut part = Part::open(blob, metadata)?;
    let (mut n_failures, mut n_fresh_starts) = (0, 0);
    loop {
        observer.file(file, metadata.n_bytes.unwrap_or(part.n_bytes));
        observer.advance(part.n_bytes);
        let outcome =
            if part.is_full() { Ok(()) } else { transfer(client, url, &mut part, observer) };
        match outcome.and_then(|()| part.check()) {
            Ok(()) => return part.publish(blob),
            Err(Fault::Mismatch(reason)) => {
                part.clear()?;
                if n_fresh_starts == N_FRESH_STARTS {
                    return Err(Fault::Mismatch(reason));
                }
                n_fresh_starts += 1;
            }
            Err(Fault::Transient(_) | Fault::Silent(_)) if n_failures < N_RETRIES => {
                sleep(wait_before(n_failures));
                n_failures += 1;
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// A file that is not whole yet.
struct Part<'a> {
    path: PathBuf,
    file: File,
    n_bytes: u64,
    digest: Digest,
    metadata: &'a Metadata,
}

impl<'a> Part<'a> {
    /// Opens the part file of a blob and hashes what is in it.
    fn open(blob: &Path, metadata: &'a Metadata) -> Result<Self> {
        let mut path = blob.as_os_str().to_owned();
        path.push(".incomplete");
        let path = PathBuf::from(path);
        let open = || {
            // A link would be written through.
            if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
                std::fs::remove_file(&path)?;
            }
            let mut options = OpenOptions::new();
            let mut file =
                options.read(true).write(true).create(true).truncate(false).open(&path)?;
            let mut digest = Digest::new(&metadata.tag, metadata.n_bytes);
            let n_bytes = read_into(&mut digest, &mut file)?;
            Ok((file, digest, n_bytes))
        };
        let (file, digest, n_bytes) = open().map_err(|source| write_error(&path, source))?;
        let mut part = Self { path, file, n_bytes, digest, metadata };
        if metadata.n_bytes.is_none_or(|all| part.n_bytes > all) {
            part.clear()?;
        }
        Ok(part)
    }

    fn is_full(&self) -> bool {
        Some(self.n_bytes) == self.metadata.n_bytes
    }

    /// Begins again at the first byte.
    fn clear(&mut self) -> Result<()> {
        let clear = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        clear.map_err(|source| write_error(&self.path, source))?;
        self.n_bytes = 0;
        self.digest = Digest::new(&self.metadata.tag, self.metadata.n_bytes);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| write_error(&self.path, source))?;
        self.n_bytes += bytes.len() as u64;
        self.digest.update(bytes);
        Ok(())
    }

    /// Checks the hash of the whole content.
    fn check(&mut self) -> Result<(), Fault> {
        let fresh = Digest::new(&self.metadata.tag, self.metadata.n_bytes);
        let digest = std::mem::replace(&mut self.digest, fresh);
        digest.check(&self.metadata.tag).map_err(|reason| {
            Fault::Mismatch(format!("what it sent is not what it names: {reason}"))
        })
    }

    /// Gives the part the name of the blob, on the disk.
    fn publish(self, blob: &Path) -> Result<(), Fault> {
        let Self { path, file, .. } = self;
        drop(file);
        Ok(atomic::replace(&path, blob)?)
    }
}

/// Asks for the rest of a part and writes what comes.
fn transfer(
    client: &Client,
    url: &Url,
    part: &mut Part<'_>,
    observer: &mut dyn DownloadObserver,
) -> Result<(), Fault> {
    // After a failed write the position is unknown.
    part.file
        .seek(SeekFrom::Start(part.n_bytes))
        .map_err(|source| write_error(&part.path, source))?;
    let range = format!("bytes={}-", part.n_bytes);
    let response = client.get(url, Some(&range), &mut |_, _| ControlFlow::Continue(()))?;
    let all = part.metadata.n_bytes;
    if response.status().as_u16() == 206 {
        let range = content_range(response.headers())?;
        let range = range.ok_or_else(|| Fault::Refused("it sends an unnamed part".to_owned()))?;
        let is_other_length = |n_bytes| all.is_some_and(|all| all != n_bytes);
        if range.first != part.n_bytes || range.n_bytes.is_some_and(is_other_length) {
            return Err(Fault::Mismatch(format!(
                "it sends a part from byte {} instead of {}, or of another file",
                range.first, part.n_bytes
            )));
        }
    } else {
        // The range was not regarded: the whole file comes.
        if part.n_bytes > 0 {
            part.clear()?;
        }
        let length = content_length(response.headers())?;
        if let (Some(all), Some(length)) = (all, length)
            && all != length
        {
            return Err(Fault::Mismatch(format!("it sends {length} bytes of {all}")));
        }
    }
    let mut body = response.into_body();
    let mut reader = body.as_reader();
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = reader.read(&mut buffer).map_err(|error| client.io_fault(error))?;
        if n == 0 {
            break;
        }
        if all.is_some_and(|all| part.n_bytes + n as u64 > all) {
            return Err(Fault::Mismatch("it sends more bytes than it names".to_owned()));
        }
        part.append(&buffer[..n])?;
        observer.advance(n as u64);
    }
    match all {
        Some(all) if part.n_bytes < all => {
            let reason = format!("the answer ended after {} of {all} bytes", part.n_bytes);
            Err(Fault::Transient(reason.into()))
        }
        _ => Ok(()),
    }
}

/// A `Content-Range` header.
struct ContentRange {
    first: u64,
    /// Length of the whole file.
    n_bytes: Option<u64>,
}

fn content_range(headers: &HeaderMap) -> Result<Option<ContentRange>, Fault> {
    let Some(text) = header(headers, "content-range")? else { return Ok(None) };
    let parse = || {
        let (range, all) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let first = range.split_once('-')?.0.parse().ok()?;
        let n_bytes = if all == "*" { None } else { Some(all.parse().ok()?) };
        Some(ContentRange { first, n_bytes })
    };
    let unusable = || Fault::Refused(format!("its header `Content-Range` is {text:?}"));
    parse().map(Some).ok_or_else(unusable)
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    header(headers, "content-length")?.map(|text| number(text, "Content-Length")).transpose()
}

fn number(text: &str, name: &str) -> Result<u64, Fault> {
    let unusable = |_| Fault::Refused(format!("its header `{name}` is {text:?}"));
    text.trim().parse().map_err(unusable)
}

fn write_error(path: &Path, source: std::io::Error) -> Error {
    Error::Io { action: "write", path: path.to_owned(), source }
}
