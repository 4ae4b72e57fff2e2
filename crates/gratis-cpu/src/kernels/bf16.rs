//! Matrix products of numbers rounded to bf16, summed in f32, by the instructions of `avx512_bf16`.
//!
//! `y = x W^T` with both factors rounded to eight significant bits: about twice as many operations per
//! second as in f32, for an error of up to 2^-8 of each factor. As in [`tiles`](super::tiles), the bits
//! of an element depend on its row, its column and the length of the sum only. The plain twin is in the
//! tests.

use std::arch::x86_64::{
    __m512, __m512bh, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_maskz_loadu_ps, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_store_ps, _mm512_storeu_ps,
};
use std::cell::RefCell;

use gratis_model::simd::Instructions;

use super::matmul::{Mat, MatMut, Onto};
use super::tiles::{self, Left, Panels, PanelsPart, Rows};
use super::vector::{Avx512, Vector, mask_of_first, transposed_registers};

/// Terms of a sum that are rounded into a register: pairs of neighbours.
const TERMS: usize = 32;
/// Pairs of a register.
const LANES: usize = TERMS / 2;
/// Columns of a panel.
const WIDTH: usize = Avx512::N_SUMS / tiles::TILE_ROWS * Avx512::N;
/// Most terms of a sum that are taken at a time.
const DEPTH: usize = 1024;
/// Columns that are packed at a time.
const BLOCK_COLUMNS: usize = 1024;

/// Whether the processor has the instructions.
pub(super) fn is_available() -> bool {
    Instructions::of_this_processor() == Instructions::Avx512
        && is_x86_feature_detected!("avx512bf16")
}

thread_local! {
    /// Packed columns and rows, reused from call to call.
    static BUFFERS: RefCell<(Panels, Rows)> = RefCell::default();
}

/// `out = scale * a b` (or `+=`) of the rounded factors; the terms of a row of `a`, and of a column of
/// `b`, must be neighbours in memory.
pub(super) fn product(out: &mut MatMut<'_>, onto: Onto, a: Mat<'_>, b: Mat<'_>, scale: f32) {
    let (m, n, k) = (a.n_rows(), b.n_cols(), a.n_cols());
    assert!(is_available(), "a processor with bf16 products");
    assert!(a.strides()[1] == 1 && b.strides()[0] == 1, "terms that are neighbours");
    assert_eq!((out.n_rows(), out.n_cols(), b.n_rows()), (m, n, k), "product shapes");
    BUFFERS.with_borrow_mut(|(panels, rows)| {
        let depth = k.div_ceil(k.div_ceil(DEPTH)).next_multiple_of(TERMS);
        for term in (0..k).step_by(depth) {
            let terms = term..k.min(term + depth);
            let onto = if term == 0 { onto } else { Onto::Sum };
            let a = a.part(0..m, terms.clone());
            for column in (0..n).step_by(BLOCK_COLUMNS) {
                let columns = column..n.min(column + BLOCK_COLUMNS);
                panels.round(b.part(terms.clone(), columns.clone()));
                for first in (0..m).step_by(tiles::BLOCK_ROWS) {
                    let block = first..m.min(first + tiles::BLOCK_ROWS);
                    let left = rows.round(a.part(block.clone(), 0..terms.len()));
                    let mut out = out.part(block, columns.clone());
                    let part = panels.all();
                    // SAFETY: the processor has the instructions; `left` has the rows of `out` and
                    // as many pairs as the panels, which have its columns; `out` is borrowed
                    // exclusively.
                    #[expect(unsafe_code, reason = "vector instructions")]
                    unsafe {
                        block_product(&mut out, onto, left, &part, scale);
                    }
                }
            }
        }
    });
}

/// All tiles of a block of rows.
///
/// # Safety
/// The processor must have the instructions; otherwise as [`tiles::tiles`].
#[expect(unsafe_code, reason = "vector instructions")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
unsafe fn block_product(
    out: &mut MatMut<'_>,
    onto: Onto,
    left: Left,
    panels: &PanelsPart<'_>,
    scale: f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        tiles::tiles::<Avx512, _>(out, onto, left, panels, scale, |pair, right, sum| {
            let pair: __m512bh = std::mem::transmute::<__m512, __m512bh>(_mm512_set1_ps(pair));
            let right = std::mem::transmute::<__m512, __m512bh>(right.0);
            Avx512(_mm512_dpbf16_ps(sum.0, pair, right))
        });
    }
}

impl Panels {
    /// Packs `b`, rounded, in the place of what was here: the terms of a panel are pairs.
    fn round(&mut self, b: Mat<'_>) {
        let n_pairs = b.n_rows().next_multiple_of(TERMS) / 2;
        let panels = self.resize(n_pairs, b.n_cols());
        // SAFETY: the processor has the instructions, as `product` checked; there is room for
        // all panels of `n_pairs` terms, and `b` lies within its slice.
        #[expect(unsafe_code, reason = "vector instructions")]
        unsafe {
            round_columns(panels.as_mut_ptr(), n_pairs, b);
        }
    }
}

