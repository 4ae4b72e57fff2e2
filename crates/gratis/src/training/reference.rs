//! The reference's log-probabilities: computed once for a data set and kept in a cache folder.
//!
//! The cache file is named after what it depends on: the hash of the reference's weights, that of the
//! tokens, and the size of a micro-batch, so a changed model or file never uses a stale one.
//! Its content: a line of JSON with these, then one part per micro-batch at its own place, the
//! log-probabilities as little-endian f32 and a checksum. Only the micro-batches that a training will
//! use are computed; a part that is not there, was cut off by a kill or is damaged is computed again.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use gratis_engine::Score;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cost::Work;
use crate::encoding::{Corpus, Item, MicroBatch, MicroBatches, micro_batches};
use crate::error::{Error, Result};
use crate::observer::{Figure, Observer};

/// Version of the cache file.
const VERSION: u32 = 2;
/// Bytes of a part's checksum.
const N_CHECKSUM: usize = 8;

/// What a cache file depends on: its first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    version: u32,
    model_hash: String,
    data_hash: String,
    micro_batch_tokens: usize,
}

/// Log-probabilities under `reference` of the responses of `corpus` that are used: `is_used` has an
/// entry per response. Returns them as `[n_responses][n_tokens]`, where a response that is not used may
/// have no row, and the passes that they stand for, cached ones as well. They are read from `cache`, a folder, where they are there, otherwise computed
/// and, unless it is `None`, written there. `model_hash` names the reference's weights.
///
/// # Errors
/// Those of the engine, and [`Io`](crate::data::Error::Io) if the cache cannot be read or written.
pub fn reference_log_probs(
    reference: &dyn Score,
    model_hash: &str,
    corpus: &Corpus,
    is_used: &[bool],
    cache: Option<&Path>,
    micro_batch_tokens: usize,
    observer: &mut dyn Observer,
) -> Result<(Vec<Vec<f32>>, Work)> {
    let n_responses = corpus.responses().len();
    let (mut log_probs, mut work) = (vec![Vec::new(); n_responses], Work::default());
    if !is_used.contains(&true) {
        return Ok((log_probs, work));
    }
    // The micro-batches of the whole corpus, so that a value has the same bits whatever is used.
    let units: Vec<Item> = (0..n_responses).map(Item::Response).collect();
    let MicroBatches { packed, members } = micro_batches(corpus, &units, micro_batch_tokens)?;
    let key = Key {
        version: VERSION,
        model_hash: model_hash.to_owned(),
        data_hash: corpus.digest(),
        micro_batch_tokens,
    };
    let lengths = members.iter().map(|members| n_values(corpus, members));
    let mut file =
        cache.map(|cache| CacheFile::open(cache, &key, lengths.collect())).transpose()?;

    let mut missing = Vec::new();
    let (mut n_used, mut n_found, mut n_damaged) = (0, 0, 0);
    for (idx, batch) in members.iter().enumerate() {
        if !batch.responses.iter().any(|&response| is_used[response]) {
            continue;
        }
        n_used += batch.responses.len() as u64;
        work += Work::of_batch(&packed[idx]);
        let part = match &mut file {
            Some(file) => file.read(idx)?,
            None => Part::Absent,
        };
        match part {
            Part::Whole(part) => {
                n_found += batch.responses.len() as u64;
                spread(&part, corpus, batch, &mut log_probs);
                continue;
            }
            Part::Damaged => n_damaged += 1,
            Part::Absent => {}
        }
        missing.push(idx);
    }
    if let Some(file) = &file {
        let path = file.path.display();
        if n_damaged > 0 {
            observer.note(&format!(
                "`{path}` is damaged in {n_damaged} of its {} parts: they are computed again",
                members.len()
            ));
        }
        if missing.is_empty() {
            observer.note(&format!("log-probabilities of the reference from `{path}`"));
            return Ok((log_probs, work));
        }
    }
    observer.stage("reference", Some(n_used));
    observer.resumed(n_found);
    for at_once in missing.chunks(reference.describe().n_concurrent_batches.max(1)) {
        let batches: Vec<_> = at_once.iter().map(|&idx| packed[idx].clone()).collect();
        for (&idx, rows) in at_once.iter().zip(reference.log_probs(&batches)?) {
            let part: Vec<f32> = rows.rows().flatten().copied().collect();
            if let Some(file) = &mut file {
                file.write(idx, &part)?;
            }
            spread(&part, corpus, &members[idx], &mut log_probs);
            let n_tokens = Figure::Amount("tokens", packed[idx].n_tokens() as u64);
            observer.advance(members[idx].responses.len() as u64, &[n_tokens]);
        }
    }
    Ok((log_probs, work))
}

