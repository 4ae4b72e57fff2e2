//! Checkpoints: reading and writing Hugging Face folders of `config.json` and safetensors.
//!
//! Weights are streamed from the files straight into one flat `f32` array in the order of
//! [`Layout`], and back, or stay in the files and are mapped. Every error names the file and the
//! tensor.

mod files;
pub(crate) mod map;
pub(crate) mod mapped;
mod named;

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use half::bf16;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use crate::atomic;
use crate::config::{Head, ModelConfig};
use crate::dtype::{WeightType, first_non_finite, size_of_dtype, widen};
use crate::error::{Error, Result};
use crate::layout::{Layout, TensorSpec};
use files::{CheckpointFiles, EMBEDDING, HEAD, SINGLE_FILE, TensorFile};
pub use map::{map_body, map_weights};
pub use mapped::MappedWeights;
pub use named::NamedTensors;

/// Bytes converted at a time.
const CHUNK: usize = 1 << 20;

/// Reads the parameters of a model of shape `config` from `model.safetensors`, or from the shards
/// of `model.safetensors.index.json`, in the order of `layout`: `[n_parameters]`.
///
/// Rotary frequency buffers of old checkpoints are ignored, as is the copy of the embedding
/// that some files carry as `lm_head.weight` although the head is tied. Names may lack their prefix
/// `model.`, and a tied embedding may stand as `lm_head.weight` alone, as in `transformers` 5.
///
/// # Errors
/// A fault of a file ([`Error::MissingFile`], [`Error::Io`], [`Error::MalformedFile`]) or of a
/// tensor ([`Error::MissingTensor`], [`Error::UnexpectedTensor`], [`Error::WrongShape`],
/// [`Error::UnsupportedDtype`], [`Error::NonFiniteWeight`]). Memory for the parameters is taken
/// only after the headers have been found to fit `layout`.
pub fn read_weights(folder: &Path, config: &ModelConfig, layout: &Layout) -> Result<Vec<f32>> {
    read_body(folder, config, layout, &[])
}

/// As [`read_weights`], for files that also hold the tensors named in `beside`, which are passed
/// over: the head of a reward model, and a language model's head that it does not use.
///
/// # Errors
/// As [`read_weights`].
pub fn read_body(
    folder: &Path,
    config: &ModelConfig,
    layout: &Layout,
    beside: &[String],
) -> Result<Vec<f32>> {
    let mut checkpoint = open_fitting(folder, config, layout, beside)?;
    let mut parameters = vec![0.0; layout.n_parameters()];
    for spec in &layout.tensors {
        if let Some((file, name)) = checkpoint.place_of(&spec.name, config.head) {
            let into = &mut parameters[spec.range.clone()];
            read_tensor(&mut checkpoint.files[file], &name, into)?;
        }
    }
    Ok(parameters)
}

/// The files and types in which the weights of a folder are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightFiles {
    /// The safetensors files, in the order of their names, or a GGUF file.
    pub paths: Vec<PathBuf>,
    /// Bytes of all files together.
    pub n_bytes: u64,
    /// Bytes of the weights in them.
    pub n_weight_bytes: u64,
    /// Number of parameters of each type that occurs, such as `BF16`, most first.
    pub types: Vec<(String, usize)>,
}

/// Describes the safetensors files of a folder from their headers.
///
/// # Errors
/// A fault of a file, as [`read_weights`].
pub fn weight_files(folder: &Path) -> Result<WeightFiles> {
    let checkpoint = files::open(folder)?;
    let mut types: HashMap<String, usize> = HashMap::new();
    let (mut n_bytes, mut n_weight_bytes) = (0, 0);
    for file in &checkpoint.files {
        n_bytes += file.data_start + file.header.data_len() as u64;
        n_weight_bytes += file.header.data_len() as u64;
        for info in file.header.tensors().into_values() {
            *types.entry(info.dtype.to_string()).or_default() +=
                info.shape.iter().product::<usize>();
        }
    }
    let mut types: Vec<_> = types.into_iter().collect();
    types.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    let paths = checkpoint.files.into_iter().map(|file| file.path).collect();
    Ok(WeightFiles { paths, n_bytes, n_weight_bytes, types })
}

