//! The multiply-adds: unpacked integers times scales are the weights, of eight rows in a register.

#![expect(unsafe_code, reason = "instructions of the processor, and sums in registers")]

use std::arch::x86_64::{
    __m256, _MM_HINT_T0, _mm_loadl_epi64, _mm_prefetch, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps,
    _mm256_fmadd_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    _mm256_sub_ps,
};

use gratis_model::blocks::BlockType;
use gratis_model::simd::Instructions;

use super::unpack::{
    Columns, Iq4Nl, LANES, PART, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Scales, Type,
    columns_of,
};
use super::{MAX_ROWS, ROWS, Sums};

/// Bytes of a line of the processor's caches.
const CACHE_LINE: usize = 64;

/// Where the rows of `x` begin; those past the last repeat the first.
type Starts = [*const f32; MAX_ROWS];

pub(super) fn products(
    kind: BlockType,
    rows: &[&[u8]; ROWS],
    x: &[f32],
    n_in: usize,
) -> Option<Sums> {
    if Instructions::of_this_processor() == Instructions::Baseline
        || !is_x86_feature_detected!("f16c")
    {
        return None;
    }
    let kernel = match kind {
        BlockType::Q4_0 => kernel::<Q4_0>,
        BlockType::Q4_1 => kernel::<Q4_1>,
        BlockType::Q5_0 => kernel::<Q5_0>,
        BlockType::Q5_1 => kernel::<Q5_1>,
        BlockType::Q8_0 => kernel::<Q8_0>,
        BlockType::Q4_K => kernel::<Q4K>,
        BlockType::Q5_K => kernel::<Q5K>,
        BlockType::Q6_K => kernel::<Q6K>,
        BlockType::IQ4_NL => kernel::<Iq4Nl>,
        BlockType::Q2_K | BlockType::Q3_K | BlockType::IQ4_XS => return None,
    };
    let n_blocks = n_in / kind.n_values();
    assert!(n_in == n_blocks * kind.n_values(), "whole blocks");
    assert!(rows.iter().all(|row| row.len() == n_blocks * kind.n_bytes()), "rows of the matrix");
    let n = x.len() / n_in;
    assert!(x.len() == n * n_in && n <= MAX_ROWS, "rows of `x`");
    let starts = std::array::from_fn(|row| x[if row < n { row * n_in } else { 0 }..].as_ptr());
    let mut sums = [[0.0; ROWS]; MAX_ROWS];
    // SAFETY: the processor has the instructions. Each row of the matrix has `n_blocks` blocks, and each
    // of `x` as many numbers.
    unsafe { kernel(&mut sums, n, &rows.map(<[u8]>::as_ptr), n_blocks, &starts) };
    Some(sums)
}

/// Sums of `n` rows of `x`.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn kernel<T: Type>(
    sums: &mut Sums,
    n: usize,
    rows: &[*const u8; ROWS],
    n_blocks: usize,
    x: &Starts,
) {
    // SAFETY: as the caller says.
    unsafe {
        match n {
            0 => {}
            1 => few::<T, 1, 4>(sums, rows, n_blocks, x),
            2 => few::<T, 2, 4>(sums, rows, n_blocks, x),
            _ => few::<T, MAX_ROWS, 2>(sums, rows, n_blocks, x),
        }
    }
}

/// `R` rows of `x`, and `G` registers of outputs at a time.
#[inline(always)]
unsafe fn few<T: Type, const R: usize, const G: usize>(
    sums: &mut Sums,
    rows: &[*const u8; ROWS],
    n_blocks: usize,
    x: &Starts,
) {
    // Blocks that begin in one line, and the distance of the rows that come next.
    let n_per_line = (CACHE_LINE / T::N_BYTES).max(1);
    let ahead = ROWS * n_blocks * T::N_BYTES;
    for first in (0..ROWS).step_by(G * LANES) {
        // SAFETY: as the caller says; block `block` of each row is there, and `PART` numbers of each row
        // of `x` for each of its parts. A prefetch never faults.
        unsafe {
            let mut registers = [[_mm256_setzero_ps(); G]; R];
            let mut columns: [Columns; G] = [[[[[0; _]; _]; _]; _]; _];
            let mut scales = [T::Scales::none(); G];
            for block in 0..n_blocks {
                for part in 0..T::N_PARTS {
                    let is_new_line = block % n_per_line == 0 && part * CACHE_LINE < T::N_BYTES;
                    for group in 0..G {
                        let blocks: [*const u8; LANES] = std::array::from_fn(|lane| {
                            rows[first + group * LANES + lane].add(block * T::N_BYTES)
                        });
                        if is_new_line {
                            for block in blocks {
                                let next = block.wrapping_add(ahead + part * CACHE_LINE);
                                _mm_prefetch::<_MM_HINT_T0>(next.cast());
                            }
                        }
                        if part == 0 {
                            scales[group] = T::Scales::of(&blocks);
                        }
                        columns_of::<T>(&mut columns[group], &blocks, part);
                    }
                    let first = (block * T::N_PARTS + part) * PART;
                    let x: [*const f32; R] = std::array::from_fn(|row| x[row].add(first));
                    add_part::<T, R, G>(&mut registers, &columns, &scales, part, x);
                }
            }
            for (sums, registers) in sums.iter_mut().zip(registers) {
                for (group, register) in registers.into_iter().enumerate() {
                    _mm256_storeu_ps(sums.as_mut_ptr().add(first + group * LANES), register);
                }
            }
        }
    }
}

/// Adds the products of [`PART`] numbers of each row.
#[expect(clippy::needless_range_loop, reason = "indices stand for numbers of all arrays")]
#[inline(always)]
unsafe fn add_part<T: Type, const R: usize, const G: usize>(
    registers: &mut [[__m256; G]; R],
    columns: &[Columns; G],
    scales: &[T::Scales; G],
    part: usize,
    x: [*const f32; R],
) {
    for half in 0..2 {
        for pair in 0..8 {
            for odd in 0..2 {
                for group in 0..G {
                    // SAFETY: as the caller of `few` says.
                    unsafe {
                        let (scale, minimum) = scales[group].at(part, half);
                        let q = columns[group][pair][half][odd].as_ptr();
                        let q = _mm256_cvtepi8_epi32(_mm_loadl_epi64(q.cast()));
                        let mut weights = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(q));
                        if let Some(minimum) = minimum {
                            weights = _mm256_sub_ps(weights, minimum);
                        }
                        for (registers, x) in registers.iter_mut().zip(x) {
                            let x = _mm256_set1_ps(*x.add(16 * half + 2 * pair + odd));
                            registers[group] = _mm256_fmadd_ps(weights, x, registers[group]);
                        }
                    }
                }
            }
        }
    }
}
