//! Which safetensors file of a folder holds which tensor, and the checks on their headers.
//!
//! Sizes in a header are checked against the file's length before anything is allocated.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use safetensors::tensor::Metadata;
use serde::Deserialize;

use crate::config::Head;
use crate::error::{Error, Result};

/// The token embedding.
pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";
/// The language model's head.
pub(super) const HEAD: &str = "lm_head.weight";
/// The file of an unsharded checkpoint.
pub(super) const SINGLE_FILE: &str = "model.safetensors";
/// The index of a sharded one.
const INDEX_FILE: &str = "model.safetensors.index.json";

/// An opened safetensors file with its header read and checked.
pub(super) struct TensorFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) header: Metadata,
    /// Byte at which the tensors' data begin.
    pub(super) data_start: u64,
}

/// All safetensors files of a checkpoint.
pub(super) struct CheckpointFiles {
    /// The single file or the index.
    pub(super) path: PathBuf,
    pub(super) files: Vec<TensorFile>,
    file_of: HashMap<String, usize>,
}

impl CheckpointFiles {
    /// Index of the file that holds `tensor`.
    pub(super) fn file_of(&self, tensor: &str) -> Option<usize> {
        self.file_of.get(tensor).copied()
    }

    /// The file that holds a parameter, and the tensor's name there: its own, or without `model.`,
    /// as the class without a head writes it; a tied embedding may stand as `lm_head.weight` alone.
    /// A wrapper with a value head puts `pretrained_model.` before its own name.
    pub(super) fn place_of(&self, parameter: &str, head: Head) -> Option<(usize, String)> {
        let trunk = parameter.strip_prefix("model.");
        let tied = (parameter == EMBEDDING && head == Head::Tied).then_some(HEAD);
        let names = [Some(parameter), trunk, tied].into_iter().flatten().map(str::to_owned);
        let wrapped = std::iter::once_with(|| format!("pretrained_model.{parameter}"));
        names.chain(wrapped).find_map(|name| Some((self.file_of(&name)?, name)))
    }
}

/// Opens the single file of `folder`, or else all shards of its index.
pub(super) fn open(folder: &Path) -> Result<CheckpointFiles> {
    let single = folder.join(SINGLE_FILE);
    let index = folder.join(INDEX_FILE);
    if !single.exists() && index.exists() {
        return open_sharded(folder, index);
    }
    let hint = if folder.join("pytorch_model.bin").exists() {
        "there is a `pytorch_model.bin`; save the model as safetensors first"
    } else {
        "a checkpoint holds its weights there, or in the shards of `model.safetensors.index.json`"
    };
    let file = open_file(single.clone(), hint)?;
    let file_of = file.header.tensors().into_keys().map(|name| (name, 0)).collect();
    Ok(CheckpointFiles { path: single, files: vec![file], file_of })
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

fn open_sharded(folder: &Path, path: PathBuf) -> Result<CheckpointFiles> {
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
        action: "read",
        path: path.clone(),
        source,
    })?;
    let malformed = |reason: String| Error::MalformedFile { path: path.clone(), reason };
    let index: Index = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    let mut shards: Vec<&String> = index.weight_map.values().collect();
    shards.sort_unstable();
    shards.dedup();
    let hint = format!("`{INDEX_FILE}` places tensors there");
    let files = shards
        .iter()
        .map(|shard| match Path::new(shard).file_name() {
            Some(name) if name == shard.as_str() => open_file(folder.join(name), &hint),
            _ => Err(malformed(format!("`{shard}` is not the name of a file beside it"))),
        })
        .collect::<Result<Vec<_>>>()?;
    let mut file_of = HashMap::new();
    for (name, shard) in &index.weight_map {
        let idx = shards.binary_search(&shard).unwrap_or_default();
        if files[idx].header.info(name).is_none() {
            return Err(malformed(format!("it places `{name}` in `{shard}`, which lacks it")));
        }
        file_of.insert(name.clone(), idx);
    }
    Ok(CheckpointFiles { path, files, file_of })
}

/// Opens a safetensors file: eight bytes with the header's length, the header, the data.
pub(super) fn open_file(path: PathBuf, hint: &str) -> Result<TensorFile> {
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::MissingFile { path, hint: hint.to_owned() });
        }
        Err(source) => return Err(Error::Io { action: "read", path, source }),
    };
    let malformed = |reason: String| Error::MalformedFile { path: path.clone(), reason };
    let io = |source| Error::Io { action: "read", path: path.clone(), source };
    let n_file = file.metadata().map_err(io)?.len();
    if n_file < 8 {
        return Err(malformed(format!("{n_file} bytes are too few for a safetensors file")));
    }
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(io)?;
    let n_header = u64::from_le_bytes(length);
    if n_header > n_file - 8 {
        return Err(malformed(format!(
            "its header claims {n_header} bytes and the file has {n_file}: truncated, or not \
             safetensors"
        )));
    }
    let mut header = vec![0; n_header as usize];
    file.read_exact(&mut header).map_err(io)?;
    // Parsing checks that offsets are in order, without holes, and fit type and shape.
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|error| malformed(format!("header: {error}")))?;
    let n_expected = 8 + n_header + header.data_len() as u64;
    if n_expected != n_file {
        return Err(malformed(format!(
            "its tensors end at byte {n_expected} and the file has {n_file}"
        )));
    }
    Ok(TensorFile { path, file, header, data_start: 8 + n_header })
}
