//! Weights that stay in mapped files give the bits of weights in memory.

use std::fs;
use std::path::Path;

use crate::single::Single as _;
use gratis_cpu::{Initialisation, NativeEngine, NativeOptions, WeightStorage};
use gratis_engine::{Generate as _, PackedBatch, SampleRequest, SamplingSettings, Train as _};
use gratis_model::config::{Architecture, Head};
use gratis_model::{Error, WeightType};
use gratis_model::{LoraScaling, LoraSettings, LoraTarget, ModelConfig};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::checkpoint::small;
use crate::lora::base_name;

/// Matrices of more rows than a tile has, and sums longer than a product takes at once.
fn config(architecture: Architecture, head: Head) -> ModelConfig {
    ModelConfig {
        architecture,
        vocab_size: 1100,
        hidden_size: 64,
        intermediate_size: 1500,
        n_heads: 4,
        n_kv_heads: 1,
        head_dim: 16,
        context_length: 256,
        ..small(architecture, head)
    }
}

fn saved(config: ModelConfig, weights: WeightType) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let spread =
        Initialisation { embedding_std: 0.5, linear_std: 0.2, residual_std: 0.2, head_std: 0.2 };
    let engine = NativeEngine::initialise(config, spread, 4, NativeOptions::default());
    engine.expect("a model").save_weights_as(folder.path(), weights).expect("saved");
    folder
}

fn load(folder: &Path, weights: WeightStorage) -> NativeEngine {
    let options = NativeOptions { n_threads: 2, weights, ..NativeOptions::default() };
    NativeEngine::load(folder, options).expect("a model")
}

fn tokens(n: usize, seed: u32) -> Vec<u32> {
    (0..n as u32).map(|i| ((i + 31 * seed + 1).wrapping_mul(2_654_435_761) >> 7) % 1100).collect()
}

/// From one token to more rows than a tile of the head has.
fn batches() -> Vec<PackedBatch> {
    let batch = |n_prompt, lengths: &[usize]| {
        let prompt = tokens(n_prompt, 1);
        let responses: Vec<_> = lengths.iter().zip(2..).map(|(&n, i)| tokens(n, i)).collect();
        PackedBatch::from_groups([(&prompt[..], responses.iter().map(|r| &r[..]))]).expect("valid")
    };
    vec![batch(1, &[1]), batch(3, &[1, 5]), batch(40, &[60, 100, 1, 170, 33])]
}

fn bits(engine: &mut NativeEngine) -> Vec<Vec<u32>> {
    let mut bits_of = |batch| {
        let log_probs = engine.scored(batch).expect("log-probabilities");
        log_probs.values().iter().map(|lp| lp.to_bits()).collect()
    };
    batches().iter().map(&mut bits_of).collect()
}

fn same_bits(folder: &Path, what: &str) {
    let loaded = bits(&mut load(folder, WeightStorage::Loaded));
    assert_eq!(bits(&mut load(folder, WeightStorage::Mapped)), loaded, "{what}");
}

#[test]
fn scores_have_the_same_bits() {
    for architecture in Architecture::ALL {
        for (head, weights) in [(Head::Tied, WeightType::Bf16), (Head::Untied, WeightType::F32)] {
            let folder = saved(config(architecture, head), weights);
            same_bits(folder.path(), &format!("{architecture:?} {head:?} {weights:?}"));
        }
    }
}