/// Checks that a safetensors file is as long as its header says.
///
/// # Errors
/// A fault of the file, as [`read_weights`].
#[cfg(feature = "hub")]
pub(crate) fn check_file(path: &Path) -> Result<()> {
    files::open_file(path.to_owned(), "it was there a moment ago").map(drop)
}

/// Opens the files of a folder and checks by their headers that they hold the model.
fn open_fitting(
    folder: &Path,
    config: &ModelConfig,
    layout: &Layout,
    beside: &[String],
) -> Result<CheckpointFiles> {
    let mut checkpoint = files::open(folder)?;
    // Each tensor of the files that holds a parameter, by its name there.
    let mut expected: HashMap<String, &TensorSpec> = HashMap::new();
    let mut missing = None;
    for spec in &layout.tensors {
        match checkpoint.place_of(&spec.name, config.head) {
            Some((_, name)) => drop(expected.insert(name, spec)),
            None => missing = missing.or(Some(spec)),
        }
    }
    for file in &checkpoint.files {
        for (name, info) in file.header.tensors() {
            match expected.get(name.as_str()) {
                Some(spec) => check(file, spec, info)?,
                None if ignored(&name, config) || beside.contains(&name) => {}
                None => {
                    return Err(Error::UnexpectedTensor {
                        path: file.path.clone(),
                        tensor: name,
                        architecture: config.architecture.name(),
                    });
                }
            }
        }
    }
    if let Some(spec) = missing {
        return Err(Error::MissingTensor { path: checkpoint.path, tensor: spec.name.clone() });
    }
    let is_unused = beside.iter().any(|name| name == HEAD);
    if config.head == Head::Tied && !is_unused && !expected.contains_key(HEAD) {
        check_tied(folder, &mut checkpoint)?;
    }
    Ok(checkpoint)
}

/// Rejects a head that differs from the embedding to which `config.json` ties it. `transformers` 5
/// uses the head of the file in that case, earlier versions the embedding.
fn check_tied(folder: &Path, checkpoint: &mut CheckpointFiles) -> Result<()> {
    let Some(head) = checkpoint.place_of(HEAD, Head::Untied) else { return Ok(()) };
    let Some(embedding) = checkpoint.place_of(EMBEDDING, Head::Untied) else { return Ok(()) };
    let shape = |(file, name): &(usize, String)| {
        checkpoint.files[*file].header.info(name).map(|info| info.shape.clone())
    };
    let mut is_same = shape(&head) == shape(&embedding);
    let n_values = shape(&head).unwrap_or_default().iter().product::<usize>();
    const VALUES: usize = CHUNK / 4;
    let (mut of_head, mut of_embedding) = (Vec::new(), Vec::new());
    for start in (0..n_values).step_by(VALUES) {
        if !is_same {
            break;
        }
        let n_part = VALUES.min(n_values - start);
        for ((file, name), values) in [(&head, &mut of_head), (&embedding, &mut of_embedding)] {
            values.resize(n_part, 0.0);
            read_part(&mut checkpoint.files[*file], name, start, values)?;
        }
        is_same = of_head == of_embedding;
    }
    if is_same {
        return Ok(());
    }
    Err(Error::UnsupportedConfig {
        path: folder.join("config.json"),
        field: "tie_word_embeddings".to_owned(),
        got: format!("`true`, where `{HEAD}` differs from `{EMBEDDING}`,"),
        supported: "`false` for such weights".to_owned(),
    })
}

