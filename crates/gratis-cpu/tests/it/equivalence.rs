//! The same numbers however a batch is packed, cut, accumulated or recomputed.

use crate::single::Single as _;
use gratis_cpu::{Initialisation, NativeEngine, NativeOptions, Recompute};
use gratis_engine::{
    OptimizerStep, PackedBatch, PackedBatchBuilder, Stop, TokenValues, Train as _,
};
use gratis_model::ModelConfig;
use gratis_model::config::{Head, ProjectionExtras};

const STEP: OptimizerStep = OptimizerStep {
    learning_rate: 0.01,
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-8,
    weight_decay: 0.1,
    max_gradient_norm: Some(1.0),
};

fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 97,
        hidden_size: 32,
        intermediate_size: 48,
        n_layers: 3,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 8,
        context_length: 512,
        head: Head::Tied,
        ..ModelConfig::LLAMA
    }
}

fn engine_of(config: ModelConfig, n_threads: usize, recompute: Recompute) -> NativeEngine {
    let initialisation =
        Initialisation { embedding_std: 0.5, linear_std: 0.2, residual_std: 0.2, head_std: 0.2 };
    let options = NativeOptions { n_threads, recompute, ..NativeOptions::default() };
    NativeEngine::initialise(config, initialisation, 7, options).expect("an engine")
}

fn engine() -> NativeEngine {
    engine_of(config(), 1, Recompute::Nothing)
}

/// Tokens that differ from sequence to sequence.
fn tokens(n: usize, seed: u32) -> Vec<u32> {
    let hash = |i: u32| (i + 31 * seed + 1).wrapping_mul(2_654_435_761) >> 7;
    (0..n as u32).map(|i| hash(i) % 97).collect()
}

/// A weight for each response token, some negative.
fn weights(log_probs: &TokenValues) -> TokenValues {
    let mut weights = log_probs.clone();
    for (i, weight) in weights.values_mut().iter_mut().enumerate() {
        *weight = (i as f32 * 0.77 + 0.2).sin();
    }
    weights
}

/// Log-probabilities and gradient of [`weights`].
fn pass(engine: &mut NativeEngine, batch: &PackedBatch) -> (TokenValues, Vec<f32>) {
    engine.discard_gradient().expect("discarded");
    let log_probs = engine.backward(batch, weights).expect("a gradient");
    (log_probs, engine.gradient().to_vec())
}

fn relative_error(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let square = |x: f64| x * x;
    let pairs = || got.iter().zip(expected).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    let difference: f64 = pairs().map(|(got, expected)| square(got - expected)).sum();
    let size: f64 = pairs().map(|(_, expected)| square(expected)).sum();
    (difference / size).sqrt()
}

/// Observed: 0 for log-probabilities, at most 5e-7 for gradients.
fn assert_close(got: &(TokenValues, Vec<f32>), expected: &(TokenValues, Vec<f32>)) {
    let error = relative_error(got.0.values(), expected.0.values());
    assert!(error < 3e-6, "log-probabilities {error:e}");
    let error = relative_error(&got.1, &expected.1);
    assert!(error < 1e-5, "gradient {error:e}");
}

/// One prompt and its responses, with the responses' number of tokens.
fn group(n_prompt: usize, n_responses: &[usize], seed: u32) -> (Vec<u32>, Vec<Vec<u32>>) {
    let responses = n_responses.iter().zip(1..).map(|(&n, i)| tokens(n, seed + i)).collect();
    (tokens(n_prompt, seed), responses)
}

fn pack(groups: &[(Vec<u32>, Vec<Vec<u32>>)]) -> PackedBatch {
    PackedBatch::from_groups(
        groups.iter().map(|(prompt, responses)| (&prompt[..], responses.iter().map(|r| &r[..]))),
    )
    .expect("a valid batch")
}

/// Each response with a prompt of its own.
fn apart(groups: &[(Vec<u32>, Vec<Vec<u32>>)]) -> PackedBatch {
    let groups: Vec<_> = groups
        .iter()
        .flat_map(|(prompt, responses)| responses.iter().map(|r| (prompt.clone(), vec![r.clone()])))
        .collect();
    pack(&groups)
}

