//! What attention and feed-forward do around their linear maps, where a family differs: biases, norms
//! of their inputs and outputs, and a factor of what is added to the residual stream,
//! `x += factor * norm(f(norm(x)) + b)`.

use std::borrow::Cow;
use std::ops::Range;

use super::Decoder;
use super::activations::changes_branch;
use crate::kernels::matmul::Onto;
use crate::kernels::norm::{rms_norm, rms_norm_backward};
use crate::kernels::simd::add;
use crate::kernels::swiglu::{geglu, geglu_backward, swiglu, swiglu_backward};
use crate::weights::{Base, Gradient};
use gratis_model::config::Activation;

/// What follows the last linear map of attention or of the feed-forward.
pub(crate) struct Out<'a> {
    pub(crate) bias: Option<&'a Range<usize>>,
    pub(crate) norm: Option<&'a Range<usize>>,
}

/// Buffers of [`Decoder::add_out`]: `[n, d]` each.
pub(crate) struct OutScratch<'a> {
    /// The output before its norm; kept where the backward pass reads it.
    pub(crate) raw: &'a mut [f32],
    pub(crate) normed: &'a mut [f32],
}

impl Decoder {
    /// The input of attention or feed-forward: normed, where the family norms inputs.
    pub(crate) fn norm_input(
        &self,
        base: Base<'_>,
        normed: &mut [f32],
        x: &[f32],
        norm: Option<&Range<usize>>,
    ) {
        match norm {
            Some(place) => rms_norm(normed, x, self.norm(base, place)),
            None => normed.copy_from_slice(x),
        }
    }

    /// Backward pass of [`Self::norm_input`]: adds to `dx` and to the gradient of the norm.
    pub(super) fn norm_input_backward(
        &self,
        base: Base<'_>,
        gradient: &mut Gradient<'_>,
        dx: &mut [f32],
        x: &[f32],
        dnormed: &[f32],
        norm: Option<&Range<usize>>,
    ) {
        match norm {
            Some(place) => {
                let dnorm = gradient.vector(place);
                rms_norm_backward(dx, dnorm, x, self.norm(base, place), dnormed);
            }
            None => add(dx, dnormed),
        }
    }

    /// `stream += factor * norm(x W^T + b)`, as far as the model has these; `product` computes
    /// `x W^T` into a buffer, or adds it to one.
    pub(crate) fn add_out(
        &self,
        base: Base<'_>,
        stream: &mut [f32],
        out: &Out<'_>,
        buffers: OutScratch<'_>,
        product: impl FnOnce(&mut [f32], Onto),
    ) {
        if !changes_branch(&self.config) {
            product(stream, Onto::Sum);
            if let Some(place) = out.bias {
                add_to_rows(stream, base.vector(place));
            }
            return;
        }
        let OutScratch { raw, normed } = buffers;
        product(raw, Onto::Fresh);
        if let Some(place) = out.bias {
            add_to_rows(raw, base.vector(place));
        }
        let added = match out.norm {
            Some(place) => {
                rms_norm(normed, raw, self.norm(base, place));
                normed
            }
            None => raw,
        };
        add_scaled(stream, added, self.config.residual_multiplier());
    }

    /// From the gradient of the stream to that of the product: `branch` receives it, and `dstream`
    /// stays; the gradients of norm and bias are added. `raw` is the output before its norm.
    pub(super) fn out_backward<'b>(
        &self,
        base: Base<'_>,
        gradient: &mut Gradient<'_>,
        dstream: &'b [f32],
        raw: &[f32],
        branch: &'b mut [f32],
        out: &Out<'_>,
    ) -> &'b [f32] {
        let factor = self.config.residual_multiplier();
        let dout: &[f32] = if changes_branch(&self.config) {
            match out.norm {
                Some(place) => {
                    // Families that norm what they add have no factor of it.
                    let scaled: Cow<'_, [f32]> = match factor {
                        1.0 => dstream.into(),
                        factor => dstream.iter().map(|x| factor * x).collect(),
                    };
                    branch.fill(0.0);
                    let dnorm = gradient.vector(place);
                    rms_norm_backward(branch, dnorm, raw, self.norm(base, place), &scaled);
                }
                None => {
                    for (branch, x) in branch.iter_mut().zip(dstream) {
                        *branch = factor * x;
                    }
                }
            }
            branch
        } else {
            dstream
        };
        add_bias_gradient(gradient, out.bias, dout);
        dout
    }

    /// `y = activation(gate) * up`: `gate_up` is `[n, 2 * inter]`, with its bias.
    pub(super) fn activate(&self, y: &mut [f32], gate_up: &[f32], inter: usize) {
        match self.config.architecture.activation() {
            Activation::Silu => swiglu(y, gate_up, inter),
            Activation::GeluTanh => geglu(y, gate_up, inter),
        }
    }

    /// Backward pass of [`Self::activate`]; see [`swiglu_backward`].
    pub(super) fn activate_backward(&self, gate_up: &mut [f32], dy: &mut [f32], inter: usize) {
        match self.config.architecture.activation() {
            Activation::Silu => swiglu_backward(gate_up, dy, inter),
            Activation::GeluTanh => geglu_backward(gate_up, dy, inter),
        }
    }
}

/// Adds a bias to every row.
pub(crate) fn add_to_rows(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        add(row, bias);
    }
}

/// Adds the sum of the rows to the gradient of a bias.
pub(super) fn add_bias_gradient(
    gradient: &mut Gradient<'_>,
    place: Option<&Range<usize>>,
    rows: &[f32],
) {
    if let (Some(place), Some(gradient)) = (place, gradient.full()) {
        let dbias = &mut gradient[place.clone()];
        let width = dbias.len();
        for row in rows.chunks_exact(width) {
            add(dbias, row);
        }
    }
}

/// `stream += factor * x`.
fn add_scaled(stream: &mut [f32], x: &[f32], factor: f32) {
    for (stream, x) in stream.iter_mut().zip(x) {
        *stream += factor * x;
    }
}