#[test]
fn shards_of_f16_have_the_same_bits() {
    let folder = saved(config(Architecture::Llama, Head::Untied), WeightType::F32);
    let single = folder.path().join("model.safetensors");
    let bytes = fs::read(&single).expect("there");
    let tensors = SafeTensors::deserialize(&bytes).expect("valid");
    let narrow = |view: &TensorView<'_>| -> Vec<u8> {
        let words = view.data().as_chunks::<4>().0.iter();
        words.flat_map(|&w| half::f16::from_f32(f32::from_le_bytes(w)).to_le_bytes()).collect()
    };
    let narrowed: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .tensors()
        .iter()
        .map(|(name, view)| (name.clone(), view.shape().to_vec(), narrow(view)))
        .collect();
    let mut weight_map = serde_json::Map::new();
    for (idx, part) in narrowed.chunks(narrowed.len().div_ceil(3)).enumerate() {
        let file = format!("model-{idx}.safetensors");
        let views = part.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F16, shape.clone(), bytes).expect("consistent");
            (name, view)
        });
        let bytes = safetensors::serialize(views, None).expect("serialised");
        fs::write(folder.path().join(&file), bytes).expect("written");
        weight_map.extend(part.iter().map(|(name, ..)| (name.clone(), file.clone().into())));
    }
    fs::remove_file(&single).expect("removed");
    let index = serde_json::json!({"weight_map": weight_map}).to_string();
    fs::write(folder.path().join("model.safetensors.index.json"), index).expect("written");
    same_bits(folder.path(), "shards of f16");
}

#[test]
fn samples_have_the_same_bits() {
    let folder = saved(config(Architecture::Qwen3, Head::Tied), WeightType::Bf16);
    let request = SampleRequest { prompt: tokens(37, 1), key: 0, first_sample: 0, n_samples: 3 };
    let settings = SamplingSettings {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: 6,
        stop_tokens: Vec::new(),
        seed: 1,
    };
    let sample = |weights| {
        let engine = load(folder.path(), weights);
        engine.sample_all(std::slice::from_ref(&request), &settings).expect("samples")
    };
    assert_eq!(sample(WeightStorage::Mapped), sample(WeightStorage::Loaded));
}

#[test]
fn a_nan_is_found_when_it_matters() {
    let name = "model.layers.1.mlp.up_proj.weight";
    let folder = saved(config(Architecture::Llama, Head::Tied), WeightType::Bf16);
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).expect("there");
    let (n_header, header) = SafeTensors::read_metadata(&bytes).expect("valid");
    let start = 8 + n_header + header.info(name).expect("there").data_offsets.0;
    bytes[start + 2 * 77..][..2].copy_from_slice(&half::bf16::NAN.to_le_bytes());
    fs::write(&path, bytes).expect("written");
    let engine = load(folder.path(), WeightStorage::Mapped);
    let error = engine.scored(&batches()[1]).expect_err("not a number");
    assert_eq!(error.kind(), gratis_engine::ErrorKind::Broken);
    let error = std::error::Error::source(&error).and_then(|error| error.downcast_ref());
    let error = error.expect("the model's own");
    assert!(
        matches!(error, Error::NonFiniteWeight { tensor, index: 77, .. } if tensor == name),
        "{error}"
    );
}

#[test]
fn a_mapped_base_is_not_trained_but_an_adapter_to_it_is() {
    let folder = saved(config(Architecture::Qwen2, Head::Tied), WeightType::Bf16);
    let weigh = gratis_engine::TokenValues::clone;
    let mut engine = load(folder.path(), WeightStorage::Mapped);
    let error = engine.backward(&batches()[1], weigh).expect_err("mapped");
    assert!(error.to_string().contains("cannot change weights that are mapped"), "{error}");
    assert!(engine.save_weights(folder.path()).is_err());
    let merged = engine.merged().expect("read").parameters().to_vec();
    assert_eq!(merged, load(folder.path(), WeightStorage::Loaded).parameters());

    let settings = LoraSettings {
        rank: 2,
        alpha: 4.0,
        scaling: LoraScaling::Standard,
        targets: LoraTarget::ALL.to_vec(),
    };
    let gradient = |weights| {
        let engine = load(folder.path(), weights);
        let mut engine = engine.with_adapter(settings.clone(), base_name(), 1).expect("an adapter");
        engine.backward(&batches()[2], weigh).expect("a gradient");
        engine.gradient().to_vec()
    };
    let (mapped, loaded) = (gradient(WeightStorage::Mapped), gradient(WeightStorage::Loaded));
    let largest = loaded.iter().map(|g| g.abs()).fold(0.0, f32::max);
    assert!(largest > 0.0);
    for (a, b) in mapped.iter().zip(&loaded) {
        // Sums over tiles may round in another order. Observed: no difference.
        assert!((a - b).abs() < 4e-6 * largest, "{a} and {b} of {largest}");
    }
}
