//! A sample is the same whatever is drawn beside it.

use super::*;
use crate::model::{Initialisation, initialise, test_config};
use crate::weights::Base;
use gratis_engine::FinishReason;
use gratis_model::config::{Architecture, ProjectionExtras, RopeScaling};

/// Models that differ in everything that decoding has to know.
fn configs() -> [ModelConfig; 3] {
    let llama = ModelConfig {
        rope_scaling: RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context_length: 16,
        },
        ..test_config()
    };
    let window = ModelConfig {
        architecture: Architecture::Qwen2,
        projection_extras: ProjectionExtras::QkvBias,
        hidden_size: 40,
        head_dim: 20,
        n_kv_heads: 1,
        sliding_window: Some(5),
        ..test_config()
    };
    let norms = ModelConfig {
        architecture: Architecture::Qwen3,
        projection_extras: ProjectionExtras::QkNorm,
        head_dim: 16,
        ..test_config()
    };
    [llama, window, norms]
}

fn requests() -> Vec<SampleRequest> {
    let prompt = |n: u32, seed: u32| (0..n).map(|i| (i * i + 7 * i + seed) % 31).collect();
    let request = |(idx, (n, n_samples)): (usize, (u32, usize))| SampleRequest {
        prompt: prompt(n, idx as u32),
        key: 100 + idx as u64,
        first_sample: 3,
        n_samples,
    };
    // A prompt of more than one tile, one of one token, one without samples.
    [(5, 7), (41, 3), (9, 0), (1, 40), (16, 2)].into_iter().enumerate().map(request).collect()
}

fn settings(temperature: f32) -> SamplingSettings {
    SamplingSettings {
        temperature,
        top_p: 0.95,
        top_k: 20,
        max_new_tokens: 24,
        stop_tokens: vec![4, 5],
        seed: 11,
    }
}

struct Model {
    decoder: Decoder,
    parameters: Vec<f32>,
}

impl Model {
    fn new(config: ModelConfig) -> Self {
        let decoder = Decoder::new(config);
        let spread = Initialisation {
            embedding_std: 0.5,
            linear_std: 0.3,
            residual_std: 0.3,
            head_std: 0.3,
        };
        let mut parameters =
            initialise(&decoder.layout, decoder.config.architecture.norm_offset(), spread, 2);
        // Biases begin at zero, where they would not be seen.
        for (idx, parameter) in parameters.iter_mut().enumerate() {
            *parameter += (idx as f32).sin() * 0.05;
        }
        decoder.know_positions(256);
        Self { decoder, parameters }
    }

    fn sample(
        &self,
        requests: &[SampleRequest],
        temperature: f32,
        n_workers: usize,
        n_rows: usize,
    ) -> Vec<Vec<Sample>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_workers).build();
        let crew = Crew::new(n_workers, n_rows);
        let decoder = &self.decoder;
        let weights = Weights { base: Base::Loaded(&self.parameters), adapter: None };
        pool.expect("threads")
            .install(|| sample(decoder, weights, requests, &settings(temperature), crew))
            .expect("samples")
    }
}

#[test]
fn a_sample_does_not_depend_on_its_neighbours() {
    for config in configs() {
        let model = Model::new(config);
        let requests = requests();
        let together = model.sample(&requests, 0.9, 1, MAX_ROWS);
        let counts: Vec<_> = together.iter().map(Vec::len).collect();
        assert_eq!(counts, [7, 3, 0, 40, 2]);
        let all: Vec<&Sample> = together.iter().flatten().collect();
        assert!(all.iter().any(|sample| sample.finish == FinishReason::Stop));
        assert!(all.iter().any(|sample| sample.finish == FinishReason::Length));
        assert!(together[3].iter().any(|sample| sample.tokens != together[3][0].tokens));
        for (n_workers, n_rows) in [(2, MAX_ROWS), (1, 1), (1, 5), (2, 17)] {
            assert_eq!(model.sample(&requests, 0.9, n_workers, n_rows), together);
        }
        let mut reversed: Vec<_> = requests.clone();
        reversed.reverse();
        let mut samples = model.sample(&reversed, 0.9, 2, 9);
        samples.reverse();
        assert_eq!(samples, together);
        // A resumed run draws the rest alone.
        let rest = SampleRequest { first_sample: 3 + 38, n_samples: 2, ..requests[3].clone() };
        assert_eq!(model.sample(&[rest], 0.9, 1, MAX_ROWS)[0], together[3][38..]);
    }
}

#[test]
fn without_chance_all_samples_are_one() {
    let model = Model::new(test_config());
    let requests = requests();
    let greedy = model.sample(&requests, 0.0, 2, MAX_ROWS);
    for (samples, request) in greedy.iter().zip(&requests) {
        assert_eq!(samples.len(), request.n_samples);
        assert!(samples.iter().all(|sample| *sample == samples[0]));
    }
    assert_eq!(model.sample(&requests, 0.0, 1, 1), greedy);
}
