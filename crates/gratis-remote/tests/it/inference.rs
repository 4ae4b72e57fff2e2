//! Scores and samples against the native engine on the same weights, and what must be refused.

use gratis_bench_remote::Behaviour;
use gratis_engine::{
    Error as EngineError, ErrorKind, FinishReason, Generate, PackedBatch, PackedBatchBuilder,
    SampleRequest, SamplingSettings, Score, TokenValues,
};
use gratis_model::web::Proxies;
use gratis_remote::{Connection, Error, InferenceEngine, Probe, Protocol, TokenizerCheck};

use crate::servers::{connect, hash_shape, hashed, native, native_shape, real, settings};

const PROTOCOLS: [Protocol; 3] = [Protocol::Vllm, Protocol::Sglang, Protocol::Openai];

/// Prompts shared by responses, and a prefix of a response shared by two of them.
fn batches() -> Vec<PackedBatch> {
    let groups = [(&[1, 2, 3][..], vec![&[4, 5, 6][..], &[7, 8]]), (&[9][..], vec![&[10, 11][..]])];
    let flat = PackedBatch::from_groups(groups).expect("valid");
    let mut builder = PackedBatchBuilder::default();
    let root = builder.context(None, &[20, 21]).expect("a root");
    let prefix = builder.context(Some(root), &[22]).expect("a prefix");
    builder.response(prefix, &[23, 24]).expect("a response");
    builder.response(root, &[25]).expect("a response");
    vec![flat, builder.finish()]
}

fn largest_difference(a: &[TokenValues], b: &[TokenValues]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b).flat_map(|(a, b)| {
        assert_eq!(a.len(), b.len());
        a.values().iter().zip(b.values())
    });
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn scores_are_those_of_the_native_engine() {
    let expected = native().log_probs(&batches()).expect("a pass");
    for protocol in PROTOCOLS {
        let server = real(Behaviour { gzip: true, ..Behaviour::default() });
        let engine = connect(&settings(protocol, &[&server]), native_shape()).expect("connected");
        let found = engine.log_probs(&batches()).expect("scored");
        // Observed: 0 to 5e-7; packed and alone differ in the order of additions.
        let difference = largest_difference(&found, &expected);
        assert!(difference < 2e-6, "{protocol:?}: {difference}");
    }
}

#[test]
fn samples_carry_the_models_log_probs_and_depend_on_the_seed_only() {
    let requests = [(vec![1, 2, 3], 5, 3), (vec![4], 6, 2)]
        .map(|(prompt, key, n_samples)| SampleRequest { prompt, key, first_sample: 0, n_samples });
    let sampling = SamplingSettings {
        temperature: 6.0,
        top_p: 0.98,
        top_k: 40,
        max_new_tokens: 12,
        stop_tokens: vec![7, 9],
        seed: 11,
    };
    for protocol in PROTOCOLS {
        let server = real(Behaviour::default());
        let engine = connect(&settings(protocol, &[&server]), native_shape()).expect("connected");
        let all = engine.sample_all(&requests, &sampling).expect("sampled");
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
        assert_ne!(all[0][0], all[0][1], "samples of a problem have seeds of their own");
        for (request, samples) in requests.iter().zip(&all) {
            for sample in samples {
                let batch = PackedBatch::from_groups([(&request.prompt[..], [&sample.tokens[..]])]);
                let scored = native().log_probs(&[batch.expect("valid")]).expect("a pass");
                let rows = [TokenValues::from_rows([&sample.log_probs[..]])];
                // Observed: 6e-6; unlikely tokens have log-probabilities down to -40.
                let difference = largest_difference(&rows, &scored);
                assert!(difference < 3e-5, "{difference}");
                let is_stopped = [7, 9].contains(sample.tokens.last().expect("not empty"));
                assert_eq!(sample.finish == FinishReason::Stop, is_stopped);
            }
        }
        // A resumed run asks for the later samples alone, and in another order.
        let rest = [
            SampleRequest { first_sample: 1, n_samples: 1, ..requests[1].clone() },
            SampleRequest { first_sample: 1, n_samples: 2, ..requests[0].clone() },
        ];
        let again = engine.sample_all(&rest, &sampling).expect("sampled");
        assert_eq!((&again[0][0], &again[1][..]), (&all[1][1], &all[0][1..]));
    }
}

#[test]
fn what_cannot_be_asked_is_refused_before_a_request() {
    let server = hashed(Behaviour::default());
    let engine = connect(&settings(Protocol::Vllm, &[&server]), hash_shape()).expect("connected");
    let score = |tokens: &[u32]| {
        let batch = PackedBatch::from_groups([(&[1][..], [tokens])]).expect("valid");
        engine.log_probs(&[batch]).map(|_| ())
    };
    let outside = score(&[1000]).expect_err("outside");
    assert_eq!(outside.kind(), ErrorKind::Input);
    assert_eq!(outside.to_string(), "token 1000 is not in the vocabulary of 1000 tokens");
    // One less than the server's context: a scoring request needs room for a sampled token.
    assert_eq!(engine.describe().context_length, 4095);
    let long = score(&[1; 4095]).expect_err("long");
    assert!(matches!(long, EngineError::ContextOverflow { n_tokens: 4096, .. }), "{long}");
    assert_eq!(server.n_requests(), 0);
    score(&[1; 4094]).expect("fits");
    // The check at the start alone and in a batch, and the sequence.
    assert_eq!(server.n_requests(), 3);
}

