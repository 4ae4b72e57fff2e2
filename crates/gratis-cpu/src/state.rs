//! The state of training: the trained weights, both moments and the step count, in one safetensors
//! file.
//!
//! The tensors are `weights.<name>`, `first_moment.<name>` and `second_moment.<name>`; the number
//! of steps is an annotation of the header. One file, so that no two parts can be of two steps.

use std::collections::BTreeMap;
use std::path::Path;

use gratis_model::checkpoint::{read_annotations, read_tensors, write_tensors};
use gratis_model::layout::TensorSpec;
use gratis_model::{Error, Result, WeightType};

use crate::optimizer::AdamW;

const FILE: &str = "state.safetensors";
/// Annotation with the version of the format.
const VERSION: (&str, &str) = ("gratis_state", "1");
/// Annotation with the optimizer steps taken.
const N_STEPS: &str = "n_steps";

/// What is restored.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) parameters: Vec<f32>,
    pub(crate) optimizer: AdamW,
}

/// Writes `state.safetensors` into `folder`, whole or not at all.
///
/// # Errors
/// [`Error::Io`]; [`Error::NonFiniteWeight`] if a number is NaN or infinite.
pub(crate) fn write(
    folder: &Path,
    specs: &[TensorSpec],
    parameters: &[f32],
    optimizer: &AdamW,
) -> Result<()> {
    let path = folder.join(FILE);
    let zeros = vec![0.0; if optimizer.first.is_empty() { parameters.len() } else { 0 }];
    let moments = [&optimizer.first, &optimizer.second];
    let moments = moments.map(|moment| if moment.is_empty() { &zeros } else { moment });
    let parts = [parameters, moments[0], moments[1]];
    let annotations = BTreeMap::from([
        (VERSION.0.to_owned(), VERSION.1.to_owned()),
        (N_STEPS.to_owned(), optimizer.n_steps.to_string()),
    ]);
    std::fs::create_dir_all(folder).map_err(|source| Error::Io {
        action: "create",
        path: folder.to_owned(),
        source,
    })?;
    write_tensors(&path, &path, &tensors(specs), &parts, WeightType::F32, &annotations)
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// A fault of the file or of a tensor, as for weights.
pub(crate) fn read(folder: &Path, specs: &[TensorSpec]) -> Result<State> {
    let path = folder.join(FILE);
    let malformed =
        |reason: &str| Error::MalformedFile { path: path.clone(), reason: reason.to_owned() };
    let annotations = read_annotations(path.clone(), "a run that saved its state has it there")?;
    if annotations.get(VERSION.0).map(String::as_str) != Some(VERSION.1) {
        return Err(malformed("it is not a state of version 1"));
    }
    let n_steps = annotations.get(N_STEPS).and_then(|text| text.parse().ok());
    let n_steps = n_steps.ok_or_else(|| malformed("its header does not tell the steps taken"))?;
    let n = n_parameters(specs);
    let [mut parameters, mut first, mut second] = [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
    let into = &mut [&mut parameters[..], &mut first[..], &mut second[..]];
    read_tensors(path.clone(), &tensors(specs), "a state of this model", into)?;
    Ok(State { parameters, optimizer: AdamW { first, second, n_steps } })
}

/// Weights, first and second moments one after the other.
fn tensors(specs: &[TensorSpec]) -> Vec<TensorSpec> {
    let parts = ["weights", "first_moment", "second_moment"].iter().enumerate();
    let n = n_parameters(specs);
    parts
        .flat_map(|(i, part)| {
            specs.iter().map(move |spec| TensorSpec {
                name: format!("{part}.{}", spec.name),
                shape: spec.shape.clone(),
                range: spec.range.start + i * n..spec.range.end + i * n,
            })
        })
        .collect()
}

fn n_parameters(specs: &[TensorSpec]) -> usize {
    specs.last().map_or(0, |spec| spec.range.end)
}
