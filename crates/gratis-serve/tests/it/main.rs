//! The service with a scorer that does as it is told: it blocks, panics and counts.

#[path = "../../../../bench/serve/http.rs"]
mod http;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gratis::TokenCounts;
use gratis::data::{
    Precision, ProblemScores, Rollout, ScoreKind, ScoreOrigin, ScorePart, Scored, StepSplit,
};
use gratis::selection::Aggregation;
use gratis_serve::{About, Scorer, Settings, Stop, Summary, Token, serve};
use http::{Answer, Connection, request};
use serde_json::{Value, json};

/// Scores a completion by its length in bytes; `panic` and `fail` do what they say.
#[derive(Default)]
struct Fake {
    /// Texts per call.
    calls: Mutex<Vec<Vec<String>>>,
    /// Whether calls wait.
    is_held: Mutex<bool>,
    released: Condvar,
}

impl Fake {
    fn hold(&self, is_held: bool) {
        *self.is_held.lock().expect("not poisoned") = is_held;
        self.released.notify_all();
    }

    fn calls(&self) -> Vec<Vec<String>> {
        self.calls.lock().expect("not poisoned").clone()
    }
}

impl Scorer for Fake {
    fn score(&self, rollouts: &[Rollout]) -> Result<Vec<ProblemScores>, gratis::Error> {
        let texts: Vec<String> =
            rollouts.iter().flat_map(Rollout::texts).map(str::to_owned).collect();
        self.calls.lock().expect("not poisoned").push(texts.clone());
        let held = self.is_held.lock().expect("not poisoned");
        drop(self.released.wait_while(held, |is_held| *is_held).expect("not poisoned"));
        assert!(!texts.iter().any(|text| text == "panic"), "told to");
        if texts.iter().any(|text| text == "fail") {
            return Err(gratis::Error::NonFiniteReward {
                problem: "p".to_owned(),
                completion: 1,
                what: "told to".to_owned(),
            });
        }
        let score = |text: &str| {
            let outcome = text.len() as f64;
            let steps = vec![outcome];
            Scored {
                outcome,
                q_values: steps.clone(),
                steps,
                step_ends: vec![1],
                ..Scored::default()
            }
        };
        let line = |rollout: &Rollout| {
            ProblemScores::new(rollout.name(), rollout.texts().map(score).collect())
        };
        Ok(rollouts.iter().map(line).collect())
    }

    fn count_tokens(&self, rollout: &Rollout) -> Result<TokenCounts, gratis::Error> {
        let n_completion = rollout.texts().map(str::len).collect();
        Ok(TokenCounts { n_prompt: rollout.prompt.len(), n_completion })
    }

    fn token_starts(&self, _: &Rollout, _: usize) -> Result<Option<Vec<usize>>, gratis::Error> {
        Ok(None)
    }
}

/// A service on a port of its own.
struct Running {
    address: String,
    fake: Arc<Fake>,
    stop: Stop,
    thread: Option<JoinHandle<Summary>>,
}

impl Running {
    fn start(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let about = About {
            origin: ScoreOrigin {
                model: "fake".to_owned(),
                kind: ScoreKind::Implicit,
                aggregation: None,
                beta: 1.0,
                reference: None,
                value_rule: None,
                step_split: StepSplit::default(),
                part: ScorePart::All,
                precision: Precision::F32,
            },
            aggregation: Aggregation::Outcome,
            ends: vec!["</s>".to_owned()],
            template: "Q: {prompt}\nA: ".to_owned(),
            bos: None,
            context_length: 1000,
            batch_tokens: 100,
        };
        let (fake, stop) = (Arc::new(Fake::default()), Stop::default());
        let (scorer, stopped) = (Arc::clone(&fake), stop.clone());
        let serve = move || serve(listener, scorer, about, settings, &stopped).expect("served");
        let thread = Some(std::thread::spawn(serve));
        Self { address, fake, stop, thread }
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.address).expect("connected")
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.connect().ask("POST", path, &[], &body.to_string()).expect("an answer")
    }

    /// Posts on a thread.
    fn later(&self, body: Value) -> JoinHandle<Answer> {
        let mut connection = self.connect();
        let mut send = move || connection.ask("POST", "/score", &[], &body.to_string());
        std::thread::spawn(move || send().expect("an answer"))
    }

    fn metrics(&self) -> BTreeMap<String, f64> {
        let text = self.connect().ask("GET", "/metrics", &[], "").expect("an answer").body;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let value = |line: &str| {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            (name.to_owned(), value.parse().expect("a number"))
        };
        lines.map(value).collect()
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < Duration::from_secs(30), "waited for {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(mut self) -> Summary {
        self.stop.stop();
        self.thread.take().expect("running").join().expect("no panic")
    }
}

