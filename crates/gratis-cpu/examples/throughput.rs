//! Tokens a second of training and scoring, the share of the processor's peak, and peak memory.
//!
//! `throughput <workload> <train|score|score-bf16> <n_threads> <seconds> [n_responses n_prompt n_response]` prints
//! the best and the median rate of the passes that fit into the time, the rate per second of processor
//! time (Linux; elsewhere zero), which other programs on the machine disturb least, the operations per
//! second of processor time as a share of a register-only loop's, and the peak memory in MB.
//!
//! The workloads `small`, `tiny` and `large` are also those of PyTorch (`bench/engine_vs_torch.sh`);
//! `S`, `M` and `L` take any number of responses per prompt and any lengths. Tokens are counted once
//! however many responses share them. Operations are those of the definition: what is computed twice
//! counts once, and a masked score not at all.

#![expect(clippy::print_stdout, reason = "it prints its measurement")]

use std::time::Instant;

use gratis_cpu::{Initialisation, NativeEngine, NativeOptions, Precision, multiply_adds};
use gratis_engine::{OptimizerStep, PackedBatch, Score as _, TokenValues, Train as _};
use gratis_model::ModelConfig;

/// Packed tokens of a batch of `S`, `M` and `L`, about.
const BATCH_TOKENS: usize = 4096;

/// A model and its batch: prompts with responses.
struct Workload {
    config: ModelConfig,
    n_prompts: usize,
    n_responses: usize,
    n_prompt: usize,
    n_response: usize,
}

fn shape(
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    n_layers: usize,
    n_heads: usize,
) -> ModelConfig {
    ModelConfig {
        vocab_size,
        hidden_size,
        intermediate_size,
        n_layers,
        n_heads,
        n_kv_heads: n_heads,
        head_dim: hidden_size / n_heads,
        context_length: 16_384,
        ..ModelConfig::LLAMA
    }
}

fn workload(name: &str, lengths: &[usize]) -> Workload {
    let flat = |config, n_prompts, n_prompt, n_response| Workload {
        config,
        n_prompts,
        n_responses: 1,
        n_prompt,
        n_response,
    };
    let config = match name {
        "small" => return flat(shape(512, 256, 688, 6, 4), 16, 1, 255),
        "tiny" => return flat(shape(69, 64, 160, 2, 4), 64, 18, 34),
        "large" => return flat(shape(32_000, 512, 1376, 8, 8), 4, 1, 255),
        "S" => shape(512, 256, 688, 6, 4),
        "M" => shape(32_000, 512, 1376, 8, 8),
        "L" => shape(128_256, 1024, 2816, 16, 16),
        other => panic!("no workload `{other}`: small, tiny, large, S, M or L"),
    };
    let at = |idx: usize, default: usize| lengths.get(idx).copied().unwrap_or(default);
    let (n_responses, n_prompt, n_response) = (at(0, 1), at(1, 128), at(2, 192));
    let n_prompts = BATCH_TOKENS.div_ceil(n_prompt + n_responses * n_response);
    Workload { config, n_prompts, n_responses, n_prompt, n_response }
}

