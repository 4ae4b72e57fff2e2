//! The k-quants: blocks of 256 numbers in sub-blocks of 16 or 32, whose scales are small integers
//! times one scale `d` of the block, and likewise their minima times `m`. `d` and `m` are in half
//! precision, little-endian.
//!
//! | type | bytes | sub-blocks | number |
//! |---|---|---|---|
//! | Q2_K | 16 of scales and minima (4 bits each), 64 of `q`, `d`, `m` | 16 of 16 | `d s q - m t` |
//! | Q3_K | 32 of high bits, 64 of `q`, 12 of scales (6 bits), `d` | 16 of 16 | `d (s - 32) (q - 4)` |
//! | Q4_K | `d`, `m`, 12 of scales and minima (6 bits), 128 of `q` | 8 of 32 | `d s q - m t` |
//! | Q5_K | `d`, `m`, 12 of scales and minima (6 bits), 32 of high bits, 128 of `q` | 8 of 32 | `d s q - m t` |
//! | Q6_K | 128 of low and 64 of high bits of `q`, 16 of scales (signed), `d` | 16 of 16 | `d s (q - 32)` |
//!
//! Bits of 32 successive numbers stand at the same place of 32 successive bytes (64 for the low bits
//! of Q6_K): first those at the low end of the bytes, then those above.

use super::{each, half, high, low};
use crate::vectorised;

/// Bytes of the blocks.
pub(super) const Q2_K: usize = 16 + 64 + 4;
pub(super) const Q3_K: usize = 32 + 64 + 12 + 2;
pub(super) const Q4_K: usize = 4 + SCALES + 128;
pub(super) const Q5_K: usize = 4 + SCALES + 32 + 128;
pub(super) const Q6_K: usize = 128 + 64 + 16 + 2;

/// Numbers in a block.
const N: usize = 256;
/// Bytes of the packed scales and minima of Q4_K and Q5_K, and of the scales of Q3_K.
const SCALES: usize = 12;

/// The bytes from `at` on.
#[inline(always)]
fn part<const M: usize>(block: &[u8], at: usize) -> &[u8; M] {
    let (part, _) = block[at..].as_chunks();
    &part[0]
}

/// Scale and minimum of sub-block `j` of eight: 6 bits each. Those of the first four are the low six
/// bits of bytes `j` and `j + 4`; of the others, those bytes have the high two bits and byte `j + 4`
/// the low four of both.
#[inline(always)]
fn scale_and_minimum(scales: &[u8; SCALES], j: usize) -> (f32, f32) {
    let (scale, minimum) = if j < 4 {
        (scales[j] & 0x3f, scales[j + 4] & 0x3f)
    } else {
        let both = scales[j + 4];
        (low(both) | (scales[j - 4] >> 6) << 4, high(both) | (scales[j] >> 6) << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

vectorised! {
    pub(super) fn q2_k(blocks: &[u8], values: &mut [f32]) {
        each(blocks, values, |block: &[u8; Q2_K], values: &mut [f32; N]| {
            let (d, m) = (half(block, 80), half(block, 82));
            for (j, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let (scale, minimum) = (d * f32::from(low(block[j])), m * f32::from(high(block[j])));
                // 128 numbers share 32 bytes, two sub-blocks of them the same bits.
                let q = part::<16>(block, 16 + j / 8 * 32 + j % 2 * 16);
                let shift = j % 8 / 2 * 2;
                for (value, q) in values.iter_mut().zip(q) {
                    *value = scale * f32::from(q >> shift & 3) - minimum;
                }
            }
        });
    }
}

vectorised! {
    pub(super) fn q3_k(blocks: &[u8], values: &mut [f32]) {
        each(blocks, values, |block: &[u8; Q3_K], values: &mut [f32; N]| {
            let (d, scales) = (half(block, 108), part::<SCALES>(block, 96));
            for (j, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                // Four low bits of scale j, and two high ones.
                let low_bits = scales[j % 8] >> (j / 8 * 4) & 0x0f;
                let high_bits = scales[8 + j % 4] >> (j / 4 * 2) & 3;
                let scale = d * (f32::from(low_bits | high_bits << 4) - 32.0);
                let q = part::<16>(block, 32 + j / 8 * 32 + j % 2 * 16);
                let third = part::<16>(block, j % 2 * 16);
                let (shift, bit) = (j % 8 / 2 * 2, j / 2);
                for (value, (q, third)) in values.iter_mut().zip(q.iter().zip(third)) {
                    let q = q >> shift & 3 | (third >> bit & 1) << 2;
                    *value = scale * (f32::from(q) - 4.0);
                }
            }
        });
    }
}

vectorised! {
    pub(super) fn q4_k(blocks: &[u8], values: &mut [f32]) {
        each(blocks, values, |block: &[u8; Q4_K], values: &mut [f32; N]| {
            let (d, m, scales) = (half(block, 0), half(block, 2), part::<SCALES>(block, 4));
            for (j, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let (scale, minimum) = scale_and_minimum(scales, j);
                let (scale, minimum) = (d * scale, m * minimum);
                let q = part::<32>(block, 16 + j / 2 * 32);
                let shift = j % 2 * 4;
                for (value, q) in values.iter_mut().zip(q) {
                    *value = scale * f32::from(q >> shift & 0x0f) - minimum;
                }
            }
        });
    }
}

vectorised! {
    pub(super) fn q5_k(blocks: &[u8], values: &mut [f32]) {
        each(blocks, values, |block: &[u8; Q5_K], values: &mut [f32; N]| {
            let (d, m, scales) = (half(block, 0), half(block, 2), part::<SCALES>(block, 4));
            let fifth = part::<32>(block, 16);
            for (j, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let (scale, minimum) = scale_and_minimum(scales, j);
                let (scale, minimum) = (d * scale, m * minimum);
                let q = part::<32>(block, 48 + j / 2 * 32);
                let shift = j % 2 * 4;
                for (value, (q, fifth)) in values.iter_mut().zip(q.iter().zip(fifth)) {
                    let q = q >> shift & 0x0f | (fifth >> j & 1) << 4;
                    *value = scale * f32::from(q) - minimum;
                }
            }
        });
    }
}

vectorised! {
    pub(super) fn q6_k(blocks: &[u8], values: &mut [f32]) {
        each(blocks, values, |block: &[u8; Q6_K], values: &mut [f32; N]| {
            let d = half(block, 208);
            for (j, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let scale = d * f32::from(block[192 + j].cast_signed());
                let low_bits = part::<16>(block, j / 8 * 64 + j % 4 * 16);
                let high_bits = part::<16>(block, 128 + j / 8 * 32 + j % 2 * 16);
                let (low_shift, high_shift) = (j % 8 / 4 * 4, j % 8 / 2 * 2);
                for (value, (low, high)) in values.iter_mut().zip(low_bits.iter().zip(high_bits)) {
                    let q = low >> low_shift & 0x0f | (high >> high_shift & 3) << 4;
                    *value = scale * (f32::from(q) - 32.0);
                }
            }
        });
    }
}
