//! Servers that fail: nothing is lost, nothing is doubled, and the output is that of servers that do
//! not fail.

use std::collections::BTreeMap;
use std::time::Duration;

use gratis_bench_remote::{Behaviour, FakeServer, Faults};
use gratis_engine::{
    ErrorKind, Generate, PackedBatch, Sample, SampleRequest, SamplingSettings, Score,
};
use gratis_remote::traffic::Reason;
use gratis_remote::{EngineSettings, InferenceEngine, Protocol};

use crate::servers::{connect, hash_shape, hashed, settings};

fn requests(n: u64, n_samples: usize) -> Vec<SampleRequest> {
    let request = |key: u64| SampleRequest {
        prompt: vec![1 + (key % 900) as u32, 2, 3],
        key,
        first_sample: 0,
        n_samples,
    };
    (0..n).map(request).collect()
}

fn sampling() -> SamplingSettings {
    SamplingSettings {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: 8,
        stop_tokens: vec![0],
        seed: 3,
    }
}

/// Samples, with a count of how often each request was delivered.
fn sample(engine: &InferenceEngine, requests: &[SampleRequest]) -> Vec<Vec<Sample>> {
    let mut all = vec![Vec::new(); requests.len()];
    let mut n_delivered = vec![0; requests.len()];
    let mut done = |idx: usize, samples: Vec<Sample>| {
        n_delivered[idx] += 1;
        all[idx] = samples;
    };
    engine.sample(requests, &sampling(), &mut done).expect("sampled");
    assert!(n_delivered.iter().all(|&n| n == 1), "each request is delivered once");
    all
}

fn quick(mut settings: EngineSettings) -> EngineSettings {
    settings.answer_seconds = 1.5;
    settings.retry_seconds = 60.0;
    settings
}

fn faulty(share: f64) -> Behaviour {
    Behaviour {
        faults: Faults::each(share),
        slow: Duration::from_millis(50),
        hang: Duration::from_secs(4),
        ..Behaviour::default()
    }
}

#[test]
fn failing_servers_change_nothing_but_the_time() {
    let requests = requests(150, 2);
    let sound = hashed(Behaviour::default());
    let engine = connect(&settings(Protocol::Vllm, &[&sound]), hash_shape()).expect("connected");
    let expected = sample(&engine, &requests);
    assert_eq!(engine.traffic().n_retries(), 0);
    assert_eq!(sound.n_requests(), 300);

    let servers = [hashed(faulty(0.05)), hashed(faulty(0.05))];
    let mut settings = quick(settings(Protocol::Vllm, &[&servers[0], &servers[1]]));
    settings.concurrency = 16;
    let engine = connect(&settings, hash_shape()).expect("connected");
    assert_eq!(sample(&engine, &requests), expected);
    let traffic = engine.traffic();
    let reasons = [Reason::Status(500), Reason::Status(503), Reason::Timeout, Reason::Cut];
    for reason in reasons {
        assert!(traffic.retries.get(&reason).is_some_and(|&n| n > 0), "{reason}: {traffic}");
    }
    // Each sample was answered once; what was repeated had failed.
    assert_eq!(servers.iter().map(FakeServer::n_answered).sum::<u64>(), 300);
    assert_eq!(traffic.n_in_flight, 0);

    // Scores as well.
    let batches: Vec<PackedBatch> = (0..40)
        .map(|n| PackedBatch::from_groups([(&[n, 1][..], [&[2, n][..], &[3]])]).expect("valid"))
        .collect();
    let of = |servers: &[&FakeServer]| {
        let mut settings = quick(crate::servers::settings(Protocol::Sglang, servers));
        settings.request_tokens = 8;
        let engine = connect(&settings, hash_shape()).expect("connected");
        engine.log_probs(&batches).expect("scored")
    };
    assert_eq!(of(&[&servers[0], &servers[1]]), of(&[&sound]));
}

#[test]
fn the_work_of_a_server_that_dies_goes_to_the_others() {
    let slow = Behaviour { latency: Duration::from_millis(20), ..Behaviour::default() };
    let servers = [hashed(slow.clone()), hashed(slow)];
    let mut settings = settings(Protocol::Vllm, &[&servers[0], &servers[1]]);
    settings.concurrency = 4;
    let engine = connect(&settings, hash_shape()).expect("connected");
    let requests = requests(120, 1);
    let all = std::thread::scope(|scope| {
        let sampled = scope.spawn(|| sample(&engine, &requests));
        while servers[0].n_answered() < 20 {
            std::thread::sleep(Duration::from_millis(2));
        }
        servers[0].stop();
        sampled.join().expect("no panic")
    });
    assert!(all.iter().all(|samples| samples.len() == 1));
    assert!(servers[0].n_answered() < 60, "it was stopped in the middle");
    assert!(servers[1].n_answered() >= 60);
}

#[test]
fn a_server_that_keeps_failing_is_not_asked_until_it_is_healthy() {
    let failing = |health| {
        hashed(Behaviour {
            faults: Faults { internal: 1.0, ..Faults::default() },
            health,
            ..Behaviour::default()
        })
    };
    let mut n_asked = Vec::new();
    for health in [503, 200] {
        let slow = Behaviour { latency: Duration::from_millis(60), ..Behaviour::default() };
        let servers = [failing(health), hashed(slow)];
        let mut settings = settings(Protocol::Vllm, &[&servers[0], &servers[1]]);
        settings.concurrency = 4;
        let engine = connect(&settings, hash_shape()).expect("connected");
        assert_eq!(sample(&engine, &requests(200, 1)).len(), 200);
        // An answer is counted after it was sent.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while servers[1].n_answered() < 200 && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(servers[1].n_answered(), 200);
        n_asked.push(servers[0].n_requests());
    }
    // Five failures, and the requests of the three other workers that were under way. One that says it is
    // well is asked again and again. Observed: 5 and 35.
    assert!(n_asked[0] <= 8, "{n_asked:?}");
    assert!(n_asked[1] > 2 * n_asked[0], "{n_asked:?}");
}

#[test]
fn a_server_that_stays_down_is_an_error_that_says_to_try_again() {
    let server = hashed(Behaviour::default());
    let mut settings = settings(Protocol::Vllm, &[&server]);
    settings.retry_seconds = 0.3;
    let engine = connect(&settings, hash_shape()).expect("connected");
    server.stop();
    let mut n_done = 0;
    let error = engine.sample(&requests(3, 1), &sampling(), &mut |_, _| n_done += 1);
    let error = error.expect_err("nobody answers");
    assert_eq!((error.kind(), n_done), (ErrorKind::TryAgain, 0));
    assert!(error.to_string().contains(&server.url()), "{error}");
}

#[test]
fn a_final_failure_ends_the_run_and_keeps_what_is_done() {
    let server = hashed(Behaviour::default());
    let mut settings = settings(Protocol::Vllm, &[&server]);
    settings.concurrency = 1;
    let mut shape = hash_shape();
    shape.vocab_size = 2000;
    let engine = connect(&settings, shape).expect("connected");
    let mut requests = requests(6, 1);
    requests[3].prompt = vec![1500];
    let mut done = BTreeMap::new();
    let mut keep = |idx, samples: Vec<Sample>| {
        done.insert(idx, samples.len());
    };
    let error = engine.sample(&requests, &sampling(), &mut keep).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Input);
    let expected = "refuses a sampling request with HTTP status 400: Token id 1500 is out of \
                    vocabulary";
    assert!(error.to_string().ends_with(expected), "{error}");
    assert_eq!(done, BTreeMap::from([(0, 1), (1, 1), (2, 1)]));
}
