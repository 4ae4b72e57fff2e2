//! Products of a few rows with rows of a matrix that were widened a moment ago and stand in a near cache.
//!
//! Every sum is the chain of multiply-adds of [`decode`](super::decode), so that a row has the same bits
//! as among many. A chain waits for its last product, so several registers of outputs take turns.

use std::hint::black_box;

use super::decode::FEW;
use super::vector::{Vector, for_processor};

/// Rows of the matrix at a time.
pub(crate) const ROWS: usize = 16;

/// Sums of at most [`FEW`] rows with so many of the matrix: `[n, ROWS]`.
pub(crate) type Sums = [[f32; ROWS]; FEW];

/// Numbers from one widened row to the next: rows whose distance is a multiple of a large power of two
/// would meet in one place of the cache.
pub(crate) fn stride(n_in: usize) -> usize {
    n_in.next_multiple_of(16) + 16
}

for_processor! {
    /// The sums of the products of the rows `x`, `[n, n_in]` with `n <= FEW`, with [`ROWS`] rows of
    /// `weights` that are [`stride`] apart.
    pub(crate) fn products_of_tile(sums: &mut Sums, weights: &[f32], x: &[f32], n_in: usize) = kernel;
}

#[inline(always)]
fn kernel<V: Vector>(sums: &mut Sums, weights: &[f32], x: &[f32], n_in: usize) {
    match x.len() / n_in {
        0 => {}
        1 => rows::<V, 1>(sums, weights, x, n_in),
        2 => rows::<V, 2>(sums, weights, x, n_in),
        3 => rows::<V, 3>(sums, weights, x, n_in),
        4 => rows::<V, 4>(sums, weights, x, n_in),
        5 => rows::<V, 5>(sums, weights, x, n_in),
        6 => rows::<V, 6>(sums, weights, x, n_in),
        7 => rows::<V, 7>(sums, weights, x, n_in),
        _ => rows::<V, FEW>(sums, weights, x, n_in),
    }
}

/// `R` rows of `x`: two registers of outputs take turns where sums of both stay in registers.
#[inline(always)]
fn rows<V: Vector, const R: usize>(sums: &mut Sums, weights: &[f32], x: &[f32], n_in: usize) {
    let mut done = 0;
    while done < ROWS {
        if R <= 3 && done + 2 * V::N <= ROWS {
            outputs::<V, R, 2>(sums, weights, x, n_in, done);
            done += 2 * V::N;
        } else {
            outputs::<V, R, 1>(sums, weights, x, n_in, done);
            done += V::N;
        }
    }
}

/// `G` registers of outputs, from output `done` on.
#[inline(always)]
fn outputs<V: Vector, const R: usize, const G: usize>(
    sums: &mut Sums,
    weights: &[f32],
    x: &[f32],
    n_in: usize,
    done: usize,
) {
    let stride = stride(n_in);
    assert!(done + G * V::N <= ROWS, "rows of a tile");
    let weights = &weights[done * stride..][..G * V::N * stride];
    let x: [&[f32]; R] = std::array::from_fn(|row| &x[row * n_in..][..n_in]);
    let n_whole = n_in / V::N * V::N;
    // SAFETY: the processor has the instructions of `V`. Of `G * V::N` rows of the matrix and of the rows
    // of `x`, numbers below `n_whole` are read; sums are written below `done + G * V::N`.
    #[expect(unsafe_code, reason = "sums in registers")]
    unsafe {
        let mut registers = [[V::splat(0.0); G]; R];
        for k in (0..n_whole).step_by(V::N) {
            for group in 0..G {
                // Hidden from the compiler, which would load several blocks before it multiplies any,
                // and run out of registers.
                let start = black_box(weights.as_ptr().add(group * V::N * stride + k));
                let rows = std::array::from_fn(|lane| start.add(lane % V::N * stride));
                let block = V::transposed(&rows);
                for (idx, &column) in block.as_ref().iter().enumerate() {
                    for (registers, x) in registers.iter_mut().zip(x) {
                        let x = V::splat(*x.as_ptr().add(k + idx));
                        registers[group] = column.mul_add(x, registers[group]);
                    }
                }
            }
        }
        for (sums, registers) in sums.iter_mut().zip(registers) {
            for (group, register) in registers.into_iter().enumerate() {
                register.store(sums.as_mut_ptr().add(done + group * V::N));
            }
        }
    }
    for (sums, x) in sums.iter_mut().zip(x) {
        let sums = &mut sums[done..done + G * V::N];
        for (sum, row) in sums.iter_mut().zip(weights.chunks_exact(stride)) {
            for k in n_whole..n_in {
                *sum = row[k].mul_add(x[k], *sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::vector::Plain;

    fn numbers(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32 + 1.3) * (seed + 0.71)).sin()).collect()
    }

    #[test]
    fn every_sum_is_one_chain_whatever_the_number_of_rows() {
        for n_in in [1, 5, 16, 33, 64, 130] {
            let (weights, x) = (numbers(ROWS * stride(n_in), 0.1), numbers(FEW * n_in, 0.2));
            for n in 0..=FEW {
                let x = &x[..n * n_in];
                let (mut sums, mut twin) = ([[9.0; ROWS]; FEW], [[9.0; ROWS]; FEW]);
                products_of_tile(&mut sums, &weights, x, n_in);
                kernel::<Plain>(&mut twin, &weights, x, n_in);
                assert_eq!(sums, twin, "{n_in} {n}");
                let mut expected = [[9.0_f32; ROWS]; FEW];
                for (sums, x) in expected.iter_mut().zip(x.chunks_exact(n_in)) {
                    for (sum, row) in sums.iter_mut().zip(weights.chunks_exact(stride(n_in))) {
                        *sum = row.iter().zip(x).fold(0.0, |sum, (w, x)| w.mul_add(*x, sum));
                    }
                }
                assert_eq!(sums, expected, "{n_in} {n}");
            }
        }
    }
}
