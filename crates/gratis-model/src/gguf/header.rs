//! The header of a GGUF file: metadata and the table of tensors, versions 1 to 3.
//!
//! A header is untrusted. Every length in it is checked against the bytes that are left in the file
//! before anything is allocated, so memory use is at most a small multiple of the file's size;
//! nothing is nested.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::Path;

use super::tensor::TensorType;
use crate::error::{Error, Result};

/// Tensors begin at multiples of this many bytes unless `general.alignment` says otherwise.
const DEFAULT_ALIGNMENT: u64 = 32;

/// No format of weights has more axes.
const MAX_AXES: u32 = 4;

/// The value of a metadata key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum MetadataValue {
    /// Any of the integer types.
    Integer(i128),
    /// 32 or 64 bits.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// UTF-8.
    String(String),
    /// An array of integers or booleans.
    Integers(Vec<i64>),
    /// An array of floats.
    Floats(Vec<f32>),
    /// An array of strings.
    Strings(Vec<String>),
}

/// One row of the table of tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorInfo {
    /// The name by llama.cpp's convention, for example `blk.0.attn_q.weight`.
    pub(super) name: String,
    /// Shape, row-major: the reverse of the order in the file.
    pub(super) shape: Vec<usize>,
    /// How its numbers are stored.
    pub(super) tensor_type: TensorType,
    /// Its place in the file, in bytes.
    pub(super) offset: u64,
    /// Bytes it takes.
    pub(super) n_bytes: u64,
}

/// Everything before the tensors.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    /// The metadata by key.
    pub(super) metadata: BTreeMap<String, MetadataValue>,
    /// The tensors in the file's order.
    pub(super) tensors: Vec<TensorInfo>,
}

impl Header {
    /// Reads the header of a file of `file_size` bytes; `path` only names it in errors.
    ///
    /// # Errors
    /// [`Error::MalformedFile`] for whatever is not a GGUF file, [`Error::UnsupportedDtype`] for
    /// a type that is not read.
    pub(super) fn read(input: impl Read, file_size: u64, path: &Path) -> Result<Self> {
        let mut reader = Reader { input, path, position: 0, file_size, version: 3 };
        if &reader.array::<4>()? != b"GGUF" {
            return Err(reader.malformed("it does not begin with `GGUF`"));
        }
        let version = reader.u32()?;
        if !(1..=3).contains(&version) {
            let order = if version.swap_bytes() <= 3 { " (big-endian)" } else { "" };
            return Err(reader.malformed(format!("GGUF version {version}{order} is not 1, 2 or 3")));
        }
        reader.version = version;
        let n_tensors = reader.length()?;
        let n_keys = reader.length()?;
        let mut metadata = BTreeMap::new();
        for _ in 0..n_keys {
            let key = reader.string()?;
            let value = reader.value(&key)?;
            metadata.insert(key, value);
        }
        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(MetadataValue::Integer(alignment @ 1..=0xffff)) => *alignment as u64,
            Some(other) => {
                return Err(reader.malformed(format!("`general.alignment` is {other:?}")));
            }
        };
        let mut names = HashSet::new();
        let mut tensors = Vec::new();
        for _ in 0..n_tensors {
            let tensor = reader.tensor()?;
            if !names.insert(tensor.name.clone()) {
                return Err(reader.malformed(format!("tensor `{}` appears twice", tensor.name)));
            }
            tensors.push(tensor);
        }
        let data_start = reader.position.next_multiple_of(alignment);
        for tensor in &mut tensors {
            // Offsets in the file count from the first tensor.
            let start = tensor.offset.checked_add(data_start);
            let end = start.and_then(|start| start.checked_add(tensor.n_bytes));
            match (start, end) {
                (Some(start), Some(end)) if end <= file_size => tensor.offset = start,
                _ => {
                    let TensorInfo { name, offset, n_bytes, .. } = tensor;
                    return Err(reader.malformed(format!(
                        "tensor `{name}` takes {n_bytes} bytes at {offset} after {data_start}, the \
                         file has {file_size}"
                    )));
                }
            }
        }
        check_apart(&tensors).map_err(|reason| reader.malformed(reason))?;
        Ok(Self { metadata, tensors })
    }
}

/// No byte is of two tensors: the weights would take more memory than their file.
fn check_apart(tensors: &[TensorInfo]) -> Result<(), String> {
    let mut in_order: Vec<&TensorInfo> = tensors.iter().collect();
    in_order.sort_by_key(|tensor| (tensor.offset, tensor.n_bytes));
    let end = |tensor: &TensorInfo| tensor.offset + tensor.n_bytes;
    let overlap = in_order.windows(2).find(|pair| end(pair[0]) > pair[1].offset);
    overlap.map_or(Ok(()), |pair| {
        let [first, second] = [&pair[0].name, &pair[1].name];
        Err(format!("tensors `{first}` and `{second}` overlap at byte {}", pair[1].offset))
    })
}

/// A cursor that knows how much is left.
struct Reader<'a, R> {
    input: R,
    path: &'a Path,
    position: u64,
    file_size: u64,
    version: u32,
}

