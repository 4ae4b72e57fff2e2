//! The parameters of a model as its passes read them: in memory, or in mapped files from which they
//! are widened or dequantised tile by tile, with the low-rank terms of an adapter where there is one.
//!
//! Every product with a matrix of the decoder is one of the three here, so that the passes need not
//! know where the matrix stands, whether an adapter adds to it, and which of the two is trained.

use std::ops::Range;
use std::sync::Arc;

use gratis_model::checkpoint::MappedWeights;

use crate::kernels::matmul::{Execution, Mat, MatMut, Onto, matmul, matmul_shared};
use crate::lora::{Adapter, columns, columns_mut};
use crate::matrix::Matrix;

/// Most rows of a mapped matrix that are widened at a time. Tiles of a matrix are of about equal
/// height, so none is below half of this: a product then cuts its sums just as with the matrix in
/// memory, and gives the same bits.
pub(crate) const TILE_ROWS: usize = 1024;

/// All parameters of a model; copies share them, and a change makes a copy one's own.
#[derive(Debug, Clone)]
pub(crate) enum Parameters {
    /// In memory, in the order of the layout.
    Loaded(Arc<Vec<f32>>),
    /// In the files of a checkpoint.
    Mapped(Arc<MappedWeights>),
}

impl Parameters {
    pub(crate) fn view(&self) -> Base<'_> {
        match self {
            Self::Loaded(parameters) => Base::Loaded(parameters),
            Self::Mapped(mapped) => Base::Mapped(mapped),
        }
    }

    /// The numbers, if they are in memory.
    pub(crate) fn loaded(&self) -> Option<&[f32]> {
        match self {
            Self::Loaded(parameters) => Some(parameters),
            Self::Mapped(_) => None,
        }
    }

    /// All `n` numbers, read if they were mapped.
    pub(crate) fn into_vec(self, n: usize) -> Vec<f32> {
        match self {
            Self::Loaded(parameters) => Arc::unwrap_or_clone(parameters),
            Self::Mapped(mapped) => {
                let mut parameters = vec![0.0; n];
                mapped.widen(0..n, &mut parameters);
                parameters
            }
        }
    }

    /// The numbers to change, if they are in memory.
    pub(crate) fn loaded_mut(&mut self) -> Option<&mut [f32]> {
        match self {
            Self::Loaded(parameters) => Some(Arc::make_mut(parameters).as_mut_slice()),
            Self::Mapped(_) => None,
        }
    }
}

/// The parameters without an adapter. Places are those of the layout.
#[derive(Clone, Copy)]
pub(crate) enum Base<'a> {
    Loaded(&'a [f32]),
    Mapped(&'a MappedWeights),
}

impl<'a> Base<'a> {
    /// A norm or a bias; adjacent ones may be read as one.
    pub(crate) fn vector(self, place: &Range<usize>) -> &'a [f32] {
        match self {
            Self::Loaded(parameters) => &parameters[place.clone()],
            Self::Mapped(mapped) => mapped.vector(place),
        }
    }

    /// A part of a matrix, in `tile` if it had to be widened.
    pub(crate) fn rows<'t>(self, place: Range<usize>, tile: &'t mut Vec<f32>) -> &'t [f32]
    where
        'a: 't,
    {
        match self {
            Self::Loaded(parameters) => &parameters[place],
            Self::Mapped(mapped) => {
                tile.resize(tile.len().max(place.len()), 0.0);
                let tile = &mut tile[..place.len()];
                mapped.widen(place, tile);
                tile
            }
        }
    }

    /// Copies a part of a matrix.
    pub(crate) fn copy(self, place: Range<usize>, into: &mut [f32]) {
        match self {
            Self::Loaded(parameters) => into.copy_from_slice(&parameters[place]),
            Self::Mapped(mapped) => mapped.widen(place, into),
        }
    }

    /// The rows of a matrix that are taken at a time: all, unless they have to be widened.
    pub(crate) fn tiles(self, n_rows: usize) -> impl Iterator<Item = Range<usize>> {
        let height = match self {
            Self::Loaded(_) => n_rows,
            Self::Mapped(_) => n_rows.div_ceil(n_rows.div_ceil(TILE_ROWS).max(1)),
        };
        (0..n_rows).step_by(height.max(1)).map(move |start| start..n_rows.min(start + height))
    }
}

