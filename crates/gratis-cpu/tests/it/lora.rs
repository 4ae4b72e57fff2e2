//! Adapters: the base stays what it is, the gradient is right, and files come back.

use crate::single::Single as _;
use gratis_cpu::{Initialisation, NativeEngine, NativeOptions, Recompute};
use gratis_engine::{
    Generate as _, OptimizerStep, PackedBatch, SampleRequest, SamplingSettings, TokenValues,
    Train as _,
};
use gratis_model::{BaseName, LoraScaling, LoraSettings, LoraTarget};

use crate::checkpoint::small_llama;

const STEP: OptimizerStep = OptimizerStep {
    learning_rate: 0.05,
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-8,
    weight_decay: 0.0,
    max_gradient_norm: None,
};

fn settings() -> LoraSettings {
    LoraSettings {
        rank: 3,
        alpha: 6.0,
        scaling: LoraScaling::Standard,
        targets: vec![LoraTarget::Query, LoraTarget::Value, LoraTarget::Up, LoraTarget::Down],
    }
}

pub(crate) fn base_name() -> BaseName {
    BaseName { name: "a/base".to_owned(), revision: Some("v1".to_owned()) }
}

fn base(options: NativeOptions) -> NativeEngine {
    let spread =
        Initialisation { embedding_std: 0.5, linear_std: 0.3, residual_std: 0.3, head_std: 0.3 };
    NativeEngine::initialise(small_llama(), spread, 3, options).expect("a model")
}

fn fresh() -> NativeEngine {
    base(NativeOptions::default()).with_adapter(settings(), base_name(), 5).expect("an adapter")
}

/// An adapter that changes something: both factors are numbers.
fn adapted(options: NativeOptions) -> NativeEngine {
    let mut engine = base(options).with_adapter(settings(), base_name(), 5).expect("an adapter");
    let n = engine.trained_parameters().len();
    let numbers: Vec<f32> = (0..n).map(|i| 0.3 * (i as f32 * 1.7 + 0.4).sin()).collect();
    engine.set_trained_parameters(&numbers).expect("as many");
    engine
}

fn batch() -> PackedBatch {
    let groups: [(&[u32], Vec<&[u32]>); 2] =
        [(&[2, 7, 1], vec![&[3, 1, 4, 1, 5], &[9, 2, 6]]), (&[5], vec![&[8, 8, 4]])];
    PackedBatch::from_groups(groups).expect("a batch")
}

fn weights(log_probs: &TokenValues) -> TokenValues {
    let mut weights = log_probs.clone();
    for (i, weight) in weights.values_mut().iter_mut().enumerate() {
        *weight = (i as f32 * 0.77 + 0.2).sin();
    }
    weights
}

/// `sum_t w_t lp_t`.
fn loss(engine: &mut NativeEngine) -> f64 {
    let log_probs = engine.scored(&batch()).expect("log-probabilities");
    let weights = weights(&log_probs);
    let pairs = log_probs.values().iter().zip(weights.values());
    pairs.map(|(&lp, &w)| f64::from(lp) * f64::from(w)).sum()
}

fn accumulate(engine: &mut NativeEngine) {
    engine.backward(&batch(), weights).expect("a gradient");
}