impl<R: Read> Reader<'_, R> {
    fn malformed(&self, reason: impl Into<String>) -> Error {
        Error::MalformedFile { path: self.path.to_owned(), reason: reason.into() }
    }

    /// Moves over `n` bytes, refusing more than there are.
    fn advance(&mut self, n: u64) -> Result<()> {
        let left = self.file_size - self.position;
        if n > left {
            return Err(self.malformed(format!(
                "{n} bytes are claimed at byte {}, {left} are left",
                self.position
            )));
        }
        self.position += n;
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.advance(bytes.len() as u64)?;
        self.input.read_exact(bytes).map_err(|source| Error::Io {
            action: "read",
            path: self.path.to_owned(),
            source,
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count: 32 bits in version 1, 64 since.
    fn length(&mut self) -> Result<u64> {
        if self.version == 1 { self.u32().map(u64::from) } else { self.u64() }
    }

    /// A count of things that take at least `min_bytes` each.
    fn length_of(&mut self, min_bytes: u64) -> Result<usize> {
        let n = self.length()?;
        let left = self.file_size - self.position;
        if n.checked_mul(min_bytes).is_none_or(|n_bytes| n_bytes > left) {
            return Err(self.malformed(format!(
                "{n} items of {min_bytes} bytes or more are claimed at byte {}, {left} are left",
                self.position
            )));
        }
        Ok(n as usize)
    }

    fn string(&mut self) -> Result<String> {
        let n = self.length_of(1)?;
        let mut bytes = vec![0; n];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| {
            self.malformed(format!("the text before byte {} is not UTF-8", self.position))
        })
    }

    fn value(&mut self, key: &str) -> Result<MetadataValue> {
        Ok(match self.u32()? {
            6 => MetadataValue::Float(f64::from(f32::from_le_bytes(self.array()?))),
            7 => MetadataValue::Bool(self.array::<1>()? != [0]),
            8 => MetadataValue::String(self.string()?),
            9 => {
                let element = self.u32()?;
                self.values(key, element)?
            }
            12 => MetadataValue::Float(f64::from_le_bytes(self.array()?)),
            element => MetadataValue::Integer(self.integer(key, element)?),
        })
    }

    fn values(&mut self, key: &str, element: u32) -> Result<MetadataValue> {
        let min_bytes = match element {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            8 if self.version > 1 => 8,
            10..=12 => 8,
            _ => 4,
        };
        let n = self.length_of(min_bytes)?;
        Ok(match element {
            6 => MetadataValue::Floats(
                self.collect(n, |reader| reader.array().map(f32::from_le_bytes))?,
            ),
            12 => MetadataValue::Floats(
                self.collect(n, |reader| Ok(f64::from_le_bytes(reader.array()?) as f32))?,
            ),
            7 => MetadataValue::Integers(
                self.collect(n, |reader| Ok(i64::from(reader.array::<1>()? != [0])))?,
            ),
            8 => MetadataValue::Strings(self.collect(n, Self::string)?),
            _ => MetadataValue::Integers(self.collect(n, |reader| {
                let number = reader.integer(key, element)?;
                i64::try_from(number)
                    .map_err(|_| reader.malformed(format!("`{key}` holds {number}, out of range")))
            })?),
        })
    }

    fn collect<T>(&mut self, n: usize, one: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        (0..n).map(|_| one(self)).collect()
    }

    fn integer(&mut self, key: &str, element: u32) -> Result<i128> {
        Ok(match element {
            0 => i128::from(u8::from_le_bytes(self.array()?)),
            1 => i128::from(i8::from_le_bytes(self.array()?)),
            2 => i128::from(u16::from_le_bytes(self.array()?)),
            3 => i128::from(i16::from_le_bytes(self.array()?)),
            4 => i128::from(u32::from_le_bytes(self.array()?)),
            5 => i128::from(i32::from_le_bytes(self.array()?)),
            10 => i128::from(u64::from_le_bytes(self.array()?)),
            11 => i128::from(i64::from_le_bytes(self.array()?)),
            other => {
                return Err(self.malformed(format!("`{key}` has the unknown value type {other}")));
            }
        })
    }

    fn tensor(&mut self) -> Result<TensorInfo> {
        let name = self.string()?;
        let n_axes = self.u32()?;
        if n_axes > MAX_AXES {
            return Err(self.malformed(format!("tensor `{name}` has {n_axes} axes")));
        }
        let mut shape = Vec::new();
        for _ in 0..n_axes {
            // Sizes are checked with the offsets: the product must lie in the file.
            shape.push(usize::try_from(self.length()?).unwrap_or(usize::MAX));
        }
        shape.reverse();
        let tensor_type = TensorType::from_code(self.u32()?).map_err(|got| {
            let (path, supported) = (self.path.to_owned(), TensorType::supported());
            Error::UnsupportedDtype { path, tensor: name.clone(), got, supported }
        })?;
        let offset = self.u64()?;
        let n_bytes = tensor_type.n_bytes(&shape).ok_or_else(|| {
            let (n_values, _) = tensor_type.stored().unit();
            self.malformed(format!(
                "tensor `{name}` of shape {shape:?} is too large, or its rows are not whole blocks \
                 of {n_values}, as {tensor_type} has them"
            ))
        })?;
        Ok(TensorInfo { name, shape, tensor_type, offset, n_bytes })
    }
}
