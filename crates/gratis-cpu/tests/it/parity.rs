//! The engine against PyTorch and `transformers`, on the checkpoints of `fixtures/`.
//!
//! Errors are relative: the Euclidean norm of the difference over that of the expected values, for
//! each tensor. Observed on AVX-512; other instruction sets round in another order.

use std::path::{Path, PathBuf};

use crate::single::Single as _;
use gratis_cpu::{NativeEngine, NativeOptions};
use gratis_engine::{OptimizerStep, PackedBatch, TokenValues, Train as _};
use gratis_model::ValueHead;
use gratis_model::layout::TensorSpec;
use safetensors::SafeTensors;
use serde::Deserialize;

/// What `make_fixtures.py` wrote to `golden.json`.
#[derive(Deserialize)]
struct Golden {
    groups: Vec<Group>,
    loss: f64,
    optimizer: Optimizer,
    losses: Vec<f64>,
    gradient_norms: Vec<f64>,
}

#[derive(Deserialize)]
pub(crate) struct Group {
    prompt: Vec<u32>,
    responses: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    tokens: Vec<u32>,
    /// Of models whose gradient is compared.
    #[serde(default)]
    weights: Vec<f32>,
    /// Or the numbers of a scalar head.
    log_probs: Vec<f32>,
}

/// All groups as one batch.
pub(crate) fn batch_of(groups: &[Group]) -> PackedBatch {
    let groups = groups.iter().map(|group| {
        (&group.prompt[..], group.responses.iter().map(|response| &response.tokens[..]))
    });
    PackedBatch::from_groups(groups).expect("a valid batch")
}

/// The log-probabilities of all responses, one after the other.
pub(crate) fn log_probs_of(groups: &[Group]) -> TokenValues {
    values_of(groups, |response| &response.log_probs)
}

fn values_of(groups: &[Group], of: impl Fn(&Response) -> &[f32]) -> TokenValues {
    TokenValues::from_rows(groups.iter().flat_map(|group| &group.responses).map(of))
}

#[derive(Deserialize)]
struct Optimizer {
    n_steps: usize,
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    max_gradient_norm: f64,
}

impl Golden {
    fn batch(&self) -> PackedBatch {
        batch_of(&self.groups)
    }

    fn values(&self, of: impl Fn(&Response) -> &[f32]) -> TokenValues {
        values_of(&self.groups, of)
    }

