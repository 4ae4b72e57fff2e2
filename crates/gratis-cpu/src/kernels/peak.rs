//! Multiply-adds on registers alone, nothing read from memory: what the processor can do at most.

use super::vector::{MAX_N, Vector, for_processor};

/// Independent sums: as many as sixteen registers hold beside their factor, and more than two units need
/// for the latency of a multiply-add.
const N_SUMS: usize = 12;

/// Takes every sum so many times times a factor plus a factor, with the widest registers of the processor;
/// returns the number of floating-point operations. The time per operation is for the caller to measure.
pub fn multiply_adds(n_rounds: usize) -> f64 {
    let mut sums = [1.0; MAX_N];
    let mut n_lanes = 0;
    run(&mut sums, &mut n_lanes, n_rounds, std::hint::black_box(0.5));
    std::hint::black_box(sums);
    (2 * n_rounds * N_SUMS * n_lanes) as f64
}

for_processor! {
    fn run(sums: &mut [f32; MAX_N], n_lanes: &mut usize, n_rounds: usize, factor: f32) = run_kernel;
}

#[inline(always)]
fn run_kernel<V: Vector>(
    sums: &mut [f32; MAX_N],
    n_lanes: &mut usize,
    n_rounds: usize,
    factor: f32,
) {
    *n_lanes = V::N;
    // SAFETY: the processor has the instructions of `V`; there is room for the widest register.
    #[expect(unsafe_code, reason = "sums in registers")]
    unsafe {
        let factor = V::splat(factor);
        let mut registers = [V::load(sums.as_ptr()); N_SUMS];
        for _ in 0..n_rounds {
            for sum in &mut registers {
                *sum = sum.mul_add(factor, factor);
            }
        }
        let [first, rest @ ..] = registers;
        rest.into_iter().fold(first, |sum, register| sum.add(register)).store(sums.as_mut_ptr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_computed_and_operations_counted() {
        let n_rounds = 40;
        let (mut sums, mut n_lanes) = ([1.0; MAX_N], 0);
        run(&mut sums, &mut n_lanes, n_rounds, 0.25);
        // `x = x / 4 + 1 / 4` tends to a third.
        for sum in &sums[..n_lanes] {
            assert!((sum - N_SUMS as f32 / 3.0).abs() < 1e-5, "{sum}");
        }
        assert_eq!(multiply_adds(n_rounds), (n_rounds * N_SUMS * 2 * n_lanes) as f64);
    }
}
