//! RMSNorm: `y = w * x / rms(x)` with `rms(x) = sqrt(mean(x^2) + epsilon)`.

use super::attention::AttentionShape;
use super::simd::{dot, vectorised};

/// `1 / rms(x)`.
#[inline(always)]
fn inverse_rms(x: &[f32], epsilon: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + epsilon).sqrt()
}

/// One row of [`rms_norm`].
#[inline(always)]
pub(crate) fn rms_norm_row(y: &mut [f32], x: &[f32], weight: &[f32], epsilon: f32) {
    let scale = inverse_rms(x, epsilon);
    for ((y, &x), &w) in y.iter_mut().zip(x).zip(weight) {
        *y = w * (x * scale);
    }
}

/// One row of the backward pass; with `x_hat = x / rms(x)` and `g = w * dy`,
/// `dx += (g - x_hat * mean(g * x_hat)) / rms(x)` and `dw += dy * x_hat`.
#[inline(always)]
pub(crate) fn rms_norm_row_backward(
    dx: &mut [f32],
    dw: &mut [f32],
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    epsilon: f32,
) {
    let scale = inverse_rms(x, epsilon);
    let mut lanes = [0.0f32; 16];
    for ((x, w), dy) in x.chunks(16).zip(weight.chunks(16)).zip(dy.chunks(16)) {
        for (((lane, &x), &w), &dy) in lanes.iter_mut().zip(x).zip(w).zip(dy) {
            *lane += x * w * dy;
        }
    }
    let shared = lanes.iter().sum::<f32>() * scale * scale / x.len() as f32;
    for ((((dx, dw), &x), &w), &dy) in dx.iter_mut().zip(dw).zip(x).zip(weight).zip(dy) {
        *dx += scale * (w * dy - x * shared);
        *dw += dy * (x * scale);
    }
}

vectorised! {
    /// RMSNorm of every row: `x` and `y` are `[n, d]`, `weight` `[d]`.
    pub(crate) fn rms_norm(y: &mut [f32], x: &[f32], weight: &[f32], epsilon: f32) {
        let d = weight.len();
        for (y, x) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
            rms_norm_row(y, x, weight, epsilon);
        }
    }
}

vectorised! {
    /// Backward pass of [`rms_norm`]: adds to `dx` (`[n, d]`) and `dw` (`[d]`).
    pub(crate) fn rms_norm_backward(
        dx: &mut [f32],
        dw: &mut [f32],
        x: &[f32],
        weight: &[f32],
        dy: &[f32],
        epsilon: f32,
    ) {
        let d = weight.len();
        for ((dx, x), dy) in dx.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(dy.chunks_exact(d)) {
            rms_norm_row_backward(dx, dw, x, weight, dy, epsilon);
        }
    }
}

vectorised! {
    /// RMSNorm of each query and key head: `raw` is `[n, qkv]`; the values in `qkv` are left alone.
    /// `weights` are those of queries and of keys, `[head_dim]` each.
    pub(crate) fn rms_norm_heads(
        qkv: &mut [f32],
        raw: &[f32],
        weights: [&[f32]; 2],
        shape: AttentionShape,
        epsilon: f32,
    ) {
        let width = shape.qkv_size();
        for (row, raw) in qkv.chunks_exact_mut(width).zip(raw.chunks_exact(width)) {
            let heads = row.chunks_exact_mut(shape.head_dim).zip(raw.chunks_exact(shape.head_dim));
            for (head, (y, x)) in heads.take(shape.n_heads + shape.n_kv_heads).enumerate() {
                rms_norm_row(y, x, weights[usize::from(head >= shape.n_heads)], epsilon);
            }
        }
    }
}

vectorised! {
    /// Backward pass of [`rms_norm_heads`]: replaces the heads in `dqkv` and adds to `dweights`.
    pub(crate) fn rms_norm_heads_backward(
        dqkv: &mut [f32],
        dweights: [&mut [f32]; 2],
        raw: &[f32],
        weights: [&[f32]; 2],
        shape: AttentionShape,
        epsilon: f32,
    ) {
        let (width, head_dim) = (shape.qkv_size(), shape.head_dim);
        let [dquery, dkey] = dweights;
        let mut dy = vec![0.0; head_dim];
        for (row, raw) in dqkv.chunks_exact_mut(width).zip(raw.chunks_exact(width)) {
            let heads = row.chunks_exact_mut(head_dim).zip(raw.chunks_exact(head_dim));
            for (head, (dx, x)) in heads.take(shape.n_heads + shape.n_kv_heads).enumerate() {
                dy.copy_from_slice(dx);
                dx.fill(0.0);
                if head < shape.n_heads {
                    rms_norm_row_backward(dx, dquery, x, weights[0], &dy, epsilon);
                } else {
                    rms_norm_row_backward(dx, dkey, x, weights[1], &dy, epsilon);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backward_pass_is_the_derivative() {
        let (d, epsilon) = (20, 1e-3);
        let x: Vec<f32> = (0..2 * d).map(|i| (i as f32 * 1.7).sin()).collect();
        let weight: Vec<f32> = (0..d).map(|i| 1.0 + (i as f32 * 0.9).cos()).collect();
        let dy: Vec<f32> = (0..2 * d).map(|i| (i as f32 * 2.3).cos()).collect();
        let value = |x: &[f32], weight: &[f32]| -> f64 {
            let mut sum = 0.0;
            for (x, dy) in x.chunks(d).zip(dy.chunks(d)) {
                let square: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
                let rms = (square / d as f64 + f64::from(epsilon)).sqrt();
                for ((&x, &w), &dy) in x.iter().zip(weight).zip(dy) {
                    sum += f64::from(w) * f64::from(x) / rms * f64::from(dy);
                }
            }
            sum
        };
        let (mut dx, mut dw) = (vec![0.0; 2 * d], vec![0.0; d]);
        rms_norm_backward(&mut dx, &mut dw, &x, &weight, &dy, epsilon);
        let nudge = |values: &[f32], i: usize, by: f32| {
            let mut values = values.to_vec();
            values[i] += by;
            values
        };
        // Central differences of step 1e-2: observed largest error 1e-4.
        for (i, &dx) in dx.iter().enumerate() {
            let slope =
                (value(&nudge(&x, i, 1e-2), &weight) - value(&nudge(&x, i, -1e-2), &weight)) / 2e-2;
            assert!((slope - f64::from(dx)).abs() < 1e-3, "{slope} {dx}");
        }
        for (i, &dw) in dw.iter().enumerate() {
            let slope =
                (value(&x, &nudge(&weight, i, 1e-2)) - value(&x, &nudge(&weight, i, -1e-2))) / 2e-2;
            assert!((slope - f64::from(dw)).abs() < 1e-3, "{slope} {dw}");
        }
    }
}
