//! The service as a process: answers equal `gratis score` bit for bit, also under load with faults,
//! and a signal ends it after it has answered what it accepted.

#[path = "../../../../bench/serve/http.rs"]
mod http;
#[path = "../../../../bench/serve/load.rs"]
mod load;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use http::{Answer, Connection, request};
use load::Load;
use serde_json::{Value, json};

use crate::workspace::{Workspace, browser, ok, stderr};

/// A service in its own process.
struct Service {
    child: Child,
    address: String,
    log: BufReader<ChildStderr>,
}

impl Service {
    /// Serves the workspace's `model` against `reference` on a free port.
    fn start(workspace: &Workspace, flags: &[&str]) -> Self {
        let arguments = ["serve", "--model", "model", "--reference", "reference", "--port", "0"];
        let mut command = workspace.command(&[&arguments[..], flags].concat());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let (mut line, mut all) = (String::new(), String::new());
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).expect("text") > 0, "it ended: {all}");
            all += &line;
            if let Some((_, rest)) = line.split_once("listening on http://") {
                break rest.split([',', ' ', '\n']).next().expect("an address").to_owned();
            }
        };
        Self { child, address, log }
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let mut connection = Connection::open(&self.address).expect("connected");
        connection.ask("POST", path, &[], &body.to_string()).expect("an answer")
    }

    /// Ends it by a signal; the exit status and the rest of the log.
    fn end(mut self) -> (ExitStatus, String) {
        terminate(&self.child);
        let mut log = String::new();
        self.log.read_to_string(&mut log).expect("text");
        (self.child.wait().expect("it ends"), log)
    }
}

fn terminate(child: &Child) {
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(status.expect("`kill` runs").success());
}

/// A workspace with a reference of other weights, and candidates with steps, copies and an empty one.
fn workspace() -> (Workspace, Vec<Value>, Vec<Value>) {
    let workspace = Workspace::new();
    let init = ["init", "reference", "--preset", "nano", "--tokenizer", "model", "--seed", "7"];
    ok(&workspace, &[&init[..], &["--context-length", "64"]].concat());
    let mut lines = String::new();
    for problem in 0..40 {
        let step = |idx: usize| format!("{problem} and {idx} are {}.", problem + idx);
        let completions: Vec<String> = (0..=problem % 6)
            .map(|idx| (0..idx % 4).map(step).collect::<Vec<_>>().join("\n\n") + " ")
            .collect();
        let mut rollout = json!({
            "id": format!("p{problem}"),
            "prompt": format!("How much are {problem} and {}? ", problem % 7),
            "completions": completions,
        });
        if problem % 5 == 0 {
            rollout["completions"] = json!(["1 and 2 are 3.", "1 and 2 are 3."]);
            rollout["steps"] = json!([["1 and 2", " are 3."], null]);
        }
        writeln!(lines, "{rollout}").expect("a line");
    }
    workspace.write("candidates.jsonl", &lines);
    let score = ["score", "--model", "model", "--reference", "reference", "candidates.jsonl"];
    let scores = ok(&workspace, &[&score[..], &["--tokens", "-o", "-"]].concat());
    let values = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let (rollouts, scores) = (values(&lines), values(&scores));
    assert_eq!((rollouts.len(), scores.len()), (40, 40));
    (workspace, rollouts, scores)
}

#[test]
fn answers_equal_those_of_score_bit_for_bit() {
    let (workspace, rollouts, scores) = workspace();
    let service = Service::start(&workspace, &[]);
    // The second time from the cache.
    for _ in 0..2 {
        let answer = service.post("/score", &json!({"problems": rollouts, "tokens": true}));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
        for (got, expected) in answer["problems"].as_array().expect("a list").iter().zip(&scores) {
            assert_eq!(got["scores"].to_string(), expected.to_string());
            let starts = got["token_starts"].as_array().expect("a list");
            for (scored, starts) in
                expected["scores"].as_array().expect("a list").iter().zip(starts)
            {
                let n = scored["token_ids"].as_array().map(Vec::len);
                assert!(n > Some(0) && starts.as_array().map(Vec::len) == n, "{starts}");
            }
        }
    }
    // One problem alone, aggregated in another way.
    let mut body = rollouts[5].clone();
    body["aggregation"] = json!("q_last");
    let answer: Value = serde_json::from_str(&service.post("/score", &body).body).expect("JSON");
    let problem = &answer["problems"][0];
    let of_score =
        |idx: usize| scores[5]["scores"][idx]["q_values"].as_array().expect("a list").last();
    assert_eq!(answer["aggregation"], "q_last");
    assert_eq!(problem["rewards"], json!([of_score(0), of_score(1)]));
    assert!(
        problem["scores"]["scores"][0].get("tokens").is_none()
            && problem.get("token_starts").is_none()
    );
    // OpenRLHF, with the text of the end of turn that it sends.
    let prompt = rollouts[7]["prompt"].as_str().expect("a text");
    let text = format!("{prompt}{}", rollouts[7]["completions"][1].as_str().expect("a text"));
    let sent = json!({"query": [text], "prompts": [prompt], "labels": [null]});
    let answer: Value =
        serde_json::from_str(&service.post("/get_reward", &sent).body).expect("JSON");
    assert_eq!(answer["extra_logs"]["outcome"][0], scores[7]["scores"][1]["outcome"]);
    let (status, log) = service.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("4 answers"), "{log}");
}

