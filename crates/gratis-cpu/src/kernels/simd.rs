//! Vectorised loops: run-time choice of instructions, reductions and an exponential.
//!
//! A crate built for plain x86-64 may only use SSE2. [`vectorised!`] compiles a function once more
//! for each wider instruction set and calls the widest that the processor has. What is called
//! inside must be `#[inline(always)]`, so that it is compiled with its caller's instructions.

use std::array;
use std::ops::Range;

/// Numbers taken together: one AVX-512 register.
pub(crate) const LANES: usize = 16;

pub(crate) use gratis_model::vectorised;

/// `e^x`, relative error below 2e-7 for `x` in `[-87, 88]`; smaller `x` give the value at -87.3
/// (1e-38), larger the value at 88.
///
/// `e^x = 2^n * e^r` with `n = round(x / ln 2)` and `|r| <= ln 2 / 2`; `e^r` is its Taylor polynomial
/// of degree 7. There is no branch and no table, so loops over it vectorise.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// Adding and subtracting `1.5 * 2^23` rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    /// `ln 2 = LN2_HIGH + LN2_LOW`: the first has few bits, so that `n * LN2_HIGH` is exact.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.3, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let mut polynomial = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        polynomial = r.mul_add(polynomial, coefficient);
    }
    // The low bits of `shifted` hold n; moved into the exponent they multiply by 2^n.
    f32::from_bits(polynomial.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// `sum_i f(i-th pair)` in sixteen partial sums.
#[inline(always)]
fn reduce2(a: &[f32], b: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        lanes = array::from_fn(|i| f(lanes[i], a[i], b[i]));
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane = f(*lane, a, b);
    }
    fold(lanes, |x, y| x + y)
}

/// All numbers of a register as one, the far halves onto the near ones.
#[inline(always)]
pub(crate) fn fold(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// `sum_i a_i b_i`.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    reduce2(a, b, |sum, a, b| a.mul_add(b, sum))
}

/// The largest element; negative infinity of nothing.
#[inline(always)]
pub(crate) fn max(a: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for chunk in chunks {
        lanes = array::from_fn(|i| if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] });
    }
    for (lane, &a) in lanes.iter_mut().zip(rest) {
        *lane = lane.max(a);
    }
    fold(lanes, f32::max)
}

/// Replaces each `a_i` by `e^(a_i - shift)` and returns their sum.
#[inline(always)]
pub(crate) fn exp_shifted(a: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = a.as_chunks_mut::<LANES>();
    for chunk in chunks {
        *chunk = array::from_fn(|i| exp(chunk[i] - shift));
        lanes = array::from_fn(|i| lanes[i] + chunk[i]);
    }
    for (lane, a) in lanes.iter_mut().zip(rest) {
        *a = exp(*a - shift);
        *lane += *a;
    }
    fold(lanes, |x, y| x + y)
}

/// The whole registers that hold some of the places `kept` of a row.
#[inline(always)]
pub(crate) fn registers_of(kept: &Range<usize>) -> Range<usize> {
    kept.start / LANES * LANES..kept.end.next_multiple_of(LANES)
}

/// Ones between zeros: a register read from it keeps the lanes on one side of an edge.
const EDGES: [u32; 3 * LANES] = {
    let mut edges = [0; 3 * LANES];
    let mut lane = LANES;
    while lane < 2 * LANES {
        edges[lane] = u32::MAX;
        lane += 1;
    }
    edges
};

/// Replaces what is outside `kept`, which is not empty, in its first and last registers: loops over whole
/// registers have no remainder, which takes most of the time of short rows.
#[inline(always)]
pub(crate) fn replace_beside(row: &mut [f32], kept: &Range<usize>, value: f32) {
    let registers = registers_of(kept);
    let n_before = kept.start - registers.start;
    let last = registers.end - LANES;
    for (first, edge) in
        [(registers.start, LANES - n_before), (last, 2 * LANES - (kept.end - last))]
    {
        let Some(register) = row[first..].first_chunk_mut::<LANES>() else { continue };
        let Some(kept) = EDGES[edge..].first_chunk::<LANES>() else { continue };
        *register = array::from_fn(|i| {
            f32::from_bits(register[i].to_bits() & kept[i] | value.to_bits() & !kept[i])
        });
    }
}

/// Replaces whole registers by zeros.
#[inline(always)]
pub(crate) fn clear(registers: &mut [f32]) {
    for register in registers.as_chunks_mut::<LANES>().0 {
        *register = [0.0; LANES];
    }
}

/// `sum_i e^(a_i - shift)`.
#[inline(always)]
pub(crate) fn sum_exp(a: &[f32], shift: f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for chunk in chunks {
        lanes = array::from_fn(|i| lanes[i] + exp(chunk[i] - shift));
    }
    for (lane, &a) in lanes.iter_mut().zip(rest) {
        *lane += exp(a - shift);
    }
    fold(lanes, |x, y| x + y)
}

vectorised! {
    /// `out_i += a_i`.
    pub(crate) fn add(out: &mut [f32], a: &[f32]) {
        for (out, &a) in out.iter_mut().zip(a) {
            *out += a;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_as_exact_as_stated() {
        // Observed largest relative error: see the bound; it is that of rounding `r`.
        let mut worst = 0.0f64;
        for step in 0..=1_750_000 {
            let x = -87.0 + step as f32 * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max(((f64::from(exp(x)) - exact) / exact).abs());
        }
        assert!(worst < 2e-7, "relative error {worst:e}");
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 2e-38);
    }

    #[test]
    fn places_beside_a_range_are_replaced() {
        let row: Vec<f32> = (1..=64).map(|i| i as f32).collect();
        for start in 0..64 {
            for end in start + 1..=64 {
                let mut changed = row.clone();
                replace_beside(&mut changed, &(start..end), 0.0);
                let registers = registers_of(&(start..end));
                for (idx, (&before, &after)) in row.iter().zip(&changed).enumerate() {
                    let is_edge = registers.contains(&idx) && !(start..end).contains(&idx);
                    assert_eq!(after, if is_edge { 0.0 } else { before }, "{start}..{end} {idx}");
                }
            }
        }
    }

    #[test]
    fn reductions_agree_with_plain_loops() {
        for n in [0usize, 1, 15, 16, 17, 100] {
            let a: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin()).collect();
            let b: Vec<f32> = (0..n).map(|i| (i as f32 * 0.3).cos()).collect();
            let plain: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            assert!((f64::from(dot(&a, &b)) - plain).abs() < 1e-5);
            let largest = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max(&a), largest);
            let sum: f64 = a.iter().map(|&a| f64::from(a - 0.5).exp()).sum();
            assert!((f64::from(sum_exp(&a, 0.5)) - sum).abs() < 1e-4);
            let mut exps = a.clone();
            assert_eq!(exp_shifted(&mut exps, 0.5), sum_exp(&a, 0.5));
        }
    }
}
