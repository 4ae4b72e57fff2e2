//! Cached sampling gives what a full pass gives, and refuses what has no answer.

use std::path::Path;

use crate::single::Single as _;
use gratis_cpu::{Initialisation, NativeEngine, NativeOptions};
use gratis_engine::{
    Error, FinishReason, Generate as _, PackedBatch, SampleRequest, SamplingSettings,
};
use gratis_model::config::{Architecture, Head, ModelConfig, ProjectionExtras};

/// Llama with grouped queries, Qwen2 with biases and a window, Qwen3 with norms and a tied head, and
/// the families of the fixtures.
fn configs() -> Vec<ModelConfig> {
    let llama = ModelConfig { vocab_size: 61, ..crate::checkpoint::small_llama() };
    let qwen2 = ModelConfig {
        architecture: Architecture::Qwen2,
        projection_extras: ProjectionExtras::QkvBias,
        sliding_window: Some(6),
        ..llama.clone()
    };
    let qwen3 = ModelConfig {
        architecture: Architecture::Qwen3,
        projection_extras: ProjectionExtras::QkNorm,
        head: Head::Tied,
        head_dim: 18,
        ..llama.clone()
    };
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models");
    let of_fixture = |name: &str| {
        let path = models.join(name).join("config.json");
        ModelConfig { context_length: 32, ..ModelConfig::read(&path).expect("a configuration") }
    };
    let names = [
        "llama-yarn-mscale",
        "llama-linear-rope-biases",
        "qwen2-some-windows",
        "phi3",
        "phi4-mini",
        "smollm3",
        "granite",
        "olmo2",
        "olmo3",
        "gemma2",
        "gemma3",
        "qwen2-moe",
        "qwen3-moe",
        "qwen3-moe-some-layers",
    ];
    [llama, qwen2, qwen3].into_iter().chain(names.map(of_fixture)).collect()
}

fn engine(config: ModelConfig) -> NativeEngine {
    let initialisation =
        Initialisation { embedding_std: 0.5, linear_std: 0.4, residual_std: 0.4, head_std: 0.4 };
    let options = NativeOptions { n_threads: 2, ..NativeOptions::default() };
    NativeEngine::initialise(config, initialisation, 3, options).expect("an engine")
}

fn settings(temperature: f32) -> SamplingSettings {
    SamplingSettings {
        temperature,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: 100,
        stop_tokens: vec![2],
        seed: 9,
    }
}

fn request(prompt: &[u32], n_samples: usize) -> SampleRequest {
    SampleRequest { prompt: prompt.to_vec(), key: 5, first_sample: 0, n_samples }
}

#[test]
fn log_probs_of_samples_are_those_of_the_full_pass() {
    for config in configs() {
        let context_length = config.context_length;
        let engine = engine(config);
        let prompts = [&[7u32, 8, 9, 10, 11, 12, 13][..], &[20]];
        let requests = prompts.map(|prompt| request(prompt, 20));
        let samples = engine.sample_all(&requests, &settings(1.0)).expect("samples");
        let groups = prompts.iter().zip(&samples).map(|(&prompt, samples)| {
            (prompt, samples.iter().map(|sample| sample.tokens.as_slice()))
        });
        let batch = PackedBatch::from_groups(groups).expect("valid");
        let scored = engine.scored(&batch).expect("scored");
        let mut worst = 0.0f32;
        for (sample, scored) in samples.iter().flatten().zip(scored.rows()) {
            assert_eq!(sample.tokens.len(), scored.len());
            for (sampled, scored) in sample.log_probs.iter().zip(scored) {
                worst = worst.max((sampled - scored).abs());
            }
            let stopped = sample.tokens.last() == Some(&2);
            assert_eq!(sample.finish == FinishReason::Stop, stopped);
            let prompt = if stopped { 0 } else { context_length - sample.tokens.len() };
            assert!([0, 1, 7].contains(&prompt), "a sample ends at a stop or with the context");
        }
        // Observed 5e-6.
        assert!(worst < 5e-5, "{worst:e}");
    }
}

#[test]
fn a_greedy_token_is_the_most_probable_of_the_full_pass() {
    for config in configs() {
        let vocab_size = config.vocab_size as u32;
        let engine = engine(config);
        let prompt = [3u32, 1, 4, 1, 5];
        let samples = engine.sample_all(&[request(&prompt, 1)], &settings(0.0)).expect("samples");
        let tokens = &samples[0][0].tokens;
        let mut path = prompt.to_vec();
        for &token in tokens {
            let candidates: Vec<[u32; 1]> = (0..vocab_size).map(|token| [token]).collect();
            let responses = candidates.iter().map(<[u32; 1]>::as_slice);
            let batch = PackedBatch::from_groups([(&path[..], responses)]).expect("valid");
            let scored = engine.scored(&batch).expect("scored");
            let best = (0..vocab_size)
                .max_by(|&a, &b| scored.row(a as usize)[0].total_cmp(&scored.row(b as usize)[0]));
            assert_eq!(best, Some(token));
            path.push(token);
        }
    }
}

#[test]
fn what_has_no_answer_is_refused() {
    let config = configs().swap_remove(0);
    let engine = engine(config);
    let refuse = |prompt: &[u32], settings: &SamplingSettings| {
        engine.sample_all(&[request(prompt, 1)], settings).expect_err("refused")
    };
    let empty = refuse(&[], &settings(1.0));
    assert_eq!(empty.to_string(), "invalid batch: a prompt without tokens");
    let unknown = refuse(&[61], &settings(1.0)).to_string();
    assert_eq!(unknown, "invalid batch: token 61 is outside the vocabulary of 61");
    let full = refuse(&[1; 32], &settings(1.0));
    assert!(matches!(full, Error::ContextOverflow { n_tokens: 33, context_length: 32 }));
    for (field, settings) in [
        ("temperature", settings(-1.0)),
        ("temperature", settings(f32::NAN)),
        ("top_p", SamplingSettings { top_p: 0.0, ..settings(1.0) }),
        ("top_p", SamplingSettings { top_p: 1.5, ..settings(1.0) }),
    ] {
        let message = refuse(&[1], &settings).to_string();
        assert!(message.starts_with(&format!("sampling setting `{field}`")), "{message}");
    }
    let nothing = SamplingSettings { max_new_tokens: 0, ..settings(1.0) };
    let samples = engine.sample_all(&[request(&[1], 2)], &nothing).expect("two empty samples");
    assert!(samples[0].len() == 2 && samples[0].iter().all(|sample| sample.tokens.is_empty()));
}

#[test]
fn a_model_without_finite_logits_draws_nothing() {
    let config = configs().swap_remove(0);
    let n_parameters = engine(config.clone()).parameters().len();
    let broken =
        NativeEngine::from_weights(config, vec![f32::NAN; n_parameters], NativeOptions::default())
            .expect("an engine");
    let error = broken.sample_all(&[request(&[1, 2], 1)], &settings(1.0)).expect_err("refused");
    assert!(matches!(error, Error::NonFiniteLogits { key: 5, n_tokens: 2 }));
}
