//! The reference's log-probabilities: computed once for a data set and kept beside it.
//!
//! The cache file is named after what it depends on, the hash of the reference's weights and that
//! of the tokens, so a changed model or file never finds a stale one. Its content: one line of JSON
//! with the key and the lengths, then the log-probabilities as little-endian f32.

use std::fs;
use std::path::{Path, PathBuf};

use gratis_engine::Score;
use gratis_model::atomic;
use serde::{Deserialize, Serialize};

use crate::encoding::{Corpus, log_probs};
use crate::error::Result;
use crate::observer::Observer;

/// Version of the cache file.
const VERSION: u32 = 1;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    model_hash: String,
    data_hash: String,
    lengths: Vec<usize>,
}

/// Log-probabilities under `reference` of every response of `corpus`, `[n_responses][n_tokens]`:
/// read from the cache beside the file `beside` where it is there, otherwise computed and written
/// there. `model_hash` names the reference's weights.
///
/// # Errors
/// Those of the engine, and [`crate::Error::Io`] if the cache cannot be written.
pub fn reference_log_probs(
    reference: &dyn Score,
    model_hash: &str,
    corpus: &Corpus,
    beside: &Path,
    micro_batch_tokens: usize,
    observer: &mut dyn Observer,
) -> Result<Vec<Vec<f32>>> {
    if corpus.responses().is_empty() {
        return Ok(Vec::new());
    }
    let header = Header {
        version: VERSION,
        model_hash: model_hash.to_owned(),
        data_hash: corpus.digest(),
        lengths: corpus.responses().iter().map(|response| response.tokens.len()).collect(),
    };
    let path = cache_path(beside, &header);
    if let Some(known) = fs::read(&path).ok().and_then(|bytes| parse(&bytes, &header)) {
        observer.note(&format!("log-probabilities of the reference from `{}`", path.display()));
        return Ok(known);
    }
    observer.stage("reference", Some(corpus.responses().len() as u64));
    let values = log_probs(reference, corpus, micro_batch_tokens, observer)?;
    atomic::write(&path, &to_bytes(&header, &values))?;
    Ok(values)
}

fn cache_path(beside: &Path, header: &Header) -> PathBuf {
    let short = |hash: &str| hash.chars().take(12).collect::<String>();
    let mut name = beside.file_name().unwrap_or_default().to_owned();
    name.push(format!(".reference-{}-{}", short(&header.model_hash), short(&header.data_hash)));
    beside.with_file_name(name)
}

fn to_bytes(header: &Header, values: &[Vec<f32>]) -> Vec<u8> {
    let mut bytes = serde_json::json!(header).to_string().into_bytes();
    bytes.push(b'\n');
    bytes.extend(values.iter().flatten().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// `None` if the file is not the one asked for; it is then written anew.
fn parse(bytes: &[u8], expected: &Header) -> Option<Vec<Vec<f32>>> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let header: Header = serde_json::from_slice(&bytes[..end]).ok()?;
    let (words, rest) = bytes[end + 1..].as_chunks::<4>();
    let n_values: usize = expected.lengths.iter().sum();
    if header != *expected || words.len() != n_values || !rest.is_empty() {
        return None;
    }
    let mut values = words.iter().map(|&word| f32::from_le_bytes(word));
    Some(expected.lengths.iter().map(|&n| values.by_ref().take(n).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            version: VERSION,
            model_hash: "m".to_owned(),
            data_hash: "d".to_owned(),
            lengths: vec![2, 1],
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let values = vec![vec![-0.5, f32::MIN_POSITIVE], vec![-3.25]];
        let bytes = to_bytes(&header(), &values);
        assert_eq!(parse(&bytes, &header()), Some(values));
        assert_eq!(parse(&bytes[..bytes.len() - 1], &header()), None);
        let other = Header { model_hash: "n".to_owned(), ..header() };
        assert_eq!(parse(&bytes, &other), None);
    }
}
