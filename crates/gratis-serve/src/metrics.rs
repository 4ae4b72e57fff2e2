//! Counters and histograms, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets, in seconds.
const BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// A histogram of times.
#[derive(Debug, Default)]
struct Histogram {
    counts: [AtomicU64; BOUNDS.len()],
    n: AtomicU64,
    n_nanoseconds: AtomicU64,
}

impl Histogram {
    fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        }
        self.n.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.n_nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, name: &str, help: &str) {
        head(text, name, "histogram", help);
        let mut n_so_far = 0;
        for (bound, count) in BOUNDS.iter().zip(&self.counts) {
            n_so_far += count.load(Ordering::Relaxed);
            line(text, &format!("{name}_bucket{{le=\"{bound}\"}}"), n_so_far);
        }
        let n = self.n.load(Ordering::Relaxed);
        line(text, &format!("{name}_bucket{{le=\"+Inf\"}}"), n);
        let seconds = self.n_nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        line(text, &format!("{name}_sum"), seconds);
        line(text, &format!("{name}_count"), n);
    }
}

/// What the service has done so far.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Answers by route and status.
    answers: Mutex<BTreeMap<(&'static str, u16), u64>>,
    queued: Histogram,
    batches: Histogram,
    n_tokens: AtomicU64,
    n_hits: AtomicU64,
    n_misses: AtomicU64,
    n_panics: AtomicU64,
    n_abandoned: AtomicU64,
}

/// What is read when the metrics are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauges {
    pub(crate) requests: usize,
    pub(crate) cached: usize,
    pub(crate) cached_bytes: usize,
}

impl Metrics {
    pub(crate) fn add_answer(&self, route: &'static str, status: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry((route, status)).or_default() += 1;
    }

    pub(crate) fn add_queued(&self, time: Duration) {
        self.queued.add(time);
    }

    pub(crate) fn add_batch(&self, time: Duration) {
        self.batches.add(time);
    }

    pub(crate) fn add_tokens(&self, n: u64) {
        self.n_tokens.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn add_cache(&self, n_hits: u64, n_misses: u64) {
        self.n_hits.fetch_add(n_hits, Ordering::Relaxed);
        self.n_misses.fetch_add(n_misses, Ordering::Relaxed);
    }

    pub(crate) fn add_panics(&self, n: u64) {
        self.n_panics.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn add_abandoned(&self) {
        self.n_abandoned.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of answers so far.
    pub(crate) fn n_answers(&self) -> u64 {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// The metrics as text.
    pub(crate) fn text(&self, gauges: Gauges) -> String {
        let mut text = String::new();
        head(&mut text, "gratis_requests_total", "counter", "Answers by route and HTTP status.");
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        for ((route, status), n) in &*answers {
            let labels = format!("route=\"{route}\",status=\"{status}\"");
            line(&mut text, &format!("gratis_requests_total{{{labels}}}"), *n);
        }
        drop(answers);
        let counters = [
            ("gratis_tokens_total", "Tokens computed by one pass.", &self.n_tokens),
            ("gratis_cache_hits_total", "Completions whose score was cached.", &self.n_hits),
            ("gratis_cache_misses_total", "Completions that were computed.", &self.n_misses),
            ("gratis_panics_total", "Batches that panicked.", &self.n_panics),
            ("gratis_abandoned_total", "Requests whose client left first.", &self.n_abandoned),
        ];
        for (name, help, value) in counters {
            head(&mut text, name, "counter", help);
            line(&mut text, name, value.load(Ordering::Relaxed));
        }
        let gauges = [
            ("gratis_queue_requests", "Requests admitted and not yet answered.", gauges.requests),
            ("gratis_cache_entries", "Scores in the cache.", gauges.cached),
            ("gratis_cache_bytes", "Memory of the cache.", gauges.cached_bytes),
        ];
        for (name, help, value) in gauges {
            head(&mut text, name, "gauge", help);
            line(&mut text, name, value);
        }
        self.queued.write(&mut text, "gratis_queue_seconds", "Time in the queue per request.");
        self.batches.write(&mut text, "gratis_batch_seconds", "Time of the engine per batch.");
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::default();
        for milliseconds in [1, 3, 40, 60_000] {
            metrics.add_queued(Duration::from_millis(milliseconds));
        }
        metrics.add_answer("/score", 200);
        metrics.add_answer("/score", 200);
        let text = metrics.text(Gauges { requests: 5, cached: 0, cached_bytes: 0 });
        for expected in [
            "gratis_queue_seconds_bucket{le=\"0.001\"} 1\n",
            "gratis_queue_seconds_bucket{le=\"0.005\"} 2\n",
            "gratis_queue_seconds_bucket{le=\"30\"} 3\n",
            "gratis_queue_seconds_bucket{le=\"+Inf\"} 4\n",
            "gratis_queue_seconds_count 4\n",
            "gratis_queue_seconds_sum 60.044\n",
            "gratis_requests_total{route=\"/score\",status=\"200\"} 2\n",
            "gratis_queue_requests 5\n",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    }
}