/// What a pass reads.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a> {
    pub(crate) base: Base<'a>,
    /// Adds to matrices of the base.
    pub(crate) adapter: Option<&'a Adapter>,
}

/// Buffers of the products, reused from call to call, and how each is computed.
#[derive(Debug, Default)]
pub(crate) struct ProductScratch {
    pub(crate) execution: Execution,
    /// Widened rows of a mapped matrix.
    pub(crate) tile: Vec<f32>,
    /// Between the two factors of a low-rank term: `[n, rank]`.
    low_rank: Vec<f32>,
}

/// Products of rows with matrices of the decoder: [`Weights::linear`], or the same for the few rows
/// of a tile.
pub(crate) trait Products {
    /// `y = x W^T` (or `+=`): `x` is `[n, n_in]`, `y` `[n, n_out]`.
    fn linear(
        &mut self,
        weights: Weights<'_>,
        y: &mut [f32],
        onto: Onto,
        x: &[f32],
        matrix: &Matrix,
    );
}

impl Products for ProductScratch {
    fn linear(
        &mut self,
        weights: Weights<'_>,
        y: &mut [f32],
        onto: Onto,
        x: &[f32],
        matrix: &Matrix,
    ) {
        weights.linear(y, onto, x, matrix, self);
    }
}

/// What a backward pass adds to.
pub(crate) enum Gradient<'a> {
    /// The gradient of all parameters, in the order of the layout.
    Full(&'a mut [f32]),
    /// The gradient of the adapter alone: that of the base takes neither time nor memory.
    Adapter {
        gradient: &'a mut [f32],
        adapter: &'a Adapter,
        /// Stands for the gradients of norms, which nobody reads.
        unread: Vec<f32>,
    },
}

impl<'a> Gradient<'a> {
    pub(crate) fn of_adapter(gradient: &'a mut [f32], adapter: &'a Adapter) -> Self {
        Self::Adapter { gradient, adapter, unread: Vec::new() }
    }

    /// The gradient of everything, if it is wanted.
    pub(crate) fn full(&mut self) -> Option<&mut [f32]> {
        match self {
            Self::Full(gradient) => Some(gradient),
            Self::Adapter { .. } => None,
        }
    }

    /// Where the gradient of a norm is added.
    pub(crate) fn vector(&mut self, place: &Range<usize>) -> &mut [f32] {
        match self {
            Self::Full(gradient) => &mut gradient[place.clone()],
            Self::Adapter { unread, .. } => {
                unread.resize(unread.len().max(place.len()), 0.0);
                &mut unread[..place.len()]
            }
        }
    }

    /// `dW += dy^T x`, or the same for the factors that the adapter has here: `dy` is `[n, n_out]`,
    /// `x` `[n, n_in]`.
    ///
    /// With `W + s B A`: `dB += s dy^T (x A^T)` and `dA += s (dy B)^T x`.
    pub(crate) fn add_product(
        &mut self,
        matrix: &Matrix,
        dy: &[f32],
        x: &[f32],
        scratch: &mut ProductScratch,
    ) {
        let (gradient, adapter) = match self {
            Self::Full(gradient) => {
                let gradient = &mut gradient[matrix.place.clone()];
                let dw = MatMut::new(gradient, matrix.n_in);
                let (dy, x) = (Mat::new(dy, matrix.n_out()), Mat::new(x, matrix.n_in));
                matmul_shared(scratch.execution, dw, Onto::Sum, dy.t(), x, 1.0);
                return;
            }
            Self::Adapter { gradient, adapter, .. } => (gradient, adapter),
        };
        let x = Mat::new(x, matrix.n_in);
        for term in adapter.terms_of(&matrix.place) {
            let (a, b) = adapter.factors(term);
            let dy = columns(term, dy, matrix);
            let n = dy.n_rows();
            let h = sized(&mut scratch.low_rank, n * term.rank);
            matmul(MatMut::new(h, term.rank), Onto::Fresh, x, a.t(), 1.0);
            let db = MatMut::new(&mut gradient[term.b.clone()], term.rank);
            matmul(db, Onto::Sum, dy.t(), Mat::new(h, term.rank), adapter.scale());
            matmul(MatMut::new(h, term.rank), Onto::Fresh, dy, b, adapter.scale());
            let da = MatMut::new(&mut gradient[term.a.clone()], matrix.n_in);
            matmul(da, Onto::Sum, Mat::new(h, term.rank).t(), x, 1.0);
        }
    }
}

