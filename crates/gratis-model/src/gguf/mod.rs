//! GGUF files: the single-file checkpoints of llama.cpp, read into the engine's own order.
//!
//! A file holds the decoder's shape ([`GgufFile::config`]), its weights ([`GgufFile::weights`]), its
//! tokenizer ([`GgufFile::tokenizer`]) and its chat template. Weights are f32, f16, bf16 or
//! quantised; they are read as `f32` or stay in the mapped file
//! ([`GgufFile::map_weights`]). The file is untrusted: it may be truncated or malicious.

mod config;
mod header;
mod tensor;
mod tokenizer;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::chat_template::{ChatTemplate, ChatTemplates};
use crate::checkpoint::map::{map_file, n_cols};
use crate::checkpoint::mapped::{RowOrder, StoredTensor};
use crate::checkpoint::{MappedWeights, WeightFiles};
use crate::config::{Architecture, Head, ModelConfig};
use crate::error::{Error, Result};
use crate::layout::{Layout, TensorSpec};
use header::{Header, MetadataValue, TensorInfo};
use tensor::TensorType;

/// Tensors that repeat information of the configuration.
const DERIVED_TENSORS: &[&str] = &["rope_freqs.weight"];

/// An opened GGUF file.
#[derive(Debug, Clone)]
pub struct GgufFile {
    path: PathBuf,
    n_bytes: u64,
    header: Header,
    /// Place of each tensor in the header's table.
    places: HashMap<String, usize>,
}

