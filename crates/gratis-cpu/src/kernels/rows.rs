//! Products of a few rows with the rows of a matrix, each a sum over neighbouring numbers of both.
//!
//! A sum is taken in sixteen partial sums that are folded in a fixed order. It therefore has the same
//! bits however many rows there are on either side, which a general matrix product does not promise.

use std::array;

use super::simd::{LANES, fold, vectorised};

/// Rows of the matrix, and of `x`, whose sums are in registers at a time.
const ROWS: usize = 4;
const COLUMNS: usize = 2;

vectorised! {
    /// `out = W x^T`: `out` is `[n_out, n]`, `weights` `[n_out, n_in]`, `x` `[n, n_in]`.
    pub(crate) fn products_of_rows(out: &mut [f32], weights: &[f32], x: &[f32], n_in: usize) {
        let n = x.len() / n_in;
        let (tall, low) = out.split_at_mut(weights.len() / n_in / ROWS * ROWS * n);
        let (tall_weights, low_weights) = weights.split_at(tall.len() / n * n_in);
        let groups = tall.chunks_exact_mut(ROWS * n).zip(tall_weights.chunks_exact(ROWS * n_in));
        for (out, weights) in groups {
            group::<ROWS>(out, weights, x, n_in);
        }
        for (out, weights) in low.chunks_exact_mut(n).zip(low_weights.chunks_exact(n_in)) {
            group::<1>(out, weights, x, n_in);
        }
    }
}

/// `R` rows of the product.
#[inline(always)]
fn group<const R: usize>(out: &mut [f32], weights: &[f32], x: &[f32], n_in: usize) {
    let n = x.len() / n_in;
    let weights = array::from_fn(|row| &weights[row * n_in..][..n_in]);
    let mut done = 0;
    while done + COLUMNS <= n {
        tile::<R, COLUMNS>(out, weights, x, done);
        done += COLUMNS;
    }
    while done < n {
        tile::<R, 1>(out, weights, x, done);
        done += 1;
    }
}

/// `R` rows and `C` columns of the product, from column `first` on.
#[inline(always)]
fn tile<const R: usize, const C: usize>(
    out: &mut [f32],
    weights: [&[f32]; R],
    x: &[f32],
    first: usize,
) {
    let n_in = weights[0].len();
    let n = x.len() / n_in;
    let x: [&[f32]; C] = array::from_fn(|column| &x[(first + column) * n_in..][..n_in]);
    let n_chunks = n_in / LANES;
    let weight_chunks: [&[[f32; LANES]]; R] =
        array::from_fn(|row| &weights[row].as_chunks().0[..n_chunks]);
    let x_chunks: [&[[f32; LANES]]; C] =
        array::from_fn(|column| &x[column].as_chunks().0[..n_chunks]);
    let mut sums = [[[0.0_f32; LANES]; C]; R];
    for chunk in 0..n_chunks {
        for row in 0..R {
            for column in 0..C {
                let (weights, x) = (&weight_chunks[row][chunk], &x_chunks[column][chunk]);
                let sum = sums[row][column];
                sums[row][column] = array::from_fn(|i| weights[i].mul_add(x[i], sum[i]));
            }
        }
    }
    // If the compiler saw that the sums are folded, it would keep them in pieces of registers, which
    // takes four times as long.
    let mut sums = std::hint::black_box(sums);
    let n_whole = n_chunks * LANES;
    for idx in n_whole..n_in {
        for (sums, weights) in sums.iter_mut().zip(weights) {
            for (sums, x) in sums.iter_mut().zip(x) {
                let sum = &mut sums[idx - n_whole];
                *sum = weights[idx].mul_add(x[idx], *sum);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        for (column, sums) in sums.into_iter().enumerate() {
            out[row * n + first + column] = fold(sums, |a, b| a + b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32 + 1.3) * (seed + 0.71)).sin()).collect()
    }

    #[test]
    fn products_are_right_and_have_the_same_bits_alone() {
        for (n_out, n_in, n) in [(1, 16, 1), (7, 33, 5), (12, 130, 32), (5, 3, 2), (9, 64, 3)] {
            let (weights, x) = (numbers(n_out * n_in, 0.1), numbers(n * n_in, 0.2));
            let mut out = vec![9.0; n_out * n];
            products_of_rows(&mut out, &weights, &x, n_in);
            for row in 0..n_out {
                for column in 0..n {
                    let weights = &weights[row * n_in..][..n_in];
                    let x = &x[column * n_in..][..n_in];
                    let pairs = weights.iter().zip(x);
                    let exact: f64 = pairs.map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
                    let got = out[row * n + column];
                    // Observed largest error 9.3e-7.
                    assert!((f64::from(got) - exact).abs() < 5e-6, "{got} against {exact}");
                    let mut alone = [9.0];
                    products_of_rows(&mut alone, weights, x, n_in);
                    assert_eq!(alone[0].to_bits(), got.to_bits(), "{n_out} {n_in} {n}");
                }
            }
        }
    }
}