/// Lengths around the tiles of queries (64 rows) and of predicting rows (256).
fn uneven_groups() -> Vec<(Vec<u32>, Vec<Vec<u32>>)> {
    vec![
        group(1, &[1, 63, 64], 10),
        group(65, &[65, 1, 130], 20),
        group(7, &[300], 30),
        group(128, &[2, 31], 40),
    ]
}

#[test]
fn a_packed_sequence_is_as_it_is_alone() {
    let groups = uneven_groups();
    let engine = engine();
    let packed = engine.scored(&pack(&groups)).expect("scored");
    let mut rows = packed.rows();
    for (prompt, responses) in &groups {
        for response in responses {
            let alone = pack(&[(prompt.clone(), vec![response.clone()])]);
            let alone = engine.scored(&alone).expect("scored");
            let row = rows.next().expect("a row");
            // Observed: at most 1.8e-7.
            let error = relative_error(row, alone.values());
            assert!(error < 3e-6, "{error:e} at length {}", response.len());
        }
    }
}

#[test]
fn a_last_row_of_a_tile_has_the_bits_of_any_other() {
    // 256 predicting rows are a tile of the head; here one row is left for the last.
    let groups = [group(3, &[150, 107], 10)];
    let engine = engine();
    let scored = engine.scored(&pack(&groups)).expect("scored");
    let more = [&groups[..], &[group(9, &[40, 3], 50)]].concat();
    let among = engine.scored(&pack(&more)).expect("scored");
    let among: Vec<_> = among.rows().take(2).collect();
    assert_eq!(among, scored.rows().collect::<Vec<_>>());
}

#[test]
fn a_shared_prompt_is_as_many_prompts() {
    for sliding_window in [None, Some(10), Some(100)] {
        for projection_extras in
            [ProjectionExtras::None, ProjectionExtras::QkvBias, ProjectionExtras::QkNorm]
        {
            let config = ModelConfig { sliding_window, projection_extras, ..config() };
            let mut engine = engine_of(config, 1, Recompute::Nothing);
            let groups = uneven_groups();
            let shared = pass(&mut engine, &pack(&groups));
            assert_close(&shared, &pass(&mut engine, &apart(&groups)));
        }
    }
}

/// A response that others continue: its tokens are wanted once, its rows feed all.
#[test]
fn a_tree_of_three_levels_is_as_its_paths() {
    let (prompt, stem, branches) = (tokens(9, 1), tokens(66, 2), [tokens(5, 3), tokens(70, 4)]);
    let mut tree = PackedBatchBuilder::default();
    let root = tree.context(None, &prompt).expect("valid");
    let stem_idx = tree.response(root, &stem).expect("valid");
    for branch in &branches {
        tree.response(stem_idx, branch).expect("valid");
    }
    let mut paths = PackedBatchBuilder::default();
    let root = paths.context(None, &prompt).expect("valid");
    paths.response(root, &stem).expect("valid");
    for branch in &branches {
        let root = paths.context(None, &prompt).expect("valid");
        let stem = paths.context(Some(root), &stem).expect("valid");
        paths.response(stem, branch).expect("valid");
    }
    let (tree, paths) = (tree.finish(), paths.finish());
    let mut engine = engine();
    assert_close(&pass(&mut engine, &tree), &pass(&mut engine, &paths));
    let mut two_threads = engine_of(config(), 2, Recompute::Nothing);
    assert_close(&pass(&mut two_threads, &tree), &pass(&mut engine, &paths));
}

#[test]
fn an_accumulated_gradient_is_that_of_the_whole_batch() {
    let groups = uneven_groups();
    let mut engine = engine();
    let whole = pass(&mut engine, &pack(&groups));
    let all_weights = weights(&whole.0);
    engine.discard_gradient().expect("discarded");
    let mut first = 0;
    for group in groups.chunks(1) {
        let batch = pack(group);
        let rows = first..first + batch.responses().len();
        first = rows.end;
        let part = TokenValues::from_rows(rows.map(|i| all_weights.row(i)));
        engine.backward(&batch, |_| part.clone()).expect("a gradient");
    }
    let error = relative_error(engine.gradient(), &whole.1);
    // Observed: 4.2e-7.
    assert!(error < 1e-5, "{error:e}");
}

