//! The head of a published reward model, read from the tensors beside its body.

use std::path::Path;

use gratis_model::checkpoint::NamedTensors;
use gratis_model::config::json::ConfigFile;
use gratis_model::{Dense as Layer, Readout};

use super::recipe::Reward;
use crate::data::ModelFormat;
use crate::error::{Error, Result};

/// The tensors of a dense layer, by name.
pub(super) struct Dense {
    pub(super) weight: &'static str,
    pub(super) bias: Option<&'static str>,
    /// Numbers of outputs that it may have; empty for any.
    pub(super) n_out: &'static [usize],
}

/// A head that was read.
pub(crate) struct Loaded {
    /// Computed at each token.
    pub(crate) readout: Readout,
    /// What becomes of its channels.
    pub(crate) reward: Reward,
}

impl Loaded {
    pub(super) fn new(networks: Vec<Vec<Layer>>, reward: Reward) -> Self {
        Self { readout: Readout { networks }, reward }
    }
}

/// The tensors of a folder, from which a head is read.
pub(super) struct HeadTensors<'a> {
    format: ModelFormat,
    tensors: NamedTensors,
    config: &'a ConfigFile,
    hidden_size: usize,
}

impl<'a> HeadTensors<'a> {
    pub(super) fn open(
        folder: &Path,
        format: ModelFormat,
        config: &'a ConfigFile,
        hidden_size: usize,
    ) -> Result<Self> {
        Ok(Self { format, tensors: NamedTensors::open(folder)?, config, hidden_size })
    }

    pub(super) fn config(&self) -> &ConfigFile {
        self.config
    }

    /// A tensor of this shape.
    pub(super) fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        if self.tensors.shape(name).is_none() {
            return Err(self.missing(name));
        }
        Ok(self.tensors.read(name, shape)?)
    }

    /// Layers, the first of which takes a state of the body.
    pub(super) fn network(&mut self, layers: &[Dense]) -> Result<Vec<Layer>> {
        let mut n_in = self.hidden_size;
        let mut network = Vec::new();
        for Dense { weight, bias, n_out: allowed } in layers {
            let shape = self.tensors.shape(weight).ok_or_else(|| self.missing(weight))?;
            let n_out = shape.first().copied().unwrap_or_default();
            if n_out == 0 || (!allowed.is_empty() && !allowed.contains(&n_out)) {
                let names: Vec<String> = allowed.iter().map(ToString::to_string).collect();
                return Err(self.other_width(weight, &format!("{} rows", names.join(" or "))));
            }
            let values = self.read(weight, &[n_out, n_in])?;
            let bias = bias.map(|bias| self.read(bias, &[n_out])).transpose()?;
            network.push(Layer { weight: values, bias, n_in });
            n_in = n_out;
        }
        Ok(network)
    }

    fn missing(&self, name: &str) -> Error {
        let path = self.tensors.path().display();
        Error::Mismatch {
            what: format!(
                "`{path}` has no tensor `{name}`, which a reward model of the kind `{}` has",
                self.format
            ),
            hint: "`gratis inspect` says what the folder holds; `--kind` names the kind",
        }
    }

    /// The error of a tensor with another number of rows.
    pub(super) fn other_width(&self, name: &str, expected: &str) -> Error {
        let shape = self.tensors.shape(name).unwrap_or_default();
        Error::Mismatch {
            what: format!(
                "the tensor `{name}` has the shape {shape:?}; in a reward model of the kind `{}` it \
                 has {expected}",
                self.format
            ),
            hint: "a classifier with other labels is no reward model: take one that was trained on \
                   preferences or steps",
        }
    }
}
