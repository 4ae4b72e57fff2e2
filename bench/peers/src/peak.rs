//! The processor's peak: multiply-adds on registers, nothing read from memory.

use std::time::Instant;

use gratis_cpu::multiply_adds;
use serde_json::{Value, json};

const N_ROUNDS: usize = 1 << 16;

/// Floating-point operations per second of `n_threads` threads.
pub(crate) fn run(n_threads: usize, seconds: f64) -> Value {
    let one_thread = || {
        let start = Instant::now();
        let mut best = 0.0f64;
        while start.elapsed().as_secs_f64() < seconds {
            let before = Instant::now();
            let n_operations = multiply_adds(N_ROUNDS);
            // The least time of a call: other programs only add to it.
            best = best.max(n_operations / before.elapsed().as_secs_f64());
        }
        best
    };
    let flops: f64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(one_thread)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
    });
    json!({ "flops": flops })
}
