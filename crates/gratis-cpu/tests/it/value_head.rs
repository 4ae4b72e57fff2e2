//! Scalar heads: exact gradients, the same numbers however a batch is packed, and checkpoints.

use crate::single::Single as _;
use gratis_cpu::{Initialisation, NativeEngine, NativeOptions, Recompute};
use gratis_engine::{
    OptimizerStep, PackedBatch, PackedBatchBuilder, Score as _, TokenValues, Train as _,
};
use gratis_model::config::Head;
use gratis_model::{ModelConfig, ValueHead};

const HEADS: [ValueHead; 3] =
    [ValueHead::Linear, ValueHead::ActionValue, ValueHead::ActionAndStateValue];

const STEP: OptimizerStep = OptimizerStep {
    learning_rate: 0.03,
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-8,
    weight_decay: 0.0,
    max_gradient_norm: None,
};

fn config(head: Head) -> ModelConfig {
    ModelConfig {
        vocab_size: 31,
        hidden_size: 16,
        intermediate_size: 24,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 4,
        context_length: 64,
        head,
        ..ModelConfig::LLAMA
    }
}

/// A model whose head has moved from its start, so that all of its parameters matter.
fn engine(head: ValueHead, options: NativeOptions) -> NativeEngine {
    let initialisation =
        Initialisation { embedding_std: 0.5, linear_std: 0.2, residual_std: 0.2, head_std: 0.2 };
    let fresh = NativeEngine::initialise(config(Head::Untied), initialisation, 7, options);
    let mut engine = fresh.expect("an engine").with_value_head(head);
    for _ in 0..3 {
        pass(&mut engine, &batch());
        engine.optimizer_step(&STEP).expect("a step");
    }
    engine
}

/// Two problems, one of whose responses has a continuation that is a response as well.
fn batch() -> PackedBatch {
    let mut builder = PackedBatchBuilder::default();
    let root = builder.context(None, &[1, 2, 3]).expect("valid");
    let first = builder.response(root, &[4, 5, 6]).expect("valid");
    builder.response(first, &[7, 8]).expect("valid");
    let other = builder.context(None, &[9, 4]).expect("valid");
    builder.response(other, &[10, 11, 12, 13]).expect("valid");
    builder.response(root, &[14]).expect("valid");
    builder.finish()
}

fn weights(values: &TokenValues) -> TokenValues {
    let mut weights = values.clone();
    for (i, weight) in weights.values_mut().iter_mut().enumerate() {
        *weight = (i as f32 * 0.77 + 0.2).sin();
    }
    weights
}

fn pass(engine: &mut NativeEngine, batch: &PackedBatch) -> TokenValues {
    engine.valued_backward(batch, weights).expect("a gradient")
}

/// `sum_t w_t value_t`.
fn total(engine: &mut NativeEngine, batch: &PackedBatch) -> f64 {
    let values = engine.valued(batch).expect("scored");
    let weights = weights(&values);
    let pairs = values.values().iter().zip(weights.values());
    pairs.map(|(&value, &weight)| f64::from(value) * f64::from(weight)).sum()
}

#[test]
fn the_slope_along_a_tensors_gradient_is_its_squared_norm() {
    for head in HEADS {
        let mut engine = engine(head, NativeOptions::default());
        let batch = batch();
        pass(&mut engine, &batch);
        let gradient = engine.gradient().to_vec();
        let folder = tempfile::tempdir().expect("a folder");
        engine.save_weights(folder.path()).expect("saved");
        let weights = std::fs::read(folder.path().join("model.safetensors")).expect("a file");
        let tensors = engine.layout().tensors.clone();
        let data = weights.len() - 4 * engine.layout().n_parameters();
        for tensor in tensors {
            let slopes = &gradient[tensor.range.clone()];
            let square: f64 = slopes.iter().map(|&g| f64::from(g).powi(2)).sum();
            if tensor.name == "lm_head.weight" && head == ValueHead::Linear {
                assert_eq!(square, 0.0, "a linear head does not read the vocabulary");
                continue;
            }
            assert!(square > 1e-9, "{head:?} {}: {square:e}", tensor.name);
            let size = 3e-3 / square.sqrt();
            let moved = |by: f64| {
                let mut bytes = weights.clone();
                for (idx, &slope) in tensor.range.clone().zip(slopes) {
                    let place = data + 4 * idx..data + 4 * idx + 4;
                    let old = f32::from_le_bytes(bytes[place.clone()].try_into().expect("four"));
                    let new = old + (by * f64::from(slope)) as f32;
                    bytes[place].copy_from_slice(&new.to_le_bytes());
                }
                std::fs::write(folder.path().join("model.safetensors"), bytes).expect("written");
                let options = NativeOptions::default();
                let moved = NativeEngine::load_with_value_head(folder.path(), head, options);
                total(&mut moved.expect("an engine"), &batch)
            };
            let slope = (moved(size) - moved(-size)) / (2.0 * size);
            let error = (slope / square - 1.0).abs();
            // Observed: at most 3.8e-4, from the differences' own rounding and curvature.
            assert!(error < 2e-3, "{head:?} {}: {slope} for {square}", tensor.name);
        }
    }
}

