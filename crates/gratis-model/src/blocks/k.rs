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

/// The bits of `mask` from `shift` on. In 32 bits, for which processors have shifts by a variable.
#[inline(always)]
fn bits(byte: u8, shift: u32, mask: i32) -> i32 {
    i32::from(byte) >> shift & mask
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

/// The first of two numbers 16 times, then the second: for two sub-blocks that share their bytes.
#[inline(always)]
fn both(numbers: [f32; 2]) -> [f32; 32] {
    let mut all = [numbers[0]; 32];
    all[16..].fill(numbers[1]);
    all
}

vectorised! {
    pub(super) fn q2_k(blocks: &[u8], values: &mut [f32]) {
        for (block, values) in each::<Q2_K, N>(blocks, values) {
            let (d, m) = (half(block, 80), half(block, 82));
            for (j, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let two = part::<2>(block, 2 * j);
                let scales = both(two.map(|two| d * f32::from(low(two))));
                let minima = both(two.map(|two| m * f32::from(high(two))));
                let (q, shift) = (part::<32>(block, 16 + j / 4 * 32), (j % 4 * 2) as u32);
                for i in 0..32 {
                    values[i] = scales[i] * bits(q[i], shift, 3) as f32 - minima[i];
                }
            }
        }
    }
}

vectorised! {
    pub(super) fn q3_k(blocks: &[u8], values: &mut [f32]) {
        for (block, values) in each::<Q3_K, N>(blocks, values) {
            let (d, packed) = (half(block, 108), part::<SCALES>(block, 96));
            // Four low bits of scale j, and two high ones.
            let scale = |j: usize| {
                let low_bits = packed[j % 8] >> (j / 8 * 4) & 0x0f;
                let high_bits = packed[8 + j % 4] >> (j / 4 * 2) & 3;
                d * (f32::from(low_bits | high_bits << 4) - 32.0)
            };
            let third = part::<32>(block, 0);
            for (j, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let scales = both([scale(2 * j), scale(2 * j + 1)]);
                let (q, shift) = (part::<32>(block, 32 + j / 4 * 32), (j % 4 * 2) as u32);
                for i in 0..32 {
                    let q = bits(q[i], shift, 3) | bits(third[i], j as u32, 1) << 2;
                    values[i] = scales[i] * (q - 4) as f32;
                }
            }
        }
    }
}

vectorised! {
    pub(super) fn q4_k(blocks: &[u8], values: &mut [f32]) {
        for (block, values) in each::<Q4_K, N>(blocks, values) {
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
        }
    }
}

vectorised! {
    pub(super) fn q5_k(blocks: &[u8], values: &mut [f32]) {
        for (block, values) in each::<Q5_K, N>(blocks, values) {
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
        }
    }
}

/// 32 numbers of Q6_K from their bits.
#[inline(always)]
fn six_bits(values: &mut [f32], scales: [f32; 2], q: impl Fn(usize) -> u8) {
    let scales = both(scales);
    for (i, value) in values.iter_mut().enumerate().take(32) {
        *value = scales[i] * (f32::from(q(i)) - 32.0);
    }
}

vectorised! {
    pub(super) fn q6_k(blocks: &[u8], values: &mut [f32]) {
        for (block, values) in each::<Q6_K, N>(blocks, values) {
            let d = half(block, 208);
            for (j, values) in values.as_chunks_mut::<128>().0.iter_mut().enumerate() {
                let (first, second) = (part::<32>(block, j * 64), part::<32>(block, j * 64 + 32));
                let top = part::<32>(block, 128 + j * 32);
                let scales = part::<8>(block, 192 + j * 8).map(|s| d * f32::from(s.cast_signed()));
                let scales = scales.as_chunks::<2>().0;
                six_bits(&mut values[..32], scales[0], |i| low(first[i]) | (top[i] & 3) << 4);
                six_bits(&mut values[32..64], scales[1], |i| low(second[i]) | (top[i] >> 2 & 3) << 4);
                six_bits(&mut values[64..96], scales[2], |i| high(first[i]) | (top[i] >> 4 & 3) << 4);
                six_bits(&mut values[96..], scales[3], |i| high(second[i]) | (top[i] >> 6) << 4);
            }
        }
    }
}
