//! Processor time, wall time and memory of this process (Linux; elsewhere zero).

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

/// Processor time of all threads so far, in seconds, as the kernel counts: in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The largest resident memory so far, in megabytes.
fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or_default() / 1000.0
}

/// Memory that only this process holds, in megabytes: without the pages of mapped files.
fn anonymous_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or_default() / 1000.0
}

/// Repeats `pass` for at least `seconds`, and reports how often it ran and in how much time.
pub(crate) fn measure(seconds: f64, mut pass: impl FnMut() -> Result<()>) -> Result<Value> {
    let (start, cpu_start) = (Instant::now(), cpu_seconds());
    let mut n_passes = 0u32;
    while n_passes == 0 || start.elapsed().as_secs_f64() < seconds {
        pass()?;
        n_passes += 1;
    }
    Ok(json!({
        "passes": n_passes,
        "wall_s": start.elapsed().as_secs_f64(),
        "cpu_s": cpu_seconds() - cpu_start,
        "peak_mb": peak_megabytes(),
        "anonymous_mb": anonymous_megabytes(),
    }))
}