#[test]
fn packed_alone_cut_and_recomputed_agree() {
    for head in HEADS {
        let mut one = engine(head, NativeOptions::default());
        let batch = batch();
        let whole = pass(&mut one, &batch);
        let alone = PackedBatch::from_groups([(&[1, 2, 3, 4, 5, 6][..], [&[7, 8][..]])]);
        let alone = one.valued(&alone.expect("valid")).expect("scored");
        let error = alone.row(0).iter().zip(whole.row(1)).map(|(a, b)| (a - b).abs());
        let error = error.fold(0.0, f32::max);
        // Observed: 1.2e-7.
        assert!(error < 2e-6, "{head:?}: {error:e}");
        assert_eq!(whole.row(0).len(), 3 * head.n_channels());

        let recomputed = NativeOptions { recompute: Recompute::Layers, ..NativeOptions::default() };
        let mut recomputing = engine(head, recomputed);
        assert_eq!(pass(&mut recomputing, &batch), whole);
        assert_eq!(recomputing.gradient(), one.gradient());
        let mut two = engine(head, NativeOptions { n_threads: 2, ..NativeOptions::default() });
        let of_two = pass(&mut two, &batch);
        let pairs = of_two.values().iter().zip(whole.values());
        let error = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Observed: 4.8e-7, after three steps that were cut alike.
        assert!(error < 1e-5, "{head:?}: {error:e}");
    }
}

#[test]
fn a_fresh_head_is_as_documented_and_learns_at_its_own_rate() {
    let options = NativeOptions::default();
    let fresh = || {
        let initialisation = Initialisation::default();
        NativeEngine::initialise(config(Head::Tied), initialisation, 7, options).expect("valid")
    };
    let mut linear = fresh().with_value_head(ValueHead::Linear);
    let values = linear.valued(&batch()).expect("scored");
    assert!(values.values().iter().all(|&value| value == 0.0));
    linear.set_head_learning_rate_factor(4.0);
    pass(&mut linear, &batch());
    linear.optimizer_step(&STEP).expect("a step");
    let places = linear.layout().value_head.clone().expect("a head");
    // The first step of Adam is the learning rate.
    let bias = linear.parameters()[places.bias.start].abs();
    assert!((bias - 4.0 * 0.03).abs() < 1e-5, "{bias}");

    let head = ValueHead::ActionAndStateValue;
    let action = fresh().with_value_head(head);
    let batch = batch();
    let values = action.valued(&batch).expect("scored");
    let (actions, states) = values.row(2).split_at(4);
    assert!(states.iter().all(|&state| state == 0.0));
    // 0.3 times the logit: differences of log-probabilities of two tokens after one state.
    let pair = PackedBatch::from_groups([(&[9, 4][..], [&[10][..], &[11][..]])]).expect("valid");
    let [log_probs, values] = [action.scored(&pair), action.valued(&pair)].map(Result::unwrap);
    let difference = |of: &TokenValues| of.row(0)[0] - of.row(1)[0];
    assert!((difference(&values) - 0.3 * difference(&log_probs)).abs() < 1e-6);
    assert!((actions[0] - values.row(0)[0]).abs() < 1e-6);
}

#[test]
fn a_head_survives_its_folder_and_is_missed_in_a_plain_one() {
    let folder = tempfile::tempdir().expect("a folder");
    for head in HEADS {
        let mut engine = engine(head, NativeOptions::default());
        let path = folder.path().join(format!("{head:?}").replace([' ', '{', '}'], ""));
        engine.save_weights(&path).expect("saved");
        let load = || NativeEngine::load_with_value_head(&path, head, NativeOptions::default());
        let mut loaded = load().expect("loaded");
        assert_eq!(loaded.parameters(), engine.parameters());
        assert_eq!(loaded.value_head(), Some(head));
        engine.save(&path).expect("saved");
        pass(&mut engine, &batch());
        engine.optimizer_step(&STEP).expect("a step");
        loaded.restore(&path).expect("restored");
        pass(&mut loaded, &batch());
        loaded.optimizer_step(&STEP).expect("a step");
        assert_eq!(loaded.parameters(), engine.parameters());
        let error =
            NativeEngine::load(&path, NativeOptions::default()).expect_err("not a plain one");
        assert!(error.to_string().contains("score."), "{error}");
    }
    let options = NativeOptions::default();
    let plain = NativeEngine::initialise(config(Head::Tied), Initialisation::default(), 1, options);
    let plain = plain.expect("an engine");
    let error = plain.valued(&batch()).expect_err("no head").to_string();
    assert_eq!(error, "the model is a language model without a scalar head");
    let path = folder.path().join("plain");
    plain.save_weights(&path).expect("saved");
    let error = NativeEngine::load_with_value_head(&path, ValueHead::Linear, options);
    let error = error.expect_err("no head").to_string();
    assert!(error.contains("`score.weight`"), "{error}");
}

#[test]
fn the_mean_over_the_vocabulary_is_that_of_all_its_tokens() {
    let engine = engine(ValueHead::Linear, NativeOptions::default());
    let answers: Vec<[u32; 1]> = (0..31).map(|token| [token]).collect();
    let batch = PackedBatch::from_groups([(&[3, 1, 4][..], answers.iter().map(|a| &a[..]))]);
    let batch = batch.expect("valid");
    let log_probs = engine.scored(&batch).expect("scored");
    let expected = log_probs.values().iter().sum::<f32>() / 31.0;
    for mean in engine.mean_log_probs(&[batch]).expect("scored")[0].values() {
        // Observed: 4.8e-7.
        assert!((mean - expected).abs() < 5e-6, "{mean} for {expected}");
    }
}
