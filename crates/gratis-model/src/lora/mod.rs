//! Low-rank adapters (LoRA, [arXiv:2106.09685](https://arxiv.org/abs/2106.09685)) as files: their
//! shape and their tensors. [`peft`] reads and writes them in that library's format.

pub mod peft;

pub use peft::AdapterConfig;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::{Layout, TensorSpec};

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

    /// The module that it is a part of in families with fused projections (Phi-3).
    pub fn fused_name(self) -> Option<&'static str> {
        match self {
            Self::Query | Self::Key | Self::Value => Some("qkv_proj"),
            Self::Gate | Self::Up => Some("gate_up_proj"),
            Self::Output | Self::Down => None,
        }
    }

    /// The targets that a module's name stands for: one, or those of a fused projection.
    pub fn of_module(name: &str) -> Vec<Self> {
        let is_part = |target: &Self| target.name() == name || target.fused_name() == Some(name);
        Self::ALL.into_iter().filter(is_part).collect()
    }

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

    /// Rejects invalid settings.
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
            let is_target = |target: &LoraTarget| {
                module == Some(target.name()) || (module.is_some() && module == target.fused_name())
            };
            kind == Some("weight") && spec.shape.len() == 2 && self.targets.iter().any(is_target)
        })
    }
}

/// The term `s B A` that an adapter adds to one matrix of the base.
#[derive(Debug, Clone)]
pub struct LowRankTerm {
    /// Place of the matrix, `[n_out, n_in]`, in the layout of the base.
    pub matrix: Range<usize>,
    /// Rank of the term.
    pub rank: usize,
    /// Columns of the matrix.
    pub n_in: usize,
    /// Rows of the matrix.
    pub n_out: usize,
    /// Place of `A`, `[rank, n_in]`, among the adapter's parameters.
    pub a: Range<usize>,
    /// Place of `B`, `[n_out, rank]`.
    pub b: Range<usize>,
}

/// The positions of the parameters of an adapter in one flat array.
#[derive(Debug, Clone)]
pub struct AdapterLayout {
    /// Its tensors by the names of peft, `A` and `B` of one matrix after the other.
    pub tensors: Vec<TensorSpec>,
    /// One term per matrix, in the order of the base's layout.
    pub terms: Vec<LowRankTerm>,
}

impl AdapterLayout {
    /// The layout of an adapter of this shape to a model of `layout`.
    pub fn new(settings: &LoraSettings, layout: &Layout) -> Self {
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
        Self { tensors, terms }
    }

    /// Number of parameters.
    pub fn n_parameters(&self) -> usize {
        self.tensors.last().map_or(0, |spec| spec.range.end)
    }
}