fn problem(texts: &[&str]) -> Value {
    json!({"prompt": "p", "completions": texts})
}

fn rewards(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    body["problems"][0]["rewards"].clone()
}

#[test]
fn requests_that_wait_share_a_batch_and_a_full_queue_says_when_to_come_again() {
    let running = Running::start(Settings { max_queue: 4, ..Settings::default() });
    running.fake.hold(true);
    let first = running.later(problem(&["a"]));
    running.wait_for("the first call", |running| running.fake.calls().len() == 1);
    let waiting: Vec<_> =
        ["bb", "ccc", "dddd"].map(|text| running.later(problem(&[text]))).into_iter().collect();
    running.wait_for("the queue", |running| running.metrics()["gratis_queue_requests"] == 4.0);
    let refused = running.post("/score", &problem(&["e"]));
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    running.fake.hold(false);
    assert_eq!(rewards(&first.join().expect("answered")), json!([1.0]));
    let answers: Vec<_> =
        waiting.into_iter().map(|thread| rewards(&thread.join().expect("answered"))).collect();
    assert_eq!(answers, [json!([2.0]), json!([3.0]), json!([4.0])]);
    let mut calls = running.fake.calls();
    calls[1].sort();
    assert_eq!(calls, [vec!["a"], vec!["bb", "ccc", "dddd"]]);
    assert!(!running.end().is_cut_off);
}

#[test]
fn a_request_is_split_by_batches_and_copies_come_from_the_cache() {
    let running = Running::start(Settings::default());
    let long = "x".repeat(60);
    let answer = running.post("/score", &problem(&[&long, &format!("{long}y"), "z"]));
    assert_eq!(rewards(&answer), json!([60.0, 61.0, 1.0]));
    // At most 100 tokens a batch, the prompt in each.
    let n_calls: Vec<_> = running.fake.calls().iter().map(Vec::len).collect();
    assert_eq!(n_calls, [1, 2]);
    assert_eq!(
        rewards(&running.post("/score", &problem(&["z", "new", &long]))),
        json!([1.0, 3.0, 60.0])
    );
    assert_eq!(running.fake.calls().last().expect("a call"), &["new"]);
    let metrics = running.metrics();
    assert_eq!((metrics["gratis_cache_hits_total"], metrics["gratis_cache_entries"]), (2.0, 4.0));
    running.end();
}

#[test]
fn a_panic_fails_its_own_request_and_the_worker_goes_on() {
    let running = Running::start(Settings::default());
    running.fake.hold(true);
    let first = running.later(problem(&["a"]));
    running.wait_for("the first call", |running| running.fake.calls().len() == 1);
    let threads = ["bb", "panic", "fail", "ccc"].map(|text| running.later(problem(&[text])));
    running.wait_for("the queue", |running| running.metrics()["gratis_queue_requests"] == 5.0);
    running.fake.hold(false);
    let _ = first.join();
    let answers = threads.map(|thread| thread.join().expect("answered"));
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 500, 500, 200]);
    assert!(answers[1].body.contains("internal error"), "{}", answers[1].body);
    assert!(answers[2].body.contains("told to"), "{}", answers[2].body);
    assert_eq!((rewards(&answers[0]), rewards(&answers[3])), (json!([2.0]), json!([3.0])));
    assert_eq!(rewards(&running.post("/score", &problem(&["after"]))), json!([5.0]));
    // The batch, and the one alone.
    assert_eq!(running.metrics()["gratis_panics_total"], 2.0);
    running.end();
}

