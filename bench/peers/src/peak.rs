//! The processor's peak: multiply-adds on registers, nothing read from memory.

use std::time::Instant;

use gratis_model::vectorised;
use serde_json::{Value, json};

/// Independent sums: enough to hide the latency of a multiply-add on two units.
const N_SUMS: usize = 12;
const N_ROUNDS: usize = 1 << 16;

/// `a * factor + factor`.
#[expect(clippy::inline_always, reason = "compiled with the instructions of its caller")]
#[inline(always)]
fn step<const LANES: usize>(a: [f32; LANES], factor: f32) -> [f32; LANES] {
    std::array::from_fn(|i| a[i].mul_add(factor, factor))
}

#[expect(clippy::inline_always, reason = "compiled with the instructions of its caller")]
#[inline(always)]
fn multiply_add<const LANES: usize>(start: f32, factor: f32) -> f32 {
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

vectorised! {
    fn multiply_add_8(start: f32, factor: f32) -> f32 {
        multiply_add::<8>(start, factor)
    }
}

vectorised! {
    fn multiply_add_16(start: f32, factor: f32) -> f32 {
        multiply_add::<16>(start, factor)
    }
}

/// Floating-point operations per second of `n_threads` threads, with registers of AVX-512 or of half that
/// width, whichever are faster: sixteen registers do not hold twelve sums of two registers each.
pub(crate) fn run(n_threads: usize, seconds: f64) -> Value {
    let of = |lanes, multiply_add| rate(n_threads, seconds / 2.0, lanes, multiply_add);
    let flops = of(8, multiply_add_8).max(of(16, multiply_add_16));
    json!({ "flops": flops })
}

/// [`run`] with registers of so many lanes.
fn rate(n_threads: usize, seconds: f64, lanes: usize, multiply_add: fn(f32, f32) -> f32) -> f64 {
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
        (2 * N_SUMS * lanes * N_ROUNDS) as f64 / best * f64::from(n_calls.min(1))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(one_thread)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).sum()
    })
}
