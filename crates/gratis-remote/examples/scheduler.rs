//! Measures the scheduler against the fake server: throughput by concurrency, and 10,000 requests to
//! servers that fail.
//!
//!     cargo run --release -p gratis-remote --example scheduler

#![expect(clippy::print_stdout, reason = "it is a measurement")]

use std::time::{Duration, Instant};

use gratis_bench_remote::{Behaviour, FakeServer, Faults, HashModel};
use gratis_engine::{Generate, Sample, SampleRequest, SamplingSettings};
use gratis_remote::{Connection, EngineSettings, InferenceEngine, ModelShape, Protocol};

/// Time that the fake server takes for a request.
const LATENCY: Duration = Duration::from_millis(250);

fn server(behaviour: Behaviour) -> FakeServer {
    let model = HashModel { vocab_size: 1000, shift: 0.0 };
    FakeServer::start(model, behaviour).expect("a free port")
}

fn engine(servers: &[&FakeServer], concurrency: usize) -> InferenceEngine {
    let mut settings = EngineSettings::new(Protocol::Vllm, "", "policy");
    settings.url = None;
    settings.urls = servers.iter().map(|server| server.url()).collect();
    settings.concurrency = concurrency;
    settings.answer_seconds = 2.0;
    let shape = ModelShape {
        architecture: "LlamaForCausalLM".to_owned(),
        n_parameters: 1,
        vocab_size: 1000,
        context_length: 4096,
    };
    InferenceEngine::connect(&settings, &Connection::default(), shape).expect("connected")
}

/// Samples for `n` requests of one sample each, each delivered once.
fn sample(engine: &InferenceEngine, n: u64) -> Vec<Vec<Sample>> {
    let requests: Vec<SampleRequest> = (0..n)
        .map(|key| SampleRequest {
            prompt: (0..200).map(|at| ((key + at) % 1000) as u32).collect(),
            key,
            first_sample: 0,
            n_samples: 1,
        })
        .collect();
    let settings = SamplingSettings {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: 32,
        stop_tokens: vec![0],
        seed: 1,
    };
    let mut all = vec![Vec::new(); requests.len()];
    let mut done = |idx: usize, samples: Vec<Sample>| {
        assert!(all[idx].is_empty(), "request {idx} was delivered twice");
        all[idx] = samples;
    };
    engine.sample(&requests, &settings, &mut done).expect("sampled");
    assert!(all.iter().all(|samples| samples.len() == 1), "a request was lost");
    all
}

fn main() {
    println!("concurrency  requests/s  of the ideal");
    let steady = server(Behaviour { latency: LATENCY, ..Behaviour::default() });
    for concurrency in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
        let n = 16 * concurrency as u64;
        let engine = engine(&[&steady], concurrency);
        let began = Instant::now();
        sample(&engine, n);
        let seconds = began.elapsed().as_secs_f64();
        let ideal = LATENCY.as_secs_f64() * (n as f64 / concurrency as f64).ceil();
        println!(
            "{concurrency:>11}  {:>10.1}  {:>10.1} %",
            n as f64 / seconds,
            100.0 * ideal / seconds
        );
    }
    let sound = server(Behaviour::default());
    let expected = sample(&engine(&[&sound], 64), 10_000);
    let faulty = || {
        let (faults, hang) = (Faults::each(0.05), Duration::from_secs(4));
        server(Behaviour { faults, hang, ..Behaviour::default() })
    };
    let servers = [faulty(), faulty()];
    let engine = engine(&[&servers[0], &servers[1]], 64);
    let began = Instant::now();
    let found = sample(&engine, 10_000);
    let seconds = began.elapsed().as_secs_f64();
    let n_answered: u64 = servers.iter().map(FakeServer::n_answered).sum();
    println!("10,000 requests, 5 % of each fault: {seconds:.1} s; {}", engine.traffic());
    println!(
        "answered by the servers: {n_answered}; output as without faults: {}",
        found == expected
    );
    assert_eq!(found, expected);
}
