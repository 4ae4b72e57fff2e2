//! Load on a running service: every problem of a rollout file once, in requests of mixed size, with
//! faults among them; each answer is compared with a score file.
//!
//! Faults are clients that vanish before or within their request, malformed bodies, bodies that are
//! too large, and a deadline of 0. They come on top of the requests that are checked.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{Connection, request};

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Address of the service.
    pub(crate) address: String,
    /// Lines of a rollout file, each with an `id`.
    pub(crate) rollouts: Vec<Value>,
    /// Lines of its score file, in the same order, with the rewards of tokens.
    pub(crate) scores: Vec<Value>,
    /// Requests at the same time.
    pub(crate) n_concurrent: usize,
    /// A fault after so many requests; 0 for none.
    pub(crate) fault_every: usize,
    /// Body of which size is too large, in bytes.
    pub(crate) too_large: usize,
    /// Sends everything so many times, and again until `at_least` has passed.
    pub(crate) n_rounds: usize,
    /// How long it takes at least.
    pub(crate) at_least: Duration,
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Requests answered with the scores expected.
    pub(crate) n_right: usize,
    /// Requests that were refused with 429 and sent again.
    pub(crate) n_busy: usize,
    /// Faults answered as they should be, or not answered because the client had vanished.
    pub(crate) n_faults: usize,
    /// What went wrong, the first few.
    pub(crate) wrong: Vec<String>,
    /// Number of requests gone wrong.
    pub(crate) n_wrong: usize,
    /// Problems scored.
    pub(crate) n_problems: usize,
    /// Time of all.
    pub(crate) seconds: f64,
    /// Milliseconds in the queue, as the service says, sorted.
    pub(crate) queued: Vec<f64>,
    /// Milliseconds until the answer, sorted.
    pub(crate) latency: Vec<f64>,
}

impl Report {
    /// A quantile of a sorted list; NaN for none.
    pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
        let at = (q * sorted.len() as f64) as usize;
        sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }

    fn add(&mut self, other: Self) {
        self.n_right += other.n_right;
        self.n_busy += other.n_busy;
        self.n_faults += other.n_faults;
        self.n_wrong += other.n_wrong;
        self.n_problems += other.n_problems;
        self.wrong.extend(other.wrong);
        self.wrong.truncate(10);
        self.queued.extend(other.queued);
        self.latency.extend(other.latency);
    }

    fn note(&mut self, what: String) {
        self.n_wrong += 1;
        if self.wrong.len() < 10 {
            self.wrong.push(what);
        }
    }
}

/// Sends the load and waits for all answers.
pub(crate) fn run(load: &Load) -> Report {
    // One to four problems a request, mixed but the same each time.
    let mut requests: Vec<std::ops::Range<usize>> = Vec::new();
    let mut at = 0;
    while at < load.rollouts.len() {
        let n = 1 + requests.len() * 7 % 11 % 4;
        let end = (at + n).min(load.rollouts.len());
        requests.push(at..end);
        at = end;
    }
    let (next, report) = (AtomicUsize::new(0), Mutex::new(Report::default()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..load.n_concurrent {
            scope.spawn(|| {
                let mut own = Report::default();
                let mut connection = None;
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= load.n_rounds * requests.len() && begun.elapsed() >= load.at_least {
                        break;
                    }
                    let problems = requests[nth % requests.len()].clone();
                    checked(load, problems, &mut connection, &mut own);
                    if load.fault_every > 0 && nth % load.fault_every == 0 {
                        fault(load, nth / load.fault_every, &mut own);
                    }
                }
                report.lock().expect("no thread panicked").add(own);
            });
        }
    });
    let mut report = report.into_inner().expect("no thread panicked");
    report.seconds = begun.elapsed().as_secs_f64();
    report.queued.sort_by(f64::total_cmp);
    report.latency.sort_by(f64::total_cmp);
    report
}

/// Sends problems until they are not refused, and compares their scores.
fn checked(
    load: &Load,
    problems: std::ops::Range<usize>,
    connection: &mut Option<Connection>,
    report: &mut Report,
) {
    let body = json!({"problems": load.rollouts[problems.clone()], "tokens": true}).to_string();
    loop {
        let begun = Instant::now();
        let asked = match connection {
            Some(connection) => connection.ask("POST", "/score", &[], &body),
            None => Connection::open(&load.address).and_then(|mut new| {
                let answer = new.ask("POST", "/score", &[], &body);
                *connection = Some(new);
                answer
            }),
        };
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => {
                *connection = None;
                return report.note(format!("no answer to {problems:?}: {error}"));
            }
        };
        if answer.status == 429 {
            report.n_busy += 1;
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        if answer.status != 200 {
            return report.note(format!("{} to {problems:?}: {}", answer.status, answer.body));
        }
        report.latency.push(1e3 * begun.elapsed().as_secs_f64());
        let queued = answer.header("server-timing").and_then(|value| value.split_once("dur="));
        report.queued.extend(queued.and_then(|(_, value)| value.parse::<f64>().ok()));
        let given: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        for (nth, idx) in problems.clone().enumerate() {
            // As text, so that the sign of zero counts too.
            let got = given["problems"][nth]["scores"].to_string();
            let expected = load.scores[idx].to_string();
            if got != expected {
                return report.note(format!("other scores of problem {idx}: {got} for {expected}"));
            }
        }
        report.n_right += 1;
        report.n_problems += problems.len();
        return;
    }
}

fn fault(load: &Load, nth: usize, report: &mut Report) {
    let body = json!({"problems": load.rollouts[..1]}).to_string();
    let Ok(mut connection) = Connection::open(&load.address) else {
        return report.note("no connection for a fault".to_owned());
    };
    let expected: &[u16] = match nth % 5 {
        0 => {
            // Vanishes after its request.
            let _ = connection.send(&request("POST", "/score", &[], &body));
            report.n_faults += 1;
            return;
        }
        1 => {
            // Vanishes within its request.
            let bytes = request("POST", "/score", &[], &body);
            let _ = connection.send(&bytes[..bytes.len() / 2]);
            report.n_faults += 1;
            return;
        }
        2 => {
            let _ = connection.send(&request("POST", "/score", &[], &body[..body.len() / 2]));
            &[400]
        }
        3 => {
            let large = " ".repeat(load.too_large);
            // The service may close the connection before all is sent.
            let _ = connection.send(&request("POST", "/score", &[], &large));
            &[413]
        }
        _ => {
            let deadline = [("X-Gratis-Deadline-Ms", "0")];
            let _ = connection.send(&request("POST", "/score", &deadline, &body));
            &[504]
        }
    };
    match connection.read() {
        Ok(answer) if expected.contains(&answer.status) => report.n_faults += 1,
        Ok(answer) => report.note(format!("{} in place of {expected:?}", answer.status)),
        Err(_) if expected == [413] => report.n_faults += 1,
        Err(error) => report.note(format!("no answer in place of {expected:?}: {error}")),
    }
}