impl GgufFile {
    /// Reads the header of a file; weights stay on disk.
    pub fn open(path: &Path) -> Result<Self> {
        let io_error = |source| Error::Io { action: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(io_error)?;
        let n_bytes = file.metadata().map_err(io_error)?.len();
        let header = Header::read(BufReader::new(file), n_bytes, path)?;
        let names = header.tensors.iter().map(|tensor| tensor.name.clone());
        let places = names.zip(0..).collect();
        Ok(Self { path: path.to_owned(), n_bytes, header, places })
    }

    /// The chat templates, if the file has any: `default`, and others by their names.
    pub fn chat_templates(&self) -> Option<ChatTemplates> {
        let templates = self.header.metadata.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix("tokenizer.chat_template")?;
            let name = if name.is_empty() { "default" } else { name.strip_prefix('.')? };
            match value {
                MetadataValue::String(source) => Some((name.to_owned(), source.clone())),
                _ => None,
            }
        });
        ChatTemplates::new(templates, &self.path.display().to_string())
    }

    /// The chat template that is used when none is asked for, if the file has one.
    ///
    /// # Errors
    /// That of the template, or [`Error::UnknownTemplate`] if none of several is the default.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>> {
        self.chat_templates().map(|all| all.select(None)).transpose()
    }

    /// Whether any matrix is quantised. Such a model stays as it is stored, mapped.
    pub fn is_quantised(&self) -> bool {
        self.header.tensors.iter().any(|tensor| tensor.tensor_type.blocks().is_some())
    }

    /// The file, and the types in which the weights are stored.
    pub fn weight_files(&self) -> WeightFiles {
        let mut types: Vec<(TensorType, usize)> = Vec::new();
        for tensor in &self.header.tensors {
            let n: usize = tensor.shape.iter().product();
            match types.iter_mut().find(|(known, _)| *known == tensor.tensor_type) {
                Some((_, total)) => *total += n,
                None => types.push((tensor.tensor_type, n)),
            }
        }
        types.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        WeightFiles {
            paths: vec![self.path.clone()],
            n_bytes: self.n_bytes,
            n_weight_bytes: self.header.tensors.iter().map(|tensor| tensor.n_bytes).sum(),
            types: types.into_iter().map(|(stored, n)| (stored.to_string(), n)).collect(),
        }
    }

    /// The weights in the order of `layout`, which is that of `config`, as `f32`.
    ///
    /// llama.cpp turns neighbouring pairs of a head's components for the Llama family, Hugging Face
    /// the two halves; the rows of its queries and keys are put back in the latter order.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::WrongShape`], [`Error::UnexpectedTensor`],
    /// [`Error::UnsupportedDtype`] or [`Error::NonFiniteWeight`], each naming file and tensor.
    /// Nothing is allocated before every shape has been checked.
    pub fn weights(&self, config: &ModelConfig, layout: &Layout) -> Result<Vec<f32>> {
        let sources = self.sources(config, layout)?;
        let mut weights = vec![0.0; layout.n_parameters()];
        for (spec, source) in layout.tensors.iter().zip(sources) {
            let out = &mut weights[spec.range.clone()];
            self.read_tensor(source, out)?;
            if let Some(index) = out.iter().position(|weight| !weight.is_finite()) {
                return Err(Error::NonFiniteWeight {
                    path: self.path.clone(),
                    tensor: source.name.clone(),
                    index,
                    value: out[index],
                });
            }
            if is_in_pairs(spec, config) {
                halves_from_pairs(out, config.head_dim, n_cols(spec));
            }
        }
        Ok(weights)
    }

    /// The weights as [`Self::weights`], left in the file, which is mapped: quantised matrices are
    /// then dequantised row by row where they are used.
    ///
    /// # Errors
    /// As [`Self::weights`]. A matrix that holds a NaN is found when a result is not finite.
    pub fn map_weights(&self, config: &ModelConfig, layout: &Layout) -> Result<MappedWeights> {
        let sources = self.sources(config, layout)?;
        let io_error = |source| Error::Io { action: "read", path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(io_error)?;
        let map = map_file(&self.path, &file)?;
        let end = sources.iter().map(|source| source.offset + source.n_bytes).max().unwrap_or(0);
        if (map.len() as u64) < end {
            let reason = format!("it has {} bytes now, its tensors end at {end}", map.len());
            return Err(Error::MalformedFile { path: self.path.clone(), reason });
        }
        let tensors = layout.tensors.iter().zip(sources).map(|(spec, source)| StoredTensor {
            name: source.name.clone(),
            place: spec.range.clone(),
            n_cols: n_cols(spec),
            n_axes: spec.shape.len(),
            file: 0,
            start: source.offset as usize,
            stored: source.tensor_type.stored(),
            rows: if is_in_pairs(spec, config) {
                RowOrder::Pairs { head_dim: config.head_dim }
            } else {
                RowOrder::AsStored
            },
        });
        MappedWeights::new(vec![(self.path.clone(), map)], tensors.collect())
    }

    /// The tensor of each parameter of `layout`, checked; no other tensor is in the file.
    fn sources(&self, config: &ModelConfig, layout: &Layout) -> Result<Vec<&TensorInfo>> {
        let sources: Vec<&TensorInfo> =
            layout.tensors.iter().map(|spec| self.source(spec)).collect::<Result<_>>()?;
        let used: HashSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        for tensor in &self.header.tensors {
            let name = tensor.name.as_str();
            if !used.contains(name) && !DERIVED_TENSORS.contains(&name) {
                return Err(Error::UnexpectedTensor {
                    path: self.path.clone(),
                    tensor: tensor.name.clone(),
                    architecture: config.architecture.name(),
                });
            }
        }
        Ok(sources)
    }

    fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.places.get(name).map(|place| &self.header.tensors[*place])
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensor(name).map(|tensor| tensor.shape.as_slice())
    }

    /// The tensor that holds a parameter, of the right shape.
    fn source(&self, spec: &TensorSpec) -> Result<&TensorInfo> {
        let name = gguf_name(&spec.name);
        let tensor = self.tensor(&name).ok_or_else(|| self.missing_tensor(&name))?;
        if tensor.shape != spec.shape {
            return Err(self.wrong_shape(tensor, &spec.shape));
        }
        if spec.shape.len() == 1
            && let Some(blocks) = tensor.tensor_type.blocks()
        {
            return Err(Error::UnsupportedDtype {
                path: self.path.clone(),
                tensor: tensor.name.clone(),
                got: blocks.name().to_owned(),
                supported: "F32, F16, BF16 for a norm or a bias".to_owned(),
            });
        }
        Ok(tensor)
    }

    /// Rejects a configuration whose first layer or embedding does not match the file, so no layout
    /// is made from unchecked sizes.
    fn check_shapes(&self, config: &ModelConfig) -> Result<()> {
        let (hidden, inter) = (config.hidden_size, config.intermediate_size);
        // The sizes are below 2^31: their products do not overflow 64 bits.
        let (query, key_value) = (config.query_size(), config.key_value_size());
        let mut expected = vec![
            ("token_embd.weight", [config.vocab_size, hidden]),
            ("blk.0.attn_q.weight", [query, hidden]),
            ("blk.0.attn_k.weight", [key_value, hidden]),
            ("blk.0.ffn_gate.weight", [inter, hidden]),
        ];
        if config.head == Head::Untied {
            expected.push(("output.weight", [config.vocab_size, hidden]));
        }
        for (name, shape) in expected {
            let tensor = self.tensor(name).ok_or_else(|| self.missing_tensor(name))?;
            if tensor.shape != shape {
                return Err(self.wrong_shape(tensor, &shape));
            }
        }
        Ok(())
    }

    fn read_tensor(&self, tensor: &TensorInfo, out: &mut [f32]) -> Result<()> {
        let io_error = |source| Error::Io { action: "read", path: self.path.clone(), source };
        let mut file = File::open(&self.path).map_err(io_error)?;
        file.seek(SeekFrom::Start(tensor.offset)).map_err(io_error)?;
        let mut bytes = vec![0; tensor.n_bytes as usize];
        file.read_exact(&mut bytes).map_err(io_error)?;
        tensor.tensor_type.stored().widen(&bytes, out);
        Ok(())
    }

    fn missing_tensor(&self, name: &str) -> Error {
        Error::MissingTensor { path: self.path.clone(), tensor: name.to_owned() }
    }

    fn wrong_shape(&self, tensor: &TensorInfo, expected: &[usize]) -> Error {
        Error::WrongShape {
            path: self.path.clone(),
            tensor: tensor.name.clone(),
            expected: expected.to_vec(),
            got: tensor.shape.clone(),
        }
    }
}

