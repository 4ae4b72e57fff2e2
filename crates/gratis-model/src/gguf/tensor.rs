//! How GGUF stores numbers, and how they become `f32`.

use half::{bf16, f16};

/// Numbers in a block of Q8_0.
const Q8_0_BLOCK: usize = 32;

/// Bytes of a block of Q8_0: the scale in half precision, then the numbers.
const Q8_0_BYTES: usize = 2 + Q8_0_BLOCK;

/// The types that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorType {
    /// 32-bit float.
    F32,
    /// IEEE half.
    F16,
    /// bfloat16.
    Bf16,
    /// Blocks of 32 signed bytes with one f16 scale: `x = scale * q`.
    Q8_0,
}

impl TensorType {
    /// The type of ggml's number, or the name of one that is not read.
    pub(super) fn from_code(code: u32) -> Result<Self, String> {
        Err(match code {
            0 => return Ok(Self::F32),
            1 => return Ok(Self::F16),
            8 => return Ok(Self::Q8_0),
            30 => return Ok(Self::Bf16),
            2 => "Q4_0".to_owned(),
            3 => "Q4_1".to_owned(),
            6 => "Q5_0".to_owned(),
            7 => "Q5_1".to_owned(),
            9 => "Q8_1".to_owned(),
            10..=15 => format!("Q{}_K", code - 8),
            28 => "F64".to_owned(),
            other => format!("ggml type {other}"),
        })
    }

    /// Bytes of a tensor of this shape; `None` if they overflow or rows do not fill their blocks.
    pub(super) fn n_bytes(self, shape: &[usize]) -> Option<u64> {
        let n = shape.iter().try_fold(1_u64, |n, size| n.checked_mul(*size as u64))?;
        match self {
            Self::F32 => n.checked_mul(4),
            Self::F16 | Self::Bf16 => n.checked_mul(2),
            Self::Q8_0 => shape
                .last()
                .is_some_and(|row| row.is_multiple_of(Q8_0_BLOCK))
                .then_some(n / Q8_0_BLOCK as u64 * Q8_0_BYTES as u64),
        }
    }

    /// Widens `bytes`, whole numbers or blocks, into `out`.
    pub(super) fn widen(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => each(bytes, out, f32::from_le_bytes),
            Self::F16 => each(bytes, out, |number| f16::from_le_bytes(number).to_f32()),
            Self::Bf16 => each(bytes, out, |number| bf16::from_le_bytes(number).to_f32()),
            Self::Q8_0 => {
                let blocks = bytes.as_chunks::<Q8_0_BYTES>().0;
                for (out, block) in out.chunks_exact_mut(Q8_0_BLOCK).zip(blocks) {
                    let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
                    for (out, quantised) in out.iter_mut().zip(&block[2..]) {
                        *out = scale * f32::from(quantised.cast_signed());
                    }
                }
            }
        }
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], widen: impl Fn([u8; N]) -> f32) {
    for (out, number) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *out = widen(*number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_q8_0_is_its_scale_times_its_bytes() {
        let mut bytes = f16::from_f32(0.5).to_le_bytes().to_vec();
        bytes.extend((0..32_i8).map(|n| (n - 16).cast_unsigned()));
        let mut out = [0.0; 32];
        TensorType::Q8_0.widen(&bytes, &mut out);
        let expected: Vec<f32> = (0..32_i8).map(|n| f32::from(n - 16) / 2.0).collect();
        assert_eq!(out.as_slice(), expected);
    }

    #[test]
    fn sizes_do_not_overflow_and_rows_fill_their_blocks() {
        assert_eq!(TensorType::Q8_0.n_bytes(&[3, 64]), Some(3 * 2 * 34));
        assert_eq!(TensorType::Q8_0.n_bytes(&[64, 3]), None);
        assert_eq!(TensorType::F32.n_bytes(&[usize::MAX, 2]), None);
        assert_eq!(TensorType::Bf16.n_bytes(&[]), Some(2));
    }
}
