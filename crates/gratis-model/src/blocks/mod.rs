//! Quantised weights: blocks of small integers with shared scales, as ggml defines them.
//!
//! A row of a matrix is a whole number of blocks. `basic` has the blocks of 32 with one scale,
//! `k` those of 256 with two levels of scales, `iq4` those whose integers are indices of a table
//! of levels. Numbers are computed in `f32` in the order of operations of the Python package `gguf`,
//! so they have the same bits.

#![expect(clippy::inline_always, reason = "compiled within the vectorised loops over blocks")]

mod basic;
mod iq4;
mod k;

/// The types of blocks that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(non_camel_case_types, reason = "the names of ggml")]
pub enum BlockType {
    /// 4 bits, blocks of 32, a scale.
    Q4_0,
    /// 4 bits, blocks of 32, a scale and a minimum.
    Q4_1,
    /// 5 bits, blocks of 32, a scale.
    Q5_0,
    /// 5 bits, blocks of 32, a scale and a minimum.
    Q5_1,
    /// 8 bits, blocks of 32, a scale.
    Q8_0,
    /// 2 bits, blocks of 256, scales and minima of 16 by 4 bits.
    Q2_K,
    /// 3 bits, blocks of 256, scales of 16 by 6 bits.
    Q3_K,
    /// 4 bits, blocks of 256, scales and minima of 32 by 6 bits.
    Q4_K,
    /// 5 bits, blocks of 256, scales and minima of 32 by 6 bits.
    Q5_K,
    /// 6 bits, blocks of 256, scales of 16 by 8 bits.
    Q6_K,
    /// 4 bits that index 16 levels, blocks of 32, a scale.
    IQ4_NL,
    /// 4 bits that index 16 levels, blocks of 256, scales of 32 by 6 bits.
    IQ4_XS,
}

impl BlockType {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::IQ4_NL,
        Self::IQ4_XS,
    ];

    /// ggml's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2_K => "Q2_K",
            Self::Q3_K => "Q3_K",
            Self::Q4_K => "Q4_K",
            Self::Q5_K => "Q5_K",
            Self::Q6_K => "Q6_K",
            Self::IQ4_NL => "IQ4_NL",
            Self::IQ4_XS => "IQ4_XS",
        }
    }

    /// Numbers in a block.
    pub const fn n_values(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::IQ4_NL => 32,
            Self::Q2_K | Self::Q3_K | Self::Q4_K | Self::Q5_K | Self::Q6_K | Self::IQ4_XS => 256,
        }
    }

    /// Bytes of a block.
    pub const fn n_bytes(self) -> usize {
        match self {
            Self::Q4_0 => basic::Q4_0,
            Self::Q4_1 => basic::Q4_1,
            Self::Q5_0 => basic::Q5_0,
            Self::Q5_1 => basic::Q5_1,
            Self::Q8_0 => basic::Q8_0,
            Self::Q2_K => k::Q2_K,
            Self::Q3_K => k::Q3_K,
            Self::Q4_K => k::Q4_K,
            Self::Q5_K => k::Q5_K,
            Self::Q6_K => k::Q6_K,
            Self::IQ4_NL => iq4::IQ4_NL,
            Self::IQ4_XS => iq4::IQ4_XS,
        }
    }

    /// Turns whole blocks into numbers: as many as `values` has room for.
    pub fn dequantise(self, blocks: &[u8], values: &mut [f32]) {
        match self {
            Self::Q4_0 => basic::q4_0(blocks, values),
            Self::Q4_1 => basic::q4_1(blocks, values),
            Self::Q5_0 => basic::q5_0(blocks, values),
            Self::Q5_1 => basic::q5_1(blocks, values),
            Self::Q8_0 => basic::q8_0(blocks, values),
            Self::Q2_K => k::q2_k(blocks, values),
            Self::Q3_K => k::q3_k(blocks, values),
            Self::Q4_K => k::q4_k(blocks, values),
            Self::Q5_K => k::q5_k(blocks, values),
            Self::Q6_K => k::q6_k(blocks, values),
            Self::IQ4_NL => iq4::iq4_nl(blocks, values),
            Self::IQ4_XS => iq4::iq4_xs(blocks, values),
        }
    }
}