/// Writes `config.json` and `model.safetensors` into `folder`, whole or not at all: see
/// [`atomic::write_folder`].
///
/// # Errors
/// [`Error::Io`]; [`Error::UnsupportedConfig`] as [`ModelConfig::to_json`];
/// [`Error::NonFiniteWeight`] if a parameter is NaN or infinite: such a model is not written.
pub fn write(
    folder: &Path,
    config: &ModelConfig,
    layout: &Layout,
    parameters: &[f32],
    weights: WeightType,
) -> Result<()> {
    let path = folder.join(SINGLE_FILE);
    let text = config.to_json(weights, &folder.join("config.json"))?;
    // `transformers` refuses a file that does not say which library's layout it has.
    let origin = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    atomic::write_folder(folder, |folder| {
        let draft = folder.join(SINGLE_FILE);
        write_tensors(&draft, &path, &layout.tensors, &[parameters], weights, &origin)?;
        atomic::write(&folder.join("config.json"), text.as_bytes())
    })
}

/// Writes a safetensors file of `tensors`, whose values are those of `parts` one after the other.
/// `path` is the name of the file in errors.
///
/// # Errors
/// [`Error::Io`]; [`Error::NonFiniteWeight`] if a value is NaN or infinite.
pub fn write_tensors(
    file: &Path,
    path: &Path,
    tensors: &[TensorSpec],
    parts: &[&[f32]],
    weights: WeightType,
    annotations: &BTreeMap<String, String>,
) -> Result<()> {
    let mut start = 0;
    for part in parts {
        let of_part = |spec: &&TensorSpec| (start..start + part.len()).contains(&spec.range.start);
        for spec in tensors.iter().filter(of_part) {
            let values = &part[spec.range.start - start..spec.range.end - start];
            check_finite(path, &spec.name, 0, values)?;
        }
        start += part.len();
    }
    let header = header(tensors, weights, annotations);
    atomic::write_with(file, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        let mut chunks = parts.iter().flat_map(|part| part.chunks(CHUNK / 4));
        chunks.try_for_each(|chunk| match weights {
            WeightType::F32 => file.write_all(&to_bytes(chunk, f32::to_le_bytes)),
            WeightType::Bf16 => {
                file.write_all(&to_bytes(chunk, |x| bf16::from_f32(x).to_le_bytes()))
            }
        })
    })
}

/// Reads exactly `tensors` from a safetensors file; `of` says what for. `into` are the parts that
/// their places count through, one after the other, as in [`write_tensors`].
///
/// # Errors
/// A fault of the file or of a tensor, as [`read_weights`].
pub fn read_tensors(
    path: PathBuf,
    tensors: &[TensorSpec],
    of: &'static str,
    into: &mut [&mut [f32]],
) -> Result<()> {
    let mut file = files::open_file(path, "the tensors are there")?;
    let expected: HashMap<&str, &TensorSpec> =
        tensors.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    if let Some(tensor) =
        file.header.tensors().into_keys().find(|name| !expected.contains_key(name.as_str()))
    {
        return Err(Error::UnexpectedTensor { path: file.path, tensor, architecture: of });
    }
    check_all(&file, tensors)?;
    let mut start = 0;
    for part in into {
        let places = start..start + part.len();
        for spec in tensors.iter().filter(|spec| places.contains(&spec.range.start)) {
            let values = &mut part[spec.range.start - start..spec.range.end - start];
            read_tensor(&mut file, &spec.name, values)?;
        }
        start += part.len();
    }
    Ok(())
}

/// The annotations in the header of a safetensors file; `hint` says why it should be there.
///
/// # Errors
/// A fault of the file.
pub fn read_annotations(path: PathBuf, hint: &str) -> Result<BTreeMap<String, String>> {
    let file = files::open_file(path, hint)?;
    Ok(file.header.metadata().clone().unwrap_or_default().into_iter().collect())
}

