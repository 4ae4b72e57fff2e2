//! Products of the rows of a tile with matrices of the decoder.
//!
//! A row's outputs have the same bits whatever the number of rows and threads, and whether the weights are
//! loaded or mapped: see [`decode`](crate::kernels::decode).

use std::ops::Range;

use gratis_model::checkpoint::MappedWeights;

use super::team::Team;
use crate::kernels::decode::{FEW, Operand, Outputs, products, write};
use crate::kernels::matmul::Onto;
use crate::kernels::{blocks, near};
use crate::lora::rows_of;
use crate::matrix::Matrix;
use crate::weights::{Base, Products, Weights};

/// Rows of a mapped matrix that are widened at a time for many rows of `x`: they stay in a near cache.
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
}

impl<'a> Product<'a> {
    /// Products that a team shares.
    pub(super) fn of(team: Option<&'a Team>) -> Self {
        Self { team, ..Self::default() }
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
    let height = match weights.base {
        Base::Mapped(mapped) if x.n_rows() <= FEW => {
            return some_rows_for_few(mapped, out, rows, matrix, x, tile);
        }
        Base::Mapped(_) => WIDENED_ROWS,
        Base::Loaded(_) => rows.len(),
    };
    for first in rows.clone().step_by(height.max(1)) {
        let some = first..rows.end.min(first + height);
        let y = &mut out.y[first - rows.start..];
        let numbers = weights.base.rows(matrix.rows(&some), tile);
        products(&mut Outputs { y, stride: out.stride, onto: out.onto }, numbers, x);
    }
}

/// [`some_rows`] of a mapped matrix for few rows of `x`.
fn some_rows_for_few(
    mapped: &MappedWeights,
    out: &mut Outputs<'_>,
    rows: Range<usize>,
    matrix: &Matrix,
    x: &Operand,
    tile: &mut Vec<f32>,
) {
    for first in rows.clone().step_by(blocks::ROWS) {
        let some = first..rows.end.min(first + blocks::ROWS);
        let y = &mut out.y[first - rows.start..];
        let mut out = Outputs { y, stride: out.stride, onto: out.onto };
        if x.n_rows() > blocks::MAX_ROWS
            || !rows_of_blocks(mapped, &mut out, some.clone(), matrix, x)
        {
            widened_rows(mapped, &mut out, some, matrix, x, tile);
        }
    }
}

/// At most [`blocks::ROWS`] rows, if they are blocks of a type that is multiplied as it is.
fn rows_of_blocks(
    mapped: &MappedWeights,
    out: &mut Outputs<'_>,
    some: Range<usize>,
    matrix: &Matrix,
    x: &Operand,
) -> bool {
    let n = some.len();
    let mut rows: [&[u8]; blocks::ROWS] = [&[]; _];
    let Some(kind) = mapped.rows_of_blocks(matrix.rows(&some), matrix.n_in, &mut rows) else {
        return false;
    };
    // Sums of rows past the end are not written.
    let first = rows[0];
    rows[n..].fill(first);
    let Some(sums) = blocks::products_of_blocks(kind, &rows, x.few_rows(), matrix.n_in) else {
        return false;
    };
    for (row, sums) in sums.iter().enumerate().take(x.n_rows()) {
        write(&mut out.y[row * out.stride..], out.onto, &sums[..n]);
    }
    true
}

/// Rows that are widened, some at a time.
fn widened_rows(
    mapped: &MappedWeights,
    out: &mut Outputs<'_>,
    rows: Range<usize>,
    matrix: &Matrix,
    x: &Operand,
    tile: &mut Vec<f32>,
) {
    let stride = near::stride(matrix.n_in);
    tile.resize(tile.len().max(near::ROWS * stride), 0.0);
    for first in rows.clone().step_by(near::ROWS) {
        let some = first..rows.end.min(first + near::ROWS);
        mapped.widen_rows(matrix.rows(&some), matrix.n_in, tile, stride);
        // Rows past the end are of an earlier tile, and their sums are not written.
        let mut sums = [[0.0; near::ROWS]; FEW];
        near::products_of_tile(&mut sums, tile, x.few_rows(), matrix.n_in);
        for (row, sums) in sums.iter().enumerate().take(x.n_rows()) {
            let y = &mut out.y[row * out.stride + first - rows.start..];
            write(y, out.onto, &sums[..some.len()]);
        }
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
