//! Quantised GGUF files: scores as `transformers` gives them, with the bits of the dequantised weights
//! in memory; samples and adapters as with those.

use std::path::{Path, PathBuf};

use crate::single::Single as _;
use gratis_cpu::{NativeEngine, NativeOptions, WeightStorage};
use gratis_engine::{
    Generate as _, OptimizerStep, PackedBatch, SampleRequest, SamplingSettings, TokenValues,
    Train as _,
};
use gratis_model::gguf::GgufFile;
use gratis_model::{Error, Layout, LoraScaling, LoraSettings, LoraTarget};
use serde::Deserialize;

use crate::gguf::{open_kept, small};
use crate::lora::base_name;
use crate::parity::{Group, batch_of, log_probs_of, relative_error};

/// ggml's numbers of the types, with their names.
const TYPES: [(u32, &str); 12] = [
    (2, "Q4_0"),
    (3, "Q4_1"),
    (6, "Q5_0"),
    (7, "Q5_1"),
    (8, "Q8_0"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (12, "Q4_K"),
    (13, "Q5_K"),
    (14, "Q6_K"),
    (20, "IQ4_NL"),
    (23, "IQ4_XS"),
];

const MODELS: [&str; 3] = ["q8_0", "q4_1", "k"];

/// What `make_gguf_fixtures.py` wrote beside a model.
#[derive(Deserialize)]
struct Golden {
    groups: Vec<Group>,
}

impl Golden {
    fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(fixture(&format!("{name}.json"))).expect("a fixture");
        serde_json::from_str(&text).expect("a golden file")
    }

    fn batch(&self) -> PackedBatch {
        batch_of(&self.groups)
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/gguf").join(name)
}

fn open(name: &str) -> GgufFile {
    GgufFile::open(&fixture(&format!("{name}.gguf"))).expect("a file")
}

fn mapped(file: &GgufFile) -> NativeEngine {
    let options = NativeOptions { n_threads: 2, ..NativeOptions::default() };
    let engine = NativeEngine::load_gguf(file, options).expect("an engine");
    assert!(engine.is_mapped());
    engine
}

/// The dequantised weights in memory.
fn loaded(file: &GgufFile) -> NativeEngine {
    let config = file.config().expect("a shape");
    let weights = file.weights(&config, &Layout::new(&config)).expect("weights");
    let options = NativeOptions { n_threads: 2, ..NativeOptions::default() };
    NativeEngine::from_weights(config, weights, options).expect("an engine")
}

fn bits(values: &TokenValues) -> Vec<u32> {
    values.values().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn log_probabilities_are_those_of_transformers() {
    for name in MODELS {
        let golden = Golden::read(name);
        let scored = mapped(&open(name)).scored(&golden.batch()).expect("log-probabilities");
        let expected = log_probs_of(&golden.groups);
        let error = relative_error(scored.values(), expected.values());
        // Relative. Observed: 3.0e-7, 2.7e-7 and 5.4e-7; PyTorch in f32 differs as much from f64.
        assert!(error < 2e-6, "{name}: {error:e}");
    }
}

#[test]
fn scores_have_the_bits_of_the_dequantised_weights() {
    for name in MODELS {
        let (file, batch) = (open(name), Golden::read(name).batch());
        let (mapped, loaded) = (mapped(&file), loaded(&file));
        let score = |engine: &NativeEngine| bits(&engine.scored(&batch).expect("scores"));
        assert_eq!(score(&mapped), score(&loaded), "{name}");
        assert_eq!(mapped.merged().expect("read").parameters(), loaded.parameters(), "{name}");
        let rows = |engine: &NativeEngine| engine.head_rows(&[3, 46]).expect("rows");
        assert_eq!(rows(&mapped), rows(&loaded), "{name}");
    }
}

/// An adapter that changes something: both factors are numbers.
fn adapted(engine: NativeEngine) -> NativeEngine {
    let settings = LoraSettings {
        rank: 3,
        alpha: 6.0,
        scaling: LoraScaling::Standard,
        targets: LoraTarget::ALL.to_vec(),
    };
    let mut engine = engine.with_adapter(settings, base_name(), 1).expect("an adapter");
    let n = engine.trained_parameters().len();
    let numbers: Vec<f32> = (0..n).map(|i| 0.1 * (i as f32 * 1.7 + 0.4).sin()).collect();
    engine.set_trained_parameters(&numbers).expect("as many");
    engine
}

#[test]
fn samples_are_those_of_the_dequantised_weights() {
    let prompt: Vec<u32> = (1..40).collect();
    let request =
        |n_samples| SampleRequest { prompt: prompt.clone(), key: 0, first_sample: 0, n_samples };
    let settings = SamplingSettings {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: 12,
        stop_tokens: Vec::new(),
        seed: 1,
    };
    let sample = |engine: &NativeEngine, n_samples| {
        engine.sample_all(&[request(n_samples)], &settings).expect("samples").remove(0)
    };
    for name in MODELS {
        let file = open(name);
        for has_adapter in [false, true] {
            let with = |engine| if has_adapter { adapted(engine) } else { engine };
            let options = NativeOptions { n_threads: 1, ..NativeOptions::default() };
            let alone = with(NativeEngine::load_gguf(&file, options).expect("an engine"));
            let (mapped, loaded) = (with(mapped(&file)), with(loaded(&file)));
            // A sample depends neither on the others nor on the threads.
            let samples = sample(&mapped, 9);
            assert_eq!(samples, sample(&alone, 9), "{name}");
            assert_eq!(samples[0], sample(&mapped, 1)[0], "{name}");
            assert_eq!(samples, sample(&loaded, 9), "{name}");
        }
    }
}

#[test]
fn an_adapter_to_a_quantised_base_is_trained_as_one_to_the_dequantised() {
    let settings = LoraSettings {
        rank: 3,
        alpha: 6.0,
        scaling: LoraScaling::Standard,
        targets: LoraTarget::ALL.to_vec(),
    };
    let step = OptimizerStep {
        learning_rate: 0.02,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.0,
        max_gradient_norm: None,
    };
    for name in MODELS {
        let (file, batch) = (open(name), Golden::read(name).batch());
        let trained = |engine: NativeEngine| {
            let mut engine =
                engine.with_adapter(settings.clone(), base_name(), 1).expect("an adapter");
            let before = engine.scored(&batch).expect("scores");
            for _ in 0..3 {
                let ones = |log_probs: &TokenValues| {
                    let mut weights = log_probs.clone();
                    weights.values_mut().fill(-0.1);
                    weights
                };
                engine.backward(&batch, ones).expect("a gradient");
                engine.optimizer_step(&step).expect("a step");
            }
            let sum = |values: &TokenValues| values.values().iter().sum::<f32>();
            let after = engine.scored(&batch).expect("scores");
            assert!(sum(&after) > sum(&before) + 1.0, "{name}");
            engine.trained_parameters().to_vec()
        };
        // Sums over tiles may round in another order. Observed: no difference.
        for (mapped, loaded) in trained(mapped(&file)).iter().zip(trained(loaded(&file))) {
            assert!((mapped - loaded).abs() < 1e-5, "{name}: {mapped} {loaded}");
        }
    }
}

#[test]
fn every_type_makes_a_model_with_and_without_a_turned_head() {
    let batch = PackedBatch::from_groups([(&[1, 2][..], [&[3, 4, 0, 1][..], &[2, 2]])]);
    let batch = batch.expect("a batch");
    for (code, name) in TYPES {
        for architecture in ["llama", "qwen2"] {
            let (_folder, file) = open_kept(&small(architecture, code, 3));
            assert!(file.is_quantised());
            assert_eq!(file.weight_files().types[0].0, name);
            let scored = mapped(&file).scored(&batch).expect("scores");
            assert!(scored.values().iter().all(|log_prob| log_prob.is_finite()), "{name}");
            let expected = loaded(&file).scored(&batch).expect("scores");
            assert_eq!(bits(&scored), bits(&expected), "{name} {architecture}");
        }
    }
}

#[test]
fn a_file_of_floats_is_mapped_if_asked_for() {
    let batch = PackedBatch::from_groups([(&[1, 2][..], [&[3, 4, 0][..]])]).expect("a batch");
    for code in [0, 1, 30] {
        let (_folder, file) = open_kept(&small("llama", code, 3));
        let load = |weights| {
            let options = NativeOptions { weights, ..NativeOptions::default() };
            NativeEngine::load_gguf(&file, options).expect("an engine")
        };
        let (mapped, loaded) = (load(WeightStorage::Mapped), load(WeightStorage::Loaded));
        assert!(mapped.is_mapped() && !loaded.is_mapped());
        let score = |engine: &NativeEngine| bits(&engine.scored(&batch).expect("scores"));
        assert_eq!(score(&mapped), score(&loaded), "type {code}");
    }
}

#[test]
fn a_quantised_base_is_not_trained_in_full() {
    let mut engine = mapped(&open("q4_1"));
    let batch = Golden::read("q4_1").batch();
    let error = engine.backward(&batch, TokenValues::clone).expect_err("mapped");
    assert!(error.to_string().contains("cannot change weights that are mapped"), "{error}");
}

/// The description of the tensor `name` in the file: its number of axes follows.
fn place_of(bytes: &[u8], name: &str) -> usize {
    bytes.windows(name.len()).position(|part| part == name.as_bytes()).expect("it") + name.len()
}

#[test]
fn types_and_sizes_that_are_not_read_are_named() {
    let load = |bytes: &[u8]| -> gratis_model::Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, bytes).expect("written");
        let file = GgufFile::open(&path)?;
        let config = file.config()?;
        file.map_weights(&config, &Layout::new(&config)).map(drop)
    };
    let good = small("llama", 12, 3);
    load(&good).expect("weights");

    let mut unread = good.clone();
    let at = place_of(&good, "blk.0.ffn_down.weight") + 4 + 2 * 8;
    unread[at] = 39;
    let error = load(&unread).expect_err("not read").to_string();
    assert!(
        error.ends_with(
            "tensor `blk.0.ffn_down.weight` has type MXFP4; supported: F32, F16, BF16, Q4_0, Q4_1, \
             Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS"
        ),
        "{error}"
    );

    let mut uneven = good.clone();
    let at = place_of(&good, "blk.0.ffn_gate.weight") + 4;
    uneven[at..at + 8].copy_from_slice(&100_u64.to_le_bytes());
    let error = load(&uneven).expect_err("no whole blocks").to_string();
    let expected = "tensor `blk.0.ffn_gate.weight` of shape [512, 100] is too large, or its rows are \
                    not whole blocks of 256, as Q4_K has them";
    assert!(error.ends_with(expected), "{error}");

    // A norm of one block: it is read at once, and files have it as numbers.
    let mut norm = good;
    let at = place_of(&norm, "output_norm.weight") + 4 + 8;
    norm[at] = 12;
    let error = load(&norm).expect_err("a norm");
    assert!(
        matches!(&error, Error::UnsupportedDtype { tensor, .. } if tensor == "output_norm.weight"),
        "{error}"
    );
}

#[test]
fn a_scale_that_is_not_finite_is_found_when_it_matters() {
    let mut bytes = small("llama", 3, 3);
    let n = bytes.len();
    // The last norm has 32 numbers; the last scale of the matrix before it begins 20 bytes earlier.
    bytes[n - 128 - 20..n - 128 - 18].copy_from_slice(&half::f16::INFINITY.to_le_bytes());
    let (_folder, file) = open_kept(&bytes);
    let batch = PackedBatch::from_groups([(&[1, 2][..], [&[3, 4, 0][..]])]).expect("a batch");
    let error = mapped(&file).scored(&batch).expect_err("not finite");
    let source = std::error::Error::source(&error).map(ToString::to_string);
    let source = source.expect("the model's own");
    assert!(source.contains("tensor `blk.0.ffn_down.weight` has "), "{source}");
    let config = file.config().expect("a shape");
    assert!(file.weights(&config, &Layout::new(&config)).is_err());
}
