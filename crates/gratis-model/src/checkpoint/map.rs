//! A checkpoint's files mapped into memory instead of read.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use super::mapped::{MappedWeights, RowOrder, StoredTensor};
use super::open_fitting;
use crate::config::ModelConfig;
use crate::dtype::Stored;
use crate::error::{Error, Result};
use crate::layout::{Layout, TensorSpec};

/// Maps the weights of a folder; as [`super::read_weights`], which reads them.
///
/// # Errors
/// As [`super::read_weights`]. A matrix that holds a NaN is found when a result is not finite.
pub fn map_weights(folder: &Path, config: &ModelConfig, layout: &Layout) -> Result<MappedWeights> {
    map_body(folder, config, layout, &[])
}

/// As [`map_weights`], for files that also hold the tensors named in `beside`: see
/// [`super::read_body`].
///
/// # Errors
/// As [`map_weights`].
pub fn map_body(
    folder: &Path,
    config: &ModelConfig,
    layout: &Layout,
    beside: &[String],
) -> Result<MappedWeights> {
    let checkpoint = open_fitting(folder, config, layout, beside)?;
    let mut tensors = Vec::with_capacity(layout.tensors.len());
    for spec in &layout.tensors {
        let missing =
            || Error::MissingTensor { path: checkpoint.path.clone(), tensor: spec.name.clone() };
        let (file, name) = checkpoint.place_of(&spec.name, config.head).ok_or_else(missing)?;
        let of_file = &checkpoint.files[file];
        let info = of_file.header.info(&name).ok_or_else(missing)?;
        tensors.push(StoredTensor {
            name: spec.name.clone(),
            place: spec.range.clone(),
            n_cols: n_cols(spec),
            n_axes: spec.shape.len(),
            file,
            start: of_file.data_start as usize + info.data_offsets.0,
            stored: Stored::Plain(info.dtype),
            rows: RowOrder::AsStored,
        });
    }
    let files = checkpoint.files.into_iter().map(|file| {
        let map = map_file(&file.path, &file.file)?;
        Ok((file.path, map))
    });
    MappedWeights::new(files.collect::<Result<_>>()?, tensors)
}

/// Numbers in a row of a matrix; 1 for a vector.
pub(crate) fn n_cols(spec: &TensorSpec) -> usize {
    spec.shape.get(1..).unwrap_or_default().iter().product()
}

/// Maps a file of weights, which `path` names in errors.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn map_file(path: &Path, file: &File) -> Result<Mmap> {
    // SAFETY: the mapping is read-only and private to this process, and its bytes are only ever
    // read as plain numbers, of which every pattern is valid. Another process that shortens the
    // file while it is mapped would end this one by a signal; files of a checkpoint are
    // replaced by renaming (`crate::atomic`), which leaves a mapping whole.
    #[expect(unsafe_code, reason = "the compiler cannot know who else writes the file")]
    let map = unsafe { Mmap::map(file) };
    map.map_err(|source| Error::Io { action: "map", path: path.to_owned(), source })
}