#[test]
fn load_with_faults_mixes_no_answer_up() {
    let (workspace, rollouts, scores) = workspace();
    let flags = ["--max-body", "1", "--cache", "0", "--max-queue", "8"];
    let service = Service::start(&workspace, &flags);
    let load = Load {
        address: service.address.clone(),
        rollouts,
        scores,
        n_concurrent: 16,
        fault_every: 2,
        too_large: (1 << 20) + 1,
        n_rounds: 1,
        at_least: Duration::from_secs(2),
    };
    let report = load::run(&load);
    assert_eq!(report.n_wrong, 0, "{:?}", report.wrong);
    assert!(report.n_right >= 17 && report.n_faults >= 8, "{report:?}");
    assert!(
        report.queued.len() == report.n_right && load::Report::quantile(&report.latency, 0.5) > 0.0
    );
    let mut connection = Connection::open(&service.address).expect("connected");
    let metrics = connection.ask("GET", "/metrics", &[], "").expect("an answer").body;
    assert!(metrics.contains("gratis_queue_requests 0\n"), "{metrics}");
    assert!(metrics.contains("gratis_panics_total 0\n"), "{metrics}");
    assert_eq!(service.end().0.code(), Some(0));
}

#[test]
fn a_signal_ends_the_service_after_what_it_accepted() {
    let (workspace, rollouts, scores) = workspace();
    let service = Service::start(&workspace, &["--cache", "0"]);
    let body = json!({"problems": rollouts, "tokens": true}).to_string();
    let mut connection = Connection::open(&service.address).expect("connected");
    connection.send(&request("POST", "/score", &[], &body)).expect("sent");
    let mut metrics = Connection::open(&service.address).expect("connected");
    let is_accepted = |metrics: &mut Connection| {
        let text = metrics.ask("GET", "/metrics", &[], "").expect("an answer").body;
        text.contains("gratis_queue_requests 1\n") || text.contains("route=\"/score\"")
    };
    while !is_accepted(&mut metrics) {}
    terminate(&service.child);
    let answer: Value =
        serde_json::from_str(&connection.read().expect("an answer").body).expect("JSON");
    assert_eq!(answer["problems"][39]["scores"].to_string(), scores[39].to_string());
    drop((connection, metrics));
    let Service { mut child, mut log, .. } = service;
    let mut text = String::new();
    log.read_to_string(&mut text).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{text}");
    assert!(text.contains("stopping"), "{text}");
}

#[test]
fn what_cannot_be_served_is_refused_at_once() {
    let workspace = Workspace::new();
    workspace.write("token", " \n");
    let error = workspace.error_of(&[
        "serve",
        "--model",
        "model",
        "--reference",
        "none",
        "--token-file",
        "token",
    ]);
    assert!(error.contains("`token` is empty") && error.contains("hint: "), "{error}");
    let error = workspace.error_of(&["serve", "--model", "model", "--port", "0"]);
    assert!(error.contains("names its reference"), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output =
        workspace.run(&["serve", "--model", "model", "--reference", "none", "--port", &port]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot listen on `127.0.0.1:"), "{}", stderr(&output));
}

#[test]
fn a_page_shows_the_scores_of_a_file() {
    let (workspace, _, _) = workspace();
    let score = ["score", "--model", "model", "--reference", "reference", "candidates.jsonl"];
    ok(&workspace, &[&score[..], &["--tokens", "-o", "scores.jsonl"]].concat());
    ok(&workspace, &["view", "scores.jsonl", "--rollouts", "candidates.jsonl", "-o", "page.html"]);
    let page = String::from_utf8(workspace.read("page.html")).expect("text");
    let start = page.find(r#"id="data">"#).expect("data") + r#"id="data">"#.len();
    let json = page[start..].split("</script>").next().expect("its end");
    let data: Value = serde_json::from_str(json).expect("JSON");
    let problem = &data["problems"][5];
    assert_eq!(problem["texts"], json!(["1 and 2 are 3.", "1 and 2 are 3."]));
    assert_eq!(problem["line"]["id"], "p5");
    // Without the texts too; to the place beside the scores.
    ok(&workspace, &["view", "scores.jsonl", "--limit", "3"]);
    assert!(String::from_utf8(workspace.read("scores.html")).expect("text").contains("\"p2\""));
    let error = workspace.error_of(&["view", "candidates.jsonl"]);
    assert!(error.contains("candidates.jsonl"), "{error}");
}

#[test]
fn the_page_works_in_a_browser() {
    let Some(browser) = browser() else { return };
    let (workspace, _, _) = workspace();
    let score = ["score", "--model", "model", "--reference", "reference", "candidates.jsonl"];
    ok(&workspace, &[&score[..], &["--tokens", "-o", "scores.jsonl"]].concat());
    ok(&workspace, &["view", "scores.jsonl", "--rollouts", "candidates.jsonl", "-o", "page.html"]);
    let output = workspace.browse(browser, "page.html");
    let document = String::from_utf8_lossy(&output.stdout);
    // Written by the script of the page.
    assert!(document.contains("candidate 2, rank 1, reward"), "{document}");
    assert!(
        document.contains("<polyline points=") && document.contains("class=\"step"),
        "{document}"
    );
}
