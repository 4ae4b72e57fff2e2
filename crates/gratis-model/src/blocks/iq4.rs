//! Blocks whose four-bit numbers are indices of a table of sixteen unevenly spaced levels. Scales are
//! little-endian.
//!
//! | type | bytes | number |
//! |---|---|---|
//! | IQ4_NL | `d` (half), 16 of `q`; a block has 32 numbers | `d * LEVELS[q]` |
//! | IQ4_XS | `d` (half), 2 of high and 4 of low bits of the scales, 128 of `q`; 8 sub-blocks of 32 | `d (s - 32) * LEVELS[q]` |
//!
//! Byte `i` of 16 holds `q` of number `i` in its low four bits and that of number `i + 16` in its
//! high four.

use super::{each, half, high, low};
use crate::vectorised;

/// Bytes of the blocks.
pub(super) const IQ4_NL: usize = 2 + 16;
pub(super) const IQ4_XS: usize = 8 + 128;

/// What `q` stands for.
const LEVELS: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

#[inline(always)]
fn sub_block(scale: f32, q: &[u8], values: &mut [f32]) {
    let (first, second) = values.split_at_mut(16);
    for ((first, second), &byte) in first.iter_mut().zip(second).zip(q) {
        *first = scale * LEVELS[usize::from(low(byte))];
        *second = scale * LEVELS[usize::from(high(byte))];
    }
}

vectorised! {
    pub(super) fn iq4_nl(blocks: &[u8], values: &mut [f32]) {
        for (block, values) in each::<IQ4_NL, 32>(blocks, values) {
            sub_block(half(block, 0), &block[2..], values);
        }
    }
}

vectorised! {
    pub(super) fn iq4_xs(blocks: &[u8], values: &mut [f32]) {
        for (block, values) in each::<IQ4_XS, 256>(blocks, values) {
            let (d, high_bits) = (half(block, 0), u16::from_le_bytes([block[2], block[3]]));
            for (j, values) in values.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let low_bits = block[4 + j / 2] >> (j % 2 * 4) & 0x0f;
                let scale = low_bits | ((high_bits >> (2 * j)) as u8 & 3) << 4;
                let scale = d * (f32::from(scale) - 32.0);
                sub_block(scale, &block[8 + 16 * j..][..16], values);
            }
        }
    }
}