    fn step(&self) -> OptimizerStep {
        let Optimizer { learning_rate, beta1, beta2, epsilon, weight_decay, .. } = self.optimizer;
        let max_gradient_norm = Some(self.optimizer.max_gradient_norm);
        OptimizerStep { learning_rate, beta1, beta2, epsilon, weight_decay, max_gradient_norm }
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

pub(crate) fn relative_error(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let pairs =
        got.iter().zip(expected).map(|(&got, &expected)| (f64::from(got), f64::from(expected)));
    let (difference, size) = pairs.fold((0.0, 0.0), |(difference, size), (got, expected)| {
        (difference + (got - expected).powi(2), size + expected.powi(2))
    });
    (difference / f64::max(size, f64::MIN_POSITIVE)).sqrt()
}

/// Largest relative error over the tensors, and where.
fn worst(
    tensors: &[TensorSpec],
    got: &[f32],
    golden: &SafeTensors<'_>,
    prefix: &str,
) -> (f64, String) {
    let errors = tensors.iter().map(|tensor| {
        let view = golden.tensor(&format!("{prefix}.{}", tensor.name)).expect("a tensor");
        assert_eq!(view.shape(), tensor.shape);
        let expected: Vec<f32> = view
            .data()
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes")))
            .collect();
        (relative_error(&got[tensor.range.clone()], &expected), tensor.name.clone())
    });
    errors.max_by(|a, b| a.0.total_cmp(&b.0)).expect("a tensor")
}

/// What is read from the model.
#[derive(Clone, Copy)]
enum Read {
    LogProbs,
    Values(ValueHead),
}

impl Read {
    fn load(self, folder: &Path, options: NativeOptions) -> NativeEngine {
        let engine = match self {
            Self::LogProbs => NativeEngine::load(folder, options),
            Self::Values(head) => NativeEngine::load_with_value_head(folder, head, options),
        };
        let mut engine = engine.expect("an engine");
        // As in `make_value_head_fixtures.py`; of no effect without a head.
        engine.set_head_learning_rate_factor(2.0);
        engine
    }

    fn score(self, engine: &mut NativeEngine, batch: &PackedBatch) -> TokenValues {
        match self {
            Self::LogProbs => engine.scored(batch),
            Self::Values(_) => engine.valued(batch),
        }
        .expect("scored")
    }

    fn pass(
        self,
        engine: &mut NativeEngine,
        batch: &PackedBatch,
        weigh: impl FnMut(&TokenValues) -> TokenValues,
    ) {
        match self {
            Self::LogProbs => engine.backward(batch, weigh),
            Self::Values(_) => engine.valued_backward(batch, weigh),
        }
        .expect("a gradient");
    }
}

fn agrees(name: &str) {
    agrees_reading(name, Read::LogProbs);
}

fn agrees_reading(name: &str, read: Read) {
    let folder = fixtures().join("models").join(name);
    let options = NativeOptions { n_threads: 2, ..NativeOptions::default() };
    computes_as_pytorch(&mut read.load(&folder, options), read, &folder, name);
}

/// The engine with the adapter of a folder against peft.
fn adapter_agrees(name: &str) {
    let folder = fixtures().join("adapters").join(name);
    let options = NativeOptions { n_threads: 2, ..NativeOptions::default() };
    let base = NativeEngine::load(&fixtures().join("models").join(name), options);
    let mut engine = base.expect("a base").with_adapter_of(&folder).expect("an adapter");
    let before = engine.parameters().to_vec();
    computes_as_pytorch(&mut engine, Read::LogProbs, &folder, name);
    assert_eq!(engine.parameters(), before, "{name}: the base has not moved");
}

/// Outputs, gradient and ten steps of `engine` against the golden values of `folder`.
fn computes_as_pytorch(engine: &mut NativeEngine, read: Read, folder: &Path, name: &str) {
    let text = std::fs::read_to_string(folder.join("golden.json")).expect("golden.json");
    let golden: Golden = serde_json::from_str(&text).expect("golden values");
    let bytes = std::fs::read(folder.join("golden.safetensors")).expect("golden.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).expect("golden tensors");
    let (batch, weights) = (golden.batch(), golden.values(|r| &r.weights));

    let log_probs = read.score(engine, &batch);
    let error = relative_error(log_probs.values(), golden.values(|r| &r.log_probs).values());
    // Observed: at most 1.9e-7.
    assert!(error < 2e-6, "{name}: log-probabilities {error:e}");

    let mut losses = Vec::new();
    let mut norms = Vec::new();
    for step in 0..golden.optimizer.n_steps {
        let mut loss = 0.0;
        read.pass(engine, &batch, |log_probs: &TokenValues| {
            let pairs = log_probs.values().iter().zip(weights.values());
            loss = pairs.map(|(&lp, &w)| f64::from(lp) * f64::from(w)).sum();
            weights.clone()
        });
        losses.push(loss);
        if step == 0 {
            let (error, tensor) =
                worst(engine.trained_tensors(), engine.gradient(), &tensors, "gradient");
            // Observed: at most 2.7e-6.
            assert!(error < 2e-5, "{name}: gradient of `{tensor}` {error:e}");
        }
        norms.push(engine.optimizer_step(&golden.step()).expect("a step").gradient_norm);
    }
    assert!((losses[0] - golden.loss).abs() < 1e-5 * golden.loss.abs(), "{name}: {}", losses[0]);
    let pairs = losses.iter().chain(&norms).zip(golden.losses.iter().chain(&golden.gradient_norms));
    for (got, expected) in pairs {
        // Observed: at most 1.1e-4.
        assert!((got - expected).abs() < 2e-4 * expected.abs(), "{name}: {got} for {expected}");
    }
    let (error, tensor) =
        worst(engine.trained_tensors(), engine.trained_parameters(), &tensors, "after");
    // Observed: at most 4.4e-5; Adam divides small gradients by their own size.
    assert!(error < 2e-4, "{name}: `{tensor}` after ten steps {error:e}");
}

#[test]
fn llama_with_tied_head() {
    agrees("llama-tied");
}

#[test]
fn llama_with_untied_head_and_grouped_queries() {
    agrees("llama-untied");
}

#[test]
fn llama3_rope_scaling() {
    agrees("llama3-rope");
}

#[test]
fn mistral_with_sliding_window() {
    agrees("mistral");
}

#[test]
fn qwen2_with_qkv_bias() {
    agrees("qwen2");
}

#[test]
fn qwen3_with_qk_norm() {
    agrees("qwen3");
}

#[test]
fn yarn_rope_scaling() {
    agrees("qwen3-yarn");
    agrees("llama-yarn-mscale");
}

#[test]
fn linear_rope_scaling_and_biases() {
    agrees("llama-linear-rope-biases");
}

#[test]
fn dynamic_rope_scaling_within_the_context() {
    agrees("llama-dynamic-rope");
}

#[test]
fn windows_in_some_layers() {
    agrees("qwen2-some-windows");
}

#[test]
fn phi3_with_fused_projections_and_a_window() {
    agrees("phi3");
}

#[test]
fn phi4_mini_with_long_rope_and_a_part_of_each_head_turned() {
    agrees("phi4-mini");
}

#[test]
fn smollm3_with_layers_without_positions() {
    agrees("smollm3");
}

#[test]
fn granite_with_multipliers() {
    agrees("granite");
}

#[test]
fn olmo2_and_olmo3_with_norms_behind() {
    agrees("olmo2");
    agrees("olmo3");
}

#[test]
fn gemma2_with_soft_caps() {
    agrees("gemma2");
}

#[test]
fn gemma3_with_two_rotations() {
    agrees("gemma3");
}

#[test]
fn qwen3_moe_with_normalised_weights() {
    agrees("qwen3-moe");
}

#[test]
fn qwen3_moe_with_experts_in_some_layers() {
    agrees("qwen3-moe-some-layers");
}

#[test]
fn qwen2_moe_with_a_shared_expert() {
    agrees("qwen2-moe");
}

#[test]
fn linear_head_of_a_token_classifier() {
    agrees_reading("llama-tied-linear-head", Read::Values(ValueHead::Linear));
}

#[test]
fn action_values_with_a_state_value() {
    let head = ValueHead::ActionAndStateValue;
    agrees_reading("llama-untied-action-head", Read::Values(head));
}

#[test]
fn an_adapter_to_a_llama() {
    adapter_agrees("llama-tied");
}

#[test]
fn a_rank_stabilised_adapter_to_a_qwen2() {
    adapter_agrees("qwen2");
}

#[test]
fn an_adapter_to_every_linear_map_of_a_qwen3() {
    adapter_agrees("qwen3");
}

#[test]
fn an_adapter_to_the_experts_of_a_qwen2_moe() {
    adapter_agrees("qwen2-moe");
}
