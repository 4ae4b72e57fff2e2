//! Low-rank adapters (LoRA, [arXiv:2106.09685](https://arxiv.org/abs/2106.09685)): `W + s B A` with
//! `A` `[rank, n_in]` and `B` `[n_out, rank]` trained and `W` left alone.
//!
//! For an implicit reward model this is more than thrift: the reference of the log-ratio is the
//! base without the adapter, so that policy and reference are one copy of the weights. [`peft`]
//! reads and writes adapters as that library does.

pub mod peft;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::kernels::matmul::{Mat, MatMut, Onto, matmul};
use crate::layout::{Layout, TensorSpec};
use crate::weights::Matrix;

/// The linear maps of a layer that an adapter can add to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LoraTarget {
    /// `self_attn.q_proj`.
    #[serde(rename = "q_proj")]
    Query,
    /// `self_attn.k_proj`.
    #[serde(rename = "k_proj")]
    Key,
    /// `self_attn.v_proj`.
    #[serde(rename = "v_proj")]
    Value,
    /// `self_attn.o_proj`.
    #[serde(rename = "o_proj")]
    Output,
    /// `mlp.gate_proj`.
    #[serde(rename = "gate_proj")]
    Gate,
    /// `mlp.up_proj`.
    #[serde(rename = "up_proj")]
    Up,
    /// `mlp.down_proj`.
    #[serde(rename = "down_proj")]
    Down,
}

impl LoraTarget {
    /// Every linear map of a layer.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// The module's name in Hugging Face checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::Output => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }
}

impl fmt::Display for LoraTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for LoraTarget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|target| target.name() == text).ok_or_else(|| {
            let names: Vec<String> = Self::ALL.iter().map(|t| format!("`{t}`")).collect();
            Error::InvalidLora {
                field: "target",
                expected: format!("one of {}", names.join(", ")),
                got: text.to_owned(),
            }
        })
    }
}

/// What the product of the factors is multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoraScaling {
    /// `alpha / rank`.
    #[default]
    Standard,
    /// `alpha / sqrt(rank)`, "rsLoRA".
    RankStabilised,
}

/// The base of an adapter, as its configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseName {
    /// A folder, or a name on a hub.
    pub name: String,
    /// The revision on a hub.
    pub revision: Option<String>,
}

/// The shape of an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraSettings {
    /// Rank of the added matrices, at least 1.
    pub rank: usize,
    /// Their size: see [`LoraScaling`].
    pub alpha: f64,
    /// How `alpha` and the rank make the factor.
    pub scaling: LoraScaling,
    /// What is added to, in every layer.
    pub targets: Vec<LoraTarget>,
}

impl LoraSettings {
    /// The factor of `B A`.
    pub fn scale(&self) -> f64 {
        match self.scaling {
            LoraScaling::Standard => self.alpha / self.rank as f64,
            LoraScaling::RankStabilised => self.alpha / (self.rank as f64).sqrt(),
        }
    }

    /// Refuses what makes no adapter.
    ///
    /// # Errors
    /// [`Error::InvalidLora`].
    pub fn validate(&self) -> Result<()> {
        let refuse = |field, expected: &str, got: String| {
            Err(Error::InvalidLora { field, expected: expected.to_owned(), got })
        };
        if self.rank == 0 || self.rank > 1 << 16 {
            return refuse("rank", "between 1 and 65536", self.rank.to_string());
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return refuse("alpha", "positive and finite", self.alpha.to_string());
        }
        if self.targets.is_empty() {
            return refuse("targets", "at least one module", "none".to_owned());
        }
        Ok(())
    }

    /// Number of parameters of such an adapter to a model of this layout.
    pub fn n_parameters(&self, layout: &Layout) -> usize {
        let sizes = |spec: &TensorSpec| self.rank * spec.shape.iter().sum::<usize>();
        self.matrices(layout).map(sizes).sum()
    }

    /// The matrices of `layout` that are added to, in its order.
    fn matrices<'a>(&'a self, layout: &'a Layout) -> impl Iterator<Item = &'a TensorSpec> {
        layout.tensors.iter().filter(|spec| {
            let mut parts = spec.name.rsplit('.');
            let (kind, module) = (parts.next(), parts.next());
            let is_target = |target: &LoraTarget| module == Some(target.name());
            kind == Some("weight") && spec.shape.len() == 2 && self.targets.iter().any(is_target)
        })
    }
}

/// The term that an adapter adds to one matrix.
#[derive(Debug, Clone)]
pub(crate) struct LowRankTerm {
    /// The matrix in the layout of the base.
    matrix: Range<usize>,
    pub(crate) rank: usize,
    n_in: usize,
    n_out: usize,
    /// Place of `A`, `[rank, n_in]`, among the adapter's parameters.
    pub(crate) a: Range<usize>,
    /// Place of `B`, `[n_out, rank]`.
    pub(crate) b: Range<usize>,
}

