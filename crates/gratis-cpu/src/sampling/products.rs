//! Products of the rows of a tile with matrices of the decoder.
//!
//! A row's outputs have the same bits whatever the number of rows and threads: see
//! [`decode`](crate::kernels::decode), and [`rows`](crate::kernels::rows) for quantised weights.

use std::ops::Range;

use super::team::Team;
use crate::kernels::decode::{Operand, Outputs, products};
use crate::kernels::matmul::Onto;
use crate::lora::rows_of;
use crate::matrix::Matrix;
use crate::weights::{ProductScratch, Products, Weights};

/// Rows of a mapped matrix that are widened at a time: they stay in the nearest cache.
const WIDENED_ROWS: usize = 48;

/// Products of a decoder, and the threads that share each.
#[derive(Debug, Default)]
pub(super) struct Product<'a> {
    team: Option<&'a Team>,
    x: Operand,
    /// Widened rows.
    tile: Vec<f32>,
    /// `[n, rank]`, and what an adapter adds: `[n, n_out]`.
    low_rank: Vec<f32>,
    added: Vec<f32>,
    /// `[n_out, n]`, with quantised weights.
    y: Vec<f32>,
    scratch: ProductScratch,
}

impl<'a> Product<'a> {
    /// Products that a team shares, or, with quantised weights, `n_threads` of the pool.
    pub(super) fn of(team: Option<&'a Team>, n_threads: usize) -> Self {
        Self { team, scratch: ProductScratch::of(n_threads), ..Self::default() }
    }

    /// The product with all rows of a matrix.
    fn all_rows(&mut self, weights: Weights<'_>, out: &mut Outputs<'_>, matrix: &Matrix) {
        let Self { team, x, tile, .. } = self;
        match team {
            Some(team) => team.product(weights, out, matrix, x, tile),
            None => some_rows(weights, out, 0..matrix.n_out(), matrix, x, tile),
        }
    }
}

/// The product with some rows of a matrix, the first of which gives the first column of `out`.
pub(super) fn some_rows(
    weights: Weights<'_>,
    out: &mut Outputs<'_>,
    rows: Range<usize>,
    matrix: &Matrix,
    x: &Operand,
    tile: &mut Vec<f32>,
) {
    let height = if weights.base.is_loaded() { rows.len() } else { WIDENED_ROWS };
    for first in rows.clone().step_by(height.max(1)) {
        let some = first..rows.end.min(first + height);
        let y = &mut out.y[first - rows.start..];
        let numbers = weights.base.rows(matrix.rows(&some), tile);
        products(&mut Outputs { y, stride: out.stride, onto: out.onto }, numbers, x);
    }
}

impl Products for Product<'_> {
    /// `x` has at most [`MAX_ROWS`](crate::kernels::decode::MAX_ROWS) rows.
    fn linear(
        &mut self,
        weights: Weights<'_>,
        y: &mut [f32],
        onto: Onto,
        x: &[f32],
        matrix: &Matrix,
    ) {
        let (n_in, n_out) = (matrix.n_in, matrix.n_out());
        let n = x.len() / n_in;
        if weights.base.is_quantised() {
            self.y.resize(self.y.len().max(n_out * n), 0.0);
            let product = &mut self.y[..n_out * n];
            weights.linear_of_rows(product, x, matrix, &mut self.scratch);
            return from_columns(y, onto, product, n);
        }
        self.x.set(x, n_in);
        self.all_rows(weights, &mut Outputs { y: &mut *y, stride: n_out, onto }, matrix);
        let Some(adapter) = weights.adapter else { return };
        for term in adapter.terms_of(&matrix.place) {
            let (a, b) = adapter.factors_of(term);
            self.low_rank.resize(n * term.rank, 0.0);
            let h = Outputs { y: &mut self.low_rank, stride: term.rank, onto: Onto::Fresh };
            self.x.set(x, n_in);
            products(&mut { h }, a, &self.x);
            self.x.set(&self.low_rank, term.rank);
            self.added.resize(n * term.n_out, 0.0);
            let added = Outputs { y: &mut self.added, stride: term.n_out, onto: Onto::Fresh };
            products(&mut { added }, b, &self.x);
            let first = rows_of(term, matrix).start;
            for (row, added) in self.added.chunks_exact(term.n_out).enumerate() {
                add(&mut y[row * n_out + first..], Onto::Sum, added, adapter.scale());
            }
        }
    }
}

/// Writes or adds values times a factor to as many outputs.
pub(super) fn add(y: &mut [f32], onto: Onto, values: &[f32], factor: f32) {
    let y = y.iter_mut().zip(values);
    match onto {
        Onto::Fresh => y.for_each(|(y, value)| *y = factor * value),
        Onto::Sum => y.for_each(|(y, value)| *y += factor * value),
    }
}

/// Writes `columns`, `[n_out, n]`, as the rows of `y`.
fn from_columns(y: &mut [f32], onto: Onto, columns: &[f32], n: usize) {
    let n_out = columns.len() / n;
    for (lane, row) in y.chunks_exact_mut(n_out).enumerate() {
        let columns = columns.chunks_exact(n);
        match onto {
            Onto::Fresh => row.iter_mut().zip(columns).for_each(|(y, c)| *y = c[lane]),
            Onto::Sum => row.iter_mut().zip(columns).for_each(|(y, c)| *y += c[lane]),
        }
    }
}
