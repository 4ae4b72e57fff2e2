//! Forms in which `transformers` 5 writes or accepts a checkpoint, and those that contradict
//! themselves.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use gratis_model::checkpoint;
use gratis_model::config::{Head, ModelConfig};
use gratis_model::{Layout, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

fn config(head: Head) -> ModelConfig {
    ModelConfig {
        vocab_size: 5,
        hidden_size: 4,
        intermediate_size: 6,
        n_layers: 1,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: 2,
        context_length: 8,
        head,
        ..ModelConfig::LLAMA
    }
}

/// Parameters that differ from each other and are exact in every type.
fn parameters(layout: &Layout) -> Vec<f32> {
    (0..layout.n_parameters()).map(|idx| idx as f32 / 64.0).collect()
}

/// Writes the parameters as F64 under the names that `rename` gives them; `more` follow.
fn write(
    folder: &Path,
    layout: &Layout,
    rename: impl Fn(&str) -> Option<String>,
    more: &[(&str, Vec<usize>, Vec<f32>)],
) {
    let parameters = parameters(layout);
    let own = layout.tensors.iter().filter_map(|spec| {
        let values = parameters[spec.range.clone()].to_vec();
        Some((rename(&spec.name)?, spec.shape.clone(), values))
    });
    let more = more
        .iter()
        .map(|(name, shape, values)| ((*name).to_owned(), shape.clone(), values.clone()));
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = own
        .chain(more)
        .map(|(name, shape, values)| {
            let bytes = values.iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F64, shape.clone(), bytes).expect("a tensor"))
    });
    let bytes = safetensors::serialize(views, None::<HashMap<String, String>>).expect("a file");
    fs::write(folder.join("model.safetensors"), bytes).expect("written");
}

/// What is read, and that a mapping holds the same.
fn read(folder: &Path, head: Head) -> Result<Vec<f32>> {
    let config = config(head);
    let layout = Layout::new(&config);
    let read = checkpoint::read_weights(folder, &config, &layout);
    let mapped = checkpoint::map_weights(folder, &config, &layout);
    match (&read, mapped) {
        (Ok(read), Ok(mapped)) => {
            let mut values = vec![0.0; layout.n_parameters()];
            mapped.widen(0..layout.n_parameters(), &mut values);
            assert_eq!(*read, values);
        }
        (Err(read), Err(mapped)) => assert_eq!(read.to_string(), mapped.to_string()),
        (read, mapped) => panic!("{read:?}, mapped: {:?}", mapped.err()),
    }
    read
}

#[test]
fn names_without_their_prefix_and_64_bit_floats_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = Layout::new(&config(Head::Untied));
    let expected = parameters(&layout);
    write(folder.path(), &layout, |name| Some(name.to_owned()), &[]);
    assert_eq!(read(folder.path(), Head::Untied).expect("F64"), expected);
    let trunk = |name: &str| Some(name.trim_start_matches("model.").to_owned());
    write(folder.path(), &layout, trunk, &[]);
    assert_eq!(read(folder.path(), Head::Untied).expect("without `model.`"), expected);
    // Both names at once contradict each other.
    write(
        folder.path(),
        &layout,
        |name| Some(name.to_owned()),
        &[("norm.weight", vec![4], vec![0.0; 4])],
    );
    let message = read(folder.path(), Head::Untied).expect_err("twice").to_string();
    assert!(message.contains("has the tensor `norm.weight`"), "{message}");
}

#[test]
fn a_tied_model_may_hold_its_head_alone_or_both_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let layout = Layout::new(&config(Head::Tied));
    let expected = parameters(&layout);
    let as_head = |name: &str| match name {
        "model.embed_tokens.weight" => Some("lm_head.weight".to_owned()),
        other => Some(other.to_owned()),
    };
    write(folder.path(), &layout, as_head, &[]);
    assert_eq!(read(folder.path(), Head::Tied).expect("the head alone"), expected);
    let same = |name: &str| Some(name.to_owned());
    let mut head = expected[layout.embedding.clone()].to_vec();
    write(folder.path(), &layout, same, &[("lm_head.weight", vec![5, 4], head.clone())]);
    assert_eq!(read(folder.path(), Head::Tied).expect("both alike"), expected);
    head[19] += 1.0;
    write(folder.path(), &layout, same, &[("lm_head.weight", vec![5, 4], head)]);
    let message = read(folder.path(), Head::Tied).expect_err("differ").to_string();
    assert!(
        message.contains("`tie_word_embeddings` = `true`, where `lm_head.weight` differs"),
        "{message}"
    );
    write(folder.path(), &layout, |name| (!name.contains("embed")).then(|| name.to_owned()), &[]);
    let message = read(folder.path(), Head::Tied).expect_err("neither").to_string();
    assert!(message.contains("has no tensor `model.embed_tokens.weight`"), "{message}");
}