impl LowRankTerm {
    /// Rows of a group of matrices that are this term's.
    pub(crate) fn rows_of(&self, group: &Matrix) -> Range<usize> {
        let start = (self.matrix.start - group.place.start) / self.n_in;
        start..start + self.n_out
    }

    /// This term's columns of the outputs of a group: `[n, n_out]`.
    pub(crate) fn columns<'a>(&self, y: &'a [f32], group: &Matrix) -> Mat<'a> {
        let width = group.place.len() / group.n_in;
        Mat::strided(&y[self.rows_of(group).start..], y.len() / width, self.n_out, width)
    }

    /// As [`Self::columns`], to write.
    pub(crate) fn columns_mut<'a>(&self, y: &'a mut [f32], group: &Matrix) -> MatMut<'a> {
        let width = group.place.len() / group.n_in;
        let n = y.len() / width;
        MatMut::strided(&mut y[self.rows_of(group).start..], n, self.n_out, width)
    }
}

/// An adapter to a model.
#[derive(Debug, Clone)]
pub(crate) struct Adapter {
    pub(crate) settings: LoraSettings,
    /// What it is an adapter to.
    pub(crate) base: BaseName,
    /// Its parameters by the names of peft, `A` and `B` of one matrix after the other.
    pub(crate) tensors: Vec<TensorSpec>,
    /// In the order of `tensors`.
    pub(crate) parameters: Vec<f32>,
    /// In the order of the base's layout.
    terms: Vec<LowRankTerm>,
}

impl Adapter {
    /// An adapter of zeros.
    fn zeros(layout: &Layout, settings: LoraSettings, base: BaseName) -> Self {
        let mut tensors: Vec<TensorSpec> = Vec::new();
        let mut terms = Vec::new();
        let mut n_parameters = 0;
        let rank = settings.rank;
        for spec in settings.matrices(layout) {
            let (n_out, n_in) = (spec.shape[0], spec.shape[1]);
            let module = spec.name.trim_end_matches(".weight");
            let mut place = |factor: &str, shape: [usize; 2]| {
                let range = n_parameters..n_parameters + shape[0] * shape[1];
                n_parameters = range.end;
                let name = format!("base_model.model.{module}.{factor}.weight");
                tensors.push(TensorSpec { name, shape: shape.to_vec(), range: range.clone() });
                range
            };
            let (a, b) = (place("lora_A", [rank, n_in]), place("lora_B", [n_out, rank]));
            terms.push(LowRankTerm { matrix: spec.range.clone(), rank, n_in, n_out, a, b });
        }
        let parameters = vec![0.0; n_parameters];
        Self { settings, base, tensors, parameters, terms }
    }

    /// A fresh adapter, which changes nothing yet: `B` is zero and `A` uniform within
    /// `1 / sqrt(n_in)`, as peft begins.
    pub(crate) fn initialise(
        layout: &Layout,
        settings: LoraSettings,
        base: BaseName,
        seed: u64,
    ) -> Result<Self> {
        settings.validate()?;
        let mut adapter = Self::zeros(layout, settings, base);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for term in &adapter.terms {
            let bound = 1.0 / (term.n_in as f32).sqrt();
            for value in &mut adapter.parameters[term.a.clone()] {
                *value = bound * (2.0 * rng.random::<f32>() - 1.0);
            }
        }
        Ok(adapter)
    }

    /// The factor of `B A`.
    pub(crate) fn scale(&self) -> f32 {
        self.settings.scale() as f32
    }

    /// The terms of the matrices within a place of the base's layout.
    pub(crate) fn terms_of(&self, place: &Range<usize>) -> &[LowRankTerm] {
        let first = self.terms.partition_point(|term| term.matrix.start < place.start);
        let after = self.terms.partition_point(|term| term.matrix.start < place.end);
        &self.terms[first..after]
    }

    /// `A` `[rank, n_in]` and `B` `[n_out, rank]`.
    pub(crate) fn factors(&self, term: &LowRankTerm) -> (Mat<'_>, Mat<'_>) {
        let factor =
            |place: &Range<usize>, n_cols| Mat::new(&self.parameters[place.clone()], n_cols);
        (factor(&term.a, term.n_in), factor(&term.b, term.rank))
    }

    /// `W += s B A` for every matrix: the base then computes by itself what both did.
    pub(crate) fn merge_into(&self, parameters: &mut [f32]) {
        for term in &self.terms {
            let (a, b) = self.factors(term);
            let matrix = MatMut::new(&mut parameters[term.matrix.clone()], term.n_in);
            matmul(matrix, Onto::Sum, b, a, self.scale());
        }
    }
}
