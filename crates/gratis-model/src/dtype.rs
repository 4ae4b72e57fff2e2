//! Types that weights are stored in, and stored numbers as `f32`: exact but for F64, which is
//! rounded. Blocks of quantised numbers are described in `blocks`.

use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::Dtype;

use crate::blocks::BlockType;
use crate::vectorised;

/// Numbers of f16 that are put in order at a time.
const CHUNK: usize = 64;

/// How weights are stored in a file; in memory they are `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightType {
    /// 32-bit floats: what is read back has the same bits.
    F32,
    /// The upper half of a 32-bit float, rounded to nearest even.
    Bf16,
}

impl WeightType {
    /// The name in the `torch_dtype` entry of `config.json`.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }

    pub(crate) fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::Bf16 => Dtype::BF16,
        }
    }
}

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// One by one.
    Plain(Dtype),
    /// Block by block; a row is a whole number of them.
    Blocks(BlockType),
}

impl Stored {
    /// Numbers that are stored together, and their bytes.
    pub(crate) fn unit(self) -> (usize, usize) {
        match self {
            Self::Plain(dtype) => (1, size_of_dtype(dtype)),
            Self::Blocks(blocks) => (blocks.n_values(), blocks.n_bytes()),
        }
    }

    /// Turns whole units of `bytes` into `values`: as many as there are values.
    pub(crate) fn widen(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            Self::Plain(dtype) => widen(dtype, bytes, values),
            Self::Blocks(blocks) => blocks.dequantise(bytes, values),
        }
    }
}

/// Bytes of a number; of the types that are read.
pub(crate) fn size_of_dtype(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

/// Turns little-endian `bytes` of type F64, F32, BF16 or F16 into `values`: as many as there are
/// values.
pub(crate) fn widen(dtype: Dtype, bytes: &[u8], values: &mut [f32]) {
    match dtype {
        Dtype::BF16 => widen_bf16(bytes, values),
        Dtype::F16 => {
            let mut chunk = [f16::ZERO; CHUNK];
            for (values, bytes) in values.chunks_mut(CHUNK).zip(bytes.chunks(2 * CHUNK)) {
                for (x, &pair) in chunk.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *x = f16::from_le_bytes(pair);
                }
                chunk[..values.len()].convert_to_f32_slice(values);
            }
        }
        Dtype::F64 => {
            for (value, &word) in values.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *value = f64::from_le_bytes(word) as f32;
            }
        }
        _ => {
            for (value, &word) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(word);
            }
        }
    }
}

vectorised! {
    /// A bf16 is the upper half of an f32.
    fn widen_bf16(bytes: &[u8], values: &mut [f32]) {
        for (value, &pair) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *value = f32::from_bits(u32::from(u16::from_le_bytes(pair)) << 16);
        }
    }
}

/// Index of the first NaN or infinity.
pub(crate) fn first_non_finite(values: &[f32]) -> Option<usize> {
    values.iter().position(|value| !value.is_finite())
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn every_half_is_widened_exactly() {
        let halves: Vec<u16> = (0..=u16::MAX).collect();
        let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        let mut values = vec![0.0; halves.len()];
        let check = |dtype, values: &[f32], expected: &dyn Fn(u16) -> f32| {
            for (&half, &value) in halves.iter().zip(values) {
                let expected = expected(half);
                let same = value.to_bits() == expected.to_bits();
                assert!(same || value.is_nan() && expected.is_nan(), "{dtype} {half:#x}");
            }
        };
        widen(Dtype::BF16, &bytes, &mut values);
        check("bf16", &values, &|half| bf16::from_bits(half).to_f32());
        widen(Dtype::F16, &bytes, &mut values);
        check("f16", &values, &|half| f16::from_bits(half).to_f32());
    }
}