/// llama.cpp's name of a Hugging Face parameter.
fn gguf_name(name: &str) -> String {
    let name = name.strip_prefix("model.").unwrap_or(name);
    let Some(rest) = name.strip_prefix("layers.") else {
        return match name {
            "embed_tokens.weight" => "token_embd.weight",
            "norm.weight" => "output_norm.weight",
            "lm_head.weight" => "output.weight",
            other => other,
        }
        .to_owned();
    };
    let (layer, parameter) = rest.split_once('.').unwrap_or((rest, ""));
    let (module, kind) = parameter.rsplit_once('.').unwrap_or((parameter, ""));
    let module = match module {
        "input_layernorm" => "attn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "post_attention_layernorm" => "ffn_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        other => other,
    };
    format!("blk.{layer}.{module}.{kind}")
}

/// Whether llama.cpp turns neighbouring components of a head for this architecture, and this is what
/// queries or keys are made with.
fn is_in_pairs(spec: &TensorSpec, config: &ModelConfig) -> bool {
    matches!(config.architecture, Architecture::Llama | Architecture::Mistral)
        && (spec.name.contains("q_proj") || spec.name.contains("k_proj"))
}

/// Moves the rows `(0, 1), (2, 3), ...` of each head to `0, 2, ..., 1, 3, ...`.
fn halves_from_pairs(rows: &mut [f32], head_dim: usize, row_size: usize) {
    let half = head_dim / 2;
    for head in rows.chunks_exact_mut(head_dim * row_size) {
        let pairs = head.to_vec();
        for (row_idx, row) in pairs.chunks_exact(row_size).enumerate() {
            let place = (row_idx % 2 * half + row_idx / 2) * row_size;
            head[place..place + row_size].copy_from_slice(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_halves_head_by_head() {
        let mut rows: Vec<f32> = (0..16_u8).map(f32::from).collect();
        halves_from_pairs(&mut rows, 4, 2);
        let expected = [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15_u8].map(f32::from);
        assert_eq!(rows, expected);
    }

    #[test]
    fn names_are_those_of_llama_cpp() {
        for (hugging_face, expected) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("model.layers.11.self_attn.q_proj.bias", "blk.11.attn_q.bias"),
            ("model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight"),
            ("model.norm.weight", "output_norm.weight"),
            ("lm_head.weight", "output.weight"),
        ] {
            assert_eq!(gguf_name(hugging_face), expected);
        }
    }
}
