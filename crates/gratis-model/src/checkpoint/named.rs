//! Tensors of a checkpoint by name: the heads of reward models, which are stored beside a body.

use std::path::Path;

use super::files::{self, CheckpointFiles};
use super::read_tensor;
use crate::error::{Error, Result};

/// The opened files of a folder, from which single tensors are read.
pub struct NamedTensors {
    files: CheckpointFiles,
}

impl NamedTensors {
    /// Opens the safetensors files of a folder and reads their headers.
    ///
    /// # Errors
    /// A fault of a file, as [`super::read_weights`].
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self { files: files::open(folder)? })
    }

    /// The single file or the index.
    pub fn path(&self) -> &Path {
        &self.files.path
    }

    /// The shape of a tensor; `None` if there is none of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let file = self.files.file_of(name)?;
        self.files.files[file].header.info(name).map(|info| info.shape.as_slice())
    }

    /// Reads a tensor of this shape.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::WrongShape`], [`Error::UnsupportedDtype`] or
    /// [`Error::NonFiniteWeight`].
    pub fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let missing =
            || Error::MissingTensor { path: self.files.path.clone(), tensor: name.to_owned() };
        let file = self.files.file_of(name).ok_or_else(missing)?;
        let spec = crate::layout::TensorSpec {
            name: name.to_owned(),
            shape: shape.to_vec(),
            range: 0..shape.iter().product(),
        };
        let file = &mut self.files.files[file];
        super::check_all(file, std::slice::from_ref(&spec))?;
        let mut values = vec![0.0; spec.range.len()];
        read_tensor(file, name, &mut values)?;
        Ok(values)
    }
}
