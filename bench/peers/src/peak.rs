//! The processor's peak: multiply-adds on registers, nothing read from memory.

use std::time::Instant;

use gratis_model::vectorised;
use serde_json::{Value, json};

const LANES: usize = 16;
/// Independent sums: enough to hide the latency of a multiply-add on two units.
const N_SUMS: usize = 12;
const N_ROUNDS: usize = 1 << 16;

/// A register of sums.
type Lanes = [f32; LANES];

/// `a * factor + factor`.
#[expect(clippy::inline_always, reason = "compiled with the instructions of its caller")]
#[inline(always)]
fn step(a: Lanes, factor: f32) -> Lanes {
    std::array::from_fn(|i| a[i].mul_add(factor, factor))
}

vectorised! {
    fn multiply_add(start: f32, factor: f32) -> f32 {
        // Twelve variables, as the compiler keeps arrays of arrays in memory.
        let [mut a, mut b, mut c, mut d, mut e, mut f] = [[start; LANES]; 6];
        let [mut g, mut h, mut i, mut j, mut k, mut l] = [[start + 1.0; LANES]; 6];
        for _ in 0..N_ROUNDS {
            (a, b, c) = (step(a, factor), step(b, factor), step(c, factor));
            (d, e, f) = (step(d, factor), step(e, factor), step(f, factor));
            (g, h, i) = (step(g, factor), step(h, factor), step(i, factor));
            (j, k, l) = (step(j, factor), step(k, factor), step(l, factor));
        }
        let all = [a, b, c, d, e, f, g, h, i, j, k, l];
        all.iter().flatten().sum()
    }
}

/// Floating-point operations per second of `n_threads` threads.
pub(crate) fn run(n_threads: usize, seconds: f64) -> Value {
    let one_thread = || {
        let (start, mut n_calls) = (Instant::now(), 0u32);
        let mut best = f64::INFINITY;
        while start.elapsed().as_secs_f64() < seconds {
            let before = Instant::now();
            let [start, factor] = std::hint::black_box([1.0, 0.5]);
            std::hint::black_box(multiply_add(start, factor));
            // The least time of a call: other programs only add to it.
            best = best.min(before.elapsed().as_secs_f64());
            n_calls += 1;
        }
        (2 * N_SUMS * LANES * N_ROUNDS) as f64 / best * f64::from(n_calls.min(1))
    };
    let flops: f64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(one_thread)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
    });
    json!({ "flops": flops })
}
