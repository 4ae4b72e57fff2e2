//! SwiGLU: `y = silu(gate) * up` with `silu(g) = g / (1 + e^-g)`.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backward_pass_is_the_derivative() {
        let inter = 21;
        let gate_up: Vec<f32> = (0..2 * inter).map(|i| 4.0 * (i as f32 * 1.3).sin()).collect();
        let dy: Vec<f32> = (0..inter).map(|i| (i as f32 * 0.7).cos()).collect();
        let value = |g: f64, u: f64| g / (1.0 + (-g).exp()) * u;
        let (mut grads, mut y) = (gate_up.clone(), dy.clone());
        swiglu_backward(&mut grads, &mut y, inter);
        let mut forward = vec![0.0; inter];
        swiglu(&mut forward, &gate_up, inter);
        // Observed largest error 1e-6.
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