impl Workload {
    /// Floating-point operations of a forward pass over the batch, by the definition.
    fn operations(&self) -> f64 {
        let Self { config, n_prompts, n_responses, n_prompt, n_response } = self;
        let d = config.hidden_size;
        let layer = d * (config.query_size() + 2 * config.key_value_size())
            + config.query_size() * d
            + 3 * d * config.intermediate_size;
        let n_tokens = n_prompt + n_responses * n_response;
        let n_predicting = 1 + n_responses * (n_response - 1);
        let scores = n_prompt * (n_prompt + 1) / 2
            + n_responses * (n_response * n_prompt + n_response * (n_response + 1) / 2);
        let products = n_tokens * layer * config.n_layers
            + 2 * scores * config.query_size() * config.n_layers
            + n_predicting * config.vocab_size * d;
        2.0 * (n_prompts * products) as f64
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, mode, n_threads, seconds, lengths @ ..] = &arguments[..] else {
        panic!(
            "usage: throughput <workload> <train|score|score-bf16> <n_threads> <seconds> [lengths]"
        )
    };
    let number = |text: &String| text.parse::<usize>().expect("a number");
    let lengths: Vec<usize> = lengths.iter().map(number).collect();
    let workload = workload(name, &lengths);
    let n_passes = if mode == "train" { 3.0 } else { 1.0 };
    let operations = n_passes * workload.operations();
    let Workload { config, n_prompts, n_responses, n_prompt, n_response } = workload;
    let seconds: f64 = seconds.parse().expect("seconds");
    let precision = if mode == "score-bf16" { Precision::Bf16 } else { Precision::F32 };
    let options =
        NativeOptions { n_threads: number(n_threads), precision, ..NativeOptions::default() };
    let vocab_size = config.vocab_size as u32;
    let mut engine =
        NativeEngine::initialise(config, Initialisation::default(), 1, options).expect("an engine");
    let token = |i: usize| (i as u32).wrapping_mul(2_654_435_761) >> 8 & 0xffff;
    let tokens = |stream: usize, n: usize| -> Vec<u32> {
        (0..n).map(|t| token(stream * 1000 + t) % vocab_size).collect()
    };
    let groups: Vec<(Vec<u32>, Vec<Vec<u32>>)> = (0..n_prompts)
        .map(|prompt| {
            let first = prompt * (n_responses + 1);
            let response = |idx| tokens(first + 1 + idx, n_response);
            (tokens(first, n_prompt), (0..n_responses).map(response).collect())
        })
        .collect();
    let batch = PackedBatch::from_groups(
        groups.iter().map(|(prompt, responses)| (&prompt[..], responses.iter().map(Vec::as_slice))),
    )
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
        if mode == "train" {
            let mut weigh = |_, log_probs: &TokenValues| {
                let mut weights = log_probs.clone();
                weights.values_mut().fill(weight);
                Ok(weights)
            };
            engine.forward_backward(std::slice::from_ref(&batch), &mut weigh).expect("a gradient");
            engine.optimizer_step(&step).expect("a step");
        } else {
            engine.log_probs(std::slice::from_ref(&batch)).expect("scored");
        }
    };
    let peak = peak_rate();
    pass();
    let (start, cpu_start) = (Instant::now(), cpu_seconds());
    let mut rates = Vec::new();
    while start.elapsed().as_secs_f64() < seconds || rates.len() < 3 {
        let before = Instant::now();
        pass();
        rates.push(batch.n_tokens() as f64 / before.elapsed().as_secs_f64());
    }
    let cpu_rate = (rates.len() * batch.n_tokens()) as f64 / (cpu_seconds() - cpu_start);
    let share = 100.0 * cpu_rate / batch.n_tokens() as f64 * operations / peak;
    rates.sort_by(f64::total_cmp);
    let (best, median) = (rates[rates.len() - 1], rates[rates.len() / 2]);
    let memory = peak_memory_mb();
    println!(
        "gratis {name} {mode} {n_threads} {best:.0} {median:.0} {cpu_rate:.0} {share:.1}% of {:.0} \
         GFLOP/s, {memory:.0} MB",
        peak / 1e9
    );
}

/// Floating-point operations a second of one core that only multiplies and adds in registers.
fn peak_rate() -> f64 {
    const N_ROUNDS: usize = 20_000_000;
    let rate = |_| {
        let (before, clock) = (Instant::now(), thread_seconds());
        let n_operations = multiply_adds(N_ROUNDS);
        let elapsed = before.elapsed().as_secs_f64();
        let elapsed = thread_seconds().zip(clock).map_or(elapsed, |(after, before)| after - before);
        n_operations / elapsed
    };
    (0..3).map(rate).fold(0.0, f64::max)
}

/// Processor time of this thread so far (Linux).
fn thread_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = stat.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds * 1e-9)
}

/// Processor time of all threads so far, in hundredths of a second as the kernel counts.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Most memory that the process had at a time (Linux; elsewhere zero).
fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1000.0 * 1.024
}
