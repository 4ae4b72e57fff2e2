//! Gated feed-forwards: SwiGLU, `y = silu(gate) * up` with `silu(g) = g / (1 + e^-g)`, and the same
//! with GELU.

use super::simd::{LANES, exp, vectorised};

vectorised! {
    /// `gate_up` is `[n, 2 * inter]` with the gate first in each row; `y` is `[n, inter]`.
    pub(crate) fn swiglu(y: &mut [f32], gate_up: &[f32], inter: usize) {
        for (y, row) in y.chunks_exact_mut(inter).zip(gate_up.chunks_exact(2 * inter)) {
            let (gate, up) = row.split_at(inter);
            for ((y, &g), &u) in y.iter_mut().zip(gate).zip(up) {
                *y = g / (1.0 + exp(-g)) * u;
            }
        }
    }
}

vectorised! {
    /// Backward pass: replaces gate and up by their gradients and `dy` by the recomputed `y`, which
    /// the next weight gradient needs.
    pub(crate) fn swiglu_backward(gate_up: &mut [f32], dy: &mut [f32], inter: usize) {
        for (dy, row) in dy.chunks_exact_mut(inter).zip(gate_up.chunks_exact_mut(2 * inter)) {
            let (gate, up) = row.split_at_mut(inter);
            let (dy_chunks, dy_rest) = dy.as_chunks_mut::<LANES>();
            let (gate_chunks, gate_rest) = gate.as_chunks_mut::<LANES>();
            let (up_chunks, up_rest) = up.as_chunks_mut::<LANES>();
            for ((dy, gate), up) in dy_chunks.iter_mut().zip(gate_chunks).zip(up_chunks) {
                // Copies, so that the compiler need not fear that the three overlap.
                let (mut dys, mut gates, mut ups) = (*dy, *gate, *up);
                for ((dy, gate), up) in dys.iter_mut().zip(&mut gates).zip(&mut ups) {
                    (*gate, *up, *dy) = element_backward(*gate, *up, *dy);
                }
                (*dy, *gate, *up) = (dys, gates, ups);
            }
            for ((dy, gate), up) in dy_rest.iter_mut().zip(gate_rest).zip(up_rest) {
                (*gate, *up, *dy) = element_backward(*gate, *up, *dy);
            }
        }
    }
}

/// Gradients of gate and up, and the recomputed `y`.
#[inline(always)]
fn element_backward(gate: f32, up: f32, dy: f32) -> (f32, f32, f32) {
    let sigmoid = 1.0 / (1.0 + exp(-gate));
    let silu = gate * sigmoid;
    let dgate = dy * up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
    (dgate, dy * silu, silu * up)
}

vectorised! {
    /// As [`swiglu`] with GELU by its tanh approximation: `y = gelu(gate) * up`.
    pub(crate) fn geglu(y: &mut [f32], gate_up: &[f32], inter: usize) {
        for (y, row) in y.chunks_exact_mut(inter).zip(gate_up.chunks_exact(2 * inter)) {
            let (gate, up) = row.split_at(inter);
            for ((y, &g), &u) in y.iter_mut().zip(gate).zip(up) {
                *y = gelu(g).0 * u;
            }
        }
    }
}

vectorised! {
    /// As [`swiglu_backward`], of [`geglu`].
    pub(crate) fn geglu_backward(gate_up: &mut [f32], dy: &mut [f32], inter: usize) {
        for (dy, row) in dy.chunks_exact_mut(inter).zip(gate_up.chunks_exact_mut(2 * inter)) {
            let (gate, up) = row.split_at_mut(inter);
            for ((dy, gate), up) in dy.iter_mut().zip(gate).zip(up) {
                let (value, slope) = gelu(*gate);
                (*gate, *up, *dy) = (*dy * *up * slope, *dy * value, value * *up);
            }
        }
    }
}

/// `g/2 (1 + tanh(sqrt(2/pi) (g + 0.044715 g^3)))` and its slope.
#[inline(always)]
fn gelu(g: f32) -> (f32, f32) {
    const FACTOR: f32 = 0.797_884_6;
    const CUBIC: f32 = 0.044_715;
    let inner = FACTOR * (g + CUBIC * g * g * g);
    // tanh(x) = 1 - 2 / (1 + e^2x).
    let tanh = 1.0 - 2.0 / (1.0 + exp(2.0 * inner));
    let slope_of_inner = FACTOR * (1.0 + 3.0 * CUBIC * g * g);
    let slope = 0.5 * (1.0 + tanh) + 0.5 * g * (1.0 - tanh * tanh) * slope_of_inner;
    (0.5 * g * (1.0 + tanh), slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backward_passes_are_the_derivatives() {
        let silu = |g: f64, u: f64| g / (1.0 + (-g).exp()) * u;
        let gelu = |g: f64, u: f64| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (g + 0.044_715 * g.powi(3));
            0.5 * g * (1.0 + inner.tanh()) * u
        };
        check(silu, swiglu, swiglu_backward);
        check(gelu, geglu, geglu_backward);
    }

    fn check(
        value: impl Fn(f64, f64) -> f64,
        forward_of: fn(&mut [f32], &[f32], usize),
        backward_of: fn(&mut [f32], &mut [f32], usize),
    ) {
        let inter = 21;
        let gate_up: Vec<f32> = (0..2 * inter).map(|i| 4.0 * (i as f32 * 1.3).sin()).collect();
        let dy: Vec<f32> = (0..inter).map(|i| (i as f32 * 0.7).cos()).collect();
        let (mut grads, mut y) = (gate_up.clone(), dy.clone());
        backward_of(&mut grads, &mut y, inter);
        let mut forward = vec![0.0; inter];
        forward_of(&mut forward, &gate_up, inter);
        // Observed largest error 1e-6 for SwiGLU and 2e-6 for GEGLU.
        for i in 0..inter {
            let (g, u) = (f64::from(gate_up[i]), f64::from(gate_up[inter + i]));
            assert!((f64::from(forward[i]) - value(g, u)).abs() < 1e-5);
            assert!((forward[i] - y[i]).abs() < 1e-5);
            let slope = |plus: f64, minus: f64| (plus - minus) / 2e-4 * f64::from(dy[i]);
            let dg = slope(value(g + 1e-4, u), value(g - 1e-4, u));
            let du = slope(value(g, u + 1e-4), value(g, u - 1e-4));
            assert!((f64::from(grads[i]) - dg).abs() < 1e-5);
            assert!((f64::from(grads[inter + i]) - du).abs() < 1e-5);
        }
    }
}