/// Values of a micro-batch.
fn n_values(corpus: &Corpus, batch: &MicroBatch) -> usize {
    batch.responses.iter().map(|&idx| corpus.responses()[idx].tokens.len()).sum()
}

/// Cuts the values of a micro-batch into its responses.
fn spread(mut part: &[f32], corpus: &Corpus, batch: &MicroBatch, into: &mut [Vec<f32>]) {
    for &idx in &batch.responses {
        let (row, rest) = part.split_at(corpus.responses()[idx].tokens.len());
        into[idx] = row.to_vec();
        part = rest;
    }
}

/// An open cache file. Two processes may write the same one: they write the same bytes.
struct CacheFile {
    path: PathBuf,
    file: File,
    /// Where each part begins, and how many values it has.
    parts: Vec<(u64, usize)>,
}

enum Part {
    Whole(Vec<f32>),
    /// Never written.
    Absent,
    /// Cut off or changed.
    Damaged,
}

impl CacheFile {
    /// Opens the file of this key, made if it is not there; one with another first line is begun
    /// anew.
    fn open(folder: &Path, key: &Key, lengths: Vec<usize>) -> Result<Self> {
        let path = folder.join(key.file_name());
        let open = || {
            fs::create_dir_all(folder)?;
            let mut file =
                File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            let first = format!("{}\n", serde_json::json!(key));
            let mut known = vec![0; first.len()];
            if BufReader::new(&file).read_exact(&mut known).is_err() || known != first.as_bytes() {
                file.set_len(0)?;
                file.rewind()?;
                file.write_all(first.as_bytes())?;
            }
            Ok((file, first.len() as u64))
        };
        let (file, mut start) = open().map_err(Error::io("write", &path))?;
        let mut parts = Vec::with_capacity(lengths.len());
        for n_values in lengths {
            parts.push((start, n_values));
            start += (4 * n_values + N_CHECKSUM) as u64;
        }
        Ok(Self { path, file, parts })
    }

    fn read(&mut self, idx: usize) -> Result<Part> {
        let (start, n_values) = self.parts[idx];
        let mut bytes = vec![0; 4 * n_values + N_CHECKSUM];
        let mut read = || {
            self.file.seek(SeekFrom::Start(start))?;
            let mut n_read = 0;
            // What lies beyond the end stays zero.
            while n_read < bytes.len() {
                match self.file.read(&mut bytes[n_read..]) {
                    Ok(0) => break,
                    Ok(n) => n_read += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        read().map_err(Error::io("read", &self.path))?;
        let (payload, known) = bytes.split_at(4 * n_values);
        Ok(if known == checksum(idx, payload) {
            let (words, _) = payload.as_chunks::<4>();
            Part::Whole(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
        } else if bytes.iter().all(|&byte| byte == 0) {
            Part::Absent
        } else {
            Part::Damaged
        })
    }

    fn write(&mut self, idx: usize, part: &[f32]) -> Result<()> {
        let mut bytes: Vec<u8> = part.iter().flat_map(|value| value.to_le_bytes()).collect();
        bytes.extend(checksum(idx, &bytes));
        let mut write = || {
            self.file.seek(SeekFrom::Start(self.parts[idx].0))?;
            self.file.write_all(&bytes)
        };
        write().map_err(Error::io("write", &self.path))
    }
}

impl Key {
    fn file_name(&self) -> String {
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        let (model, data) = (short(&self.model_hash), short(&self.data_hash));
        format!("reference-{model}-{data}-{}", self.micro_batch_tokens)
    }
}

fn checksum(idx: usize, payload: &[u8]) -> [u8; N_CHECKSUM] {
    let mut hasher = Sha256::new();
    hasher.update((idx as u64).to_le_bytes());
    hasher.update(payload);
    let digest = hasher.finalize();
    std::array::from_fn(|byte| digest[byte])
}