#[test]
fn work_is_abandoned_at_its_deadline_and_when_its_client_leaves() {
    let running = Running::start(Settings::default());
    running.fake.hold(true);
    let first = running.later(problem(&["a"]));
    running.wait_for("the first call", |running| running.fake.calls().len() == 1);
    let mut late = problem(&["late"]);
    late["deadline_ms"] = json!(50);
    assert_eq!(running.post("/score", &late).status, 504);
    let mut gone = running.connect();
    gone.send(&request("POST", "/score", &[], &problem(&["gone"]).to_string())).expect("sent");
    running.wait_for("the queue", |running| running.metrics()["gratis_queue_requests"] == 2.0);
    drop(gone);
    running.wait_for("the client to be missed", |running| {
        let metrics = running.metrics();
        metrics["gratis_abandoned_total"] == 1.0 && metrics["gratis_queue_requests"] == 1.0
    });
    late["deadline_ms"] = json!(0);
    assert_eq!(running.post("/score", &late).status, 504);
    running.fake.hold(false);
    let _ = first.join();
    assert_eq!(rewards(&running.post("/score", &problem(&["b"]))), json!([1.0]));
    assert_eq!(running.fake.calls(), [["a"], ["b"]]);
    running.end();
}

#[test]
fn a_stopped_service_answers_what_it_accepted() {
    let running = Running::start(Settings::default());
    running.fake.hold(true);
    let first = running.later(problem(&["a"]));
    running.wait_for("the first call", |running| running.fake.calls().len() == 1);
    let second = running.later(problem(&["bb"]));
    running.wait_for("the queue", |running| running.metrics()["gratis_queue_requests"] == 2.0);
    running.stop.stop();
    running.wait_for("the socket to close", |running| Connection::open(&running.address).is_err());
    running.fake.hold(false);
    assert_eq!(rewards(&first.join().expect("answered")), json!([1.0]));
    assert_eq!(rewards(&second.join().expect("answered")), json!([2.0]));
    assert!(!running.end().is_cut_off);
}

#[test]
fn a_connection_that_never_ends_does_not_keep_a_stopped_service() {
    let running =
        Running::start(Settings { drain: Duration::from_millis(200), ..Settings::default() });
    let mut slow = running.connect();
    slow.send(b"POST /score HTTP/1.1\r\nContent-Length: 10\r\n\r\n").expect("sent");
    assert_eq!(rewards(&running.post("/score", &problem(&["a"]))), json!([1.0]));
    assert!(running.end().is_cut_off);
}