#[test]
fn a_fresh_adapter_changes_nothing_and_the_base_never_changes() {
    let mut engine = fresh();
    let mut reference = engine.base().expect("the base");
    let before = reference.scored(&batch()).expect("log-probabilities");
    assert_eq!(engine.scored(&batch()).expect("log-probabilities"), before);
    assert_eq!(
        engine.parameters().as_ptr(),
        reference.parameters().as_ptr(),
        "one copy of the weights"
    );
    for _ in 0..3 {
        accumulate(&mut engine);
        engine.optimizer_step(&STEP).expect("a step");
    }
    assert_eq!(engine.gradient().len(), engine.trained_parameters().len());
    assert!(engine.gradient().len() < engine.parameters().len() / 2);
    assert_ne!(engine.scored(&batch()).expect("log-probabilities"), before);
    assert_eq!(reference.scored(&batch()).expect("log-probabilities"), before);
    let again = engine.base().expect("the base");
    assert_eq!(again.scored(&batch()).expect("log-probabilities"), before);
    // An engine that trains the weights themselves takes a copy of them.
    accumulate(&mut reference);
    reference.optimizer_step(&STEP).expect("a step");
    assert_eq!(again.scored(&batch()).expect("log-probabilities"), before);
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let mut engine = adapted(NativeOptions::default());
    accumulate(&mut engine);
    let gradient = engine.gradient().to_vec();
    let start = engine.trained_parameters().to_vec();
    let tensors = engine.trained_tensors().to_vec();
    assert_eq!(tensors.len(), 2 * 2 * 4);
    for tensor in tensors {
        // Along the gradient of the tensor itself the difference is largest.
        let own = &gradient[tensor.range.clone()];
        let norm = own.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let mut at = |step: f64| {
            let mut moved = start.clone();
            for (p, &g) in moved[tensor.range.clone()].iter_mut().zip(own) {
                *p += (step * f64::from(g) / norm) as f32;
            }
            engine.set_trained_parameters(&moved).expect("as many");
            loss(&mut engine)
        };
        let step = 4e-3;
        let slope = (at(step) - at(-step)) / (2.0 * step);
        // Observed: at most 6.4e-4.
        assert!((slope / norm - 1.0).abs() < 5e-3, "`{}`: {slope} for {norm}", tensor.name);
    }
}

#[test]
fn a_merged_model_computes_what_both_did() {
    let engine = adapted(NativeOptions::default());
    let merged = engine.merged().expect("a model");
    assert!(merged.adapter().is_none());
    let both = engine.scored(&batch()).expect("log-probabilities");
    let one = merged.scored(&batch()).expect("log-probabilities");
    let plain = engine.base().map(|base| base.scored(&batch()).expect("log-probabilities"));
    let difference = |a: &TokenValues| {
        let pairs = a.values().iter().zip(both.values());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    // Observed: 7.2e-7.
    assert!(difference(&one) < 1e-5, "{}", difference(&one));
    assert!(difference(&plain.expect("log-probabilities")) > 0.1);
}

#[test]
fn threads_and_recomputation_agree() {
    let pass = |n_threads, recompute| {
        let options = NativeOptions { n_threads, recompute, ..NativeOptions::default() };
        let mut engine = adapted(options);
        accumulate(&mut engine);
        engine.gradient().to_vec()
    };
    let one = pass(1, Recompute::Nothing);
    assert_eq!(pass(1, Recompute::Layers), one);
    let two = pass(2, Recompute::Nothing);
    let largest = one.iter().map(|g| g.abs()).fold(0.0, f32::max);
    for (a, b) in one.iter().zip(&two) {
        // Observed: 4.1e-7 of the largest.
        assert!((a - b).abs() < 3e-6 * largest, "{a} and {b}");
    }
}

#[test]
fn samples_are_those_of_base_and_adapter() {
    let engine = adapted(NativeOptions::default());
    let request = SampleRequest { prompt: vec![2, 7], key: 0, first_sample: 0, n_samples: 4 };
    let settings = SamplingSettings {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: 12,
        stop_tokens: Vec::new(),
        seed: 1,
    };
    let samples = engine.sample_all(&[request], &settings).expect("samples").remove(0);
    let responses = samples.iter().map(|sample| &sample.tokens[..]);
    let batch = PackedBatch::from_groups([(&[2, 7][..], responses)]).expect("a batch");
    let full = engine.scored(&batch).expect("log-probabilities");
    for (row, sample) in full.rows().zip(&samples) {
        for (full, drawn) in row.iter().zip(&sample.log_probs) {
            // Observed: at most 1.3e-6.
            assert!((full - drawn).abs() < 1e-5, "{full} and {drawn}");
        }
    }
}

#[test]
fn an_adapter_is_saved_alone_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut engine = adapted(NativeOptions::default());
    engine.save_weights(folder.path()).expect("saved");
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    assert_eq!(names, ["adapter_config.json", "adapter_model.safetensors"]);
    let again = base(NativeOptions::default()).with_adapter_of(folder.path()).expect("read");
    assert_eq!(again.adapter(), Some(&settings()));
    assert_eq!(again.trained_parameters(), engine.trained_parameters());

    let state = tempfile::tempdir().expect("a folder");
    accumulate(&mut engine);
    engine.optimizer_step(&STEP).expect("a step");
    engine.save(state.path()).expect("saved");
    let mut resumed = fresh();
    resumed.restore(state.path()).expect("restored");
    for engine in [&mut engine, &mut resumed] {
        accumulate(engine);
        engine.optimizer_step(&STEP).expect("a step");
    }
    assert_eq!(engine.trained_parameters(), resumed.trained_parameters());
}

