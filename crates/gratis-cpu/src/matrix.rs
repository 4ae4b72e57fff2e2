//! The position of a matrix of the decoder in the flat parameters.

use std::ops::Range;

/// A matrix of the decoder, or several that follow one another.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    /// `[n_out, n_in]` in the layout.
    pub(crate) place: Range<usize>,
    pub(crate) n_in: usize,
}

impl Matrix {
    /// Number of rows.
    pub(crate) fn n_out(&self) -> usize {
        self.place.len() / self.n_in
    }

    /// Place of some of its rows.
    pub(crate) fn rows(&self, rows: &Range<usize>) -> Range<usize> {
        self.place.start + rows.start * self.n_in..self.place.start + rows.end * self.n_in
    }
}