#[test]
fn limits_and_tokens_are_checked() {
    let token = Token::read("secret");
    let running = Running::start(Settings {
        max_body_bytes: 1000,
        max_request_tokens: 300,
        token,
        ..Settings::default()
    });
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        running.connect().ask(method, path, headers, body).expect("an answer")
    };
    let body = problem(&["a"]).to_string();
    let refused = ask("POST", "/score", &[], &body);
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(ask("POST", "/score", &[("Authorization", "Bearer other")], &body).status, 401);
    assert_eq!(ask("GET", "/metrics", &[], "").status, 401);
    assert_eq!(ask("GET", "/health", &[], "").status, 200);
    let right = [("Authorization", "Bearer secret")];
    assert_eq!(ask("POST", "/score", &right, &body).status, 200);
    let large = problem(&["a".repeat(1001).as_str()]).to_string();
    assert_eq!(ask("POST", "/score", &right, &large).status, 413);
    let many = problem(&["a".repeat(200).as_str(), "b".repeat(200).as_str()]).to_string();
    let refused = ask("POST", "/score", &right, &many);
    assert!(refused.status == 413 && refused.body.contains("300 tokens"), "{}", refused.body);
    for (body, said) in [
        ("{", "malformed body"),
        ("[]", "a JSON object"),
        (r#"{"prompt": "p", "completions": ["a"], "aggregation": "median"}"#, "aggregation"),
        (r#"{"prompt": "p", "completions": ["a"], "tokens": 1}"#, "`tokens`"),
    ] {
        let refused = ask("POST", "/score", &right, body);
        assert!(refused.status == 400 && refused.body.contains(said), "{}", refused.body);
    }
    let late = [right[0], ("X-Gratis-Deadline-Ms", "0")];
    assert_eq!(ask("POST", "/score", &late, &body).status, 504);
    assert_eq!(ask("GET", "/nothing", &right, "").status, 404);
    assert_eq!(ask("GET", "/score", &right, "").status, 405);
    running.end();
}

#[test]
fn each_protocol_gets_its_shape() {
    let running = Running::start(Settings::default());
    let body = |path: &str, body: Value| -> Value {
        let answer = running.post(path, &body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).expect("JSON")
    };
    // As OpenRLHF 0.11 sends one sample, and an empty list to a second server.
    let sent =
        json!({"query": ["Q: 1 + 1?\nA: two"], "prompts": ["Q: 1 + 1?\nA: "], "labels": ["2"]});
    let expected = json!({"rewards": [3.0], "scores": [3.0],
                          "extra_logs": {"outcome": [3.0], "n_steps": [1.0], "min_step": [3.0]}});
    assert_eq!(body("/get_reward", sent), expected);
    let empty = body("/get_reward", json!({"query": [], "prompts": [], "labels": []}));
    assert_eq!(empty, json!({"rewards": [], "scores": [], "extra_logs": {}}));
    // As verl 0.8 sends it to vLLM and to SGLang.
    let text = json!({"model": "m", "input": "Q: 1 + 1?\nA: four", "activation": false});
    assert_eq!(body("/classify", text.clone())["data"][0]["probs"], json!([4.0]));
    assert_eq!(body("/v1/embeddings", text)["data"][0]["embedding"], json!([4.0]));
    let messages = json!({"model": "m", "messages": [
        {"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "seven.."},
    ]});
    let pooled = body("/pooling", messages);
    assert_eq!(pooled["data"][0]["data"], json!([[7.0]]));
    assert_eq!(
        (&pooled["object"], &pooled["usage"]["prompt_tokens"]),
        (&json!("list"), &json!(13))
    );
    let graded =
        body("/grade", json!({"reference": "1/2", "completions": ["It is \\boxed{0.5}", "3"]}));
    assert_eq!(graded["correctness"], json!([true, false]));
    assert_eq!(graded["grades"][0]["how"], "boxed");
    let cases = json!({"cases": [{"gold": "1/3", "pred": "0.333"}], "strict": true});
    assert_eq!(body("/grade", cases)["correctness"], json!([false]));
    let get = |path: &str| -> Value {
        let answer = running.connect().ask("GET", path, &[], "").expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
        serde_json::from_str(&answer.body).expect("JSON")
    };
    assert_eq!(get("/health")["status"], "ok");
    let models = get("/v1/models");
    assert_eq!(
        (&models["data"][0]["id"], &models["data"][0]["max_model_len"]),
        (&json!("fake"), &json!(1000))
    );
    let paths = get("/openapi.json")["paths"].clone();
    for path in ["/score", "/grade", "/get_reward", "/classify", "/pooling", "/v1/embeddings"] {
        assert!(paths[path]["post"].is_object(), "{path}");
    }
    for path in ["/", "/health", "/metrics", "/v1/models", "/openapi.json"] {
        assert!(paths[path]["get"].is_object(), "{path}");
    }
    running.end();
}