#[test]
fn recomputation_gives_the_same_bits() {
    let batch = pack(&uneven_groups());
    let kept = pass(&mut engine(), &batch);
    let recomputed = pass(&mut engine_of(config(), 1, Recompute::Layers), &batch);
    assert!(kept == recomputed);
}

#[test]
fn two_threads_agree_with_one_and_with_themselves() {
    let batch = pack(&uneven_groups());
    let one = pass(&mut engine(), &batch);
    let mut two = engine_of(config(), 2, Recompute::Nothing);
    let first = pass(&mut two, &batch);
    assert_close(&first, &one);
    // Buffers that served another batch meanwhile leave no trace.
    pass(&mut two, &pack(&[group(3, &[4], 50)]));
    assert!(pass(&mut two, &batch) == first);
    let scored = two.scored(&batch).expect("scored");
    let error = relative_error(scored.values(), one.0.values());
    assert!(error < 3e-6, "{error:e}");
}

/// A vocabulary of several tiles (1024 tokens each) and more rows than one tile (256).
#[test]
fn a_large_vocabulary_sums_to_one() {
    let config = ModelConfig { vocab_size: 2500, head: Head::Untied, ..config() };
    let mut engine = engine_of(config, 1, Recompute::Nothing);
    let prompt = tokens(4, 1);
    let answers: Vec<[u32; 1]> = (0..2500).map(|token| [token]).collect();
    let all = PackedBatch::from_groups([(&prompt[..], answers.iter().map(|a| &a[..]))]);
    let log_probs = engine.scored(&all.expect("a valid batch")).expect("scored");
    let total: f64 = log_probs.values().iter().map(|&lp| f64::from(lp).exp()).sum();
    // Observed: 4e-7 from one.
    assert!((total - 1.0).abs() < 1e-5, "{total}");

    // The log-likelihood's slope along its own gradient is the gradient's squared norm.
    let batch = pack(&[group(3, &[290, 5], 60)]);
    let (_, gradient) = pass(&mut engine, &batch);
    let value = |engine: &mut NativeEngine| -> f64 {
        let log_probs = engine.scored(&batch).expect("scored");
        let weights = weights(&log_probs);
        let pairs = log_probs.values().iter().zip(weights.values());
        pairs.map(|(&lp, &w)| f64::from(lp) * f64::from(w)).sum()
    };
    let square: f64 = gradient.iter().map(|&g| f64::from(g).powi(2)).sum();
    let size = 1e-2 / square.sqrt();
    let moved = |by: f64| {
        let step = gradient.iter().map(|&g| (by * f64::from(g)) as f32);
        let parameters = engine.parameters().iter().zip(step).map(|(&p, step)| p + step).collect();
        let config = engine.config().clone();
        let mut moved = NativeEngine::from_weights(config, parameters, NativeOptions::default())
            .expect("an engine");
        value(&mut moved)
    };
    let slope = (moved(size) - moved(-size)) / (2.0 * size);
    // Observed: 1.8e-4, from the differences' own rounding and curvature.
    assert!((slope / square - 1.0).abs() < 5e-3, "{slope} for {square}");
}

#[test]
fn what_cannot_be_run_is_refused() {
    let mut engine = engine();
    let error = |engine: &mut NativeEngine, prompt: &[u32], response: &[u32]| {
        let batch = PackedBatch::from_groups([(prompt, [response])]).expect("valid");
        engine.scored(&batch).expect_err("refused").to_string()
    };
    assert_eq!(
        error(&mut engine, &[97], &[1]),
        "invalid batch: token 97 is outside the vocabulary of 97"
    );
    assert_eq!(
        error(&mut engine, &[1], &tokens(512, 1)),
        "a sequence of 513 tokens is longer than the context of 512"
    );
    let batch = pack(&[group(3, &[4], 1)]);
    let weights = TokenValues::from_rows([&[1.0][..]]);
    engine.backward(&batch, |_| weights.clone()).expect_err("wrong shape");
    let stop = &mut |_, _: &_| Err(Stop(Box::from("enough")));
    let error = engine.forward_backward(&[batch], stop).expect_err("stopped").to_string();
    assert_eq!(error, "stopped by the caller: enough");
    assert!(engine.gradient().iter().all(|&g| g == 0.0));
}

