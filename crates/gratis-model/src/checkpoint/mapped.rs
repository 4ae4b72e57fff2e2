//! Matrices that stay in the files of their checkpoint, mapped into memory.
//!
//! The system reads a page when it is first accessed and drops it when memory is short, so a model
//! takes at most the size of its files, and only while memory is available. Norms and biases are
//! read at once: they are small and every row needs them.

use std::ops::Range;
use std::path::PathBuf;

use memmap2::Mmap;

use crate::blocks::BlockType;
use crate::dtype::{Stored, first_non_finite};
use crate::error::{Error, Result};
use crate::simd::prefetch;

/// Bytes of a line of the processor's caches.
const CACHE_LINE: usize = 64;

/// Rows of which the first is widened while the last is read from memory.
const ROWS_AHEAD: usize = 8;

/// The order of a matrix's rows in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowOrder {
    /// That of the layout.
    AsStored,
    /// Rows `i` and `i + head_dim / 2` of each head of the layout are neighbours in the file, as
    /// llama.cpp has queries and keys of the Llama family.
    Pairs {
        /// Rows of a head, an even number.
        head_dim: usize,
    },
}

impl RowOrder {
    /// The row of the file that is row `row` of the layout.
    fn stored(self, row: usize) -> usize {
        match self {
            Self::AsStored => row,
            Self::Pairs { head_dim } => {
                let (head, own, half) = (row / head_dim, row % head_dim, head_dim / 2);
                head * head_dim + own % half * 2 + own / half
            }
        }
    }
}

/// A tensor in a mapped file.
#[derive(Debug)]
pub(crate) struct StoredTensor {
    pub(crate) name: String,
    /// Place in the layout.
    pub(crate) place: Range<usize>,
    /// Numbers in a row of a matrix, a whole number of units of `stored`; 1 for a vector.
    pub(crate) n_cols: usize,
    /// One for norms and biases, two for matrices.
    pub(crate) n_axes: usize,
    /// Index of its file.
    pub(crate) file: usize,
    /// Byte of the file at which it begins.
    pub(crate) start: usize,
    pub(crate) stored: Stored,
    pub(crate) rows: RowOrder,
}

impl StoredTensor {
    /// Numbers `part` of the tensor, in the order of the layout, from the bytes of its file.
    fn widen(&self, file: &[u8], part: Range<usize>, into: &mut [f32]) {
        let (n_values, n_bytes) = self.stored.unit();
        let bytes = |first: usize, n: usize| {
            let start = self.start + first / n_values * n_bytes;
            &file[start..start + n / n_values * n_bytes]
        };
        let is_whole = part.start.is_multiple_of(n_values) && part.end.is_multiple_of(n_values);
        if self.rows == RowOrder::AsStored && is_whole {
            return self.stored.widen(bytes(part.start, part.len()), into);
        }
        let mut whole_row = Vec::new();
        let mut done = 0;
        while done < into.len() {
            let (row, first) =
                ((part.start + done) / self.n_cols, (part.start + done) % self.n_cols);
            let n = (self.n_cols - first).min(into.len() - done);
            let bytes = bytes(self.rows.stored(row) * self.n_cols, self.n_cols);
            let into = &mut into[done..done + n];
            if n == self.n_cols {
                self.stored.widen(bytes, into);
            } else {
                whole_row.resize(self.n_cols, 0.0);
                self.stored.widen(bytes, &mut whole_row);
                into.copy_from_slice(&whole_row[first..first + n]);
            }
            done += n;
        }
    }

