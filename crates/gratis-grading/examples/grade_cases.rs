//! Grades the lines of a case file over and over: agreement and throughput.
//!
//! `cargo run --release -p gratis-grading --example grade_cases -- cases.jsonl [repetitions]`

use std::error::Error;
use std::io::Write as _;
use std::time::Instant;

use gratis_grading::{Options, Verdict, grade};
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("a case file is needed")?;
    let n_repetitions: u32 = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let text = std::fs::read_to_string(path)?;
    let mut cases = Vec::new();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line)?;
        let kind = case["kind"].as_str().unwrap_or("");
        if let (Some(gold), Some(pred), Some(expected @ 0..=1)) =
            (case["gold"].as_str(), case["pred"].as_str(), case["expected"].as_i64())
            && !kind.starts_with("metric")
        {
            cases.push((gold.to_owned(), pred.to_owned(), expected == 1));
        }
    }
    let options = Options::default();
    let start = Instant::now();
    let mut n_agreed = 0;
    for _ in 0..n_repetitions {
        n_agreed = cases
            .iter()
            .filter(|(gold, pred, expected)| {
                (grade(gold, pred, &options).verdict == Verdict::Correct) == *expected
            })
            .count();
    }
    let per_case = start.elapsed().as_secs_f64() / f64::from(n_repetitions) / cases.len() as f64;
    writeln!(
        std::io::stdout(),
        "gratis: {n_agreed}/{} agree, {:.1} us a case, {:.0} cases a second",
        cases.len(),
        per_case * 1e6,
        1.0 / per_case
    )?;
    Ok(())
}