#[test]
fn what_is_no_adapter_to_this_model_is_refused() {
    let refused = |settings: LoraSettings| {
        let engine = base(NativeOptions::default());
        engine.with_adapter(settings, base_name(), 0).expect_err("refused").to_string()
    };
    let message = refused(LoraSettings { rank: 0, ..settings() });
    assert_eq!(message, "LoRA `rank` must be between 1 and 65536, got 0");
    let message = refused(LoraSettings { alpha: f64::NAN, ..settings() });
    assert_eq!(message, "LoRA `alpha` must be positive and finite, got NaN");
    let message = refused(LoraSettings { targets: Vec::new(), ..settings() });
    assert_eq!(message, "LoRA `targets` must be at least one module, got none");
    let message = "lm_head".parse::<LoraTarget>().expect_err("refused").to_string();
    assert!(message.starts_with("LoRA `target` must be one of `q_proj`, `k_proj`"), "{message}");

    // The adapter of a model of another width.
    let folder = tempfile::tempdir().expect("a folder");
    fresh().save_weights(folder.path()).expect("saved");
    let wider = gratis_model::ModelConfig { intermediate_size: 20, ..small_llama() };
    let wider =
        NativeEngine::initialise(wider, Initialisation::default(), 0, NativeOptions::default());
    let error = wider.expect("a model").with_adapter_of(folder.path()).expect_err("refused");
    let message = error.to_string();
    assert!(message.contains("adapter_model.safetensors`: tensor"), "{message}");
    assert!(message.contains("mlp.up_proj.lora_B.weight` must have shape [20, 3]"), "{message}");
}

#[test]
fn an_adapter_to_fused_projections_has_their_names() {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models");
    let base = NativeEngine::load(&models.join("phi3"), NativeOptions::default());
    let settings = LoraSettings { targets: LoraTarget::ALL.to_vec(), ..settings() };
    let engine = base.expect("a base").with_adapter(settings, base_name(), 5).expect("an adapter");
    let names: Vec<&str> =
        engine.trained_tensors().iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names.len(), 2 * 2 * 4);
    for module in ["self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"] {
        let name = format!("base_model.model.model.layers.1.{module}.lora_A.weight");
        assert!(names.contains(&name.as_str()), "{name} is not among {names:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    engine.save_weights(folder.path()).expect("saved");
    let config = std::fs::read_to_string(folder.path().join("adapter_config.json"));
    let config: serde_json::Value = serde_json::from_str(&config.expect("text")).expect("JSON");
    let modules = serde_json::json!(["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]);
    assert_eq!(config["target_modules"], modules);
    let base = NativeEngine::load(&models.join("phi3"), NativeOptions::default());
    let again = base.expect("a base").with_adapter_of(folder.path()).expect("read");
    assert_eq!(again.trained_parameters(), engine.trained_parameters());
}