#[test]
fn a_model_that_is_not_served_is_named_with_those_that_are() {
    let server = hashed(Behaviour {
        models: vec!["base".to_owned(), "other".to_owned()],
        ..Behaviour::default()
    });
    let error = connect(&settings(Protocol::Vllm, &[&server]), hash_shape()).expect_err("absent");
    let expected = format!("`{}` cannot serve `policy`: it serves `base`, `other`", server.url());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_server_whose_numbers_depend_on_the_batch_fails_the_check_at_the_start() {
    let server = hashed(Behaviour { batch_error: 5.67, ..Behaviour::default() });
    let engine = connect(&settings(Protocol::Vllm, &[&server]), hash_shape()).expect("connected");
    let batch = PackedBatch::from_groups([(&[1][..], [&[2][..]])]).expect("valid");
    let error = engine.log_probs(&[batch]).expect_err("wrong numbers");
    assert_eq!(error.kind(), ErrorKind::Broken);
    assert!(error.to_string().contains("alone and in a batch"), "{error}");
}

#[test]
fn servers_of_different_models_fail_the_check_at_the_start() {
    let one = hashed(Behaviour::default());
    let model = gratis_bench_remote::HashModel { vocab_size: 1000, shift: -0.01 };
    let other =
        gratis_bench_remote::FakeServer::start(model, Behaviour::default()).expect("a port");
    let engine = connect(&settings(Protocol::Vllm, &[&one, &other]), hash_shape());
    let error = engine.expect("connected").check_scores().expect_err("another model");
    assert!(error.to_string().contains("from that of the first check"), "{error}");
}

#[test]
fn a_key_goes_to_its_server_and_never_to_another() {
    let other = hashed(Behaviour::default());
    let server = hashed(Behaviour {
        key: Some("secret".to_owned()),
        redirect: Some(other.url()),
        ..Behaviour::default()
    });
    let connection = Connection { key: Some("secret".to_owned()), ..Connection::default() };
    let settings = settings(Protocol::Vllm, &[&server]);
    let engine = InferenceEngine::connect(&settings, &connection, hash_shape()).expect("connected");
    engine.check_scores().expect("the other server answers");
    assert!(server.keys().iter().all(|key| key.as_deref() == Some("secret")));
    assert!(!other.keys().is_empty() && other.keys().iter().all(Option::is_none));
    let refused = connect(&settings, hash_shape()).expect_err("no key");
    assert!(matches!(refused, Error::Refused { status: 401, .. }), "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("api_key_env")));
    // A server that repeats the key in its message.
    let server = hashed(Behaviour {
        key: Some("another".to_owned()),
        repeats_key: true,
        ..Behaviour::default()
    });
    let settings = crate::servers::settings(Protocol::Vllm, &[&server]);
    let refused = InferenceEngine::connect(&settings, &connection, hash_shape());
    let refused = refused.expect_err("another key");
    let texts = [refused.to_string(), format!("{refused:?}"), format!("{connection:?}")];
    assert!(texts[0].contains("Incorrect API key provided: [key]."), "{refused}");
    assert!(texts.iter().all(|text| !text.contains("secret")), "{texts:?}");
}

#[test]
fn a_proxy_is_used_unless_the_host_is_excepted() {
    let server = hashed(Behaviour::default());
    let proxies = |bypass: &[&str]| Proxies {
        http: Some("http://127.0.0.1:9".to_owned()),
        https: None,
        bypass: bypass.iter().map(|&host| host.to_owned()).collect(),
    };
    let mut settings = settings(Protocol::Vllm, &[&server]);
    settings.retry_seconds = 0.01;
    let connect = |proxies| {
        let connection = Connection { key: None, proxies };
        InferenceEngine::connect(&settings, &connection, hash_shape()).map(|_| ())
    };
    connect(proxies(&["127.0.0.1"])).expect("without the proxy");
    let error = connect(proxies(&[])).expect_err("nobody listens at the proxy");
    assert_eq!(error.kind(), ErrorKind::TryAgain);
}

#[test]
fn a_tokenizer_that_cannot_be_asked_is_not_taken_for_ours() {
    let server = hashed(Behaviour::default());
    let engine = connect(&settings(Protocol::Vllm, &[&server]), hash_shape()).expect("connected");
    let probe = Probe { text: "2 + 2".to_owned(), tokens: vec![1, 2] };
    assert_eq!(engine.check_tokenizer(&[probe]).expect("asked"), TokenizerCheck::Unavailable);
}
