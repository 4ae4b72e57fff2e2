//! Tokens a second of training and scoring, to be set beside PyTorch's (`bench/engine_vs_torch.sh`).
//!
//! `throughput <small|tiny|large> <train|score> <n_threads> <seconds>` prints the best and the median
//! rate of the passes that fit into the time, and the rate per second of processor time (Linux;
//! elsewhere zero), which other programs on the machine disturb least.

#![expect(clippy::print_stdout, reason = "it prints its measurement")]

use std::time::Instant;

use gratis_cpu::{Initialisation, NativeEngine, NativeOptions};
use gratis_engine::{OptimizerStep, PackedBatch, Score as _, TokenValues, Train as _};
use gratis_model::ModelConfig;

/// A model and its batch: `n_sequences` of `n_prompt + n_response` tokens.
struct Workload {
    config: ModelConfig,
    n_sequences: usize,
    n_prompt: usize,
    n_response: usize,
}

fn workload(name: &str) -> Workload {
    let config = ModelConfig {
        vocab_size: 512,
        hidden_size: 256,
        intermediate_size: 688,
        n_layers: 6,
        n_heads: 4,
        n_kv_heads: 4,
        head_dim: 64,
        context_length: 1024,
        ..ModelConfig::LLAMA
    };
    match name {
        "small" => Workload { config, n_sequences: 16, n_prompt: 1, n_response: 255 },
        "tiny" => Workload {
            config: ModelConfig {
                vocab_size: 69,
                hidden_size: 64,
                intermediate_size: 160,
                n_layers: 2,
                head_dim: 16,
                ..config
            },
            n_sequences: 64,
            n_prompt: 18,
            n_response: 34,
        },
        "large" => Workload {
            config: ModelConfig {
                vocab_size: 32_000,
                hidden_size: 512,
                intermediate_size: 1376,
                n_layers: 8,
                n_heads: 8,
                n_kv_heads: 8,
                ..config
            },
            n_sequences: 4,
            n_prompt: 1,
            n_response: 255,
        },
        other => panic!("no workload `{other}`: small, tiny or large"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, mode, n_threads, seconds] = &arguments[..] else {
        panic!("usage: throughput <small|tiny|large> <train|score> <n_threads> <seconds>")
    };
    let Workload { config, n_sequences, n_prompt, n_response } = workload(name);
    let seconds: f64 = seconds.parse().expect("seconds");
    let options = NativeOptions {
        n_threads: n_threads.parse().expect("a number of threads"),
        ..NativeOptions::default()
    };
    let vocab_size = config.vocab_size as u32;
    let mut engine =
        NativeEngine::initialise(config, Initialisation::default(), 1, options).expect("an engine");
    let token = |i: usize| (i as u32).wrapping_mul(2_654_435_761) >> 8 & 0xffff;
    let sequences: Vec<Vec<u32>> = (0..n_sequences)
        .map(|s| (0..n_prompt + n_response).map(|t| token(s * 1000 + t) % vocab_size).collect())
        .collect();
    let batch =
        PackedBatch::from_groups(sequences.iter().map(|s| (&s[..n_prompt], [&s[n_prompt..]])))
            .expect("a batch");
    let weight = -1.0 / batch.n_response_tokens() as f32;
    let step = OptimizerStep {
        learning_rate: 1e-4,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        max_gradient_norm: Some(1.0),
    };
    let mut pass = || {
        if mode == "score" {
            engine.log_probs(std::slice::from_ref(&batch)).expect("scored");
        } else {
            let mut weigh = |_, log_probs: &TokenValues| {
                let mut weights = log_probs.clone();
                weights.values_mut().fill(weight);
                Ok(weights)
            };
            engine.forward_backward(std::slice::from_ref(&batch), &mut weigh).expect("a gradient");
            engine.optimizer_step(&step).expect("a step");
        }
    };
    pass();
    let (start, cpu_start) = (Instant::now(), cpu_seconds());
    let mut rates = Vec::new();
    while start.elapsed().as_secs_f64() < seconds || rates.len() < 3 {
        let before = Instant::now();
        pass();
        rates.push(batch.n_tokens() as f64 / before.elapsed().as_secs_f64());
    }
    let cpu_rate = (rates.len() * batch.n_tokens()) as f64 / (cpu_seconds() - cpu_start);
    rates.sort_by(f64::total_cmp);
    let (best, median) = (rates[rates.len() - 1], rates[rates.len() / 2]);
    println!("gratis {name} {mode} {n_threads} {best:.0} {median:.0} {cpu_rate:.0}");
}

/// Processor time of all threads so far, in hundredths of a second as the kernel counts.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
