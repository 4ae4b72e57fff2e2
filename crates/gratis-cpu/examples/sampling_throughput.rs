//! Tokens per second of sampling:
//! `sampling_throughput <tiny|s|m|FILE.gguf> <n_samples> <n_threads> <seconds>`.
//!
//! Draws `n_samples` per prompt of 128 tokens (18 for `tiny`), 64 new tokens each, as often as the time
//! permits. It prints the tokens per second of processor time (Linux; elsewhere 0) and of the wall
//! clock, and the share of the peak of the processor's FMA units, measured before in one thread: the
//! operations of the matrices and of attention, each prompt counted once, per second of processor time.

#![expect(clippy::print_stdout, reason = "it prints its measurement")]

use std::path::Path;
use std::time::Instant;

use gratis_cpu::{Initialisation, NativeEngine, NativeOptions, multiply_adds};
use gratis_engine::{Generate as _, SampleRequest, SamplingSettings};
use gratis_model::ModelConfig;
use gratis_model::gguf::GgufFile;

const N_NEW: usize = 64;

/// Samples of a measurement, about: all prompts together.
const N_SEQUENCES: usize = 128;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, n_samples, n_threads, seconds] = &arguments[..] else {
        panic!("usage: sampling_throughput <tiny|s|m|FILE.gguf> <n_samples> <n_threads> <seconds>")
    };
    let seconds: f64 = seconds.parse().expect("seconds");
    let n_samples: usize = n_samples.parse().expect("a number of samples");
    let n_threads: usize = n_threads.parse().expect("a number of threads");
    let small = ModelConfig {
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
    let mut gguf = None;
    let (config, n_prompt) = match name.as_str() {
        "tiny" => {
            let tiny = ModelConfig {
                vocab_size: 69,
                hidden_size: 64,
                intermediate_size: 160,
                n_layers: 2,
                head_dim: 16,
                ..small
            };
            (tiny, 18)
        }
        "s" => (small, 128),
        "m" => {
            let medium = ModelConfig {
                vocab_size: 32_000,
                hidden_size: 512,
                intermediate_size: 1376,
                n_layers: 8,
                n_heads: 8,
                n_kv_heads: 8,
                ..small
            };
            (medium, 128)
        }
        file if Path::new(file).extension().is_some_and(|extension| extension == "gguf") => {
            let opened = GgufFile::open(Path::new(file)).expect("a GGUF file");
            let config = opened.config().expect("a model");
            gguf = Some(opened);
            (config, 128)
        }
        other => panic!("no workload `{other}`: tiny, s, m or a GGUF file"),
    };
    let settings = SamplingSettings {
        temperature: 0.7,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: N_NEW,
        stop_tokens: Vec::new(),
        seed: 1,
    };
    let n_prompts = if n_samples == 1 { 1 } else { N_SEQUENCES.div_ceil(n_samples) };
    let vocab_size = config.vocab_size as u32;
    let requests: Vec<SampleRequest> = (0..n_prompts as u64)
        .map(|key| SampleRequest {
            prompt: (0..n_prompt as u32).map(|t| (t * 7 + key as u32) % vocab_size).collect(),
            key,
            first_sample: 0,
            n_samples,
        })
        .collect();
    let peak = peak();
    let operations = n_prompts as f64 * operations(&config, n_prompt, n_samples);
    let options = NativeOptions { n_threads, ..NativeOptions::default() };
    let engine = match gguf {
        Some(file) => NativeEngine::load_gguf(&file, options),
        None => NativeEngine::initialise(config, Initialisation::default(), 1, options),
    };
    let engine = engine.expect("an engine");
    let n_tokens = n_prompts * n_samples * N_NEW;
    let run = || engine.sample_all(&requests, &settings).expect("samples");
    run();
    let (start, cpu_start) = (Instant::now(), cpu_seconds());
    let mut rates = Vec::new();
    while start.elapsed().as_secs_f64() < seconds || rates.len() < 3 {
        let before = Instant::now();
        run();
        rates.push(n_tokens as f64 / before.elapsed().as_secs_f64());
    }
    let cpu = (cpu_seconds() - cpu_start) / rates.len() as f64;
    rates.sort_by(f64::total_cmp);
    let (best, median) = (rates[rates.len() - 1], rates[rates.len() / 2]);
    println!(
        "{name} samples {n_samples} threads {n_threads}: {:.0} tokens per CPU second, {best:.0} best \
         and {median:.0} median per second, {:.1} % of {:.0} GFLOP/s",
        n_tokens as f64 / cpu,
        100.0 * operations / cpu / peak,
        peak / 1e9,
    );
}

/// Floating-point operations of a prompt and its samples. The head is needed after the prompt's last
/// token and before each later one.
fn operations(config: &ModelConfig, n_prompt: usize, n_samples: usize) -> f64 {
    let (d, query) = (config.hidden_size, config.query_size());
    let of_layer =
        d * (query + 2 * config.key_value_size()) + query * d + 3 * d * config.intermediate_size;
    let n_fed = N_NEW - 1;
    let n_read = n_prompt + n_samples * n_fed;
    let linear =
        of_layer * config.n_layers * n_read + config.vocab_size * d * (1 + n_samples * n_fed);
    let keys: usize = (1..=n_prompt).sum::<usize>()
        + n_samples * (n_prompt + 1..=n_prompt + n_fed).sum::<usize>();
    2.0 * linear as f64 + 4.0 * (keys * query * config.n_layers) as f64
}

/// The most operations per second of one thread: the best of several loops.
fn peak() -> f64 {
    let rate = |_| {
        let before = Instant::now();
        let n_operations = multiply_adds(1 << 16);
        n_operations / before.elapsed().as_secs_f64()
    };
    (0..100).map(rate).fold(0.0, f64::max)
}

/// Processor time of all threads so far, in hundredths of a second as the kernel counts.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