/// Each block of `B` bytes and its `N` numbers. Functions loop over this and do not pass a closure on,
/// which the compiler need not inline into the functions that have wide instructions.
#[inline(always)]
fn each<'a, const B: usize, const N: usize>(
    blocks: &'a [u8],
    values: &'a mut [f32],
) -> impl Iterator<Item = (&'a [u8; B], &'a mut [f32; N])> {
    blocks.as_chunks().0.iter().zip(values.as_chunks_mut().0)
}

/// The half-precision number in the two bytes from `at` on, exactly. There is no branch and no call,
/// so loops over blocks vectorise.
#[inline(always)]
fn half(block: &[u8], at: usize) -> f32 {
    const SIGN: u32 = 0x8000;
    const EXPONENT: u32 = 0x7c00;
    /// The exponents of half precision are biased by 15, those of single precision by 127.
    const REBIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let bits = u32::from(u16::from_le_bytes([block[at], block[at + 1]]));
    let finite = (f32::from_bits((bits & !SIGN) << 13) * REBIAS).to_bits();
    let special = if bits & EXPONENT == EXPONENT { 0xff << 23 } else { 0 };
    f32::from_bits(finite | special | (bits & SIGN) << 16)
}

/// The length of a short loop, hidden from the compiler: it would unroll a loop of known length before
/// it vectorises, which takes twice the time.
#[inline(always)]
fn hidden(length: usize) -> usize {
    std::hint::black_box(length)
}

/// The low four bits.
#[inline(always)]
fn low(byte: u8) -> u8 {
    byte & 0x0f
}

/// The high four bits.
#[inline(always)]
fn high(byte: u8) -> u8 {
    byte >> 4
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use half::f16;
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn every_scale_is_exact() {
        for bits in 0..=u16::MAX {
            let (got, expected) = (half(&bits.to_le_bytes(), 0), f16::from_bits(bits).to_f32());
            let is_same = got.to_bits() == expected.to_bits();
            assert!(is_same || got.is_nan() && expected.is_nan(), "{bits:#x}: {got} {expected}");
        }
    }

    #[test]
    fn a_block_of_q8_0_is_its_scale_times_its_bytes() {
        let mut bytes = f16::from_f32(0.5).to_le_bytes().to_vec();
        bytes.extend((0..32_i8).map(|n| (n - 16).cast_unsigned()));
        let mut out = [0.0; 32];
        BlockType::Q8_0.dequantise(&bytes, &mut out);
        let expected: Vec<f32> = (0..32_i8).map(|n| f32::from(n - 16) / 2.0).collect();
        assert_eq!(out.as_slice(), expected);
    }

    // Against the Python package `gguf`, bit by bit.
    #[test]
    fn every_type_of_block_has_the_bits_of_the_python_package() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/gguf/blocks.safetensors");
        let bytes = std::fs::read(path).expect("a fixture");
        let golden = SafeTensors::deserialize(&bytes).expect("safetensors");
        for kind in BlockType::ALL {
            let name = kind.name();
            let part = |part: &str| golden.tensor(&format!("{name}.{part}")).expect("a tensor");
            let (blocks, expected) = (part("blocks"), part("values"));
            assert_eq!(blocks.shape()[1], kind.n_bytes(), "{name}");
            assert_eq!(expected.shape()[1], kind.n_values(), "{name}");
            let words = expected.data().as_chunks::<4>().0.iter();
            let expected: Vec<f32> = words.map(|word| f32::from_le_bytes(*word)).collect();
            assert!(
                expected.len() >= 1024 && expected.iter().all(|value| value.is_finite()),
                "{name}"
            );
            let mut values = vec![f32::NAN; expected.len()];
            kind.dequantise(blocks.data(), &mut values);
            for (idx, (got, expected)) in values.iter().zip(&expected).enumerate() {
                assert_eq!(got.to_bits(), expected.to_bits(), "{name} {idx}: {got} {expected}");
            }
        }
    }
}