#[test]
fn a_nan_weight_is_caught_before_the_step() {
    let mut engine = engine();
    let before = engine.parameters().to_vec();
    let batch = pack(&[group(3, &[4], 1)]);
    let nan = |log_probs: &TokenValues| {
        let mut weights = log_probs.clone();
        weights.values_mut()[2] = f32::NAN;
        weights
    };
    engine.backward(&batch, nan).expect("a gradient");
    let error = engine.optimizer_step(&STEP).expect_err("not finite");
    assert_eq!(error.to_string(), "the gradient norm is NaN; no parameter was changed");
    assert_eq!(engine.parameters(), before);
    assert!(engine.gradient().iter().all(|&g| g == 0.0), "the gradient is discarded");
}

#[test]
fn a_restored_state_goes_on_with_the_same_bits() {
    let batch = pack(&uneven_groups());
    let train = |engine: &mut NativeEngine, n_steps: usize| {
        for _ in 0..n_steps {
            engine.backward(&batch, weights).expect("a gradient");
            engine.optimizer_step(&STEP).expect("a step");
        }
    };
    let mut straight = engine();
    train(&mut straight, 4);

    let folder = tempfile::tempdir().expect("a folder");
    let [fresh, midway] = ["fresh", "midway"].map(|name| folder.path().join(name));
    let mut first = engine();
    first.save(&fresh).expect("saved");
    train(&mut first, 2);
    first.save(&midway).expect("saved");
    // What happens after the save must not matter.
    train(&mut first, 1);
    first.restore(&midway).expect("restored");
    train(&mut first, 1);
    let mut second = engine();
    second.restore(&midway).expect("restored");
    train(&mut second, 2);
    assert_eq!(second.parameters(), straight.parameters());
    assert_ne!(first.parameters(), straight.parameters());
    first.restore(&fresh).expect("restored");
    train(&mut first, 4);
    assert_eq!(first.parameters(), straight.parameters());
}

#[test]
fn a_broken_state_is_named_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut engine = engine();
    let error = engine.restore(folder.path()).expect_err("absent").to_string();
    assert!(error.contains("state.safetensors"), "{error}");
    engine.save(folder.path()).expect("saved");
    let path = folder.path().join("state.safetensors");
    let bytes = std::fs::read(&path).expect("a file");
    std::fs::write(&path, &bytes[..bytes.len() - 5]).expect("written");
    let before = engine.parameters().to_vec();
    let error = engine.restore(folder.path()).expect_err("truncated").to_string();
    assert!(error.contains("state.safetensors` is malformed"), "{error}");
    assert_eq!(engine.parameters(), before);
    let mut other = engine_of(ModelConfig { vocab_size: 98, ..config() }, 1, Recompute::Nothing);
    std::fs::write(&path, &bytes).expect("written");
    let error = other.restore(folder.path()).expect_err("another shape").to_string();
    assert!(error.contains("`weights.model.embed_tokens.weight`"), "{error}");
}

#[test]
fn a_single_response_is_shared_by_all_threads_without_changing_a_bit() {
    let config =
        ModelConfig { hidden_size: 96, intermediate_size: 160, vocab_size: 2500, ..config() };
    let tokens = |n: u32, factor: u32| -> Vec<u32> { (0..n).map(|i| i * factor % 2500).collect() };
    let (prompt, response) = (tokens(40, 7), tokens(311, 13));
    let batch = PackedBatch::from_groups([(&prompt[..], [&response[..]])]).expect("valid");
    let run = |n_threads: usize| {
        let mut engine = engine_of(config.clone(), n_threads, Recompute::Nothing);
        let scored = engine.scored(&batch).expect("scored");
        let trained = engine.backward(&batch, TokenValues::clone).expect("a pass");
        assert_eq!(trained, scored);
        (scored, engine.gradient().to_vec())
    };
    let alone = run(1);
    assert!(alone.1.iter().any(|slope| *slope != 0.0));
    for n_threads in [2, 3, 7] {
        assert_eq!(run(n_threads), alone);
    }
}
