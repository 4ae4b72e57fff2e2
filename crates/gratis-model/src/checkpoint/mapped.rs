//! Matrices that stay in the files of their checkpoint, mapped into memory.
//!
//! The system reads a page when it is first accessed and drops it when memory is short, so a model
//! takes at most its 16-bit size, and only while memory is available. Norms and biases are read at
//! once: they are small and every row needs them.

use std::ops::Range;
use std::path::PathBuf;

use memmap2::Mmap;
use safetensors::Dtype;

use crate::dtype::{first_non_finite, size_of_dtype, widen};
use crate::error::{Error, Result};

/// A tensor in a mapped file.
#[derive(Debug)]
pub(crate) struct StoredTensor {
    pub(crate) name: String,
    /// Place in the layout.
    pub(crate) place: Range<usize>,
    /// One for norms and biases, two for matrices.
    pub(crate) n_axes: usize,
    /// Index of its file.
    pub(crate) file: usize,
    /// Byte of the file at which it begins.
    pub(crate) start: usize,
    pub(crate) dtype: Dtype,
}

/// All parameters of a model in mapped files.
#[derive(Debug)]
pub struct MappedWeights {
    files: Vec<(PathBuf, Mmap)>,
    /// In the order of the layout, without holes.
    tensors: Vec<StoredTensor>,
    /// Norms and biases in the order of the layout.
    vectors: Vec<f32>,
    /// Place of each in the layout and in `vectors`, ascending.
    vector_places: Vec<(usize, usize)>,
}

impl MappedWeights {
    /// `tensors` are in the order of the layout and lie within their files.
    ///
    /// # Errors
    /// [`Error::NonFiniteWeight`] for a norm or bias; the matrices are not read.
    pub(crate) fn new(files: Vec<(PathBuf, Mmap)>, tensors: Vec<StoredTensor>) -> Result<Self> {
        let mut mapped = Self { files, tensors, vectors: Vec::new(), vector_places: Vec::new() };
        for idx in 0..mapped.tensors.len() {
            let tensor = &mapped.tensors[idx];
            if tensor.n_axes > 1 {
                continue;
            }
            let mut values = vec![0.0; tensor.place.len()];
            mapped.widen(tensor.place.clone(), &mut values);
            mapped.check(tensor, 0, &values)?;
            mapped.vector_places.push((tensor.place.start, mapped.vectors.len()));
            mapped.vectors.extend(values);
        }
        Ok(mapped)
    }

    /// A norm or a bias at `place` of the layout; adjacent ones may be read as one.
    pub fn vector(&self, place: &Range<usize>) -> &[f32] {
        let after = self.vector_places.partition_point(|(start, _)| *start <= place.start);
        let (start, offset) = self.vector_places[after - 1];
        &self.vectors[offset + place.start - start..][..place.len()]
    }

    /// The parameters at `place` as `f32`.
    pub fn widen(&self, place: Range<usize>, into: &mut [f32]) {
        let first = self.tensors.partition_point(|tensor| tensor.place.end <= place.start);
        for tensor in &self.tensors[first..] {
            let own = &tensor.place;
            if own.start >= place.end {
                break;
            }
            let part = own.start.max(place.start)..own.end.min(place.end);
            let n_bytes = size_of_dtype(tensor.dtype);
            let start = tensor.start + (part.start - own.start) * n_bytes;
            let bytes = &self.files[tensor.file].1[start..start + part.len() * n_bytes];
            let values = &mut into[part.start - place.start..part.end - place.start];
            widen(tensor.dtype, bytes, values);
        }
    }

    /// Searches for a NaN or an infinity; called when a result is not finite.
    ///
    /// # Errors
    /// [`Error::NonFiniteWeight`] with the first of them.
    pub fn check_finite(&self) -> Result<()> {
        const CHUNK: usize = 1 << 16;
        let mut values = vec![0.0; CHUNK];
        for tensor in &self.tensors {
            for start in tensor.place.clone().step_by(CHUNK) {
                let part = start..tensor.place.end.min(start + CHUNK);
                let values = &mut values[..part.len()];
                self.widen(part, values);
                self.check(tensor, start - tensor.place.start, values)?;
            }
        }
        Ok(())
    }

    fn check(&self, tensor: &StoredTensor, first: usize, values: &[f32]) -> Result<()> {
        match first_non_finite(values) {
            None => Ok(()),
            Some(idx) => Err(Error::NonFiniteWeight {
                path: self.files[tensor.file].0.clone(),
                tensor: tensor.name.clone(),
                index: first + idx,
                value: values[idx],
            }),
        }
    }
}