    /// Some rows, each `stride` after the one before. Between two calls the caller computes, so that the
    /// processor does not ask for what comes next by itself.
    fn widen_rows(&self, file: &[u8], rows: Range<usize>, into: &mut [f32], stride: usize) {
        let (n_values, n_bytes) = self.stored.unit();
        let n_bytes = self.n_cols / n_values * n_bytes;
        for (row, into) in rows.zip(into.chunks_mut(stride)) {
            let start = self.start + self.rows.stored(row) * n_bytes;
            for line in (0..n_bytes).step_by(CACHE_LINE) {
                prefetch(file.as_ptr().wrapping_add(start + ROWS_AHEAD * n_bytes + line));
            }
            let bytes = &file[start..][..n_bytes];
            self.stored.widen(bytes, &mut into[..self.n_cols]);
        }
    }
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
        for (tensor, part) in self.parts_of(&place) {
            let into = &mut into[part.start - place.start..part.end - place.start];
            let own = tensor.place.start;
            tensor.widen(&self.files[tensor.file].1, part.start - own..part.end - own, into);
        }
    }

    /// The rows of `n_cols` at `place`, of one matrix or of several: each goes `stride` after the one
    /// before.
    pub fn widen_rows(&self, place: Range<usize>, n_cols: usize, into: &mut [f32], stride: usize) {
        for (tensor, part) in self.parts_of(&place) {
            let into = &mut into[(part.start - place.start) / n_cols * stride..];
            let own = tensor.place.start;
            let rows = (part.start - own) / n_cols..(part.end - own) / n_cols;
            tensor.widen_rows(&self.files[tensor.file].1, rows, into, stride);
        }
    }

    /// The bytes of the rows of `n_cols` at `place`, of which there are at most as many as `rows` has room
    /// for; nothing if they are not all blocks of one type.
    pub fn rows_of_blocks<'a>(
        &'a self,
        place: Range<usize>,
        n_cols: usize,
        rows: &mut [&'a [u8]],
    ) -> Option<BlockType> {
        let mut found = None;
        for (tensor, part) in self.parts_of(&place) {
            let Stored::Blocks(kind) = tensor.stored else { return None };
            if *found.get_or_insert(kind) != kind {
                return None;
            }
            let n_bytes = n_cols / kind.n_values() * kind.n_bytes();
            let (file, own) = (&self.files[tensor.file].1, tensor.place.start);
            let into = &mut rows[(part.start - place.start) / n_cols..];
            let stored = (part.start - own) / n_cols..(part.end - own) / n_cols;
            for (row, into) in stored.zip(into) {
                *into = &file[tensor.start + tensor.rows.stored(row) * n_bytes..][..n_bytes];
            }
        }
        found
    }

    /// The tensors that reach into `place`, each with the part of the layout that is within both.
    fn parts_of(
        &self,
        place: &Range<usize>,
    ) -> impl Iterator<Item = (&StoredTensor, Range<usize>)> {
        let (start, end) = (place.start, place.end);
        let first = self.tensors.partition_point(|tensor| tensor.place.end <= start);
        let reaching =
            self.tensors[first..].iter().take_while(move |tensor| tensor.place.start < end);
        reaching
            .map(move |tensor| (tensor, tensor.place.start.max(start)..tensor.place.end.min(end)))
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

#[cfg(test)]
mod tests {
    use safetensors::Dtype;

    use super::*;

    /// Four rows of 64 numbers that differ, as blocks of Q8_0 and as numbers.
    fn tensor(rows: RowOrder) -> (StoredTensor, Vec<u8>, Vec<f32>) {
        let numbers: Vec<i8> = (0..256_i32).map(|i| (i * 37 % 251 - 125) as i8).collect();
        let mut bytes = vec![0xff; 3];
        for block in numbers.chunks(32) {
            bytes.extend([0, 0x3c]);
            bytes.extend(block.iter().map(|number| number.cast_unsigned()));
        }
        let stored = Stored::Blocks(BlockType::Q8_0);
        let name = "a matrix".to_owned();
        let place = 1000..1256;
        let tensor =
            StoredTensor { name, place, n_cols: 64, n_axes: 2, file: 0, start: 3, stored, rows };
        let values = (0..256).map(|i| f32::from(numbers[rows.stored(i / 64) * 64 + i % 64]));
        let values = values.collect();
        (tensor, bytes, values)
    }

    #[test]
    fn every_part_of_a_quantised_matrix_is_the_same_part_of_the_whole() {
        assert_eq!(
            [0, 1, 2, 3].map(|row| RowOrder::Pairs { head_dim: 4 }.stored(row)),
            [0, 2, 1, 3]
        );
        for rows in [RowOrder::AsStored, RowOrder::Pairs { head_dim: 4 }] {
            let (tensor, bytes, values) = tensor(rows);
            for start in 0..256 {
                for end in start..=256 {
                    let mut part = vec![f32::NAN; end - start];
                    tensor.widen(&bytes, start..end, &mut part);
                    assert_eq!(part, values[start..end], "{rows:?} {start}..{end}");
                }
            }
        }
    }

    #[test]
    fn vectors_of_pairs_are_put_in_order() {
        let bytes: Vec<u8> =
            [0.0_f32, 1.0, 2.0, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let tensor = StoredTensor {
            name: "a bias".to_owned(),
            place: 0..4,
            n_cols: 1,
            n_axes: 1,
            file: 0,
            start: 0,
            stored: Stored::Plain(Dtype::F32),
            rows: RowOrder::Pairs { head_dim: 4 },
        };
        let mut values = [0.0; 4];
        tensor.widen(&bytes, 0..4, &mut values);
        assert_eq!(values, [0.0, 2.0, 1.0, 3.0]);
    }
}
