//! How GGUF stores numbers.

use std::fmt;

use safetensors::Dtype;

use crate::blocks::BlockType;
use crate::dtype::Stored;

/// The types that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum TensorType {
    /// 32-bit float.
    F32,
    /// IEEE half.
    F16,
    /// bfloat16.
    Bf16,
    /// Blocks of small integers with shared scales.
    Blocks(BlockType),
}

impl TensorType {
    /// The type of ggml's number, or the name of one that is not read.
    pub(super) fn from_code(code: u32) -> Result<Self, String> {
        let name = match code {
            0 => return Ok(Self::F32),
            1 => return Ok(Self::F16),
            2 => return Ok(Self::Blocks(BlockType::Q4_0)),
            3 => return Ok(Self::Blocks(BlockType::Q4_1)),
            6 => return Ok(Self::Blocks(BlockType::Q5_0)),
            7 => return Ok(Self::Blocks(BlockType::Q5_1)),
            8 => return Ok(Self::Blocks(BlockType::Q8_0)),
            10 => return Ok(Self::Blocks(BlockType::Q2_K)),
            11 => return Ok(Self::Blocks(BlockType::Q3_K)),
            12 => return Ok(Self::Blocks(BlockType::Q4_K)),
            13 => return Ok(Self::Blocks(BlockType::Q5_K)),
            14 => return Ok(Self::Blocks(BlockType::Q6_K)),
            20 => return Ok(Self::Blocks(BlockType::IQ4_NL)),
            23 => return Ok(Self::Blocks(BlockType::IQ4_XS)),
            30 => return Ok(Self::Bf16),
            9 => "Q8_1",
            15 => "Q8_K",
            16 => "IQ2_XXS",
            17 => "IQ2_XS",
            18 => "IQ3_XXS",
            19 => "IQ1_S",
            21 => "IQ3_S",
            22 => "IQ2_S",
            24 => "I8",
            25 => "I16",
            26 => "I32",
            27 => "I64",
            28 => "F64",
            29 => "IQ1_M",
            34 => "TQ1_0",
            35 => "TQ2_0",
            39 => "MXFP4",
            other => return Err(format!("ggml type {other}")),
        };
        Err(name.to_owned())
    }

    /// The names of all types that are read.
    pub(super) fn supported() -> String {
        let floats = [Self::F32, Self::F16, Self::Bf16].into_iter();
        let types = floats.chain(BlockType::ALL.map(Self::Blocks));
        types.map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Its blocks, if it has any.
    pub(super) fn blocks(self) -> Option<BlockType> {
        match self {
            Self::Blocks(blocks) => Some(blocks),
            _ => None,
        }
    }

    pub(super) fn stored(self) -> Stored {
        match self {
            Self::F32 => Stored::Plain(Dtype::F32),
            Self::F16 => Stored::Plain(Dtype::F16),
            Self::Bf16 => Stored::Plain(Dtype::BF16),
            Self::Blocks(blocks) => Stored::Blocks(blocks),
        }
    }

    /// Bytes of a tensor of this shape; `None` if they overflow or rows do not fill their blocks.
    pub(super) fn n_bytes(self, shape: &[usize]) -> Option<u64> {
        let n = shape.iter().try_fold(1_u64, |n, size| n.checked_mul(*size as u64))?;
        let (n_values, n_bytes) = self.stored().unit();
        let is_whole = shape.last().copied().unwrap_or(1).is_multiple_of(n_values);
        is_whole.then_some(n / n_values as u64)?.checked_mul(n_bytes as u64)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Blocks(blocks) => blocks.name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_do_not_overflow_and_rows_fill_their_blocks() {
        let blocks = TensorType::Blocks;
        assert_eq!(blocks(BlockType::Q8_0).n_bytes(&[3, 64]), Some(3 * 2 * 34));
        assert_eq!(blocks(BlockType::Q4_K).n_bytes(&[3, 512]), Some(3 * 2 * 144));
        assert_eq!(blocks(BlockType::Q8_0).n_bytes(&[64, 3]), None);
        assert_eq!(blocks(BlockType::Q6_K).n_bytes(&[256, 32]), None);
        assert_eq!(blocks(BlockType::Q8_0).n_bytes(&[]), None);
        assert_eq!(TensorType::F32.n_bytes(&[usize::MAX, 2]), None);
        assert_eq!(TensorType::Bf16.n_bytes(&[]), Some(2));
    }

    #[test]
    fn names_are_those_of_ggml() {
        for code in 0..=40 {
            match TensorType::from_code(code) {
                Ok(read) => assert!(TensorType::supported().contains(&read.to_string())),
                Err(name) => assert!(!TensorType::supported().contains(&name), "{name}"),
            }
        }
        assert_eq!(TensorType::from_code(39), Err("MXFP4".to_owned()));
        assert_eq!(TensorType::from_code(99), Err("ggml type 99".to_owned()));
    }
}
