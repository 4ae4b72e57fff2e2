//! Mixtures of experts: packed and recomputed as other models, and nothing done for an expert that no
//! token was given to.

use std::fs;
use std::path::{Path, PathBuf};

use crate::parity::relative_error;
use crate::single::Single as _;
use gratis_cpu::{NativeEngine, NativeOptions, Recompute};
use gratis_engine::{PackedBatch, TokenValues, Train as _};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

const MODELS: [&str; 3] = ["qwen2-moe", "qwen3-moe", "qwen3-moe-some-layers"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models").join(name)
}

fn load(folder: &Path, recompute: Recompute) -> NativeEngine {
    let options = NativeOptions { n_threads: 1, recompute, ..NativeOptions::default() };
    NativeEngine::load(folder, options).expect("a model")
}

fn tokens(n: u32, seed: u32) -> Vec<u32> {
    (0..n).map(|i| ((i + 31 * seed + 1).wrapping_mul(2_654_435_761) >> 7) % 47).collect()
}

/// Log-probabilities, and the gradient of their weighted sum.
fn pass(engine: &mut NativeEngine, batch: &PackedBatch) -> (TokenValues, Vec<f32>) {
    engine.discard_gradient().expect("discarded");
    let weigh = |log_probs: &TokenValues| {
        let mut weights = log_probs.clone();
        for (idx, weight) in weights.values_mut().iter_mut().enumerate() {
            *weight = ((idx % 19) as f32 * 0.7).sin();
        }
        weights
    };
    let log_probs = engine.backward(batch, weigh).expect("a gradient");
    (log_probs, engine.gradient().to_vec())
}

#[test]
fn recomputed_passes_have_the_same_bits() {
    let responses = [tokens(30, 2), tokens(1, 3)];
    let groups = [(&tokens(9, 1)[..], responses.iter().map(|r| &r[..]))];
    let batch = PackedBatch::from_groups(groups).expect("valid");
    for name in MODELS {
        let kept = pass(&mut load(&folder(name), Recompute::Nothing), &batch);
        let recomputed = pass(&mut load(&folder(name), Recompute::Layers), &batch);
        assert!(kept == recomputed, "{name}");
    }
}

#[test]
fn a_shared_prompt_changes_nothing() {
    let prompt = tokens(9, 1);
    let responses = [tokens(30, 2), tokens(5, 3), tokens(70, 4)];
    let packed = [(&prompt[..], responses.iter().map(|r| &r[..]))];
    let packed = PackedBatch::from_groups(packed).expect("valid");
    let apart = responses.iter().map(|r| (&prompt[..], std::iter::once(&r[..])));
    let apart = PackedBatch::from_groups(apart).expect("valid");
    for name in MODELS {
        let mut engine = load(&folder(name), Recompute::Nothing);
        let (packed, apart) = (pass(&mut engine, &packed), pass(&mut engine, &apart));
        let error = relative_error(packed.0.values(), apart.0.values());
        // Observed: 0.
        assert!(error < 3e-6, "{name}: log-probabilities {error:e}");
        let error = relative_error(&packed.1, &apart.1);
        // Observed: at most 5e-7.
        assert!(error < 1e-5, "{name}: gradient {error:e}");
    }
}

/// The model with a router of zeros, so that every token is given to the first experts, and with
/// other numbers in the experts that `is_changed` names.
fn with_equal_experts(name: &str, is_changed: impl Fn(&str) -> bool) -> tempfile::TempDir {
    let from = folder(name);
    let bytes = fs::read(from.join("model.safetensors")).expect("there");
    let tensors = SafeTensors::deserialize(&bytes).expect("valid");
    let filled =
        |view: &TensorView<'_>, value: f32| value.to_le_bytes().repeat(view.data().len() / 4);
    let changed: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let data = if name.ends_with("mlp.gate.weight") {
                filled(&view, 0.0)
            } else if is_changed(&name) {
                // Any product with these is infinite.
                filled(&view, f32::MAX)
            } else {
                view.data().to_vec()
            };
            (name, view.shape().to_vec(), data)
        })
        .collect();
    let views = changed.iter().map(|(name, shape, data)| {
        let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), data);
        (name.as_str(), view.expect("consistent"))
    });
    let to = tempfile::tempdir().expect("a folder");
    let bytes = safetensors::serialize(views, None).expect("serialised");
    fs::write(to.path().join("model.safetensors"), bytes).expect("written");
    fs::copy(from.join("config.json"), to.path().join("config.json")).expect("copied");
    to
}

#[test]
fn an_expert_without_tokens_is_not_computed() {
    let responses = [tokens(30, 2), tokens(1, 3)];
    let groups = [(&tokens(9, 1)[..], responses.iter().map(|r| &r[..]))];
    let batch = PackedBatch::from_groups(groups).expect("valid");
    let run = |folder: &Path| pass(&mut load(folder, Recompute::Nothing), &batch);
    // Three of seven experts.
    let expected = run(with_equal_experts("qwen3-moe", |_| false).path());
    let is_idle = |name: &str| (3..7).any(|idx| name.contains(&format!(".experts.{idx}.")));
    let got = run(with_equal_experts("qwen3-moe", is_idle).path());
    assert!(got == expected);
    let is_active = |name: &str| name.contains(".experts.2.");
    let of_active = run(with_equal_experts("qwen3-moe", is_active).path());
    assert!(of_active.0.values().iter().any(|value| !value.is_finite()));
}