impl Weights<'_> {
    /// `y = x W^T` (or `+=`): `x` is `[n, n_in]`, `y` `[n, n_out]`; with an adapter
    /// `y += s (x A^T) B^T`.
    pub(crate) fn linear(
        self,
        y: &mut [f32],
        onto: Onto,
        x: &[f32],
        matrix: &Matrix,
        scratch: &mut ProductScratch,
    ) {
        let n_out = matrix.n_out();
        let n = y.len() / n_out;
        let x = Mat::new(x, matrix.n_in);
        for rows in self.base.tiles(n_out) {
            let tile = self.base.rows(matrix.rows(&rows), &mut scratch.tile);
            let y = MatMut::strided(&mut y[rows.start..], n, rows.len(), n_out);
            let weight = Mat::new(tile, matrix.n_in).t();
            matmul_shared(scratch.execution, y, onto, x, weight, 1.0);
        }
        let Some(adapter) = self.adapter else { return };
        for term in adapter.terms_of(&matrix.place) {
            let (a, b) = adapter.factors(term);
            let h = sized(&mut scratch.low_rank, n * term.rank);
            matmul(MatMut::new(h, term.rank), Onto::Fresh, x, a.t(), 1.0);
            let y = columns_mut(term, y, matrix);
            matmul(y, Onto::Sum, Mat::new(h, term.rank), b.t(), adapter.scale());
        }
    }

    /// `dx = dy W` (or `+=`): `dy` is `[n, n_out]`, `dx` `[n, n_in]`; with an adapter
    /// `dx += s (dy B) A`.
    pub(crate) fn linear_backward_input(
        self,
        dx: &mut [f32],
        onto: Onto,
        dy: &[f32],
        matrix: &Matrix,
        scratch: &mut ProductScratch,
    ) {
        let n_out = matrix.n_out();
        let n = dy.len() / n_out;
        for rows in self.base.tiles(n_out) {
            let tile = self.base.rows(matrix.rows(&rows), &mut scratch.tile);
            let onto = if rows.start == 0 { onto } else { Onto::Sum };
            let dy = Mat::strided(&dy[rows.start..], n, rows.len(), n_out);
            let (dx, weight) = (MatMut::new(dx, matrix.n_in), Mat::new(tile, matrix.n_in));
            matmul_shared(scratch.execution, dx, onto, dy, weight, 1.0);
        }
        let Some(adapter) = self.adapter else { return };
        for term in adapter.terms_of(&matrix.place) {
            let (a, b) = adapter.factors(term);
            let h = sized(&mut scratch.low_rank, n * term.rank);
            let dy = columns(term, dy, matrix);
            matmul(MatMut::new(h, term.rank), Onto::Fresh, dy, b, adapter.scale());
            matmul(MatMut::new(dx, matrix.n_in), Onto::Sum, Mat::new(h, term.rank), a, 1.0);
        }
    }
}

fn sized(buffer: &mut Vec<f32>, n: usize) -> &mut [f32] {
    buffer.resize(buffer.len().max(n), 0.0);
    &mut buffer[..n]
}
