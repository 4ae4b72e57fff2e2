//! Puts load on a running `gratis serve` and reports throughput, queueing and what went wrong; see
//! `bench/serve/run.sh`.
//!
//! Usage: `load ADDRESS ROLLOUTS SCORES [CONCURRENT [FAULT_EVERY [SECONDS [ROUNDS]]]]`

#[path = "http.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod http;
mod load;

use std::process::ExitCode;
use std::time::Duration;

use load::{Load, Report, run};
use serde_json::Value;

fn lines(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("`{path}`: {error}"));
    let line = |line| serde_json::from_str(line).expect("a line of JSON");
    text.lines().map(line).collect()
}

#[expect(clippy::print_stdout, reason = "the report")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |idx: usize, default: usize| {
        arguments.get(idx).map_or(default, |text| text.parse().expect("a number"))
    };
    let [address, rollouts, scores, ..] = &arguments[..] else {
        println!(
            "usage: load ADDRESS ROLLOUTS SCORES [CONCURRENT [FAULT_EVERY [SECONDS [ROUNDS]]]]"
        );
        return ExitCode::FAILURE;
    };
    let scores = lines(scores);
    let mut rollouts = lines(rollouts);
    for (rollout, scores) in rollouts.iter_mut().zip(&scores) {
        rollout["id"] = scores["id"].clone();
    }
    let load = Load {
        address: address.clone(),
        rollouts,
        scores,
        n_concurrent: number(3, 64),
        fault_every: number(4, 10),
        at_least: Duration::from_secs(number(5, 0) as u64),
        too_large: (8 << 20) + 1,
        n_rounds: number(6, 1),
    };
    let report = run(&load);
    let Report { n_right, n_busy, n_faults, n_wrong, n_problems, seconds, .. } = &report;
    println!("{n_right} right, {n_wrong} wrong, {n_faults} faults, {n_busy} sent again after 429");
    println!("{seconds:.2} s, {:.1} problems/s", *n_problems as f64 / seconds);
    for (name, times) in [("queue", &report.queued), ("latency", &report.latency)] {
        let [p50, p99] = [0.5, 0.99].map(|q| Report::quantile(times, q));
        println!(
            "{name}: p50 {p50:.1} ms, p99 {p99:.1} ms, max {:.1} ms",
            Report::quantile(times, 1.0)
        );
    }
    report.wrong.iter().for_each(|what| println!("wrong: {what}"));
    if *n_wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