impl Rows {
    /// The rows of `a`, rounded, as pairs.
    fn round(&mut self, a: Mat<'_>) -> Left {
        let n_pairs = a.n_cols().next_multiple_of(TERMS) / 2;
        let to = self.resize(a.n_rows() * n_pairs);
        // SAFETY: the processor has the instructions, as `product` checked; there is room for
        // `n_pairs` pairs of each row, and `a` lies within its slice.
        #[expect(unsafe_code, reason = "vector instructions")]
        unsafe {
            round_rows(to.as_mut_ptr(), n_pairs, a);
        }
        Left { start: to.as_ptr(), tile: tiles::TILE_ROWS * n_pairs, row: n_pairs, term: 1 }
    }
}

/// Up to 32 numbers as pairs, zeros behind them.
///
/// # Safety
/// The processor must have the instructions, and `from` the numbers.
#[expect(unsafe_code, reason = "vector instructions")]
#[inline(always)]
unsafe fn rounded(from: *const f32, n: usize) -> __m512 {
    // SAFETY: the caller's promise; a masked load reads its lanes only, and `add` is within them.
    unsafe {
        let near = _mm512_maskz_loadu_ps(mask_of_first(n), from);
        let far = match n.checked_sub(LANES) {
            None | Some(0) => _mm512_setzero_ps(),
            Some(n) => _mm512_maskz_loadu_ps(mask_of_first(n), from.add(LANES)),
        };
        std::mem::transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(far, near))
    }
}

/// Rounds rows into `[n_rows, n_pairs]`.
///
/// # Safety
/// The processor must have the instructions; `to` must have room.
#[expect(unsafe_code, reason = "vector instructions")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
unsafe fn round_rows(to: *mut f32, n_pairs: usize, a: Mat<'_>) {
    let k = a.n_cols();
    for row in 0..a.n_rows() {
        for term in (0..k).step_by(TERMS) {
            // SAFETY: the numbers are of `a`'s row, the pairs of the row of `to`.
            unsafe {
                let from = a.data().as_ptr().add(row * a.strides()[0] + term);
                let pairs = rounded(from, TERMS.min(k - term));
                _mm512_storeu_ps(to.add(row * n_pairs + term / 2), pairs);
            }
        }
    }
}

/// Rounds columns into panels of `[n_pairs, WIDTH]`.
///
/// # Safety
/// The processor must have the instructions; `panels` must be aligned to 64 bytes and have room.
#[expect(unsafe_code, reason = "vector instructions")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
unsafe fn round_columns(panels: *mut f32, n_pairs: usize, b: Mat<'_>) {
    let (k, n) = (b.n_rows(), b.n_cols());
    let stride = b.strides()[1];
    for column in (0..n).step_by(LANES) {
        for term in (0..k).step_by(TERMS) {
            // SAFETY: the numbers are of `b`'s columns, the lines of the panel of `column`.
            unsafe {
                let mut pairs = [_mm512_setzero_ps(); LANES];
                for (idx, pairs) in pairs.iter_mut().enumerate().take(n - column) {
                    let from = b.data().as_ptr().add((column + idx) * stride + term);
                    *pairs = rounded(from, TERMS.min(k - term));
                }
                let panel = panels.add(column / WIDTH * n_pairs * WIDTH + column % WIDTH);
                for (idx, &line) in transposed_registers(pairs).iter().enumerate() {
                    _mm512_store_ps(panel.add((term / 2 + idx) * WIDTH), line);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_rounded_factors() {
        if !is_available() {
            return;
        }
        let round = |x: f32| f64::from(half::bf16::from_f32(x).to_f32());
        let numbers = |n: usize, seed: f32| -> Vec<f32> {
            (0..n).map(|i| ((i as f32 + 1.3) * (seed + 0.71)).sin()).collect()
        };
        for (m, k, n) in [(1, 1, 1), (5, 31, 17), (13, 64, 70), (200, 100, 65), (7, 1500, 1030)] {
            let (x, w) = (numbers(m * k, 0.1), numbers(n * k, 0.2));
            for onto in [Onto::Fresh, Onto::Sum] {
                let mut y = numbers(m * n, 0.4);
                let before = y.clone();
                let (a, b) = (Mat::new(&x, k), Mat::new(&w, k).t());
                product(&mut MatMut::new(&mut y, n), onto, a, b, 0.7);
                for (idx, (&y, &before)) in y.iter().zip(&before).enumerate() {
                    let (row, column) = (idx / n * k, idx % n * k);
                    let sum: f64 = (0..k).map(|l| round(x[row + l]) * round(w[column + l])).sum();
                    let added = if onto == Onto::Sum { f64::from(before) } else { 0.0 };
                    let expected = added + 0.7 * sum;
                    assert!((f64::from(y) - expected).abs() < 4e-5, "{y} {expected} {m} {k} {n}");
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_beside_others() {
        if !is_available() {
            return;
        }
        let (m, k, n) = (29, 1100, 70);
        let numbers = |n: usize| -> Vec<f32> { (0..n).map(|i| (i as f32 * 0.37).sin()).collect() };
        let (x, w) = (numbers(m * k), numbers(n * k));
        let of = |x: &[f32]| {
            let mut y = vec![0.0; x.len() / k * n];
            let (a, b) = (Mat::new(x, k), Mat::new(&w, k).t());
            product(&mut MatMut::new(&mut y, n), Onto::Fresh, a, b, 1.0);
            y
        };
        let all = of(&x);
        for (row, together) in x.chunks_exact(k).zip(all.chunks_exact(n)) {
            assert_eq!(of(row), together);
        }
    }
}
