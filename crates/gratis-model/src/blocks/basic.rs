//! Blocks of 32 numbers with one scale `d`, and in the types `_1` a minimum `m`; both in half
//! precision, little-endian.
//!
//! | type | bytes | number |
//! |---|---|---|
//! | Q4_0 | `d`, 16 of `q` | `d * (q - 8)` |
//! | Q4_1 | `d`, `m`, 16 of `q` | `d * q + m` |
//! | Q5_0 | `d`, 4 of high bits, 16 of `q` | `d * (q - 16)` |
//! | Q5_1 | `d`, `m`, 4 of high bits, 16 of `q` | `d * q + m` |
//! | Q8_0 | `d`, 32 of `q`, signed | `d * q` |
//!
//! Byte `i` of 16 holds `q` of number `i` in its low four bits and that of number `i + 16` in its
//! high four. High bit `i` is the fifth bit of number `i`.

use super::{each, half, hidden, high, low};
use crate::vectorised;

/// Bytes of the blocks.
pub(super) const Q4_0: usize = 2 + HALF;
pub(super) const Q4_1: usize = 4 + HALF;
pub(super) const Q5_0: usize = 6 + HALF;
pub(super) const Q5_1: usize = 8 + HALF;
pub(super) const Q8_0: usize = 2 + N;

/// Numbers in a block.
const N: usize = 32;
const HALF: usize = N / 2;

/// The fifth bit of number `i`, in its place.
#[inline(always)]
fn fifth(high_bits: u32, i: usize) -> u8 {
    ((high_bits >> i) & 1) as u8 * 16
}

#[inline(always)]
fn high_bits(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

vectorised! {
    pub(super) fn q4_0(blocks: &[u8], values: &mut [f32]) {
        let n = hidden(HALF);
        for (block, values) in each::<Q4_0, N>(blocks, values) {
            let d = half(block, 0);
            let (first, second) = values.split_at_mut(HALF);
            let (first, second, q) = (&mut first[..n], &mut second[..n], &block[2..2 + n]);
            for ((first, second), &byte) in first.iter_mut().zip(second).zip(q) {
                *first = d * (f32::from(low(byte)) - 8.0);
                *second = d * (f32::from(high(byte)) - 8.0);
            }
        }
    }
}

vectorised! {
    pub(super) fn q4_1(blocks: &[u8], values: &mut [f32]) {
        let n = hidden(HALF);
        for (block, values) in each::<Q4_1, N>(blocks, values) {
            let (d, m) = (half(block, 0), half(block, 2));
            let (first, second) = values.split_at_mut(HALF);
            let (first, second, q) = (&mut first[..n], &mut second[..n], &block[4..4 + n]);
            for ((first, second), &byte) in first.iter_mut().zip(second).zip(q) {
                *first = d * f32::from(low(byte)) + m;
                *second = d * f32::from(high(byte)) + m;
            }
        }
    }
}

vectorised! {
    pub(super) fn q5_0(blocks: &[u8], values: &mut [f32]) {
        for (block, values) in each::<Q5_0, N>(blocks, values) {
            let (d, bits) = (half(block, 0), high_bits(block, 2));
            for i in 0..HALF {
                let byte = block[6 + i];
                values[i] = d * (f32::from(low(byte) | fifth(bits, i)) - 16.0);
                values[i + HALF] = d * (f32::from(high(byte) | fifth(bits, i + HALF)) - 16.0);
            }
        }
    }
}

vectorised! {
    pub(super) fn q5_1(blocks: &[u8], values: &mut [f32]) {
        for (block, values) in each::<Q5_1, N>(blocks, values) {
            let (d, m, bits) = (half(block, 0), half(block, 2), high_bits(block, 4));
            for i in 0..HALF {
                let byte = block[8 + i];
                values[i] = d * f32::from(low(byte) | fifth(bits, i)) + m;
                values[i + HALF] = d * f32::from(high(byte) | fifth(bits, i + HALF)) + m;
            }
        }
    }
}

vectorised! {
    pub(super) fn q8_0(blocks: &[u8], values: &mut [f32]) {
        for (block, values) in each::<Q8_0, N>(blocks, values) {
            let d = half(block, 0);
            for (value, q) in values.iter_mut().zip(&block[2..]) {
                *value = d * f32::from(q.cast_signed());
            }
        }
    }
}
