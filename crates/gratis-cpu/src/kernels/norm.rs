//! RMSNorm: `y = (offset + w) * x / rms(x)` with `rms(x) = sqrt(mean(x^2) + epsilon)`.

use super::attention::AttentionShape;
use super::simd::{dot, vectorised};

/// An RMSNorm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    /// `w`: `[d]`.
    pub(crate) weight: &'a [f32],
    /// 0, or 1 where weights are stored as the distance from 1.
    pub(crate) offset: f32,
    /// Added to the mean square.
    pub(crate) epsilon: f32,
}

impl Norm<'_> {
    /// Width of a row.
    pub(crate) fn len(&self) -> usize {
        self.weight.len()
    }
}

/// `1 / rms(x)`.
#[inline(always)]
fn inverse_rms(x: &[f32], epsilon: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + epsilon).sqrt()
}

/// One row of [`rms_norm`].
#[inline(always)]
pub(crate) fn rms_norm_row(y: &mut [f32], x: &[f32], norm: Norm<'_>) {
    let scale = inverse_rms(x, norm.epsilon);
    for ((y, &x), &w) in y.iter_mut().zip(x).zip(norm.weight) {
        *y = (norm.offset + w) * (x * scale);
    }
}

/// One row of the backward pass; with `x_hat = x / rms(x)` and `g = (offset + w) * dy`,
/// `dx += (g - x_hat * mean(g * x_hat)) / rms(x)` and `dw += dy * x_hat`.
#[inline(always)]
pub(crate) fn rms_norm_row_backward(
    dx: &mut [f32],
    dw: &mut [f32],
    x: &[f32],
    norm: Norm<'_>,
    dy: &[f32],
) {
    let Norm { weight, offset, epsilon } = norm;
    let scale = inverse_rms(x, epsilon);
    let mut lanes = [0.0f32; 16];
    for ((x, w), dy) in x.chunks(16).zip(weight.chunks(16)).zip(dy.chunks(16)) {
        for (((lane, &x), &w), &dy) in lanes.iter_mut().zip(x).zip(w).zip(dy) {
            *lane += x * (offset + w) * dy;
        }
    }
    let shared = lanes.iter().sum::<f32>() * scale * scale / x.len() as f32;
    for ((((dx, dw), &x), &w), &dy) in dx.iter_mut().zip(dw).zip(x).zip(weight).zip(dy) {
        *dx += scale * ((offset + w) * dy - x * shared);
        *dw += dy * (x * scale);
    }
}

vectorised! {
    /// RMSNorm of every row: `x` and `y` are `[n, d]`.
    pub(crate) fn rms_norm(y: &mut [f32], x: &[f32], norm: Norm<'_>) {
        let d = norm.len();
        for (y, x) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
            rms_norm_row(y, x, norm);
        }
    }
}

vectorised! {
    /// Backward pass of [`rms_norm`]: adds to `dx` (`[n, d]`) and `dw` (`[d]`).
    pub(crate) fn rms_norm_backward(
        dx: &mut [f32],
        dw: &mut [f32],
        x: &[f32],
        norm: Norm<'_>,
        dy: &[f32],
    ) {
        let d = norm.len();
        for ((dx, x), dy) in dx.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(dy.chunks_exact(d)) {
            rms_norm_row_backward(dx, dw, x, norm, dy);
        }
    }
}

vectorised! {
    /// RMSNorm of queries and of keys: `raw` is `[n, qkv]`; the values in `qkv` are left alone. Each
    /// norm is as wide as a head, or as all queries or keys of a token.
    pub(crate) fn rms_norm_heads(
        qkv: &mut [f32],
        raw: &[f32],
        norms: [Norm<'_>; 2],
        shape: AttentionShape,
    ) {
        let width = shape.qkv_size();
        for (row, raw) in qkv.chunks_exact_mut(width).zip(raw.chunks_exact(width)) {
            for (part, norm) in shape.query_and_key().into_iter().zip(norms) {
                let (row, raw) = (&mut row[part.clone()], &raw[part]);
                let units = row.chunks_exact_mut(norm.len()).zip(raw.chunks_exact(norm.len()));
                for (y, x) in units {
                    rms_norm_row(y, x, norm);
                }
            }
        }
    }
}

vectorised! {
    /// Backward pass of [`rms_norm_heads`]: replaces queries and keys in `dqkv` and adds to
    /// `dweights`.
    pub(crate) fn rms_norm_heads_backward(
        dqkv: &mut [f32],
        dweights: [&mut [f32]; 2],
        raw: &[f32],
        norms: [Norm<'_>; 2],
        shape: AttentionShape,
    ) {
        let width = shape.qkv_size();
        let [of_query, of_key] = dweights;
        let mut dy = vec![0.0; norms[0].len().max(norms[1].len())];
        for (row, raw) in dqkv.chunks_exact_mut(width).zip(raw.chunks_exact(width)) {
            let dweights = [&mut *of_query, &mut *of_key];
            let parts = shape.query_and_key().into_iter().zip(norms).zip(dweights);
            for ((part, norm), dweight) in parts {
                let (row, raw) = (&mut row[part.clone()], &raw[part]);
                let dy = &mut dy[..norm.len()];
                let units = row.chunks_exact_mut(norm.len()).zip(raw.chunks_exact(norm.len()));
                for (dx, x) in units {
                    dy.copy_from_slice(dx);
                    dx.fill(0.0);
                    rms_norm_row_backward(dx, dweight, x, norm, dy);
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
        let (d, epsilon, offset) = (20, 1e-3, 1.0);
        let x: Vec<f32> = (0..2 * d).map(|i| (i as f32 * 1.7).sin()).collect();
        let weight: Vec<f32> = (0..d).map(|i| 1.0 + (i as f32 * 0.9).cos()).collect();
        let dy: Vec<f32> = (0..2 * d).map(|i| (i as f32 * 2.3).cos()).collect();
        let value = |x: &[f32], weight: &[f32]| -> f64 {
            let mut sum = 0.0;
            for (x, dy) in x.chunks(d).zip(dy.chunks(d)) {
                let square: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
                let rms = (square / d as f64 + f64::from(epsilon)).sqrt();
                for ((&x, &w), &dy) in x.iter().zip(weight).zip(dy) {
                    sum += f64::from(offset + w) * f64::from(x) / rms * f64::from(dy);
                }
            }
            sum
        };
        let (mut dx, mut dw) = (vec![0.0; 2 * d], vec![0.0; d]);
        let norm = Norm { weight: &weight, offset, epsilon };
        rms_norm_backward(&mut dx, &mut dw, &x, norm, &dy);
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
