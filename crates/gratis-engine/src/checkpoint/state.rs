//! The state of training: weights, both moments and the step count, in one safetensors file.
//!
//! The tensors are `weights.<name>`, `first_moment.<name>` and `second_moment.<name>`; the number
//! of steps is an annotation of the header. One file, so that no two parts can be of two steps.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use super::{CHUNK, WeightType, check, check_finite, files, header, read_tensor, to_bytes};
use crate::atomic;
use crate::error::{Error, Result};
use crate::layout::{Layout, TensorSpec};
use crate::optimizer::AdamW;

const FILE: &str = "state.safetensors";
/// Annotation with the version of the format.
const VERSION: (&str, &str) = ("gratis_state", "1");
/// Annotation with the optimizer steps taken.
const N_STEPS: &str = "n_steps";

/// Writes `state.safetensors` into `folder`, whole or not at all.
///
/// # Errors
/// [`Error::Io`]; [`Error::NonFiniteWeight`] if a number is NaN or infinite.
pub(crate) fn write_state(
    folder: &Path,
    layout: &Layout,
    parameters: &[f32],
    optimizer: &AdamW,
) -> Result<()> {
    let path = folder.join(FILE);
    let tensors = state_tensors(layout);
    let zeros = vec![0.0; if optimizer.first.is_empty() { parameters.len() } else { 0 }];
    let moments = [&optimizer.first, &optimizer.second];
    let moments = moments.map(|moment| if moment.is_empty() { &zeros } else { moment });
    let parts = [parameters, moments[0], moments[1]];
    let slices =
        parts.iter().flat_map(|part| layout.tensors.iter().map(|t| &part[t.range.clone()]));
    for (spec, slice) in tensors.iter().zip(slices) {
        check_finite(&path, &spec.name, 0, slice)?;
    }
    let annotations = HashMap::from([
        (VERSION.0.to_owned(), VERSION.1.to_owned()),
        (N_STEPS.to_owned(), optimizer.n_steps.to_string()),
    ]);
    let header = header(&tensors, WeightType::F32, annotations, &path)?;
    std::fs::create_dir_all(folder).map_err(|source| Error::Io {
        action: "create",
        path: folder.to_owned(),
        source,
    })?;
    atomic::write_with(&path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        let mut chunks = parts.iter().flat_map(|part| part.chunks(CHUNK / 4));
        chunks.try_for_each(|chunk| file.write_all(&to_bytes(chunk, f32::to_le_bytes)))
    })
}

/// Reads what [`write_state`] wrote: the parameters and the optimizer.
///
/// # Errors
/// A fault of the file or of a tensor, as for weights.
pub(crate) fn read_state(folder: &Path, layout: &Layout) -> Result<(Vec<f32>, AdamW)> {
    let hint = "a run that saved its state has it there";
    let mut file = files::open_file(folder.join(FILE), hint)?;
    let malformed =
        |reason: &str| Error::MalformedFile { path: folder.join(FILE), reason: reason.to_owned() };
    let annotations = file.header.metadata().clone().unwrap_or_default();
    if annotations.get(VERSION.0).map(String::as_str) != Some(VERSION.1) {
        return Err(malformed("it is not a state of version 1"));
    }
    let n_steps = annotations.get(N_STEPS).and_then(|text| text.parse().ok());
    let n_steps = n_steps.ok_or_else(|| malformed("its header does not tell the steps taken"))?;
    let n = layout.n_parameters();
    let tensors = state_tensors(layout);
    for spec in &tensors {
        let info = file.header.info(&spec.name).ok_or_else(|| Error::MissingTensor {
            path: file.path.clone(),
            tensor: spec.name.clone(),
        })?;
        check(&file, spec, info)?;
    }
    let mut parts = [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
    let places = (0..3).flat_map(|part| layout.tensors.iter().map(move |spec| (part, spec)));
    for (spec, (part, place)) in tensors.iter().zip(places) {
        read_tensor(&mut file, &spec.name, &mut parts[part][place.range.clone()])?;
    }
    let [parameters, first, second] = parts;
    Ok((parameters, AdamW { first, second, n_steps }))
}

/// Weights, first and second moments one after the other.
fn state_tensors(layout: &Layout) -> Vec<TensorSpec> {
    let parts = ["weights", "first_moment", "second_moment"].iter().enumerate();
    let n = layout.n_parameters();
    parts
        .flat_map(|(i, part)| {
            layout.tensors.iter().map(move |spec| TensorSpec {
                name: format!("{part}.{}", spec.name),
                shape: spec.shape.clone(),
                range: spec.range.start + i * n..spec.range.end + i * n,
            })
        })
        .collect()
}
