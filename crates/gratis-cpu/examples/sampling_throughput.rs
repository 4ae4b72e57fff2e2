//! Tokens a second of sampling: `sampling_throughput <tiny|small> <n_threads> <seconds>` prints the
//! best and the median rate of drawing 64 samples for each of 20 prompts.

#![expect(clippy::print_stdout, reason = "it prints its measurement")]

use std::time::Instant;

use gratis_cpu::{Initialisation, NativeEngine, NativeOptions};
use gratis_engine::{Generate as _, SampleRequest, SamplingSettings};
use gratis_model::ModelConfig;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, n_threads, seconds] = &arguments[..] else {
        panic!("usage: sampling_throughput <tiny|small> <n_threads> <seconds>")
    };
    let seconds: f64 = seconds.parse().expect("seconds");
    let tiny = ModelConfig {
        vocab_size: 69,
        hidden_size: 64,
        intermediate_size: 160,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 4,
        head_dim: 16,
        context_length: 1024,
        ..ModelConfig::LLAMA
    };
    let config = match name.as_str() {
        "tiny" => tiny,
        "small" => ModelConfig {
            vocab_size: 512,
            hidden_size: 256,
            intermediate_size: 688,
            n_layers: 6,
            head_dim: 64,
            ..tiny
        },
        other => panic!("no workload `{other}`: tiny or small"),
    };
    let options = NativeOptions {
        n_threads: n_threads.parse().expect("a number of threads"),
        ..NativeOptions::default()
    };
    let settings = SamplingSettings {
        temperature: 0.7,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: 34,
        stop_tokens: Vec::new(),
        seed: 1,
    };
    let requests: Vec<SampleRequest> = (0..20)
        .map(|key| SampleRequest {
            prompt: (0..18).map(|t| (t * 7 + key as u32) % 69).collect(),
            key,
            first_sample: 0,
            n_samples: 64,
        })
        .collect();
    let engine =
        NativeEngine::initialise(config, Initialisation::default(), 1, options).expect("an engine");
    let n_tokens =
        requests.iter().map(|request| request.n_samples).sum::<usize>() * settings.max_new_tokens;
    let start = Instant::now();
    let mut rates = Vec::new();
    while start.elapsed().as_secs_f64() < seconds || rates.len() < 3 {
        let before = Instant::now();
        engine.sample_all(&requests, &settings).expect("samples");
        rates.push(n_tokens as f64 / before.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let (best, median) = (rates[rates.len() - 1], rates[rates.len() / 2]);
    println!("gratis {name} sample {n_threads} {best:.0} {median:.0}");
}
