//! A low-rank adapter in memory: `W + s B A` with `A` `[rank, n_in]` and `B` `[n_out, rank]`
//! trained and `W` frozen ([arXiv:2106.09685](https://arxiv.org/abs/2106.09685)).
//!
//! For an implicit reward model the reference of the log-ratio is the base without the adapter, so
//! policy and reference share one copy of the weights.

use std::ops::Range;
use std::path::Path;

use gratis_model::layout::Layout;
use gratis_model::lora::{AdapterConfig, AdapterLayout, BaseName, LoraSettings, LowRankTerm, peft};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::kernels::matmul::{Mat, MatMut, Onto, matmul};
use crate::matrix::Matrix;

/// Rows of a group of matrices that are this term's.
pub(crate) fn rows_of(term: &LowRankTerm, group: &Matrix) -> Range<usize> {
    let start = (term.matrix.start - group.place.start) / term.n_in;
    start..start + term.n_out
}

/// The term's columns of the outputs of a group: `[n, n_out]`.
pub(crate) fn columns<'a>(term: &LowRankTerm, y: &'a [f32], group: &Matrix) -> Mat<'a> {
    let width = group.place.len() / group.n_in;
    Mat::strided(&y[rows_of(term, group).start..], y.len() / width, term.n_out, width)
}

/// As [`columns`], to write.
pub(crate) fn columns_mut<'a>(term: &LowRankTerm, y: &'a mut [f32], group: &Matrix) -> MatMut<'a> {
    let width = group.place.len() / group.n_in;
    let n = y.len() / width;
    MatMut::strided(&mut y[rows_of(term, group).start..], n, term.n_out, width)
}

/// An adapter to a model.
#[derive(Debug, Clone)]
pub(crate) struct Adapter {
    pub(crate) settings: LoraSettings,
    /// What it is an adapter to.
    pub(crate) base: BaseName,
    pub(crate) layout: AdapterLayout,
    /// In the order of the layout.
    pub(crate) parameters: Vec<f32>,
}

impl Adapter {
    /// A new adapter, which changes nothing yet: `B` is zero and `A` uniform within `1 /
    /// sqrt(n_in)`, as in peft.
    pub(crate) fn initialise(
        layout: &Layout,
        settings: LoraSettings,
        base: BaseName,
        seed: u64,
    ) -> gratis_model::Result<Self> {
        settings.validate()?;
        let layout = AdapterLayout::new(&settings, layout);
        let mut parameters = vec![0.0; layout.n_parameters()];
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for term in &layout.terms {
            let bound = 1.0 / (term.n_in as f32).sqrt();
            for value in &mut parameters[term.a.clone()] {
                *value = bound * (2.0 * rng.random::<f32>() - 1.0);
            }
        }
        Ok(Self { settings, base, layout, parameters })
    }

    /// The adapter of a folder in the layout of peft.
    pub(crate) fn read(folder: &Path, layout: &Layout) -> gratis_model::Result<Self> {
        let AdapterConfig { settings, base } = AdapterConfig::read(folder)?;
        let layout = AdapterLayout::new(&settings, layout);
        let parameters = peft::read_weights(folder, &layout)?;
        Ok(Self { settings, base, layout, parameters })
    }

    /// The factor of `B A`.
    pub(crate) fn scale(&self) -> f32 {
        self.settings.scale() as f32
    }

    /// The terms of the matrices within a place of the base's layout.
    pub(crate) fn terms_of(&self, place: &Range<usize>) -> &[LowRankTerm] {
        let terms = &self.layout.terms;
        let first = terms.partition_point(|term| term.matrix.start < place.start);
        let after = terms.partition_point(|term| term.matrix.start < place.end);
        &terms[first..after]
    }

    /// `A` `[rank, n_in]` and `B` `[n_out, rank]`.
    pub(crate) fn factors(&self, term: &LowRankTerm) -> (Mat<'_>, Mat<'_>) {
        let (a, b) = self.factors_of(term);
        (Mat::new(a, term.n_in), Mat::new(b, term.rank))
    }

    /// The numbers of [`Self::factors`].
    pub(crate) fn factors_of(&self, term: &LowRankTerm) -> (&[f32], &[f32]) {
        (&self.parameters[term.a.clone()], &self.parameters[term.b.clone()])
    }

    /// `W += s B A` for every matrix: the base alone then computes the same function.
    pub(crate) fn merge_into(&self, parameters: &mut [f32]) {
        for term in &self.layout.terms {
            let (a, b) = self.factors(term);
            let matrix = MatMut::new(&mut parameters[term.matrix.clone()], term.n_in);
            matmul(matrix, Onto::Sum, b, a, self.scale());
        }
    }
}
