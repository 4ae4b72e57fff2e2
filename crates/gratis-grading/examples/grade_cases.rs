//! Grades the lines of a case file over and over: agreement, disagreements and throughput.
//!
//! `cargo run --release -p gratis-grading --example grade_cases -- cases.jsonl [repetitions] [list]`
//!
//! A case has `gold`, `pred` and `expected` (0 or 1). With `list`, every disagreement is printed.

use std::error::Error;
use std::io::Write as _;
use std::time::Instant;

use gratis_grading::{Options, Verdict, grade};
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: grade_cases cases.jsonl [repetitions] [list]")?;
    let n_repetitions: u32 = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let is_listed = arguments.next().is_some_and(|argument| argument == "list");
    let text = std::fs::read_to_string(path)?;
    let mut cases = Vec::new();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line)?;
        let kind = case["kind"].as_str().unwrap_or("");
        if let (Some(gold), Some(pred), Some(expected @ 0..=1)) =
            (case["gold"].as_str(), case["pred"].as_str(), case["expected"].as_i64())
            && !kind.starts_with("metric")
        {
            let id = case["id"].as_str().unwrap_or("").to_owned();
            cases.push((id, gold.to_owned(), pred.to_owned(), expected == 1));
        }
    }
    let options = Options::default();
    let mut out = std::io::stdout();
    let (mut n_agreed, mut n_accepted, mut n_missed) = (0, 0, 0);
    for (id, gold, pred, expected) in &cases {
        let found = grade(gold, pred, &options);
        match (found.verdict == Verdict::Correct, *expected) {
            (true, false) => n_accepted += 1,
            (false, true) => n_missed += 1,
            _ => {
                n_agreed += 1;
                continue;
            }
        }
        if is_listed {
            writeln!(out, "{id} expected {expected}: {gold:?} | {pred:?} | {found:?}")?;
        }
    }
    let start = Instant::now();
    for _ in 0..n_repetitions {
        for (_, gold, pred, _) in &cases {
            std::hint::black_box(grade(gold, pred, &options));
        }
    }
    let n_graded = f64::from(n_repetitions.max(1)) * cases.len() as f64;
    let per_case = start.elapsed().as_secs_f64() / n_graded;
    writeln!(
        out,
        "gratis: {n_agreed}/{} agree, {n_accepted} wrongly accepted, {n_missed} wrongly refused, \
         {:.1} us a case",
        cases.len(),
        per_case * 1e6,
    )?;
    Ok(())
}