/// Whether a file holds each of `tensors` in its shape.
fn check_all(file: &TensorFile, tensors: &[TensorSpec]) -> Result<()> {
    tensors.iter().try_for_each(|spec| {
        let info = file.header.info(&spec.name).ok_or_else(|| Error::MissingTensor {
            path: file.path.clone(),
            tensor: spec.name.clone(),
        })?;
        check(file, spec, info)
    })
}

/// The JSON header of a safetensors file with `tensors` one after the other. The order of its
/// entries is fixed, so the same checkpoint gives the same bytes.
fn header(
    tensors: &[TensorSpec],
    weights: WeightType,
    annotations: &BTreeMap<String, String>,
) -> Vec<u8> {
    let n_bytes = size_of_dtype(weights.dtype());
    let mut entries = serde_json::Map::new();
    entries.insert("__metadata__".to_owned(), serde_json::json!(annotations));
    for spec in tensors {
        let info = serde_json::json!({
            "dtype": weights.dtype().to_string(),
            "shape": spec.shape,
            "data_offsets": [spec.range.start * n_bytes, spec.range.end * n_bytes],
        });
        entries.insert(spec.name.clone(), info);
    }
    let mut bytes = serde_json::Value::Object(entries).to_string().into_bytes();
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    bytes
}

fn to_bytes<const N: usize>(values: &[f32], convert: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| convert(value)).collect()
}

/// Whether a checkpoint may contain this tensor although the model does not have it.
fn ignored(name: &str, config: &ModelConfig) -> bool {
    name.ends_with("rotary_emb.inv_freq") || (name == HEAD && config.head == Head::Tied)
}

fn check(file: &TensorFile, spec: &TensorSpec, info: &TensorInfo) -> Result<()> {
    if info.shape != spec.shape {
        return Err(Error::WrongShape {
            path: file.path.clone(),
            tensor: spec.name.clone(),
            expected: spec.shape.clone(),
            got: info.shape.clone(),
        });
    }
    match info.dtype {
        Dtype::F64 | Dtype::F32 | Dtype::BF16 | Dtype::F16 => Ok(()),
        other => Err(Error::UnsupportedDtype {
            path: file.path.clone(),
            tensor: spec.name.clone(),
            got: other.to_string(),
            supported: "F64, F32, BF16, F16".to_owned(),
        }),
    }
}

/// Streams one tensor into `into`, as `f32`. Its header entry has been checked.
fn read_tensor(file: &mut TensorFile, name: &str, into: &mut [f32]) -> Result<()> {
    read_part(file, name, 0, into)
}

/// As [`read_tensor`], the values from flat index `start`.
fn read_part(file: &mut TensorFile, name: &str, start: usize, into: &mut [f32]) -> Result<()> {
    let Some(info) = file.header.info(name) else {
        return Err(Error::MissingTensor { path: file.path.clone(), tensor: name.to_owned() });
    };
    let dtype = info.dtype;
    let n_bytes = size_of_dtype(dtype);
    let first_byte = file.data_start + (info.data_offsets.0 + start * n_bytes) as u64;
    let io = |source| Error::Io { action: "read", path: file.path.clone(), source };
    file.file.seek(SeekFrom::Start(first_byte)).map_err(io)?;
    let mut bytes = vec![0; CHUNK.min(into.len() * n_bytes)];
    for (idx, values) in into.chunks_mut(CHUNK / n_bytes).enumerate() {
        let bytes = &mut bytes[..values.len() * n_bytes];
        file.file.read_exact(bytes).map_err(io)?;
        widen(dtype, bytes, values);
        check_finite(&file.path, name, start + idx * (CHUNK / n_bytes), values)?;
    }
    Ok(())
}

fn check_finite(path: &Path, tensor: &str, first: usize, values: &[f32]) -> Result<()> {
    match first_non_finite(values) {
        None => Ok(()),
        Some(idx) => Err(Error::NonFiniteWeight {
            path: path.to_owned(),
            tensor: tensor.to_owned(),
            index: first + idx,
            value: values[idx],
        }),
    }
}
